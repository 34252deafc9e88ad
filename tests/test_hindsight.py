"""The best in hindsight against SciPy and scikit-learn, and its certificate against the truth."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import DTYPES, LOSSES, N_CLASSES, n_parameters, pack, task_data
from real_data import TABLES, standardized
from scipy.optimize import linprog, minimize

import aruba_fast as af
from aruba_fast import theory

SETTINGS = {
    "plain": {},
    "ridge": {"regularization": 0.3},
    "faint ridge": {"regularization": 1e-4},
    "ball": {"radius": 1.0},
    "small ball": {"radius": 0.1},
    "wide ball": {"radius": 50.0},
    "both": {"radius": 0.5, "regularization": 0.01},
}


def objective(theta, x, y, loss, regularization=0.0):
    value = reference.LOSSES[loss](reference.scores(theta, x, loss), y)[0].sum()
    return value + 0.5 * regularization * theta @ theta


def random_pieces(loss, rng, n_tasks, d=6):
    """Short and long tasks, dependent columns, columns of very different scales."""
    pieces = []
    for k in range(n_tasks):
        x, y = task_data(loss, rng, int(rng.integers(1, 60)), d)
        x = x * np.sqrt(d)
        if k % 3 == 0 and k % 5 != 1:  # exactly dependent, in float32 too
            x = np.round(256.0 * x) / 256.0
            x[:, 4] = x[:, 3] - 2.0 * x[:, 1]
        if k % 5 == 1:
            x = x * np.logspace(-3, 3, d)
        pieces.append((x, y))
    return pieces


def classes(loss):
    return N_CLASSES if loss == "softmax" else None


def best(tasks, loss, **options):
    return theory.best_in_hindsight(tasks, loss=loss, n_classes=classes(loss), **options)


def with_a_minimizer(pieces, loss):
    """The pieces whose classes overlap, by a linear program that knows nothing of our method."""
    if loss not in ("logistic", "softmax", "poisson"):
        return pieces
    return [(x, y) for x, y in pieces if not separable(x, y, loss)]


def separable(x, y, loss):
    """Is there a w with all margins >= 0 and one > 0? Of counts that are not zero, both ways."""
    if loss == "softmax":
        rows = []
        for row, label in zip(x, y.astype(int), strict=True):
            for c in range(N_CLASSES):
                if c != label:
                    margin = np.zeros((N_CLASSES, len(row)))
                    margin[label], margin[c] = row, -row
                    rows.append(margin.ravel())
        margins = np.array(rows)
    elif loss == "poisson":
        margins = np.concatenate([-x[y == 0], x[y > 0], -x[y > 0]])
    else:
        margins = x * np.where(y > 0, 1.0, -1.0)[:, None]
    margins = margins / np.abs(margins).max()
    found = linprog(-margins.sum(0), A_ub=-margins, b_ub=np.zeros(len(margins)), bounds=(-1, 1))
    return found.fun < -1e-7


# ---- against others ----------------------------------------------------------------------------


def test_squared_is_the_shortest_least_squares_solution(rng):
    pieces = random_pieces("squared", rng, 100)
    found = best(pack(pieces, np.float64), "squared")
    for k, (x, y) in enumerate(pieces):
        expected = np.linalg.lstsq(x, y, rcond=1e-13)[0]
        scale = max(1.0, np.linalg.norm(expected))
        np.testing.assert_allclose(found.theta_star[k], expected, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("loss", ["absolute", "hinge"])
def test_piecewise_linear_losses_against_a_linear_program(loss, rng):
    pieces = random_pieces(loss, rng, 60)
    found = best(pack(pieces, np.float64), loss)
    for k, (x, y) in enumerate(pieces):
        m, d = x.shape
        cost = np.concatenate([np.zeros(d), np.ones(m)])
        if loss == "hinge":  # slack >= 1 - y z, slack >= 0
            rows, limit = np.hstack([-y[:, None] * x, -np.eye(m)]), -np.ones(m)
            bounds = [(None, None)] * d + [(0, None)] * m
        else:
            rows = np.block([[x, -np.eye(m)], [-x, -np.eye(m)]])
            limit, bounds = np.concatenate([y, -y]), [(None, None)] * (d + m)
        expected = linprog(cost, A_ub=rows, b_ub=limit, bounds=bounds, method="highs").fun
        assert found.loss[k] == pytest.approx(expected, rel=1e-6, abs=1e-6), k


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SETTINGS)
def test_against_a_general_minimizer(loss, name, rng):
    """SciPy's SLSQP gets no lower, and where it gets as low it is at the same place."""
    options = SETTINGS[name]
    pieces = with_a_minimizer([task_data(loss, rng, 30, 4) for _ in range(12)], loss)
    found = best(pack(pieces, np.float64), loss, **options)
    ridge, radius = options.get("regularization", 0.0), options.get("radius")
    for k, (x, y) in enumerate(pieces):
        ours = objective(found.theta_star[k], x, y, loss, ridge)
        assert ours == pytest.approx(
            found.loss[k] + 0.5 * ridge * found.theta_star[k] @ found.theta_star[k], rel=1e-12
        )
        if radius is not None:
            assert np.linalg.norm(found.theta_star[k]) <= radius * (1 + 1e-12)
        ball = {"type": "ineq", "fun": lambda t: radius**2 - t @ t, "jac": lambda t: -2.0 * t}
        theirs = minimize(
            objective,
            0.9 * found.theta_star[k] + 0.01,
            (x, y, loss, ridge),
            method="SLSQP",
            constraints=[] if radius is None else [ball],
            options={"ftol": 1e-15, "maxiter": 1000},
        ).x
        if radius is not None:
            theirs = theirs * min(1.0, radius / np.linalg.norm(theirs))
        least = objective(theirs, x, y, loss, ridge)
        # The certificate: nobody is lower by more than the gap.
        assert ours <= least + found.gap[k] + 1e-13 * max(1.0, least)
        if loss in ("squared", "logistic", "softmax", "poisson"):
            assert least == pytest.approx(ours, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
@pytest.mark.parametrize("table", TABLES)
def test_real_tasks_against_scikit_learn(table, loss):
    linear_model = pytest.importorskip("sklearn.linear_model")
    label = {
        "squared": lambda y: y,
        "logistic": lambda y: (y > 0) * 1.0,
        "softmax": lambda y: np.digitize(y, [-0.2, 0.2]) * 1.0,
    }[loss]
    tasks = standardized(table, label)
    tasks = tasks[np.linspace(0, len(tasks) - 1, 40).astype(int)]
    found = best(tasks, loss, regularization=0.5, tolerance=1e-12)
    compared = 0
    for k, (start, stop) in enumerate(zip(tasks.starts, tasks.stops, strict=True)):
        x, y = tasks.x[start:stop], tasks.y[start:stop]
        if loss == "squared":
            theirs = linear_model.Ridge(alpha=0.5, fit_intercept=False, solver="svd").fit(x, y)
            expected = theirs.coef_
        else:
            if len(set(y)) < (2 if loss == "logistic" else 3):
                continue
            theirs = linear_model.LogisticRegression(
                C=2.0, fit_intercept=False, solver="newton-cg", tol=1e-12, max_iter=10_000
            ).fit(x, y)
            expected = theirs.coef_.ravel()
        np.testing.assert_allclose(found.theta_star[k], expected, rtol=0, atol=1e-6)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("table", TABLES)
def test_real_tasks_without_any_bound(table):
    """Parkinson's columns are nearly dependent, wages have fewer rows than columns."""
    tasks = standardized(table)
    found = best(tasks, "squared")
    for k, (start, stop) in enumerate(zip(tasks.starts, tasks.stops, strict=True)):
        x, y = tasks.x[start:stop], tasks.y[start:stop]
        residual = x @ np.linalg.lstsq(x, y, rcond=1e-13)[0] - y
        assert found.loss[k] == pytest.approx(0.5 * residual @ residual, rel=1e-6, abs=1e-9)
    assert (found.gap <= 1e-8 * np.maximum(1.0, found.loss)).all()


# ---- the certificate ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gap_is_reached_on_hard_tasks(loss, name, dtype, rng):
    """No warning, and the loss is that of the parameters."""
    options = SETTINGS[name]
    pieces = random_pieces(loss, rng, 60)
    if not options:
        pieces = with_a_minimizer(pieces, loss)
    if dtype == np.float32:
        pieces = [(x.astype(dtype).astype(float), y.astype(dtype).astype(float)) for x, y in pieces]
    found = best(pack(pieces, dtype), loss, **options)
    ridge = options.get("regularization", 0.0)
    for k, (x, y) in enumerate(pieces):
        theta = found.theta_star[k]
        assert found.loss[k] == pytest.approx(objective(theta, x, y, loss), rel=1e-9, abs=1e-9)
        total = found.loss[k] + 0.5 * ridge * theta @ theta
        assert 0 <= found.gap[k] <= 1e-8 * max(1.0, total)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", ["ridge", "ball"])
def test_a_loose_tolerance_has_an_honest_gap(loss, name, rng):
    """What is left to gain is within the gap, however early the method stops."""
    pieces = [task_data(loss, rng, 40, 5) for _ in range(30)]
    tasks, options = pack(pieces, np.float64), SETTINGS[name]
    exact = best(tasks, loss, tolerance=1e-12, **options)
    for tolerance in (1e-1, 1e-3):
        rough = best(tasks, loss, tolerance=tolerance, **options)
        for k, (x, y) in enumerate(pieces):
            ridge = options.get("regularization", 0.0)
            left = objective(rough.theta_star[k], x, y, loss, ridge)
            left -= objective(exact.theta_star[k], x, y, loss, ridge)
            assert left <= rough.gap[k] + 1e-10


# ---- no minimizer ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["logistic", "softmax", "poisson"])
def test_separable_tasks_are_refused_and_no_others(loss, rng):
    refused = 0
    for x, y in random_pieces(loss, rng, 80):
        tasks, none = pack([(x, y)], np.float64), separable(x, y, loss)
        refused += none
        if none:
            with pytest.raises(ValueError, match=r"separated.*task 0; expected a `radius`"):
                best(tasks, loss)
        else:
            best(tasks, loss)
        for bound in ({"radius": 3.0}, {"regularization": 0.1}):
            assert best(tasks, loss, **bound).gap[0] <= 1e-7
    assert 3 < refused < 70


def test_classes_that_touch_have_no_minimizer_either():
    """Quasi-complete separation: one row on the boundary of both classes."""
    x = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]
    tasks = af.Tasks(x, [0.0, 1.0, 1.0, 1.0], [0, 4])
    with pytest.raises(ValueError, match="separated"):
        theory.best_in_hindsight(tasks, loss="logistic")


