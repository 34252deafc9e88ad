"""Sums over tasks: exact to the last bit of float64, however they are split, ordered and merged."""

from __future__ import annotations

import pickle
from functools import reduce
from math import fsum

import numpy as np
import pytest
import reference_meta
from cases import dtypes
from hypothesis import given
from hypothesis import strategies as st

import aruba_fast as af


def round_of_tasks(rng, n_tasks, d, dtype, bits=20):
    """Numbers of `bits` bits and mixed magnitudes, so that differences and squares are exact.

    Then every term is exact and any error is an error of the summation.
    """
    scale = 2.0 ** rng.integers(-3, 3, (3, 1, d))
    theta_hat, grad_sq = np.round(rng.standard_normal((2, n_tasks, d)) * 2 ** (bits - 6)) / 2 ** (
        bits - 6
    )
    phi = np.round(rng.standard_normal(d) * 2 ** (bits - 6)) / 2 ** (bits - 6)
    run = af.TaskRun((theta_hat * scale[0]).astype(dtype), (grad_sq**2 * scale[1]).astype(dtype))
    return run, (phi * scale[0, 0]).astype(dtype)


def assert_within_one_ulp(sums, exact, terms_bound):
    """One ulp of the sum, or 2^-90 of the sum of absolute terms where terms cancel."""
    tolerance = np.maximum(np.spacing(np.abs(exact)), 2.0**-90 * terms_bound)
    np.testing.assert_array_less(np.abs(sums - exact), np.nextafter(tolerance, np.inf))


def assert_exact(found, run, phi, weights=None):
    distance, grad_sq, theta_sum, weight, kept, skipped = reference_meta.statistics(
        run.theta_hat, run.grad_sq, phi, weights
    )
    good = np.isfinite(run.theta_hat).all(axis=1) & np.isfinite(run.grad_sq).all(axis=1)
    w = 1.0 if weights is None else np.asarray(weights)[good, None]
    bound = np.abs(w * run.theta_hat[good].astype(np.float64)).sum(axis=0)
    assert_within_one_ulp(found.distance, distance, distance)
    assert_within_one_ulp(found.grad_sq, grad_sq, grad_sq)
    assert_within_one_ulp(found.theta_sum, theta_sum, bound)
    assert (found.weight, found.n_tasks, found.n_skipped) == (weight, kept, skipped)


@dtypes
@pytest.mark.parametrize(
    ("n_tasks", "d"),
    [(1, 1), (2, 3), (5, 8), (7, 33), (64, 100), (1000, 17), (3, 4097), (100, 513), (20_000, 2)],
)
def test_sums_are_exact(n_tasks, d, dtype, rng):
    run, phi = round_of_tasks(rng, n_tasks, d, dtype)
    weights = rng.integers(1, 1000, n_tasks).astype(np.float64)
    learner = af.MetaLearner(phi)
    assert_exact(learner.statistics(run), run, phi)
    assert_exact(learner.statistics(run, weights), run, phi, weights)


@dtypes
def test_rounded_terms_cost_no_more_than_their_own_rounding(dtype, rng):
    run = af.TaskRun(*(rng.standard_normal((2, 500, 40)) ** 2).astype(dtype))
    phi = rng.standard_normal(40).astype(dtype)
    found = af.MetaLearner(phi).statistics(run)
    exact = reference_meta.statistics(run.theta_hat, run.grad_sq, phi)
    np.testing.assert_allclose(found.distance, exact[0], rtol=2e-16 * 2)
    np.testing.assert_allclose(found.grad_sq, exact[1], rtol=2.3e-16)
    np.testing.assert_allclose(found.theta_sum, exact[2], rtol=2.3e-16)


@dtypes
def test_a_float32_sum_of_ones_does_not_stop(dtype):
    """A float32 accumulator of ones stops at 2^24; here are 2^24 + 8 tasks of one."""
    n = 2**24 // 64
    run = af.TaskRun(np.ones((n, 1), dtype), np.ones((n, 1), dtype))
    part = af.MetaLearner(np.zeros(1, dtype)).statistics(run)
    whole = sum(
        [part] * 64
        + [
            af.MetaLearner(np.zeros(1, dtype)).statistics(
                af.TaskRun(np.ones((8, 1), dtype), np.ones((8, 1), dtype))
            )
        ]
    )
    assert whole.grad_sq[0] == whole.theta_sum[0] == whole.n_tasks == 2**24 + 8
    assert whole.distance[0] == 2**23 + 4


def test_cancelling_terms_keep_their_digits():
    """1e16 + 1 - 1e16, and 1/2 1e32 + 1/2: what plain float64 sums lose."""
    theta_hat = np.array([[1e16], [1.0], [-1e16], [1.0]])
    grad_sq = np.array([[1e16], [1.0], [1.0], [0.0]])
    found = af.MetaLearner(np.zeros(1)).statistics(af.TaskRun(theta_hat, grad_sq))
    assert found.theta_sum[0] == 2.0
    assert found.grad_sq[0] == 1e16 + 2
    assert found.sums[0, 0, 0] + found.sums[0, 1, 0] == fsum([0.5e32, 0.5, 0.5e32, 0.5])
    assert found.sums[0, 1, 0] != 0.0  # the half that the high part cannot hold


