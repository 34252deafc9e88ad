"""The oracle itself: gradients against finite differences, projections against a general solver."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
import reference
import reference_meta
from cases import labels
from scipy.optimize import minimize


@pytest.mark.parametrize("loss", reference.LOSSES)
def test_gradients_are_finite_differences(loss, rng):
    d, n_classes = 4, 3
    x = rng.standard_normal((7, d))
    theta = rng.standard_normal(d * n_classes if loss == "softmax" else d)
    y = labels(loss, rng, reference.scores(theta, x, loss))
    assert reference.kink_distance(loss, reference.scores(theta, x, loss), y) > 1e-3
    _, grad = reference.loss_and_grad(theta, x, y, loss)
    for j, unit in enumerate(np.eye(len(theta)) * 1e-5):
        above, below = (reference.loss_and_grad(theta + s * unit, x, y, loss)[0] for s in (1, -1))
        assert (above - below) / 2e-5 == pytest.approx(grad[j], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("z", [-800.0, -40.0, -1e-9, 0.0, 3.0, 40.0, 800.0])
def test_logistic_loss_against_many_digits(z):
    with localcontext() as context:
        context.prec = 420
        exact = [float((1 + (s * Decimal(z)).exp()).ln()) for s in (1, -1)]
    values = [reference.logistic(np.array([z]), np.array([y]))[0][0] for y in (0.0, 1.0)]
    assert values == pytest.approx(exact, rel=1e-15)


def test_projection_minimizes_the_weighted_distance(rng):
    for _ in range(20):
        theta, rate = 3.0 * rng.standard_normal(5), 0.05 + rng.random(5)
        ours = reference.project(theta, rate, 1.5)
        found = minimize(
            lambda v, theta=theta, rate=rate: np.sum((v - theta) ** 2 / rate),
            np.zeros(5),
            constraints={"type": "ineq", "fun": lambda v: 1.5**2 - v @ v},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(ours, found.x, atol=1e-5)
        assert np.linalg.norm(ours) == pytest.approx(min(1.5, np.linalg.norm(theta)), rel=1e-14)


def test_projection_with_equal_rates_is_euclidean_and_inside_points_stay():
    theta = np.array([3.0, 4.0])
    np.testing.assert_allclose(reference.project(theta, 0.1, 1.0), [0.6, 0.8], rtol=1e-15)
    nearly_equal = np.array([0.1, 0.1 + 1e-12])
    np.testing.assert_allclose(reference.project(theta, nearly_equal, 1.0), [0.6, 0.8], rtol=1e-10)
    assert reference.project(theta, np.array([1.0, 2.0]), 5.0) is theta


def test_one_task_by_hand():
    """Two rows, d = 1, squared loss, rate 1/2, from 0: 0 -> 1 -> 2 with gradients -2 and -2."""
    x, y = np.ones((2, 1)), np.array([2.0, 3.0])
    run = reference.run_task(x, y, [0.0], reference.OGD(0.5), loss="squared")
    assert (run.theta_hat, run.grad_sq, run.theta_bar, run.loss) == (2.0, 8.0, 0.5, 4.0)
    run = reference.run_task(x, y, [0.0], reference.AdaGrad(2.0, 0.0), loss="squared")
    assert run.theta_hat == 2.0 + 2.0 / np.sqrt(5.0)  # first step 2*2/sqrt(4), second 2*1/sqrt(5)
    run = reference.run_task(x, y, [0.0], reference.ArubaPlusPlus(1.0, 4.0, 3.0), loss="squared")
    assert run.theta_hat == 1.0 + 2.0 / np.sqrt(4.0 + 3.0 * 4.0)


def test_two_tasks_of_the_meta_learner_by_hand():
    learner = reference_meta.MetaLearner(np.zeros(1), learning_rate0=2.0, zeta=3.0, p=1.0)
    learner.update(np.array([[4.0]]), np.array([[7.0]]))
    assert (learner.b, learner.g) == (36.0 + 8.0 + 36.0 / 2, 9.0 + 7.0 + 9.0 / 2)
    assert (learner.phi, learner.rho) == (4.0, 16.0 / (4.0 * 7.0))
    learner.update(np.array([[5.0]]), np.array([[0.0]]))
    assert (learner.b, learner.g) == (62.0 + 0.5 + 36.0 / 3, 20.5 + 9.0 / 3)
    assert learner.phi == 4.5
    assert np.isnan(learner.rho)
