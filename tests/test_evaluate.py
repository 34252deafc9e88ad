"""Losses alone: what `run_tasks` finds without a step, and none of its memory.

The oracle is NumPy in float64, or the same rows run at the rate zero, which must agree to the bit.
"""

from __future__ import annotations

import tracemalloc

import narrow
import numpy as np
import pytest
import reference
import sparse
from cases import LOSSES, OPTIONS, RULES, TASK_SIZES, dtypes, labels_of, n_parameters
from narrow import same

import aruba_fast as af

# One task a lane, unrolled, around where steps end, a segment and more.
DIMENSIONS = (1, 8, 16, 31, 32, 33, 100, 513)


def tasks_of(rng, loss, d, dtype, **how):
    n_rows = sum(TASK_SIZES)
    x = rng.standard_normal((n_rows, d)) / np.sqrt(d)
    y = labels_of(loss, rng.standard_normal(n_rows))
    return af.Tasks(x.astype(dtype), y, np.cumsum([0, *TASK_SIZES]), **how)


def with_steps(tasks, theta, loss):
    run = af.run_tasks(tasks, theta, af.OGD(0.0), loss=loss)
    return run.loss / run.weight


@dtypes
@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_those_of_numpy_and_of_steps_of_rate_zero(loss, d, dtype, rng, threads):
    weights = rng.integers(1, 5, sum(TASK_SIZES))
    for how in ({}, {"row_weights": weights}):
        tasks = tasks_of(rng, loss, d, dtype, **how)
        size = n_parameters(loss, d)
        own = rng.standard_normal((len(tasks), size)).astype(dtype)
        for n in (1, 3):
            threads(n)
            for theta in (own[0], own):
                found = af.evaluate(tasks, theta, loss=loss)
                assert found.dtype == np.float64
                assert same(found, with_steps(tasks, theta, loss))
    # A residual is rounded like the score, which may be far larger.
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    expected = mean_losses(tasks, own, loss)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance / 10)


def mean_losses(tasks, theta, loss):
    """By the weights of rows, in float64."""
    x, y = tasks.x.astype(np.float64), tasks.y.astype(np.float64)
    limits = zip(tasks.starts, tasks.stops, theta.astype(np.float64), strict=True)
    found = []
    for start, stop, each in limits:
        rows, weights = slice(start, stop), tasks.row_weights[start:stop]
        sums = reference.loss_and_grad(each, x[rows], y[rows], loss, weights)[0]
        found.append(sums / weights.mean())
    return found


@pytest.mark.parametrize("d", [8, 40, 513])
@pytest.mark.parametrize("kind", narrow.KINDS)
def test_narrow_rows_have_the_same_losses(kind, d, rng):
    some = narrow.pair(rng, kind, "logistic", d)
    theta = rng.standard_normal((len(some[0]), d)).astype(np.float32)
    assert same(*(af.evaluate(tasks, theta, loss="logistic") for tasks in some))


@pytest.mark.parametrize("d", [8, 64, 512])
def test_nothing_is_held_of_where_tasks_would_end(d, rng):
    tasks = af.Tasks(np.ones((3000, 4, d), np.float32), np.ones((3000, 4)))
    theta = rng.standard_normal((3000, d)).astype(np.float32)
    af.evaluate(tasks, theta, loss="squared")
    tracemalloc.start()
    af.evaluate(tasks, theta, loss="squared")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Losses, weights and means of float64, not one number for each of the d parameters of a task.
    assert most < 3000 * 8 * 4


