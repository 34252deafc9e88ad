"""Exponentiated gradient in the engine, its bound, and what is learned across tasks with it."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import DTYPES, RUN_TOLERANCE, TASK_SIZES, pack, task_data
from scipy.optimize import minimize
from scipy.special import logsumexp, rel_entr

import aruba_fast as af
from aruba_fast import theory

LOSSES = ("squared", "absolute", "huber", "logistic", "hinge")
OPTIONS = ({}, {"batch_size": 4}, {"n_epochs": 3}, {"batch_size": 5, "n_epochs": 2})


def eg_task(x, y, phi, eta, *, loss, batch_size=1, n_epochs=1):
    """One task of the textbook's rule, in float64."""
    z, iterates, losses, squares = np.log(phi), [], [], 0.0
    for _ in range(n_epochs):
        for first in range(0, len(y), batch_size):
            rows = slice(first, first + batch_size)
            theta = np.exp(z)
            value, grad = reference.loss_and_grad(theta, x[rows], y[rows], loss)
            iterates.append(theta)
            losses.append(value)
            squares += np.abs(grad).max() ** 2
            z = z - eta * grad
            z = z - logsumexp(z)
    return np.exp(z), np.mean(iterates, axis=0), sum(losses), squares


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [2, 3, 8, 17, 33])
def test_the_engine_against_the_textbook(loss, options, dtype, d, rng):
    pieces = [task_data(loss, rng, m, d) for m in TASK_SIZES]
    phi = rng.dirichlet(np.ones(d)).astype(dtype) + dtype(1e-3)
    phi = (phi / phi.sum()).astype(dtype)
    run = af.run_tasks(pack(pieces, dtype), phi, af.EG(0.5), loss=loss, average=True, **options)
    # A row at a kink of the loss may fall on either side in float32.
    tolerance = 10 * RUN_TOLERANCE[dtype]
    for k, (x, y) in enumerate(pieces):
        hat, bar, total, squares = eg_task(x, y, phi.astype(float), 0.5, loss=loss, **options)
        np.testing.assert_allclose(run.theta_hat[k], hat, rtol=0, atol=tolerance)
        np.testing.assert_allclose(run.theta_bar[k], bar, rtol=0, atol=tolerance)
        assert run.loss[k] == pytest.approx(total, rel=tolerance, abs=tolerance)
        np.testing.assert_allclose(run.grad_sq[k], squares, rtol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_iterates_stay_on_the_simplex(dtype, rng):
    """Also where weights underflow, and where they come back."""
    x = rng.standard_normal((20, 1000, 5)) * 10.0
    tasks = af.Tasks(x.astype(dtype), (x @ rng.dirichlet(np.ones(5))).astype(dtype))
    run = af.run_tasks(tasks, np.full(5, 0.2, dtype), af.EG(5.0), loss="absolute", average=True)
    for theta in (run.theta_hat, run.theta_bar):
        assert (theta >= 0).all()
        np.testing.assert_allclose(
            theta.sum(axis=1), 1.0, atol=1e-5 if dtype == np.float32 else 1e-13
        )


def best_on_simplex(x, y, loss):
    """The least loss on the simplex, by a general minimizer."""

    def objective(theta):
        value, slope = reference.LOSSES[loss](x @ theta, y)
        return value.sum(), x.T @ slope

    found = minimize(
        objective,
        np.full(x.shape[1], 1.0 / x.shape[1]),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * x.shape[1],
        constraints={"type": "eq", "fun": lambda t: t.sum() - 1.0},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    theta = np.maximum(found.x, 0.0)
    theta = theta / theta.sum()
    return theta, objective(theta)[0]


@pytest.mark.parametrize("loss", ["squared", "logistic", "absolute"])
def test_regret_of_eg_is_below_its_bound(loss, rng):
    pieces = [task_data(loss, rng, int(rng.integers(5, 60)), 6) for _ in range(60)]
    tasks, phi = pack(pieces, np.float64), rng.dirichlet(np.ones(6))
    for eta in (0.05, 0.5, 3.0):
        run = af.run_tasks(tasks, phi, af.EG(eta), loss=loss)
        found = [best_on_simplex(x, y, loss) for x, y in pieces]
        star, least = np.array([f[0] for f in found]), np.array([f[1] for f in found])
        bound = theory.regret_upper_bound(run, star, phi, af.EG(eta))
        expected = rel_entr(star, phi).sum(axis=1) / eta + eta / 2 * run.grad_sq[:, 0]
        np.testing.assert_allclose(bound, expected, rtol=1e-12)
        assert (run.loss - least <= bound * (1 + 1e-9)).all()


def test_derivatives_of_the_bound_of_eg(rng):
    star, phi, eta, h = rng.dirichlet(np.ones(5), 3), rng.dirichlet(np.ones(5)), 0.3, 1e-7
    star[0] = [1.0, 0.0, 0.0, 0.0, 0.0]
    run = af.TaskRun(star, np.repeat(rng.random((3, 1)), 5, axis=1))
    value, d_phi, d_rate = theory.regret_upper_bound(run, star, phi, af.EG(eta), gradient=True)
    assert np.isfinite(value).all()
    np.testing.assert_allclose(d_phi, -star / (phi * eta), rtol=1e-12)
    ends = [theory.regret_upper_bound(run, star, phi, af.EG(eta + s * h)) for s in (1, -1)]
    np.testing.assert_allclose(d_rate, (ends[0] - ends[1]) / (2 * h), rtol=1e-6)


def test_the_learner_against_its_equations(rng):
    learner = theory.SimplexLearner(4, learning_rate=0.5, mixing=0.1, zeta=2.0, p=0.4)
    phi, mean, b, g, t = np.full(4, 0.25), np.full(4, 0.25), 1.0, 4.0, 0
    for size in (1, 3, 2):
        hats, squares = rng.dirichlet(np.ones(4), size), rng.random(size)
        for hat, square in zip(hats, squares, strict=True):
            b += rel_entr(hat, phi).sum() + 1.0 / (t + 2) ** 0.4
            g += 0.5 * square + 4.0 / (t + 2) ** 0.4
            mean = (t * mean + hat) / (t + 1)
            t += 1
        phi = 0.9 * mean + 0.1 / 4
        learner.update(af.TaskRun(hats, np.repeat(squares[:, None], 4, axis=1)))
        assert learner.b == pytest.approx(b, rel=1e-13)
        assert learner.g == pytest.approx(g, rel=1e-13)
        np.testing.assert_allclose(learner.phi, phi, rtol=1e-13)
        assert learner.learning_rate == pytest.approx(np.sqrt(b / g), rel=1e-13)
    learner.update(af.TaskRun(np.full((1, 4), np.nan), np.ones((1, 4))))
    assert (learner.n_tasks, learner.n_skipped) == (6, 1)


def test_a_learned_prior_pays_the_entropy_of_the_optima(rng):
    """Experts of which few are ever good: regret goes by the entropy, not by log d."""
    d, m, n_tasks = 32, 60, 400
    good = rng.choice(3, size=n_tasks)
    x = rng.random((n_tasks, m, d))
    x[np.arange(n_tasks), :, good] *= 0.2
    tasks = af.Tasks(x, np.zeros((n_tasks, m)))  # |z| = z: the loss of expert j is x_j
    least = x.sum(axis=1).min(axis=1)
    learner = theory.SimplexLearner(d, learning_rate=np.sqrt(2 * np.log(d) / m))
    losses = []
    for t in range(n_tasks):
        run = learner.run(tasks[t], loss="absolute")
        losses.append(run.loss[0])
        learner.update(run)
    alone = af.run_tasks(
        tasks, np.full(d, 1 / d), af.EG(np.sqrt(2 * np.log(d) / m)), loss="absolute"
    )
    learned = (np.array(losses) - least)[n_tasks // 2 :].mean()
    assert learned < 0.6 * (alone.loss - least)[n_tasks // 2 :].mean()
    share = np.bincount(good, minlength=d) / n_tasks
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
    assert theory.task_similarity(np.eye(d)[good], kind="kl") == pytest.approx(entropy, rel=1e-12)
    assert learned < np.sqrt(2 * entropy * m)


def test_without_mixing_a_new_coordinate_would_cost_infinity():
    phi = np.array([1.0 - 1e-12, 1e-12])
    run = af.TaskRun([[0.0, 1.0]], [[1.0, 1.0]])
    assert theory.regret_upper_bound(run, [[0.0, 1.0]], phi, af.EG(1.0))[0] > 27.0
    learner = theory.SimplexLearner(2, mixing=0.02)
    for _ in range(100):
        learner.update(af.TaskRun([[1.0, 0.0]], [[1.0, 1.0]]))
    assert learner.phi.min() == pytest.approx(0.01, rel=1e-12)
    bound = theory.regret_upper_bound(run, [[0.0, 1.0]], learner.phi, af.EG(1.0))[0]
    assert bound <= np.log(2 / 0.02) + 0.5 + 1e-12


def test_threads_change_no_bit(threads, rng):
    tasks = pack([task_data("logistic", rng, 500, 20) for _ in range(60)], np.float32)
    results = set()
    for n in (1, 2, 7):
        threads(n)
        run = af.run_tasks(tasks, np.full(20, 0.05, np.float32), af.EG(0.3), loss="logistic")
        results.add(run.theta_hat.tobytes() + run.loss.tobytes())
    assert len(results) == 1
