"""`meta_fit` against its NumPy twin, likelihoods of SciPy, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import reference_population
from cases import DTYPES, LOSSES, N_CLASSES, labels, pack
from reference import scores
from scipy.stats import multivariate_normal

import aruba_fast as af

FITTED = tuple(loss for loss in LOSSES if loss not in ("absolute", "hinge"))


def people(loss, rng, n_people, d=3, most=8, spread=1.0):
    """Tasks that differ: much in the last parameters, not in the first."""
    q = N_CLASSES if loss == "softmax" else 1
    center = 0.5 * rng.standard_normal(q * d)
    pieces = []
    for _ in range(n_people):
        theta = center + spread * rng.standard_normal(q * d) * np.tile(np.linspace(0, 1, d), q)
        x = rng.standard_normal((int(rng.integers(1, most)), d)) * (0.5 if loss == "poisson" else 1)
        x[:, -1] = 1.0
        pieces.append((x, labels(loss, rng, scores(theta, x, loss))))
    return pieces


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("loss", FITTED)
def test_it_is_its_twin(rng, loss, covariance):
    pieces = people(loss, rng, 40 if loss == "squared" else 14)
    q = N_CLASSES if loss == "softmax" else 1
    tasks = pack(pieces, np.float64)
    fit = af.meta_fit(tasks, loss=loss, covariance=covariance, n_classes=q if q > 1 else None)
    phi, h, scale, evidence, n_passes = reference_population.meta_fit(pieces, loss, q, covariance)
    close = {"rtol": 1e-8, "atol": 1e-9} if loss == "squared" else {"rtol": 0.01, "atol": 2e-3}
    if n_passes != fit.n_iterations:  # the search of scipy leaves rounding: one pass more or less
        assert loss != "squared"
        assert abs(n_passes - fit.n_iterations) == 1
        close = {"rtol": 0.02, "atol": 0.01}
    rates = fit.learning_rate if covariance == "full" else np.diag(fit.learning_rate)
    # Of the softmax only differences between classes count; the rest depends on rounding.
    phi, found = (
        (p.reshape(q, -1) - (q > 1) * p.reshape(q, -1).mean(axis=0)) for p in (phi, fit.phi)
    )
    np.testing.assert_allclose(found, phi, **close)
    np.testing.assert_allclose(rates, h, **close)
    assert fit.scale == pytest.approx(scale, rel=close["rtol"])
    assert fit.evidence == pytest.approx(evidence, rel=close["rtol"])
    assert (fit.n_tasks, fit.n_skipped) == (len(pieces), 0)


# Rows of a task, with five features: fewer than are worth a triangle, and ends of blocks of 64.
LENGTHS = (1, 5, 6, 8, 9, 63, 64, 65, 127, 128, 129, 500, 9, 30)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_tasks_of_many_rows_are_fitted_by_all_of_them(rng, covariance, dtype):
    """Columns of several scales, of which one nearly repeats another; a task is not finite."""
    own = rng.standard_normal((len(LENGTHS), 5)) * [1.0, 0.5, 0.0, 0.1, 2.0]
    pieces = []
    for m, beta in zip(LENGTHS, own, strict=True):
        x = rng.standard_normal((m, 5)) * [1.0, 1e-3, 1e3, 1.0, 1.0]
        x[:, 3] += 10 * x[:, 4]
        x, scale = x.astype(dtype).astype(float), np.array([1.0, 1e3, 1e-3, 1.0, 1.0])
        y = x @ (scale * beta) + 0.3 * rng.standard_normal(m)
        pieces.append((x, y.astype(dtype).astype(float)))
    phi, h, scale, evidence, n_passes = reference_population.meta_fit(
        pieces, "squared", 1, covariance
    )
    spoiled = pieces[10][0].copy()
    spoiled[100, 2] = np.inf
    fit = af.meta_fit(
        pack([*pieces, (spoiled, pieces[10][1])], dtype), loss="squared", covariance=covariance
    )
    assert (fit.n_iterations, fit.n_tasks, fit.n_skipped) == (n_passes, len(pieces), 1)
    rates = fit.learning_rate if covariance == "full" else np.diag(fit.learning_rate)
    unit = np.sqrt(np.diag(h))
    np.testing.assert_allclose(fit.phi / unit, phi / unit, 0, 1e-6)
    np.testing.assert_allclose(rates / np.outer(unit, unit), h / np.outer(unit, unit), 0, 1e-6)
    assert fit.scale == pytest.approx(scale, rel=1e-8)
    assert fit.evidence == pytest.approx(evidence, rel=1e-8)


# Solved side by side or one after the other, by rows or by parameters, of all rows or a triangle.
@pytest.mark.parametrize(("d", "m"), [(1, 1), (16, 2), (20, 3), (20, 25), (33, 5), (33, 80)])
@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_every_shape_of_squares_is_fitted_alike(rng, d, m, covariance):
    pieces = []
    for _ in range(21):
        x = rng.standard_normal((int(rng.integers(1, m + 1)), d))
        beta = np.linspace(0, 1, d) * rng.standard_normal(d)
        pieces.append((x, x @ beta + 0.5 * rng.standard_normal(len(x))))
    expected = reference_population.meta_fit(pieces, "squared", 1, covariance)
    fit = af.meta_fit(pack(pieces, np.float64), loss="squared", covariance=covariance)
    rates = fit.learning_rate if covariance == "full" else np.diag(fit.learning_rate)
    np.testing.assert_allclose(fit.phi, expected[0], 1e-7, 1e-7)
    np.testing.assert_allclose(rates, expected[1], 1e-7, 1e-8 * np.diag(expected[1]).max())
    np.testing.assert_allclose([fit.scale, fit.evidence], expected[2:4], 1e-6)
    assert fit.n_iterations == expected[4]


def likelihood(fit, pieces):
    """The log-likelihood of squared tasks whose parameters are spread about phi."""
    h = fit.learning_rate if fit.learning_rate.ndim == 2 else np.diag(fit.learning_rate)
    return sum(
        multivariate_normal.logpdf(y, x @ fit.phi, fit.scale * (np.eye(len(y)) + x @ h @ x.T))
        for x, y in pieces
    )


def test_evidence_is_the_likelihood(rng):
    pieces = people("squared", rng, 60)
    n_rows = sum(len(y) for _, y in pieces)
    fit = af.meta_fit(pack(pieces, np.float64), loss="squared")
    constant = 0.5 * n_rows * (1 + np.log(2 * np.pi))
    # `scale` is the one that belongs to the rates; phi made a last step, which changes little.
    assert fit.evidence - constant == pytest.approx(likelihood(fit, pieces), abs=0.05)


def test_other_parameters_are_less_likely(rng):
    """Diagonal rates are near the maximum: no change of any of them by a half gains much."""
    pieces = people("squared", rng, 200)
    fit = af.meta_fit(pack(pieces, np.float64), loss="squared", covariance="diagonal")
    best = likelihood(fit, pieces)
    for j in range(3):
        for factor in (0.5, 2.0):
            rates = fit.learning_rate.copy()
            rates[j] *= factor
            other = af.MetaFit(fit.phi, rates, 1.0, fit.scale, 0.0, 0, 0, 0)
            assert likelihood(other, pieces) < best + 0.5


def test_rates_rest_where_the_rule_of_descent_puts_them(rng):
    """eta^2 = b / g, with b and g of a run at these rates: what a learner would make of them."""
    tasks = pack(people("squared", rng, 400, most=12), np.float64)
    fit = af.meta_fit(tasks, loss="squared", covariance="diagonal")
    run = af.run_tasks(tasks, fit.phi, fit.rule(), loss="squared")
    b, g = ((run.theta_hat - fit.phi) ** 2).sum(axis=0), run.grad_sq.sum(axis=0)
    large = fit.learning_rate * fit.scale > 0.05
    assert large.sum() == 2
    np.testing.assert_allclose(np.sqrt(b / g)[large], fit.learning_rate[large], 0.05)


@pytest.mark.parametrize("loss", FITTED)
def test_it_finds_how_people_differ(rng, loss):
    """The spread of the parameters, known because we made it, from tasks of many rows."""
    pieces = people(loss, rng, 300, most=60)
    fit = af.meta_fit(pack(pieces, np.float64), loss=loss, covariance="diagonal")
    spread = np.sqrt(fit.scale * fit.learning_rate).reshape(-1, 3)
    truth = np.linspace(0, 1, 3)
    if loss == "softmax":  # only differences between classes can be seen
        assert (spread[:, 0] < 0.25).all()
        assert (spread[:, 2] > 0.5).all()
    else:
        np.testing.assert_allclose(spread[0], truth, atol=0.25)


def test_correlated_people(rng):
    covariance = np.array([[1.0, 0.8], [0.8, 1.0]])
    theta = rng.multivariate_normal([2.0, -1.0], covariance, size=500)
    x = rng.standard_normal((500, 9, 2))
    y = np.einsum("tmd,td->tm", x, theta) + 0.5 * rng.standard_normal((500, 9))
    fit = af.meta_fit(af.Tasks(x, y), loss="squared")
    np.testing.assert_allclose(fit.scale * fit.learning_rate, covariance, atol=0.12)
    np.testing.assert_allclose(fit.phi, [2.0, -1.0], atol=0.12)
    assert fit.scale == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("loss", FITTED)
def test_units_do_not_matter(rng, loss, covariance):
    """Features in other units, and of squared losses targets, too: the same people."""
    pieces, d = people(loss, rng, 30), 3
    units = np.array([2.0**20, 2.0**-12, 1.0])
    of_y = 2.0**9 if loss == "squared" else 1.0
    changed = [(x * units, y * of_y) for x, y in pieces]
    one, other = (
        af.meta_fit(pack(p, np.float64), loss=loss, covariance=covariance)
        for p in (pieces, changed)
    )
    back = np.tile(units, len(one.phi) // d)
    of_rates = np.outer(back, back) if covariance == "full" else back**2
    np.testing.assert_allclose(other.phi * back / of_y, one.phi, 1e-6, 1e-8)
    np.testing.assert_allclose(other.learning_rate * of_rates, one.learning_rate, 1e-6, 1e-9)
    assert one.n_iterations == other.n_iterations


@pytest.mark.parametrize("loss", FITTED)
def test_threads_do_not_matter(rng, threads, loss):
    tasks = pack(people(loss, rng, 300), np.float32)
    found = []
    for n in (1, 2, 7):
        threads(n)
        fit = af.meta_fit(tasks, loss=loss)
        run = af.run_tasks(tasks, fit.phi, fit.rule(), loss=loss)
        found.append([fit.phi, fit.learning_rate, run.theta_hat, run.grad_sq, run.loss])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


def test_people_who_are_not_finite_are_left_out(rng):
    pieces = people("squared", rng, 30)
    without = af.meta_fit(pack(pieces[1:], np.float64), loss="squared")
    pieces[0][0][0, 0] = np.nan
    fit = af.meta_fit(pack(pieces, np.float64), loss="squared")
    assert (fit.n_tasks, fit.n_skipped) == (29, 1)
    np.testing.assert_allclose(fit.learning_rate, without.learning_rate, 1e-9)


@pytest.mark.parametrize("loss", FITTED)
@pytest.mark.parametrize(
    "what", ["one row a task", "one task", "no noise", "all the same", "dependent", "constant"]
)
def test_tables_that_say_little(rng, loss, what):
    """Whatever the table: finite numbers, rates that are a covariance, and no complaint."""
    pieces = people(loss, rng, 20)
    if what == "one row a task":
        pieces = [(x[:1], y[:1]) for x, y in pieces]
    if what == "one task":
        pieces = pieces[-1:]
    if what == "no noise" and loss in ("squared", "huber"):
        pieces = [(x, x @ np.arange(3.0)) for x, _ in pieces]
    if what == "all the same":
        pieces = [(x, 0 * y) for x, y in pieces]
    if what == "dependent":
        pieces = [(x[:, [0, 0, 2]], y) for x, y in pieces]
    if what == "constant":
        pieces = [(x * [1.0, 0.0, 1.0], y) for x, y in pieces]
    q = N_CLASSES if loss == "softmax" else None
    fit = af.meta_fit(pack(pieces, np.float64), loss=loss, n_classes=q)
    assert np.isfinite(fit.phi).all()
    assert np.isfinite(fit.learning_rate).all()
    assert np.linalg.eigvalsh(fit.learning_rate).min() > -1e-9 * np.abs(fit.learning_rate).max()
    run = af.run_tasks(pack(pieces, np.float64), fit.phi, fit.rule(), loss=loss)
    assert np.isfinite(run.theta_hat).all()


def test_people_of_few_answers_go_further(rng):
    """Three answers of yes or no each, and people who differ much: the fitted rates are small."""
    z = 4.0 * rng.standard_normal((600, 1)) + 0.5
    y = (rng.random((600, 4)) < 1 / (1 + np.exp(-z))) * 1.0
    fit = af.meta_fit(af.Tasks(np.ones((600, 4, 1)), y), loss="logistic")
    assert fit.coef in (2.0, 4.0, 8.0)
    assert fit.rule() == af.Proximal(fit.learning_rate, fit.coef)
    theta = 4.0 * rng.standard_normal((600, 1)) + 0.5
    new = af.Tasks(np.ones((600, 4, 1)), (rng.random((600, 4)) < 1 / (1 + np.exp(-theta))) * 1.0)
    seen, unseen = new.shots(3)
    errors = []
    for coef in (1.0, fit.coef):
        run = af.run_tasks(seen, fit.phi, fit.rule(coef), loss="logistic")
        errors.append(af.evaluate(unseen, run.theta_hat, loss="logistic").mean())
    assert errors[1] < 0.98 * errors[0]


def test_squares_and_few_people_go_as_far_as_was_fitted(rng):
    for loss, n_people in (("squared", 60), ("huber", 60), ("logistic", 20)):
        fit = af.meta_fit(pack(people(loss, rng, n_people), np.float64), loss=loss)
        assert fit.coef == 1.0


def test_one_row_a_person_is_no_test(rng):
    x, y = rng.standard_normal((50, 1, 2)), np.tile([[0.0], [1.0]], (25, 1))
    assert af.meta_fit(af.Tasks(x, y), loss="logistic").coef == 1.0


TASKS = af.Tasks(np.ones((4, 2, 3)), np.ones((4, 2)))
WIDE = af.Tasks(np.ones((1, 2, 600)), np.ones((1, 2)))
V, T = ValueError, TypeError


def fit(tasks=TASKS, loss="squared", **options):
    return af.meta_fit(tasks, loss=loss, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit(np.ones((3, 2))), T, "meta_fit: `tasks` must be Tasks"),
        (lambda: fit(loss="absolute"), V, "curvature: got 'absolute', .*'huber'"),
        (lambda: fit(loss="hinge"), V, "curvature: got 'hinge', .*'logistic'"),
        (lambda: fit(loss="cubic"), V, "meta_fit: `loss` must be known"),
        (lambda: fit(covariance="round"), V, "`covariance` must be known: got 'round'"),
        (lambda: fit(n_classes=3), V, "`n_classes` must be None but for softmax"),
        (lambda: fit(loss="softmax", n_classes=1), V, "`n_classes`"),
        (lambda: fit(af.Tasks(np.ones((2, 2, 3)), 2 * np.ones((2, 2))), "logistic"), V, "0 and 1"),
        (lambda: fit(af.Tasks(np.ones((1, 2, 1025)), np.ones((1, 2)))), V, "at most 1024 .*1025"),
        (lambda: fit(WIDE, covariance="full"), V, "at most 512 .*600, expected covariance='diag"),
        (lambda: fit(af.Tasks(np.full((2, 2, 3), np.nan), np.ones((2, 2)))), V, "is finite"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
