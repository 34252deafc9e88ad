"""A learner's state is finite whatever it is given, by all ways in; and it says when it fails."""

from __future__ import annotations

import warnings

import device
import numpy as np
import pytest
from cases import dtypes, smoothed

import aruba_fast as af

F32, F64 = np.float32, np.float64
INF, NAN = np.inf, np.nan
STATE = ("phi", "learning_rate", "b", "g", "n_tasks", "n_skipped")


def state(learner):
    return {name: np.copy(device.host(getattr(learner, name))) for name in STATE}


def assert_sound(learner):
    now = state(learner)
    for name in ("phi", "learning_rate", "b", "g"):
        assert np.isfinite(now[name]).all(), name
    assert (now["b"] > 0).all()
    assert (now["g"] > 0).all()


# What one round gives (theta_hat, grad_sq, weights), how it is learned from, and what comes of it:
# the number of tasks that are skipped, or the sentence.
ONE = [1.0, 1.0]
ROUNDS = {
    "negative square": ([ONE, ONE], [ONE, [1.0, -5.0]], None, {}, 1),
    "smallest negative square": ([ONE, ONE], [ONE, [-1e-45, 1.0]], None, {}, 1),
    "minus zero is zero": ([ONE, ONE], [ONE, [1.0, -0.0]], None, {}, 0),
    "only negative squares": ([ONE], [[-1.0, -1.0]], None, {}, 1),
    "infinite": ([ONE, [INF, 1.0]], [ONE, ONE], None, {}, 1),
    "nan square": ([ONE, ONE], [ONE, [NAN, 1.0]], None, {}, 1),
    "weight too small": ([ONE], [ONE], [1e-310], {}, "`weights`.*got 1e-310"),
    "weight too large": ([ONE], [ONE], [1e308], {}, "`weights`.*got 1e\\+308"),
    "weight negative": ([ONE], [ONE], [-1.0], {}, "`weights`.*-1"),
    "weights at their limits": ([ONE, ONE], [ONE, ONE], [1e-150, 1e150], {}, 0),
    "no weight": ([ONE, ONE], [ONE, ONE], [0.0, 0.0], {}, 0),
    "step too large": ([[2.0, 3.0]], [ONE], None, {"meta_step": 1e308}, "finite: got an overflow"),
    "step function": ([[2.0, 3.0]], [ONE], None, {"meta_step": lambda _: 1e308}, "an overflow"),
    "large step": ([[2.0, 3.0]], [ONE], None, {"meta_step": 1e3}, 0),
}
LARGE = {  # float64 alone
    "distance overflows": ([ONE, [1e200, 0.0]], [ONE, ONE], None, {}, 1),
    "distance too large for the others": ([ONE, [1e145, 0.0]], [ONE, ONE], None, {}, 1),
    "square too large": ([ONE, ONE], [ONE, [1e300, 0.0]], None, {}, 1),
    "sums of large squares": ([ONE] * 40, [[8e288, 1.0]] * 40, None, {}, 0),
}
CASES = [(n, F32, r) for n, r in ROUNDS.items()] + [
    (n, F64, r) for n, r in (ROUNDS | LARGE).items()
]


