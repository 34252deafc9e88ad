"""What the theory's learners hold: always finite, whole for every thread, whole in every copy."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from cases import smoothed

import aruba_fast as af
from aruba_fast import theory

SIMPLEX = np.array([[0.2, 0.5, 0.3]])


def matrix_run(learner, label=1.0):
    x = np.random.default_rng(1).standard_normal((4, 6, 3))
    y = np.ones((4, 6))
    y[1, 2] = label
    return learner.run(af.Tasks(x, y), loss="squared")


def meta_learner(phi=0.5):
    return smoothed(np.full(3, phi))


# How a learner is made, what it learns from, and what it has learned.
LEARNERS = {
    "scale": (
        lambda: theory.ScaleLearner(diameter=1.0, eps=0.1),
        lambda own: own.update([[0.3, 0.4]], [0.0, 0.0], 4),
        ("scale", "n_tasks"),
    ),
    "ewoo": (
        lambda: theory.ScaleLearner(diameter=1.0, eps=0.1, method="ewoo"),
        lambda own: own.update([[0.3, 0.4]], [0.0, 0.0], 4),
        ("scale", "n_tasks"),
    ),
    "experts": (
        lambda: theory.InitializationExperts(np.zeros(3), n_tasks=16),
        lambda own: own.update(np.arange(3.0)),
        ("phi", "weights", "experts", "losses", "n_tasks"),
    ),
    "simplex": (
        lambda: theory.SimplexLearner(3),
        lambda own: own.update(af.TaskRun(SIMPLEX, np.ones((1, 3)))),
        ("phi", "b", "g", "learning_rate", "n_tasks", "n_skipped"),
    ),
    "matrix": (
        lambda: theory.FullMatrixLearner(np.zeros(3), learning_rate=0.1),
        lambda own: own.update(
            matrix_run(theory.FullMatrixLearner(np.zeros(3), learning_rate=0.1))
        ),
        ("phi", "B", "G", "H", "n_tasks", "n_skipped"),
    ),
    "average": (
        theory.MetaAverage,
        lambda own: own.add(meta_learner()),
        ("phi", "learning_rate", "n_tasks"),
    ),
}


def state(name, learner):
    return [np.copy(getattr(learner, key)) for key in LEARNERS[name][2]]


def same(name, one, other):
    return all(
        np.array_equal(a, b) for a, b in zip(state(name, one), state(name, other), strict=True)
    )


def copies(learner):
    yield "copy", copy.copy(learner)
    yield "deepcopy", copy.deepcopy(learner)
    yield "pickle", pickle.loads(pickle.dumps(learner))
    buffers = []
    data = pickle.dumps(learner, protocol=5, buffer_callback=buffers.append)
    frozen = [memoryview(bytes(buffer.raw())) for buffer in buffers]
    yield "read-only buffers", pickle.loads(data, buffers=frozen)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_copy_goes_on_alone(name):
    make, learn, _ = LEARNERS[name]
    original = make()
    learn(original)
    for how, twin in copies(original):
        before = state(name, original)
        assert same(name, twin, original), how
        learn(twin)
        assert not same(name, twin, original), how
        for kept, now in zip(before, state(name, original), strict=True):
            np.testing.assert_array_equal(kept, now)
        expected = copy.deepcopy(original)
        learn(expected)
        assert same(name, twin, expected), how


@pytest.mark.parametrize("name", LEARNERS)
def test_threads_lose_no_update(name):
    make, learn, _ = LEARNERS[name]
    together, alone = make(), make()
    n_threads, n_updates = 4, 50
    start = threading.Barrier(n_threads)

    def work():
        start.wait()
        for _ in range(n_updates):
            learn(together)

    threads = [threading.Thread(target=work) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(n_threads * n_updates):
        learn(alone)
    assert same(name, together, alone)  # all updates are equal: there is one order only


@pytest.mark.parametrize("label", [1e20, 1e80, 1e120, 1e149, 1e151, 1e200, 1e300, -1e308, np.inf])
def test_one_huge_label_does_not_ruin_a_matrix_of_rates(label):
    learner = theory.FullMatrixLearner(np.zeros(3), learning_rate=0.1)
    learner.update(matrix_run(learner))
    learner.update(matrix_run(learner, label))
    assert learner.n_tasks + learner.n_skipped == 8
    assert learner.n_skipped >= (abs(label) > 1e150)
    n_tasks = learner.n_tasks
    for key in ("phi", "B", "G", "H"):
        assert np.isfinite(getattr(learner, key)).all()
    learner.update(matrix_run(learner))
    assert learner.n_tasks == n_tasks + 4
    h, error = learner.H, learner.H @ learner.G @ learner.H - learner.B
    assert np.linalg.eigvalsh(h / h.max()).min() > -1e-12  # to rounding
    assert np.abs(error).max() <= 1e-8 * np.abs(learner.B).max()


def test_a_round_that_would_drown_all_before_is_skipped():
    """One row a task: the outer product of its gradient leaves nothing of the others'."""
    x = np.random.default_rng(2).standard_normal((1, 1, 3))
    learner = theory.FullMatrixLearner(np.zeros(3), learning_rate=0.1)
    learner.update(matrix_run(learner))
    before = state("matrix", learner)[:4]
    learner.update(learner.run(af.Tasks(x, [[1e20]]), loss="squared"))
    assert (learner.n_tasks, learner.n_skipped) == (4, 1)
    for kept, now in zip(before, state("matrix", learner)[:4], strict=True):
        np.testing.assert_array_equal(kept, now)
    learner.update(learner.run(af.Tasks(x, [[1e4]]), loss="squared"))
    assert learner.n_tasks == 5


