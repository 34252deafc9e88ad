"""The scale of the rates, against its equations and its guarantee."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special

from aruba_fast import theory
from aruba_fast.theory.scale import ewoo_mean


@pytest.mark.parametrize("a", [1e-6, 0.3, 20.0, 1e6])
@pytest.mark.parametrize("c", [1e-3, 1.0, 500.0])
def test_the_mean_of_ewoo_on_the_half_line(a, c):
    """On (0, inf): sqrt(a/c) K_2(z) / K_1(z) with z = 2 sqrt(a c)."""
    z = 2.0 * np.sqrt(a * c)
    expected = np.sqrt(a / c) * special.kve(2, z) / special.kve(1, z)
    assert ewoo_mean(a, c, 1e-12, 1e12) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0.1, 1.0), (0.5, 0.9), (2.0, 3.0), (0.01, 0.02)])
def test_the_mean_of_ewoo_on_an_interval(low, high):
    for a, c in ((0.0, 0.0), (0.3, 1.2), (50.0, 80.0), (2000.0, 1000.0)):
        peak = min(max(np.sqrt(a / c), low), high) if c else low
        least = a / peak + c * peak

        def weight(v, a=a, c=c, least=least):
            return np.exp(least - a / v - c * v)

        # Break points close to the peak, which may be as narrow as 1e-5 of its place.
        near = [peak * (1 + s * 10.0**-k) for k in range(1, 7) for s in (-1, 1)]
        points = [v for v in [peak, *near] if low < v < high]
        total, first = (
            integrate.quad(f, low, high, points=points or None, limit=500)[0]
            for f in (weight, lambda v, w=weight: v * w(v))
        )
        assert ewoo_mean(a, c, low, high) == pytest.approx(first / total, rel=1e-5)


def test_the_mean_of_ewoo_is_its_peak_where_the_exponent_leaves_float64():
    assert ewoo_mean(1e308, 1e308, 0.5, 2.0) == 1.0
    assert ewoo_mean(1e308, 1e300, 0.5, 2.0) == 2.0


@pytest.mark.parametrize("method", ["ftl", "ewoo"])
@pytest.mark.parametrize("most", [None, 9, 64])
def test_the_scale_against_its_equations(method, most, rng):
    settings = {"diameter": 2.0, "eps": 0.2, "lipschitz": 3.0, "max_steps": most}
    learner = theory.ScaleLearner(method=method, **settings)
    phi, sigma, moved, longest = rng.standard_normal(3) / 4, 0.0, 0.0, most or 0
    for m in (4, 16, 64, 9):
        theta = rng.standard_normal((2, 3)) / 4
        learner.update(theta, phi, m)
        sigma += 2 * 3.0 * np.sqrt(m)
        moved += 3.0 * np.sqrt(m) * ((theta - phi) ** 2).sum()
        if method == "ftl":
            expected = np.sqrt(0.04 + moved / sigma)
        else:
            longest = max(longest, m)
            gamma = 2.0 / (2.0 * 3.0 * np.sqrt(longest)) * 0.2**2 / 2.0**2
            a, c = gamma * (moved + 0.04 * sigma), gamma * sigma
            grid = np.linspace(0.2, np.hypot(2.0, 0.2), 400_001)
            weight = np.exp(-a / grid - c * grid)
            expected = (grid * weight).sum() / weight.sum()
        assert learner.scale == pytest.approx(expected, rel=1e-5)
        assert learner.rule(25).learning_rate == pytest.approx(learner.scale / 15.0, rel=1e-14)
    assert learner.n_tasks == 8


@pytest.mark.parametrize("method", ["ftl", "ewoo"])
@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0])
def test_the_scale_is_learned_without_knowing_it(method, spread, rng):
    """Average loss (B^2/v + v) comes near the least of any fixed v, 2 V."""
    n_tasks = 4000
    b_sq = spread**2 * rng.uniform(0.5, 1.5, n_tasks)
    learner = theory.ScaleLearner(diameter=1.5, n_tasks=n_tasks, method=method, max_steps=1)
    total = 0.0
    for each in b_sq:
        v = learner.scale
        total += each / v + v
        learner.update([[np.sqrt(each)]], [0.0], 1)
    eps, least = 1.5 * n_tasks**-0.25, 2.0 * np.sqrt(b_sq.mean())
    # The price of the smoothing: at most eps in v, and the regret of the method.
    allowed = {"ftl": least + eps, "ewoo": least + 3 * eps}[method]
    assert total / n_tasks <= allowed
    assert total / n_tasks >= least