@pytest.mark.parametrize(
    ("dtype", "case"), [c[1:] for c in CASES], ids=[f"{n} {t.__name__}" for n, t, _ in CASES]
)
@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.filterwarnings("ignore::aruba_fast.DivergenceWarning")
@pytest.mark.usefixtures("on_device")
def test_a_round_is_learned_from_skipped_or_refused(dtype, case, isotropic):
    """By `update`, by `apply` of the statistics, by parts, and on a device: the same."""
    theta_hat, grad_sq, weights, options, outcome = case
    run = af.TaskRun(np.array(theta_hat, dtype), np.array(grad_sq, dtype))
    there = af.TaskRun(device.array(run.theta_hat), device.array(run.grad_sq))

    def halves(one):
        parts = [slice(0, 1), slice(1, None)]
        sums = [
            one.statistics(
                af.TaskRun(run.theta_hat[p], run.grad_sq[p]), weights and np.array(weights)[p]
            )
            for p in parts
        ]
        one.apply(sum(sums), options.get("meta_step"))

    ways = [
        lambda one: one.update(run, weights=weights, **options),
        lambda one: one.apply(one.statistics(run, weights), options.get("meta_step")),
        halves,
        lambda one: one.update(there, weights=weights, **options),
    ]
    results = []
    for k, way in enumerate(ways):
        start = np.zeros(2, dtype)
        one = smoothed(device.array(start) if k == 3 else start, isotropic=isotropic)
        before = state(one)
        if isinstance(outcome, str) and not (k == 3 and "overflow" in outcome):
            with pytest.raises(ValueError, match=outcome):
                way(one)
            after = state(one)
            assert all(np.array_equal(after[name], before[name]) for name in STATE)
            continue
        way(one)
        assert_sound(one)
        skipped = len(theta_hat) if isinstance(outcome, str) else outcome
        assert (one.n_tasks, one.n_skipped) == (len(theta_hat) - skipped, skipped)
        if not isinstance(outcome, str):
            results.append(state(one))
    for other in results[1:]:
        for name in STATE:
            np.testing.assert_array_equal(other[name], results[0][name], err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sums": np.full((3, 2, 2), -5.0)}, r"`sums\[0\]`.*>= 0"),
        ({"sums": np.stack([np.ones((2, 2)), -np.ones((2, 2)), np.ones((2, 2))])}, r"`sums\[1\]`"),
        ({"weight_sum": [-1.0, 0.5]}, "`weight_sum`"),
        ({"weight_sum": [1.0, 0.0, 0.0]}, r"`weight_sum`.*got \(3,\), expected \(2,\)"),
        ({"weight_sum": [1.0, np.nan]}, "`weight_sum` must be finite everywhere: got nan at 1"),
        ({"n_tasks": 2**62}, "`n_tasks`.*at most"),
        ({"n_skipped": 2**63 - 1}, "`n_skipped`.*at most"),
    ],
)
def test_statistics_are_what_tasks_can_leave_behind(changes, message):
    good = {"sums": np.ones((3, 2, 2)), "weight_sum": [1.0, 0.0], "n_tasks": 1, "n_skipped": 0}
    af.TaskStatistics(**good)
    with pytest.raises(ValueError, match=f"TaskStatistics: {message}"):
        af.TaskStatistics(**good | changes)


@pytest.mark.parametrize("weight", [1e-310, 5e-324])
@dtypes
def test_sums_that_fit_no_learner_are_refused(weight, dtype):
    sums = np.ones((3, 2, 2)) * [[1.0], [0.0]]
    for statistics in (
        af.TaskStatistics(sums, [weight, 0.0], 1, 0),
        af.TaskStatistics(sums * 1.7e308, [1.0, 0.0], 1, 0),
    ):
        one = smoothed(np.zeros(2, dtype), learning_rate=1e-3)
        before = state(one)
        with pytest.raises(ValueError, match=r"MetaLearner.apply: the round must leave .* finite"):
            one.apply(statistics)
        assert all(np.array_equal(state(one)[name], before[name]) for name in STATE)


def test_what_is_forgotten_for_ever_keeps_its_rate():
    """decay makes b and g of a coordinate without a gradient vanish: their quotient stays one."""
    one = smoothed(np.zeros(2), learning_rate=0.25, decay=0.9, p=50.0)
    for _ in range(20):
        one.update(af.TaskRun(np.tile([0.0, 1.0], (40, 1)), np.tile([0.0, 1.0], (40, 1))))
        assert_sound(one)
    assert one.learning_rate[0] == 0.25


@pytest.mark.parametrize("size", 10.0 ** np.arange(140, 160))
@pytest.mark.filterwarnings("ignore::aruba_fast.DivergenceWarning")
def test_one_huge_task_locks_nobody_out(size, rng):
    x, y = rng.standard_normal((200, 5, 1)), rng.standard_normal((200, 5))
    y[0] *= size
    learner = smoothed(np.zeros(1), learning_rate=0.5)
    tasks = af.Tasks(x, y)
    for _ in range(2):
        assert af.meta_train(tasks, learner, loss="squared").skipped.sum() <= 1
        assert_sound(learner)


# ---- what a run that does not learn says ------------------------------------------------------


