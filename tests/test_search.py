"""The first rate of a network: what a grid of rates tells of losses whose limit is known."""

from __future__ import annotations

import numpy as np
import pytest

from aruba_fast._search import STEPS, Search

LIMIT = 2.0  # over the curvature: beyond it, gradient descent on a quadratic loss diverges


class Quadratics:
    """Tasks 1/2 curvature (theta - target)^2 around phi, m steps with gradients of some noise."""

    def __init__(self, rng, *, n=30, m=10, curvature=1.0, noise=0.0, spread=3.0, unit=1.0):
        self.rng, self.m, self.noise, self.unit = rng, m, noise, unit
        self.curvature, self.spread = curvature, spread
        self.phi = rng.standard_normal(n)

    def task(self, rate):
        """G / (m G_1), D^2 and G, in units of loss `unit`."""
        target = self.phi + self.spread * self.rng.standard_normal(len(self.phi))
        theta, squares = self.phi.copy(), []
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(self.m):
                noise = self.noise * self.rng.standard_normal(len(theta))
                grad = self.unit * (self.curvature * (theta - target) + noise)
                squares.append((grad**2).sum())
                theta = theta - rate * grad
            total = sum(squares)
            return total / self.m / squares[0], ((theta - self.phi) ** 2).sum(), total

    def search(self):
        search = Search()
        _, _, grad_sq = self.task(0.0)
        search.scale = np.linalg.norm(self.phi) / np.sqrt(grad_sq / self.m)
        while search.found() is None:
            search.add(*self.task(search.scale * search.step))
        return search


@pytest.mark.parametrize("curvature", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("noise", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("m", [3, 10, 100])
def test_the_first_rate_is_stable_and_not_far_from_the_limit(curvature, noise, m, rng):
    rate = Quadratics(rng, curvature=curvature, noise=noise * curvature, m=m).search().found()
    assert LIMIT / 60 < rate * curvature < LIMIT


def test_tasks_that_solve_themselves_ask_for_smaller_rates():
    """The limit is the same: many steps are at the end at a small rate, few ones are not."""
    first = [Quadratics(np.random.default_rng(3), m=m).search().found() for m in (3, 100)]
    assert first[1] < first[0] / 2


def test_noise_asks_for_smaller_rates():
    """Steps that agree in nothing gain nothing by going further."""
    first = [
        Quadratics(np.random.default_rng(3), noise=noise, m=3).search().found()
        for noise in (0.0, 10.0)
    ]
    assert first[1] < first[0] / 2


def test_the_unit_of_the_loss_is_of_no_interest():
    """A loss times k has rates over k, to rounding."""
    first = [
        Quadratics(np.random.default_rng(5), noise=1.0, unit=unit).search().found() * unit
        for unit in (1.0, 1e-4, 1e4, 0.3)
    ]
    np.testing.assert_allclose(first, first[0], rtol=1e-9)


def test_gradients_that_never_grow_have_no_limit(rng):
    """As of a loss with slopes of one size: the rate is where steps stop to agree."""
    search, size = Search(scale=1.0), 4
    while (rate := search.found()) is None:
        rate, n = search.step, 100
        theta, grads = rng.uniform(1.0, 3.0, size), []
        for _ in range(n):
            grads.append(np.sign(theta))
            theta = theta - rate * grads[-1]
        distance = (rate * np.sum(grads, axis=0)) ** 2
        search.add(1.0, float(distance.sum()), float(n * size))
    assert search.n_tasks == 3 * len(STEPS)
    assert 1.0 / 100 < rate < 1.0


def test_one_pass_of_the_same_tasks_is_enough():
    """Two of them have the same mean."""
    first = []
    for n_passes in (1, 2):
        search = Search(scale=1.0, n_passes=n_passes)
        while search.found() is None:
            tasks = Quadratics(np.random.default_rng(7))
            search.add(*tasks.task(search.step))
        first.append(search.found())
        assert len(search.growth) == n_passes
    assert first[0] == pytest.approx(first[1], rel=1e-12)


def test_tasks_that_tell_nothing():
    search = Search(scale=2.0)
    for growth, distance, grad_sq in ((np.nan, 1.0, 1.0), (1.0, np.inf, 1.0), (1.0, 0.0, 0.0)):
        search.add(growth, distance, grad_sq)
    assert (search.n_tasks, search.step) == (0, STEPS[0])
    for _ in range(5):
        search.add(1.0, 0.0, 1.0)
    search.add(np.nan, 1.0, 1.0)  # at a rate that is no longer small: it went too far
    assert (search.n_tasks, search.step) == (6, STEPS[0])
    assert search.found() is None


def test_one_odd_task_ends_nothing_and_decides_nothing(rng):
    """A task whose gradients are a thousand times those of the others, at each of the rates."""
    usual = Quadratics(rng).search().found()
    n_tasks = Quadratics(rng).search().n_tasks
    for odd in range(n_tasks):
        quadratics, k = Quadratics(rng), 0
        search = quadratics.search()
        scale, search = search.scale, Search(scale=search.scale)
        while search.found() is None:
            growth, distance, grad_sq = quadratics.task(scale * search.step)
            search.add(growth * (1e3 if k == odd else 1.0), distance, grad_sq)
            k += 1
        assert usual / 4 < search.found() < 4 * usual, odd


def test_it_is_stored_at_any_time(rng):
    quadratics = Quadratics(rng, noise=1.0)
    whole = quadratics.search()
    rows = [
        values
        for passes in zip(whole.growth, whole.slopes, strict=True)
        for values in zip(*passes, strict=True)
    ]
    search = Search(whole.scale)
    for k in range(len(rows)):
        assert search.n_tasks == k
        assert search.found() is None
        part = whole.stored()[: k + 1]
        again = Search.restored(part)
        assert (again.scale, again.step, again.n_tasks) == (search.scale, search.step, k)
        np.testing.assert_array_equal(again.stored(), part)
        search = again
        search.growth[-1].append(rows[k][0])
        search.slopes[-1].append(rows[k][1])
        search._begin_pass()
    assert search.found() == whole.found()
    assert Search.restored(Search().stored()) == Search()


@pytest.mark.parametrize(
    "stored",
    [np.zeros(3), np.zeros((0, 3)), np.zeros((99, 3)), np.array([[1.0] * 3, [np.nan] * 3])],
)
def test_what_was_never_stored_is_refused(stored):
    with pytest.raises(ValueError, match="`search` is "):
        Search.restored(stored)