@dtypes
@pytest.mark.parametrize("loss", ["squared", "hinge", "softmax"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_who_has_a_number_that_is_none_has_no_loss_and_nobody_else(value, loss, dtype, rng):
    d = 40
    tasks = tasks_of(rng, loss, d, dtype)
    x = tasks.x.copy()
    x[tasks.starts[3], 7] = value
    theta = rng.standard_normal((len(tasks), n_parameters(loss, d))).astype(dtype)
    expected = af.evaluate(tasks, theta, loss=loss)
    theta[9, 11] = value
    found = af.evaluate(af.Tasks(x, tasks.y, np.append(tasks.starts, len(x))), theta, loss=loss)
    lost = np.isin(np.arange(len(tasks)), (3, 9))
    assert np.isnan(found[lost]).all()
    assert same(found[~lost], expected[~lost])


def test_more_tasks_than_are_in_hand_at_once(rng):
    tasks = af.Tasks(rng.standard_normal((200_000, 2, 3)), rng.standard_normal((200_000, 2)))
    theta = rng.standard_normal((200_000, 3))
    found = af.evaluate(tasks, theta, loss="squared")
    residual = np.einsum("tij,tj->ti", tasks.x.reshape(-1, 2, 3), theta) - tasks.y.reshape(-1, 2)
    np.testing.assert_allclose(found, 0.5 * (residual**2).mean(axis=1), rtol=1e-12, atol=1e-15)
    mixed = rng.permutation(200_000)
    assert same(af.evaluate(tasks[mixed], theta[mixed], loss="squared"), found[mixed])


@dtypes
@pytest.mark.parametrize("d", [3, 40, 513])
@pytest.mark.parametrize("loss", ["squared", "softmax"])
def test_adapt_ends_where_run_tasks_does(loss, d, dtype, rng, threads):
    tasks = tasks_of(rng, loss, d, dtype)
    size = n_parameters(loss, d)
    own = (0.1 * rng.standard_normal((len(tasks), size))).astype(dtype)
    for n in (1, 3):
        threads(n)
        for make in RULES.values():
            rule = make(rng, size)[1](dtype)
            for options in OPTIONS.values():
                how = {"loss": loss} | options | ({"radius": 10.0} if "radius" in options else {})
                for phi in (own[0], own):
                    expected = af.run_tasks(tasks, phi, rule, **how).theta_hat
                    assert same(af.adapt(tasks, phi, rule, **how), expected)


@pytest.mark.parametrize("rule", [af.EG(0.5), af.Proximal(1.0)], ids=str)
def test_adapt_takes_the_other_rules(rule, rng):
    tasks, phi = tasks_of(rng, "squared", 5, np.float64), np.full(5, 0.2)
    expected = af.run_tasks(tasks, phi, rule, loss="squared").theta_hat
    assert same(af.adapt(tasks, phi, rule, loss="squared"), expected)


def test_adapt_of_csr_rows_and_of_more_tasks_than_are_in_hand_at_once(rng):
    dense, rows = sparse.both(rng, "squared", 60, [2] * 10_000, np.float32)
    phi = np.full(60, 0.1, np.float32)
    expected = af.run_tasks(dense, phi, af.OGD(0.1), loss="squared").theta_hat
    for tasks in (dense, rows):
        assert np.array_equal(af.adapt(tasks, phi, af.OGD(0.1), loss="squared"), expected)
    order = rng.permutation(10_000)
    assert same(af.adapt(dense[order], phi, af.OGD(0.1), loss="squared"), expected[order])


@pytest.mark.parametrize("d", [8, 64, 512])
def test_adapt_holds_one_array_of_parameters(d):
    tasks = af.Tasks(np.ones((3000, 4, d), np.float32), np.ones((3000, 4)))
    phi = np.zeros(d, np.float32)
    af.adapt(tasks, phi, af.OGD(0.1), loss="squared")
    tracemalloc.start()
    af.adapt(tasks, phi, af.OGD(0.1), loss="squared")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 3000 * (4 * d + 8 * 4)


REFUSED = {
    "phi` must have the type of `tasks": (np.float64, af.OGD(0.1)),
    "rule` must be": (np.float32, 0.1),
    "rule` must have one `learning_rate` per parameter": (np.float32, af.OGD(np.ones(2))),
    "rule` must have one `b` per parameter": (np.float32, af.ArubaPlusPlus([1, 1], [1, 1], 1.0)),
    "rule` must have a `learning_rate` within float32": (np.float32, af.OGD(np.full(3, 1e300))),
    "rule` must have a `learning_rate` for each": (np.float32, af.Proximal(np.ones(2))),
    "rule` must have rates within float64": (np.float32, af.Proximal(np.full(3, 1e308), coef=9.0)),
}


@pytest.mark.parametrize("function", [af.adapt, af.run_tasks])
@pytest.mark.parametrize("said", REFUSED)
def test_what_is_refused_has_the_name_of_the_function(function, said, rng):
    dtype, rule = REFUSED[said]
    tasks = tasks_of(rng, "squared", 3, np.float32)
    with pytest.raises((TypeError, ValueError), match=f"^{function.__name__}: `{said}"):
        function(tasks, np.zeros(3, dtype), rule, loss="squared")