def said(call):
    """The messages of a call's DivergenceWarnings, and the files that they point to."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    assert all(one.category is af.DivergenceWarning for one in found)
    assert all(one.filename == __file__ for one in found)
    return [str(one.message) for one in found]


def a_run(n_bad, n, loss=None):
    theta_hat = np.ones((n, 1))
    theta_hat[:n_bad] = NAN
    return af.TaskRun(theta_hat, np.ones((n, 1)), loss=loss)


def regression(n_tasks=60, scale=1.0):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_tasks, 7, 12))
    return af.Tasks(x, scale * x.sum(axis=2) + rng.standard_normal((n_tasks, 7)))


@pytest.mark.parametrize("round_size", [1, 5, 20, 60])
def test_the_default_rate_on_wide_data_is_said_to_diverge(round_size):
    learner = smoothed(np.zeros(12))
    first = said(
        lambda: af.meta_train(
            regression(), learner, loss="squared", round_size=round_size, n_passes=2
        )
    )
    assert len(first) == 1
    assert first[0].startswith("meta_train: ")
    assert "`learning_rate`" in first[0]
    assert said(lambda: af.meta_train(regression(), learner, loss="squared")) == []
    stable = smoothed(np.zeros(12), learning_rate=0.02)
    assert said(lambda: af.meta_train(regression(), stable, loss="squared", n_passes=3)) == []


@pytest.mark.parametrize("callable_step", [False, True])
def test_most_tasks_skipped_is_said_once_a_learner(callable_step):
    options = {"meta_step": (lambda _: 0.5) if callable_step else None}
    for n_bad, expected in ((2, 0), (3, 1), (4, 1)):
        one, run = smoothed(np.zeros(1)), a_run(n_bad, 4)
        got = [said(lambda one=one, run=run: one.update(run, **options)) for _ in range(3)]
        assert [len(messages) for messages in got] == [expected, 0, 0]
        other = smoothed(np.zeros(1))
        statistics = other.statistics(run)
        messages = said(lambda other=other, statistics=statistics: other.apply(statistics))
        assert len(messages) == expected
        assert all(f"got {n_bad} of 4 tasks skipped" in message for message in messages)


def test_rounds_of_one_task_are_taken_together():
    """A missing row in a thousand is no divergence; every second one is."""
    rare, often = smoothed(np.zeros(1)), smoothed(np.zeros(1))
    assert said(lambda: [rare.update(a_run(k % 5 == 0, 1)) for k in range(100)]) == []
    assert len(said(lambda: [often.update(a_run(k % 3 > 0, 1)) for k in range(100)])) == 1
    x = np.ones((1000, 3, 1))
    x[::100] = NAN
    learner = smoothed(np.zeros(1), learning_rate=0.1)
    assert (
        said(lambda: af.meta_train(af.Tasks(x, x[..., 0] * 0 + 1), learner, loss="squared")) == []
    )
    assert learner.n_skipped == 10


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([[1.0, 3.0], [1500.0, 1500.0]], 0),
        ([[1.0, 3.0], [2500.0, 2500.0]], 1),
        ([[1.0, 3.0], [0.1, 0.1], [INF, 1.0]], 1),
        ([[0.0, 0.0], [1.0, 1.0], [10.0, 10.0]], 0),
        ([[1e-4]] + [[0.2]] * 30, 0),
        ([[1.0]] * 20 + [[900.0]] + [[1.0]] * 20, 0),
        ([[1.0]] * 20 + [[2e6]], 1),
        ([[1.0]] * 20 + [[2e3]] * 10, 1),
    ],
)
def test_losses_that_grow_a_thousandfold_are_said(losses, expected):
    one = smoothed(np.zeros(1))
    rounds = [a_run(0, len(loss), np.array(loss)) for loss in losses]
    assert len(said(lambda: [one.update(run) for run in rounds])) == expected


def test_a_model_says_so_too():
    torch = pytest.importorskip("torch")
    import aruba_fast.torch

    weight = torch.nn.Parameter(torch.zeros(1))
    meta = aruba_fast.torch.MetaOptimizer([weight], learning_rate=1.0)

    def a_round():
        for value in (NAN, NAN, 1.0):
            with meta.task() as optimizer:
                weight.grad = torch.tensor([value])
                optimizer.step()
        meta.step()

    messages = said(a_round)
    assert len(messages) == 1
    assert messages[0].startswith("MetaOptimizer.step: tasks must have finite results: got 2 of 3")
    assert said(a_round) == []
    assert meta.n_skipped == 4