@st.composite
def partitions(draw):
    """A number of tasks, their order, and where to cut; and how to pair up the parts."""
    n_tasks = draw(st.integers(1, 40))
    order = draw(st.permutations(range(n_tasks)))
    cuts = sorted(draw(st.sets(st.integers(1, n_tasks - 1), max_size=12))) if n_tasks > 1 else []
    return order, cuts, draw(st.randoms(use_true_random=False)), draw(st.integers(0, 2**32 - 1))


@given(partitions())
@dtypes
def test_any_grouping_and_order_agree_with_the_whole(dtype, partition):
    order, cuts, random, seed = partition
    rng = np.random.default_rng(seed)
    run, phi = round_of_tasks(rng, len(order), 9, dtype)
    weights = rng.integers(1, 50, len(order)).astype(np.float64)
    learner = af.MetaLearner(phi)
    whole = learner.statistics(run, weights)
    parts = [
        learner.statistics(af.TaskRun(run.theta_hat[k], run.grad_sq[k]), weights[k])
        for k in np.split(np.array(order), cuts)
    ]
    while len(parts) > 1:  # merge two at random, as a cluster would
        left = parts.pop(random.randrange(len(parts)))
        right = parts.pop(random.randrange(len(parts)))
        parts.append(left + right)
    merged = parts[0]
    assert_exact(merged, run, phi, weights)
    for a, b in zip(merged.sums.sum(axis=1), whole.sums.sum(axis=1), strict=True):
        np.testing.assert_array_max_ulp(a[np.abs(a) > 1e-9], b[np.abs(a) > 1e-9], maxulp=1)


@given(st.lists(st.floats(1e-30, 1e30), min_size=2, max_size=30), st.integers(1, 29))
def test_merging_is_exact_over_sixty_decades(values, cut):
    learner = af.MetaLearner(np.zeros(1))
    run = [af.TaskRun(np.zeros((1, 1)), np.array([[value]])) for value in values]
    parts = [learner.statistics(one) for one in run]
    cut = min(cut, len(parts) - 1)
    left, right = (reduce(lambda a, b: a + b, part) for part in (parts[:cut], parts[cut:]))
    exact = fsum(values)
    for total in (left + right, right + left, sum(parts)):
        assert abs(total.grad_sq[0] - exact) <= np.spacing(exact)


@dtypes
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["theta_hat", "grad_sq"])
def test_a_task_that_is_not_finite_is_skipped_whole(dtype, bad, where, rng):
    """Also its finite coordinates; and the others' sums are what they are without it."""
    run, phi = round_of_tasks(rng, 50, 37, dtype)
    weights = rng.integers(1, 9, 50).astype(np.float64)
    for task, column in ((0, 0), (17, 36), (49, 20)):
        getattr(run, where)[task, column] = bad
    learner = af.MetaLearner(phi)
    found = learner.statistics(run, weights)
    kept = np.delete(np.arange(50), [0, 17, 49])
    clean = af.TaskRun(run.theta_hat[kept], run.grad_sq[kept])
    np.testing.assert_array_equal(found.sums, learner.statistics(clean, weights[kept]).sums)
    assert (found.n_tasks, found.n_skipped, found.weight) == (47, 3, weights[kept].sum())
    assert_exact(found, run, phi, weights)


def test_squares_that_overflow_are_skipped_or_finite():
    """theta_hat is finite, but (theta_hat - phi)^2 is not: b must not become infinite."""
    run = af.TaskRun(np.array([[1.0, 1e200], [1.0, 2.0]]), np.ones((2, 2)))
    learner = af.MetaLearner(np.zeros(2))
    learner.update(run)
    assert np.isfinite(learner.b).all()
    assert np.isfinite(learner.phi).all()
    assert (learner.n_tasks, learner.n_skipped) == (1, 1)


def test_nothing_but_skipped_tasks_changes_nothing_but_the_count():
    learner = af.MetaLearner(np.ones(3), learning_rate=0.5)
    before = [a.copy() for a in (learner.phi, learner.learning_rate, learner.b, learner.g)]
    with pytest.warns(af.DivergenceWarning, match="4 of 4 tasks skipped"):
        learner.update(af.TaskRun(np.full((4, 3), np.nan), np.ones((4, 3))))
    after = (learner.phi, learner.learning_rate, learner.b, learner.g)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)
    assert (learner.n_tasks, learner.n_skipped) == (0, 4)


def test_statistics_travel_by_pickle(rng):
    run, phi = round_of_tasks(rng, 6, 4, np.float64)
    part = af.MetaLearner(phi).statistics(run)
    copy = pickle.loads(pickle.dumps(part))
    np.testing.assert_array_equal(copy.sums, part.sums)
    assert (copy.n_tasks, copy.n_skipped, copy.weight) == (6, 0, 6.0)


def test_adding_leaves_its_operands_alone(rng):
    run, phi = round_of_tasks(rng, 6, 4, np.float64)
    part = af.MetaLearner(phi).statistics(run)
    before = part.sums.tobytes()
    doubled = part + part
    assert part.sums.tobytes() == before
    np.testing.assert_array_equal(doubled.grad_sq, 2 * part.grad_sq)
    with pytest.raises(TypeError):
        part + 1
