"""The proximal rule against closed forms, SciPy, duality, and its bound on the regret."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import DTYPES, LOSSES, N_CLASSES, n_parameters, pack, task_data
from reference_population import curvature, lifted, proximal
from scipy.optimize import minimize

import aruba_fast as af

SMOOTH = tuple(loss for loss in LOSSES if loss not in ("absolute", "hinge"))
KINKED = ("absolute", "hinge")
SIZES = (1, 2, 3, 7, 8, 9, 30, 41)


def pieces_of(loss, rng, d, sizes=SIZES):
    return [task_data(loss, rng, m, d) for m in sizes]


def rates_of(kind, rng, n):
    if kind == "number":
        return 0.7
    if kind == "vector":
        rates = 0.1 + 2 * rng.random(n)
        rates[0] = 0.0
        return rates
    root = rng.standard_normal((n, n)) / np.sqrt(n)
    if kind == "singular":
        root[:, n // 2 :] = 0.0
    return root @ root.T


def matrix(rates, n):
    return rates if np.ndim(rates) == 2 else np.diag(np.broadcast_to(rates, n))


def objective(theta, x, y, phi, h, loss):
    """Of a theta that is phi + h u: the losses and u h u / 2."""
    u = np.linalg.pinv(h) @ (theta - phi)
    value = reference.LOSSES[loss](reference.scores(theta, x, loss), y)[0].sum()
    return value + 0.5 * u @ h @ u


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["number", "vector", "matrix", "singular"])
@pytest.mark.parametrize("d", [1, 5, 8, 19])
def test_squared_loss_is_a_ridge_towards_phi(rng, d, kind, dtype):
    pieces = pieces_of("squared", rng, d)
    phi, rates = rng.standard_normal((len(pieces), d)).astype(dtype), rates_of(kind, rng, d)
    run = af.run_tasks(pack(pieces, dtype), phi, af.Proximal(rates, 1.5), loss="squared")
    h = 1.5 * matrix(rates, d)
    for k, (x, y) in enumerate(pieces):
        x, y, start = (values.astype(dtype).astype(float) for values in (x, y, phi[k]))
        expected = start + h @ x.T @ np.linalg.solve(np.eye(len(x)) + x @ h @ x.T, y - x @ start)
        tolerance = 1e-6 if dtype is np.float32 else 1e-12
        np.testing.assert_allclose(run.theta_hat[k], expected, tolerance, tolerance)
        assert run.loss[k] == pytest.approx(0.5 * ((x @ start - y) ** 2).sum(), rel=1e-12)
    assert (run.weight == SIZES).all()


@pytest.mark.parametrize("kind", ["number", "vector", "matrix", "singular"])
@pytest.mark.parametrize("loss", SMOOTH)
def test_the_gradient_vanishes_at_the_minimizer(rng, loss, kind):
    """theta - phi = -H X^T slope says that no better point is near, and the problem is convex."""
    d = 6
    n = n_parameters(loss, d)
    pieces = pieces_of(loss, rng, d)
    phi, rates = 0.3 * rng.standard_normal(n), rates_of(kind, rng, n)
    run = af.run_tasks(pack(pieces, np.float64), phi, af.Proximal(rates), loss=loss)
    for k, (x, y) in enumerate(pieces):
        theta = run.theta_hat[k]
        slope = reference.LOSSES[loss](reference.scores(theta, x, loss), y)[1]
        gradient = (slope.T @ x).reshape(-1) if loss == "softmax" else slope @ x
        np.testing.assert_allclose(theta - phi, -matrix(rates, n) @ gradient, 0, 1e-11)
        by_scipy, _ = proximal(x, y, phi, matrix(rates, n), loss)
        np.testing.assert_allclose(theta, by_scipy, 0, 1e-5)


@pytest.mark.parametrize("loss", SMOOTH)
@pytest.mark.parametrize("reach", [0.3, 30.0])
def test_tasks_that_take_many_steps(rng, loss, reach):
    """Far starts, outliers, rates from 1e-3 to 1e3: rows of a Huber loss change their piece."""
    d = 5
    n = n_parameters(loss, d)
    pieces = pieces_of(loss, rng, d, (10,) * 100)
    if loss in ("squared", "huber"):
        pieces = [(x, y + 5 * reach * (rng.random(len(y)) < 0.2)) for x, y in pieces]
    far = 0.1 * reach if loss == "poisson" else reach
    phi = far * rng.standard_normal((len(pieces), n)) / np.sqrt(n)
    rates = 10.0 ** rng.uniform(-3, 3, n)
    run = af.run_tasks(pack(pieces, np.float64), phi, af.Proximal(rates), loss=loss)
    for (x, y), start, theta in zip(pieces, phi, run.theta_hat, strict=True):
        slope = reference.LOSSES[loss](reference.scores(theta, x, loss), y)[1]
        gradient = (slope.T @ x).reshape(-1) if loss == "softmax" else slope @ x
        # In units of the roots of the rates: half its square bounds what is above the least.
        left = (theta - start) / np.sqrt(rates) + np.sqrt(rates) * gradient
        assert left @ left < 1e-16 * (1 + reach**2)


@pytest.mark.parametrize("kind", ["number", "vector", "matrix"])
@pytest.mark.parametrize("loss", KINKED)
def test_no_dual_point_allows_a_lower_objective(rng, loss, kind):
    """Of a loss with kinks: the dual, a box, is maximized by scipy; the gap to it is rounding."""
    d = 5
    pieces = pieces_of(loss, rng, d)
    phi, rates = 0.3 * rng.standard_normal(d), rates_of(kind, rng, d)
    h = matrix(rates, d)
    run = af.run_tasks(pack(pieces, np.float64), phi, af.Proximal(rates), loss=loss)
    for k, (x, y) in enumerate(pieces):
        left = y - x @ phi
        box = [(-1, 1) if loss == "absolute" else (min(-v, 0), max(-v, 0)) for v in y]

        def minus_dual(a, x=x, left=left):
            pulled = h @ x.T @ a
            return a @ left + 0.5 * (x.T @ a) @ pulled, left + x @ pulled

        options = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 10_000}
        start = np.zeros(len(y))
        dual = -minimize(minus_dual, start, jac=True, bounds=box, options=options).fun
        assert objective(run.theta_hat[k], x, y, phi, h, loss) == pytest.approx(dual, abs=1e-6)
        zero = np.diag(h) == 0
        np.testing.assert_array_equal(run.theta_hat[k][zero], phi[zero])


@pytest.mark.parametrize("kind", ["vector", "matrix"])
@pytest.mark.parametrize("loss", SMOOTH)
def test_grad_sq_is_what_rows_say_that_others_have_not(rng, loss, kind):
    d = 4
    n, q = n_parameters(loss, d), N_CLASSES if loss == "softmax" else 1
    pieces = pieces_of(loss, rng, d)
    rates = rates_of(kind, rng, n)
    h = matrix(rates, n)
    run = af.run_tasks(pack(pieces, np.float64), np.zeros(n), af.Proximal(rates), loss=loss)
    for k, (x, y) in enumerate(pieces):
        second, slope = curvature(loss, reference.scores(run.theta_hat[k], x, loss), y)
        s = np.einsum("icn,ick,ikm->nm", lifted(x, q), second, lifted(x, q))
        scale = 1.0
        if loss in ("squared", "huber"):
            u = np.linalg.pinv(h) @ run.theta_hat[k]
            scale = ((slope**2).sum() + u @ h @ u) / max(1, second.sum())
        expected = scale * np.diag(s @ np.linalg.inv(np.eye(n) + h @ s))
        np.testing.assert_allclose(run.grad_sq[k], expected, 1e-9, 1e-12)


@pytest.mark.parametrize("loss", KINKED)
def test_grad_sq_of_kinks_is_that_of_subgradients_that_add_up_to_nothing(rng, loss):
    """The slopes are those of the minimizer: theta - phi = -H X^T slope has but one solution."""
    x, y = task_data(loss, rng, 4, 6)
    phi = np.zeros(6)
    run = af.run_tasks(pack([(x, y)], np.float64), phi, af.Proximal(0.4), loss=loss)
    slope = -np.linalg.lstsq(0.4 * x.T, run.theta_hat[0], rcond=None)[0]
    np.testing.assert_allclose(run.grad_sq[0], slope**2 @ x**2, 1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_task_that_is_not_finite_is_nan_and_harms_nobody(rng, loss):
    d = 3
    n = n_parameters(loss, d)
    pieces = pieces_of(loss, rng, d, (5, 4, 6))
    alone = af.run_tasks(pack(pieces, np.float64), np.zeros(n), af.Proximal(0.5), loss=loss)
    pieces[1][0][2, 1] = np.inf
    run = af.run_tasks(pack(pieces, np.float64), np.zeros(n), af.Proximal(0.5), loss=loss)
    for name in ("theta_hat", "grad_sq", "loss"):
        assert np.isnan(getattr(run, name)[1]).all()
        np.testing.assert_array_equal(getattr(run, name)[::2], getattr(alone, name)[::2])


def test_a_learner_learns_from_it(rng):
    """Its run is a run like any other: b and g of a learner with the tight bound are its sums."""
    tasks = pack(pieces_of("squared", rng, 3), np.float64)
    learner = af.MetaLearner(np.zeros(3), bound="tight")
    run = af.run_tasks(tasks, learner.phi, af.Proximal(0.5), loss="squared")
    learner.update(run)
    np.testing.assert_allclose(learner.b, (run.theta_hat**2).sum(axis=0))
    np.testing.assert_allclose(learner.g, run.grad_sq.sum(axis=0))


X = np.ones((6, 3))
TASKS = af.Tasks(X, np.ones(6), [0, 2, 6])
NAN = float("nan")
V, T = ValueError, TypeError


def run(rule, tasks=TASKS, **options):
    return af.run_tasks(tasks, np.zeros(3), rule, loss="squared", **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: af.Proximal(-1.0), V, "Proximal: `learning_rate` .*-1"),
        (lambda: af.Proximal(NAN), V, "Proximal: `learning_rate` .*nan"),
        (lambda: af.Proximal("fast"), T, "Proximal: `learning_rate` .*real"),
        (lambda: af.Proximal([1.0, -2.0]), V, "Proximal: `learning_rate` .*-2"),
        (lambda: af.Proximal(np.ones((2, 3))), V, "symmetric matrix.*2 by 3"),
        (lambda: af.Proximal([[1, 2], [3, 4]]), V, r"not symmetric, .*\(h \+ h.T\) / 2"),
        (lambda: af.Proximal([[-1, 0], [0, 4]]), V, "diagonal: got -1"),
        (lambda: af.Proximal(np.ones((1, 1, 1))), V, "Proximal: `learning_rate` "),
        (lambda: af.Proximal(1.0, 0.0), V, "Proximal: `coef` .*0"),
        (lambda: af.Proximal(1.0, "far"), T, "Proximal: `coef` .*real"),
        (lambda: run(af.Proximal([[1, 2, 0], [2, 1, 0], [0, 0, 1]])), V, "negative eigenvalue"),
        (lambda: run(af.Proximal([1.0, 2.0])), V, r"each of the parameters: got \(2,\)"),
        (lambda: run(af.Proximal(np.eye(2))), V, r"got \(2, 2\), expected \(3,\) or \(3, 3\)"),
        (lambda: run(af.Proximal(1e300, 1e300)), V, "within float64"),
        (lambda: run(af.Proximal(1.0), batch_size=2), V, "run_tasks: `batch_size` .*left out"),
        (lambda: run(af.Proximal(1.0), n_epochs=2), V, "run_tasks: `n_epochs` .*left out"),
        (lambda: run(af.Proximal(1.0), radius=1.0), V, "run_tasks: `radius` .*left out"),
        (lambda: run(af.Proximal(1.0), average=True), V, "run_tasks: `average` .*left out"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_rule_is_a_value():
    h = np.eye(2)
    rule = af.Proximal(h, 2.0)
    h[0, 0] = 5.0
    assert rule == af.Proximal(np.eye(2), 2.0)
    assert rule != af.Proximal(np.eye(2))
    assert hash(rule) == hash(af.Proximal(np.eye(2), 2.0))
    assert repr(rule) == "Proximal(learning_rate=float64[2, 2], coef=2)"
    assert repr(af.Proximal(0.5)) == "Proximal(learning_rate=0.5, coef=1)"
    assert not rule.learning_rate.flags.writeable