def test_the_message_names_the_tasks():
    x = np.ones((6, 3, 1))
    y = np.array([[0, 1, 0]] + [[1, 1, 1]] * 5)
    with pytest.raises(ValueError, match="in tasks 1, 2, 3 and 2 more"):
        theory.best_in_hindsight(af.Tasks(x, y), loss="logistic")


# ---- regret ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("how", [{}, {"batch_size": 4}, {"batch_size": 5, "n_epochs": 3}])
def test_regret_of_the_best_is_zero(loss, how, rng):
    """A run that starts at theta* and stays there: the rounds of run and comparator agree."""
    pieces = with_a_minimizer([task_data(loss, rng, 26, 3) for _ in range(6)], loss)
    tasks = pack(pieces, np.float64)
    found = best(tasks, loss, **how)
    stay = af.run_tasks(tasks, found.theta_star, af.OGD(0.0), loss=loss, **how)
    np.testing.assert_allclose(theory.regret(stay, found), 0.0, atol=1e-10)
    elsewhere = np.zeros(n_parameters(loss, 3))
    worse = af.run_tasks(tasks, elsewhere, af.OGD(0.0), loss=loss, **how)
    assert (theory.regret(worse, found) > 0).all()


def test_tasks_that_are_not_finite_are_nan_and_others_are_not(rng):
    x, y = rng.standard_normal((3, 5, 2)), rng.standard_normal((3, 5))
    clean = theory.best_in_hindsight(af.Tasks(x[[0, 2]], y[[0, 2]]), loss="absolute")
    x[1, 2, 0] = np.nan
    found = theory.best_in_hindsight(af.Tasks(x, y), loss="absolute")
    assert np.isnan(found.theta_star[1]).all()
    assert np.isnan(found.loss[1])
    np.testing.assert_array_equal(found.theta_star[[0, 2]], clean.theta_star)


def test_threads_change_no_bit(threads, rng):
    for loss in LOSSES:
        tasks = pack(random_pieces(loss, rng, 150), np.float64)
        results = []
        for n in (1, 2, 7):
            threads(n)
            found = best(tasks, loss, regularization=0.1)
            results.append(np.column_stack([found.theta_star, found.loss, found.gap]).tobytes())
        assert len(set(results)) == 1


def test_a_gap_below_rounding_is_said(rng):
    tasks = pack([task_data("absolute", rng, 50, 5)], np.float64)
    with pytest.warns(RuntimeWarning, match=r"gap stayed at .* in task 0"):
        theory.best_in_hindsight(tasks, loss="absolute", tolerance=1e-300)
