"""Sums that no addition rounds are made without pairs: the same bits as with them.

The oracle adds pairs of float64, one task after the other, in chunks of 128 tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import aruba_fast as af

if TYPE_CHECKING:
    from collections.abc import Callable

# A tile of columns, a few blocks, a register and some columns that fill none.
N_TASKS, D, CHUNK = 300, 2048 + 256 + 8 + 3, 128


def two_sum(a, b):
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


def in_pairs(terms):
    """High and low halves of the sums over the first axis."""
    high, low = np.zeros((2, terms.shape[1]))
    for first in range(0, len(terms), CHUNK):
        of_chunk, rest = np.zeros((2, terms.shape[1]))
        for term in terms[first : first + CHUNK]:
            of_chunk, error = two_sum(of_chunk, term)
            rest = rest + error
        high, error = two_sum(high, of_chunk)
        low = (low + error) + rest
        high, low = high + low, low - ((high + low) - high)
    return np.array([high, low])


def assert_same_bits(run, phi, weights=None):
    found = af.MetaLearner(phi, zeta=1.0, learning_rate=1.0).statistics(run, weights)
    theta, grad_sq = run.theta_hat.astype(np.float64), run.grad_sq.astype(np.float64)
    w = np.ones(len(theta)) if weights is None else weights
    distance = theta - phi.astype(np.float64)
    expected = [in_pairs(t) for t in (0.5 * distance * distance, grad_sq, w[:, None] * theta)]
    np.testing.assert_array_equal(found.sums, np.array(expected))
    return found


def exact_round(rng):
    """Numbers of a few bits each, whose sums need none that float64 has not."""
    theta_hat = rng.integers(-(2**10), 2**10, (N_TASKS, D)).astype(np.float32)
    return theta_hat, rng.integers(0, 2**10, (N_TASKS, D)).astype(np.float32)


@pytest.mark.parametrize("weights", [None, 3.0, 0.1, 1 / 3])
def test_where_nothing_is_rounded(weights, rng):
    run = af.TaskRun(*exact_round(rng))
    phi = rng.integers(-4, 4, D).astype(np.float32)
    found = assert_same_bits(run, phi, None if weights is None else np.full(N_TASKS, weights))
    assert not found.sums[1, 1].any(), "the case is meant to be exact"


@pytest.mark.parametrize("column", [0, 255, 256, 2047, 2048, D - 4, D - 1])
@pytest.mark.parametrize("task", [0, 1, 3, 4, 7, 126, 127, 128, 299])
@pytest.mark.parametrize("which", ["theta_hat", "grad_sq"])
def test_where_one_addition_is(which, task, column, rng):
    """2^-45 beside numbers of up to 2^10 needs 56 bits."""
    theta_hat, grad_sq = exact_round(rng)
    array = theta_hat if which == "theta_hat" else grad_sq
    array[:, column] += 2.0**9
    array[task, column] = 2.0**-45
    found = assert_same_bits(af.TaskRun(theta_hat, grad_sq), np.zeros(D, np.float32))
    low = found.sums[2 if which == "theta_hat" else 1, 1]
    assert np.flatnonzero(low).tolist() == [column], "the case is meant to be rounded once"


NUMBERS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.standard_normal((N_TASKS, D)),
    "squares of one gradient": lambda rng: rng.standard_normal((N_TASKS, D)) ** 2,
    "ten decades": lambda rng: 10 ** rng.uniform(-5, 5, (N_TASKS, D)),
    "sixty decades": lambda rng: 10 ** rng.uniform(-30, 30, (N_TASKS, D)),
    "many zeros": lambda rng: rng.standard_normal((N_TASKS, D)) * (rng.random((N_TASKS, D)) < 0.1),
    "subnormal": lambda rng: rng.standard_normal((N_TASKS, D)) * 1e-41,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("n_tasks", [1, 3, 5, 16, 130, N_TASKS])
def test_of_any_numbers(numbers, n_tasks, weighted, rng):
    theta_hat, grad_sq = (NUMBERS[numbers](rng)[:n_tasks].astype(np.float32) for _ in range(2))
    phi = rng.standard_normal(D).astype(np.float32)
    weights = rng.integers(1, 1000, n_tasks).astype(np.float64) if weighted else None
    assert_same_bits(af.TaskRun(theta_hat, np.abs(grad_sq)), phi, weights)


def test_of_tasks_that_are_left_out(rng):
    theta_hat, grad_sq = exact_round(rng)
    theta_hat[[5, 130]], grad_sq[200] = np.nan, np.inf
    kept = np.setdiff1d(np.arange(N_TASKS), [5, 130, 200])
    learner = af.MetaLearner(np.zeros(D, np.float32), zeta=1.0, learning_rate=1.0)
    found = learner.statistics(af.TaskRun(theta_hat, grad_sq))
    assert found.n_skipped == 3
    np.testing.assert_array_equal(found.sums[1, 0], grad_sq[kept].astype(np.float64).sum(axis=0))
