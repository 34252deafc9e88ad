"""Learning the initialization against a world that moves: experts, dynamic regret."""

from __future__ import annotations

import numpy as np
import pytest
from cases import smoothed

import aruba_fast as af
from aruba_fast import theory


def test_running_mean_is_the_last_expert_and_constant_steps_the_others(rng):
    theta = rng.standard_normal((40, 3))
    experts = theory.InitializationExperts(np.ones(3), n_tasks=40, alphas=[0.1, 0.7])
    paths = [np.ones(3), np.ones(3)]
    for t, end in enumerate(theta):
        experts.update(end)
        paths = [p + a * (end - p) for p, a in zip(paths, (0.1, 0.7), strict=True)]
        np.testing.assert_allclose(experts.experts[:2], paths, rtol=1e-12)
        np.testing.assert_allclose(experts.experts[2], theta[: t + 1].mean(axis=0), atol=1e-12)
    together = theory.InitializationExperts(np.ones(3), n_tasks=40, alphas=[0.1, 0.7])
    together.update(theta)
    np.testing.assert_array_equal(together.phi, experts.phi)


@pytest.mark.parametrize("speed", [0.0, 0.01, 0.1, 1.0])
def test_experts_lose_a_logarithm_to_the_best_step(speed, rng):
    n_tasks, diameter = 500, 0.0
    center = np.cumsum(speed * rng.standard_normal((n_tasks, 2)), axis=0)
    theta = center + 0.3 * rng.standard_normal((n_tasks, 2))
    experts = theory.InitializationExperts(np.zeros(2), n_tasks=n_tasks)
    for end in theta:
        diameter = max(diameter, np.linalg.norm(experts.experts - end, axis=1).max())
        experts.update(end)
    known = theory.InitializationExperts(np.zeros(2), n_tasks=n_tasks, diameter=diameter)
    mixed = 0.0
    for end in theta:
        mixed += 0.5 * ((known.phi - end) ** 2).sum()
        known.update(end)
    assert mixed <= known.losses.min() + diameter**2 * np.log(len(known.alphas)) + 1e-9


def test_the_grid_has_a_step_near_every_good_one():
    for n_tasks in (1, 7, 100, 10_000):
        alphas = theory.InitializationExperts(np.zeros(1), n_tasks=n_tasks).alphas[:-1]
        assert alphas[-1] == 1.0
        assert alphas[0] <= 2.0 / np.sqrt(n_tasks)
        np.testing.assert_allclose(alphas[1:] / alphas[:-1], 2.0)
    for k in range(15):  # no step more where the first is 1 / sqrt(n_tasks) to the digit
        assert len(theory.InitializationExperts(np.zeros(1), n_tasks=4**k).alphas) == k + 2


@pytest.mark.parametrize("alpha", [0.05, 0.3, 1.0])
def test_dynamic_regret_is_below_its_bound(alpha, rng):
    for _ in range(50):
        theta = rng.uniform(-1, 1, (80, 2)) / np.sqrt(2)
        phi = np.zeros((80, 2))
        for t in range(79):
            phi[t + 1] = phi[t] + alpha * (theta[t] - phi[t])
        for path in (theta, np.zeros(2), np.cumsum(0.01 * rng.standard_normal((80, 2)), axis=0)):
            regret = theory.dynamic_regret(phi, theta, path)
            whole = np.broadcast_to(path, (80, 2))
            width = np.linalg.norm(whole[:, None] - phi[None], axis=2).max()
            bound = theory.dynamic_regret_bound(phi, theta, path, alpha=alpha, diameter=width)
            assert regret <= bound + 1e-12


def test_the_running_mean_identity(rng):
    """sum |phi_t - theta_t|^2/2 - min = sum |phi_t - theta_t|^2 / (2 t), exactly."""
    theta = rng.standard_normal((60, 4))
    learner = smoothed(rng.standard_normal(4))
    phi = []
    for end in theta:
        phi.append(learner.phi.copy())
        learner.update(af.TaskRun(end[None], np.ones((1, 4))))
    squares = ((np.array(phi) - theta) ** 2).sum(axis=1)
    regret = theory.dynamic_regret(phi, theta, theta.mean(axis=0))
    assert regret == pytest.approx((squares / (2.0 * np.arange(1, 61))).sum(), rel=1e-12)
