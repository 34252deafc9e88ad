"""A matrix of rates: its equation, tasks run with it, its bound, what it sees."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import LOSSES, n_parameters, pack, smoothed, task_data
from real_data import TABLES, standardized

import aruba_fast as af
from aruba_fast import theory
from aruba_fast.theory.full_matrix import matrix_rate


@pytest.mark.parametrize("d", [1, 2, 7, 40])
def test_the_matrix_of_rates_solves_its_equation(d, rng):
    b, g = (m @ m.T + 0.01 * np.eye(d) for m in rng.standard_normal((2, d, d + 2)))
    h = matrix_rate(b, g)
    assert np.linalg.norm(h @ g @ h - b) <= 1e-11 * np.linalg.norm(b) * np.linalg.cond(g)
    np.testing.assert_array_equal(h, h.T)
    assert np.linalg.eigvalsh(h).min() > 0
    for scale in (1.0, 1e-8):  # diagonal: the rates of each coordinate
        diagonal = matrix_rate(np.diag(np.diag(b)) * scale, np.diag(np.diag(g)))
        np.testing.assert_allclose(
            diagonal, np.diag(np.sqrt(scale * np.diag(b) / np.diag(g))), atol=1e-12
        )


def matrix_task(x, y, phi, h, *, loss, batch_size=1, n_epochs=1):
    theta, iterates, total, norms = phi.copy(), [], 0.0, 0.0
    outer = np.zeros((len(phi), len(phi)))
    for _ in range(n_epochs):
        for first in range(0, len(y), batch_size):
            rows = slice(first, first + batch_size)
            value, grad = reference.loss_and_grad(theta, x[rows], y[rows], loss)
            iterates.append(theta)
            total += value
            norms += grad @ h @ grad
            outer += np.outer(grad, grad)
            theta = theta - h @ grad
    return theta, np.mean(iterates, axis=0), total, norms, outer


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("options", [{}, {"batch_size": 4, "n_epochs": 2}])
def test_tasks_with_a_matrix_of_rates(loss, options, rng):
    pieces = [task_data(loss, rng, m, 3) for m in (1, 5, 17, 8, 30)]
    size = n_parameters(loss, 3)
    learner = theory.FullMatrixLearner(0.1 * rng.standard_normal(size), learning_rate=0.2)
    b, g = np.eye(size) * learner.B[0, 0], np.eye(size)
    for repeat in range(2):
        phi, h = learner.phi, learner.H
        run = learner.run(pack(pieces, np.float64), loss=loss, **options)
        expected = [matrix_task(x, y, phi, h, loss=loss, **options) for x, y in pieces]
        for k, (hat, bar, total, norms, _) in enumerate(expected):
            np.testing.assert_allclose(run.theta_hat[k], hat, rtol=0, atol=1e-11)
            np.testing.assert_allclose(run.theta_bar[k], bar, rtol=0, atol=1e-11)
            assert run.loss[k] == pytest.approx(total, rel=1e-11)
            assert run.grad_norm_sq[k] == pytest.approx(norms, rel=1e-9)
        learner.update(run)
        away = np.array([e[0] for e in expected]) - phi
        schedule = sum(1.0 / (5 * repeat + k + 2.0) for k in range(5))
        b = b + 0.5 * away.T @ away + 0.2**2 * schedule * np.eye(size)
        g = g + sum(e[4] for e in expected) + schedule * np.eye(size)
        np.testing.assert_allclose(learner.B, b, atol=1e-9)
        np.testing.assert_allclose(learner.G, g, atol=1e-9)
        np.testing.assert_allclose(learner.H @ g @ learner.H, b, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_larger_than_any_task_is_the_task(weighted, rng):
    tasks = pack([task_data("squared", rng, m, 3) for m in (2, 5, 1)], np.float64)
    if weighted:
        weights = 0.5 + rng.random(tasks.n_rows)
        tasks = af.Tasks(tasks.x, tasks.y, np.append(0, tasks.stops), row_weights=weights)
    learner = theory.FullMatrixLearner(np.zeros(3), learning_rate=0.1)
    runs = [
        learner.run(tasks, loss="squared", batch_size=size, n_epochs=2) for size in (5, 2**63 - 1)
    ]
    for name in ("theta_hat", "loss", "grad_norm_sq"):
        np.testing.assert_array_equal(*(getattr(run, name) for run in runs), err_msg=name)


def test_a_matrix_of_rates_is_ogd_in_other_coordinates(rng):
    """With the features multiplied by H^(1/2), H is the identity: the native engine as oracle."""
    pieces = [task_data("logistic", rng, m, 4) for m in (9, 20)]
    learner = theory.FullMatrixLearner(np.zeros(4), learning_rate=0.3)
    for _ in range(3):
        learner.update(learner.run(pack(pieces, np.float64), loss="logistic"))
    values, vectors = np.linalg.eigh(learner.H)
    root = (vectors * np.sqrt(values)) @ vectors.T
    turned = pack([(x @ root, y) for x, y in pieces], np.float64)
    start = np.linalg.solve(root, learner.phi)
    native = af.run_tasks(turned, start, af.OGD(1.0), loss="logistic")
    run = learner.run(pack(pieces, np.float64), loss="logistic")
    np.testing.assert_allclose(run.theta_hat, native.theta_hat @ root, atol=1e-11)
    np.testing.assert_allclose(run.grad_norm_sq, native.grad_sq.sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("table", TABLES)
def test_regret_with_a_matrix_of_rates_is_below_its_bound(table):
    tasks = standardized(table)
    tasks = tasks[: min(len(tasks), 60)]
    steepest = float((tasks.x**2).sum(axis=1).max())
    best = theory.best_in_hindsight(tasks, loss="huber")
    learner = theory.FullMatrixLearner(np.zeros(tasks.n_features), learning_rate=0.3 / steepest)
    for first in range(0, len(tasks), 10):
        part = slice(first, first + 10)
        run = learner.run(tasks[part], loss="huber")
        bound = learner.regret_upper_bound(run, best.theta_star[part])
        regret = run.loss - best.loss[part]
        assert run.finite.all()
        assert (regret <= bound * (1 + 1e-9)).all()
        learner.update(run)


def test_a_matrix_sees_correlations_that_rates_do_not(rng):
    """Tasks that differ along one diagonal direction only."""
    d, direction = 6, np.ones(6) / np.sqrt(6)
    x = rng.standard_normal((600, 30, d)) / np.sqrt(d)
    theta = 2.0 * rng.standard_normal((600, 1)) * direction
    y = np.einsum("tmd,td->tm", x, theta) + rng.standard_normal((600, 30))
    tasks = af.Tasks(x, y)
    matrix = theory.FullMatrixLearner(np.zeros(d), learning_rate=0.3)
    rates = smoothed(np.zeros(d), learning_rate=0.3)
    best, lost = theory.best_in_hindsight(tasks, loss="squared"), np.zeros(2)
    for first in range(0, 600, 10):
        part = slice(first, first + 10)
        run = matrix.run(tasks[part], loss="squared")
        other = af.run_tasks(tasks[part], rates.phi, rates.rule(coef=None), loss="squared")
        if first >= 300:
            lost += [(r.loss - best.loss[part]).sum() for r in (run, other)]
        matrix.update(run)
        rates.update(other)
    assert lost[0] < 0.85 * lost[1]
    values, vectors = np.linalg.eigh(matrix.H)
    assert abs(vectors[:, -1] @ direction) > 0.99
    assert values[-1] > 3 * values[-2]


def test_a_task_that_diverges_is_left_out(rng):
    x, y = rng.standard_normal((3, 40, 2)), rng.standard_normal((3, 40))
    x[1] *= 1e3
    learner = theory.FullMatrixLearner(np.zeros(2), learning_rate=1.0)
    run = learner.run(af.Tasks(1e-2 * x, y), loss="squared")
    run_far = learner.run(af.Tasks(np.where(x > 1e2, 1e200, x), y), loss="squared")
    assert run.finite.sum() >= 2
    learner.update(run_far)
    assert learner.n_skipped == int((~run_far.finite).sum()) > 0
    assert np.isfinite(learner.H).all()
