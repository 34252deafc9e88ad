"""`meta_train` on tasks of CSR rows: the learner of dense rows, at the cost of the entries."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from cases import LOSSES, dtypes, n_parameters
from scipy.sparse import csr_array
from sparse import STATE, assert_close, both, trained

import aruba_fast as af

pytestmark = pytest.mark.filterwarnings("ignore::aruba_fast.DivergenceWarning")

SIZES = tuple(int(n) for n in np.random.default_rng(1).integers(1, 20, 24))
HYPERPARAMETERS = (
    {},
    {"bound": "tight"},
    {"train": "scalar"},
    {"isotropic": True, "tensors": None},
    {"max_learning_rate": 0.1},
    {"learning_rate": 3.0},  # tasks go astray, and are shortened
    {"learning_rate": 0.3, "zeta": 1.0},
    {"learning_rate": 0.3, "zeta": 0.5, "p": 0.4, "max_learning_rate": 0.29},
    {"learning_rate": 0.3, "zeta": 1.0, "isotropic": True},
)
OPTIONS = (
    {},
    {"n_passes": 3, "seed": 1},
    {"round_size": 7, "n_passes": 2, "seed": 2},
    {"round_size": 5, "weights": "rows", "meta_step": 0.5},
    {"weights": "rows", "batch_size": 3, "n_epochs": 2},
    {"round_size": 100, "meta_step": lambda n: 1.0 / n},
)


@pytest.mark.parametrize("hyper", HYPERPARAMETERS, ids=str)
@pytest.mark.parametrize("d", [3, 700])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_learner_is_that_of_dense_rows(loss, d, hyper, rng):
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-4)):
        tables = both(rng, loss, d, SIZES, dtype)
        phi = (0.1 * rng.standard_normal(n_parameters(loss, d))).astype(dtype)
        for options in OPTIONS:
            learners, histories = trained(tables, phi, loss, options, **hyper)
            assert_close(*learners, tolerance)
            np.testing.assert_allclose(
                histories[1].loss, histories[0].loss, rtol=10 * tolerance, atol=10 * tolerance
            )
            for name in ("task", "skipped"):
                np.testing.assert_array_equal(*(getattr(h, name) for h in histories))
            limits = [learner._arrays["limit"] for learner in learners]
            np.testing.assert_allclose(*limits, rtol=tolerance)
            # Both go on alike, by dense rows.
            runs = [af.run_tasks(tables[0], k.phi, k.rule(), loss=loss) for k in learners]
            for learner, run in zip(learners, runs, strict=True):
                learner.update(run)
            assert_close(*learners, 2 * tolerance)


def test_tasks_are_shortened_alike(rng):
    """A few long tasks, more than ten of the mean, early and late."""
    dense, _ = both(rng, "squared", 300, (8,) * 200, np.float64)
    y = dense.y.copy()
    for task in (1, 30, 31, 150, 199):
        y[dense.starts[task] : dense.stops[task]] *= 300.0
    offsets = np.append(dense.starts, len(y))
    tables = af.Tasks(dense.x, y, offsets), af.Tasks(csr_array(dense.x), y, offsets)
    for options in ({}, {"round_size": 3}, {"n_passes": 2, "seed": 0}):
        learners, _ = trained(tables, np.zeros(300), "squared", options)
        assert_close(*learners, 1e-12)
        unlimited, _ = trained(
            tables[:1], np.zeros(300), "squared", options, learning_rate=0.1, zeta=1.0
        )
        assert learners[0].b.sum() < unlimited[0].b.sum()


@dtypes
@pytest.mark.parametrize("round_size", [1, 3, 50])
def test_the_same_bits_for_every_number_of_threads(round_size, dtype, threads, rng):
    _, tasks = both(rng, "softmax", 800, SIZES * 2, dtype, most=40)
    phi, states = np.zeros(2400, dtype), []
    for n in (1, 2, 7):
        threads(n)
        learner = af.MetaLearner(phi)
        history = af.meta_train(tasks, learner, loss="softmax", round_size=round_size, n_epochs=2)
        states.append([*(getattr(learner, name) for name in STATE), history.loss])
    for other in states[1:]:
        for expected, got in zip(states[0], other, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("hyper", [{}, {"learning_rate": 0.3, "zeta": 1.0}], ids=str)
def test_whoever_reads_meanwhile_sees_a_learner_between_two_rounds(hyper, rng):
    """By a function of its own, and by another thread; and what is read changes nothing."""
    tables = both(rng, "squared", 60, SIZES, np.float64)
    seen = []
    for tasks in tables:
        learner, states = af.MetaLearner(np.zeros(60), **hyper), []

        def step(n_tasks, learner=learner, states=states):
            assert learner.n_tasks == n_tasks - 1
            if n_tasks % 7 == 0:
                states.append([getattr(learner, name) for name in STATE])
            return 1.0 / n_tasks

        af.meta_train(tasks, learner, loss="squared", meta_step=step)
        states.append([getattr(learner, name) for name in STATE])
        seen.append(states)
    for dense, sparse in zip(*seen, strict=True):
        for name, expected, got in zip(STATE, dense, sparse, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-13, err_msg=name)
    alone = af.MetaLearner(np.zeros(60), **hyper)
    af.meta_train(tables[1], alone, loss="squared", meta_step=lambda n: 1.0 / n)
    for name, got in zip(STATE, seen[1][-1], strict=True):
        np.testing.assert_array_equal(got, getattr(alone, name))


def test_another_thread_reads_what_is_whole(rng):
    _, tasks = both(rng, "squared", 200, SIZES * 4, np.float64)
    learner, odd, stop = af.MetaLearner(np.zeros(200)), [], threading.Event()

    def look():
        while not stop.is_set():
            copy = learner.to("cpu")
            held = np.count_nonzero(copy.b) and not np.isfinite(copy._arrays["limit"]).all()
            if held or not np.isfinite(copy.learning_rate).all():
                odd.append(copy)

    watcher = threading.Thread(target=look)
    learner.first_rate(tasks, loss="squared")
    watcher.start()
    af.meta_train(tasks, learner, loss="squared", n_passes=20)
    stop.set()
    watcher.join()
    assert not odd


def test_an_exception_leaves_what_was_complete(rng):
    tables = both(rng, "squared", 60, SIZES, np.float64)

    def step(n_tasks):
        if n_tasks > 15:
            raise OSError("enough")
        return 0.5

    learners = [af.MetaLearner(np.zeros(60)) for _ in tables]
    for tasks, learner in zip(tables, learners, strict=True):
        with pytest.raises(OSError, match="enough"):
            af.meta_train(tasks, learner, loss="squared", meta_step=step)
        assert learner.n_tasks == 15
    assert_close(*learners, 1e-12)


def test_skipped_tasks_lower_the_rates_as_dense_ones(rng):
    dense, _ = both(rng, "squared", 40, (4,) * 40, np.float64)
    x = dense.x.copy()
    for row in (0, 1, 33, 77, 78, 119, 159):
        x[row, row % 40] = np.nan
    offsets = np.append(dense.starts, len(x))
    tables = af.Tasks(x, dense.y, offsets), af.Tasks(csr_array(x), dense.y, offsets)
    for options in ({}, {"round_size": 4}, {"n_passes": 2, "seed": 1}):
        learners, _ = trained(tables, np.zeros(40), "squared", options)
        assert learners[0].n_skipped >= 5
        assert_close(*learners, 1e-12)


def test_no_task_counts():
    """Nothing is learned, and nothing is wrong with that."""
    x = csr_array(np.full((4, 3), np.nan))
    learner = af.MetaLearner(np.zeros(3), learning_rate=0.5)
    with pytest.warns(af.DivergenceWarning):
        af.meta_train(af.Tasks(x, np.zeros(4), [0, 2, 4]), learner, loss="squared", round_size=2)
    assert (learner.n_tasks, learner.n_skipped) == (0, 2)
    np.testing.assert_array_equal(learner.learning_rate, 0.5)


LARGE = """
import resource, numpy as np, aruba_fast as af
from scipy.sparse import csr_array
d, n_tasks, size, k = 10**6, 4000, 20, 30
rng = np.random.default_rng(0)
n = n_tasks * size
columns = rng.integers(0, d, (n, k), dtype=np.int32)
columns.sort(axis=1)
values = rng.standard_normal(n * k, dtype=np.float32)
x = csr_array((values, columns.ravel(), np.arange(0, n * k + 1, k)), (n, d))
y = (rng.random(n) < 0.5).astype(np.float32)
tasks = af.Tasks(x, y, np.arange(0, n + 1, size))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
learner = af.MetaLearner(np.zeros(d, np.float32))
af.meta_train(tasks, learner, loss="logistic", round_size=ROUND)
assert np.isfinite(af.evaluate(tasks, learner.phi, loss="logistic")).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("round_size", [1, 100])
def test_memory_is_that_of_the_rows_and_a_few_numbers_a_feature(round_size):
    """Dense results of these tasks would take 32 GB."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE.replace("ROUND", str(round_size))],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200 * 1024  # KB: 200 bytes a feature


@pytest.mark.parametrize("hyper", [{}, {"learning_rate": 0.3, "zeta": 1.0}], ids=["auto", "units"])
@pytest.mark.parametrize("empty", ["the first", "all"])
@pytest.mark.parametrize("round_size", [1, 4])
def test_tasks_without_an_entry(rng, round_size, empty, hyper):
    """They count as tasks, and move nothing; they come before there is memory for any column."""
    x = 0.5 * rng.standard_normal((16, 40)) * (rng.random((16, 40)) < 0.1)
    x[:4] = 0.0
    if empty == "all":
        x[:] = 0.0
    y, offsets = rng.standard_normal(16), [0, 2, 4, 7, 16]
    tables = af.Tasks(x, y, offsets), af.Tasks(csr_array(x), y, offsets)
    options = {"round_size": round_size, "n_passes": 2}
    learners, histories = trained(tables, np.zeros(40), "squared", options, **hyper)
    assert_close(*learners, 1e-12)
    np.testing.assert_allclose(histories[1].loss, histories[0].loss, 1e-12)
    assert learners[1].n_tasks == 8