def test_large_but_even_scales_have_their_matrix():
    """Labels and rates in units of 1e-60: products of B and G leave float64, H does not."""
    for zeta in (1e-70, 1e70):
        learner = theory.FullMatrixLearner(np.zeros(3), learning_rate=0.1, zeta=zeta)
        plain = theory.FullMatrixLearner(np.zeros(3), learning_rate=0.1)
        x = np.random.default_rng(1).standard_normal((4, 6, 3))
        for _ in range(2):
            learner.update(learner.run(af.Tasks(x, np.full((4, 6), zeta)), loss="squared"))
            plain.update(plain.run(af.Tasks(x, np.ones((4, 6))), loss="squared"))
        np.testing.assert_allclose(learner.H, plain.H, rtol=1e-10)
        np.testing.assert_allclose(learner.phi, zeta * plain.phi, rtol=1e-10)


def with_outer(learner, **changes):
    run = matrix_run(learner)
    return theory.FullMatrixRun(**({key: getattr(run, key) for key in run.__dict__} | changes))


V = ValueError
REFUSED = [
    ("experts", lambda own: own.update([1e200, 0, 0]), V, "update: `theta`.*squared distances"),
    ("experts", lambda own: own.update([np.nan, 0, 0]), V, "update: `theta`.*finite"),
    ("scale", lambda own: own.update([[1e200, 0]], [0, 0], 4), V, "update: `theta`.*finite"),
    ("scale", lambda own: own.update([[1e154, 0]] * 3, [0, 0], 4), V, "update: `theta`.*sum"),
    ("simplex", lambda own: own.update(af.TaskRun(SIMPLEX.repeat(4, 0), np.full((4, 3), 1e308))),
     V, "update: `run`.*within float64"),
    ("matrix", lambda own: own.update(with_outer(own, grad_outer=np.full((3, 3), np.nan))),
     V, "update: `run`.*finite"),
    ("matrix", lambda own: own.update(with_outer(own, grad_outer=np.zeros((2, 2)))),
     V, "update: `run`.*shape"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "error", "message"), REFUSED)
def test_what_is_refused_changes_nothing(name, call, error, message):
    learner = LEARNERS[name][0]()
    LEARNERS[name][1](learner)
    before = copy.deepcopy(learner)
    with pytest.raises(error, match=message):
        call(learner)
    assert same(name, learner, before)


@pytest.mark.parametrize("value", [1e-200, 1e200])
def test_settings_whose_squares_leave_float64_are_refused(value):
    for make in (
        lambda: theory.ScaleLearner(diameter=value, eps=0.1),
        lambda: theory.ScaleLearner(diameter=1.0, eps=value),
        lambda: theory.ScaleLearner(diameter=1.0, eps=0.1, lipschitz=value),
        lambda: theory.InitializationExperts(np.zeros(1), n_tasks=4, diameter=value),
        lambda: theory.SimplexLearner(3, zeta=value),
        lambda: theory.SimplexLearner(3, learning_rate=value),
        lambda: theory.FullMatrixLearner(np.zeros(3), zeta=value),
        lambda: theory.FullMatrixLearner(np.zeros(3), learning_rate=value),
    ):
        with pytest.raises(ValueError, match="square within float64"):
            make()


def test_averages_of_numbers_at_the_ends_of_float64():
    average = theory.MetaAverage()
    for phi in (1.7e308, -1.6e308, 1.5e308):
        average.add(meta_learner(phi))
    np.testing.assert_allclose(average.phi, 1.6e308 / 3, rtol=1e-14)


def test_the_callers_floating_point_settings_do_not_matter():
    with np.errstate(all="raise"):
        for make, learn, keys in LEARNERS.values():
            learner = make()
            for _ in range(3):
                learn(learner)
            for key in keys:
                getattr(learner, key)
        far = theory.InitializationExperts(np.zeros(1), n_tasks=16, diameter=1e-3)
        far.update([[1.0], [2.0]])  # weights underflow
        assert far.weights.sum() == 1.0
