"""Ctrl-C and exceptions of callbacks: work stops soon, and what was finished stands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import workload

import aruba_fast as af

INTERRUPTED = """
import sys, time
import numpy as np, aruba_fast as af
rng = np.random.default_rng(0)
x, y = rng.standard_normal((20_000, 16, 8)) / 3, rng.standard_normal((20_000, 16))
tasks = af.Tasks(x, y)
giant = af.Tasks(np.ones((1_000_000, 64)) / 8, np.ones(1_000_000), [0, 1_000_000])

def short_rounds():  # a signal meets the end of a round
    assert train(tasks, round_size=300) > 0

def long_rounds():  # a signal meets the middle of a round, some of whose tasks are finished
    assert train(tasks[:1000], round_size=300, n_epochs=1000) > 0

def giant_round():  # not one task is finished
    assert train(giant, round_size=1, n_epochs=10_000) == 0

def one_giant_task():
    stop_within(lambda: af.run_tasks(giant, np.zeros(64), af.OGD(1e-3), loss="logistic",
                                     n_epochs=10_000))

def many_tasks():
    stop_within(lambda: af.run_tasks(tasks, np.zeros(8), af.OGD(0.1), loss="squared",
                                     n_epochs=10_000))

def hindsight():
    wide = af.Tasks(rng.standard_normal((600, 500, 200)), (rng.random((600, 500)) < 0.5) * 1.0)
    stop_within(lambda: af.best_in_hindsight(wide, "logistic", regularization=1.0))

def one_wide_task():
    x, y = rng.standard_normal((6000, 1200)), (rng.random(6000) < 0.5) * 1.0
    wide = af.Tasks(x, y, [0, 6000])
    stop_within(lambda: af.best_in_hindsight(wide, "logistic", regularization=1.0))

def nearly_dependent_columns():
    x = rng.standard_normal((4000, 1000))
    x[:, ::2] = x[:, 1::2] + 1e-9 * x[:, ::2]
    wide = af.Tasks(x, x.sum(axis=1), [0, 4000])
    stop_within(lambda: af.best_in_hindsight(wide, "absolute"))

def many_matrix_products():
    tasks = af.Tasks(np.ones((30_000, 1, 512)), np.ones((30_000, 1)))
    learner = af.FullMatrixLearner(np.zeros(512), learning_rate=1e-3)
    def rounds():
        while True:
            learner.update(learner.run(tasks, loss="squared"))
    stop_within(rounds)
    assert np.isfinite(learner.H).all()

def stop_within(call):
    print("ready", flush=True)
    try:
        call()
    except KeyboardInterrupt:
        print(time.time())

def train(tasks, round_size, n_epochs=1):
    how = {"loss": "squared", "n_epochs": n_epochs}
    def fresh():
        return af.MetaLearner(np.zeros(tasks.n_features), learning_rate=0.01)
    learner, twin = fresh(), fresh()
    stop_within(lambda: af.meta_train(tasks, learner, n_passes=100_000, round_size=round_size,
                                      seed=5, **how))
    # The learner is what complete rounds made of it, and nothing of the last one.
    for part in tasks.rounds(round_size, n_passes=100_000, seed=5):
        if twin.n_tasks >= learner.n_tasks:
            break
        twin.update(af.run_tasks(part, twin.phi, twin.rule(), **how))
    assert twin.n_tasks == learner.n_tasks, (twin.n_tasks, learner.n_tasks)
    for name in ("phi", "b", "g", "rho", "learning_rate"):
        same = np.array_equal(getattr(twin, name), getattr(learner, name), equal_nan=True)
        assert same, name
    n_tasks = learner.n_tasks
    af.meta_train(tasks[:1], learner, loss="squared")
    assert learner.n_tasks == n_tasks + 1, "the learner must go on working"
    return n_tasks

locals()[sys.argv[1]]()
print("done")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize(
    "what",
    [
        "short_rounds",
        "long_rounds",
        "giant_round",
        "one_giant_task",
        "many_tasks",
        "hindsight",
        "one_wide_task",
        "nearly_dependent_columns",
        "many_matrix_products",
    ],
)
@pytest.mark.parametrize("n_threads", ["1", "2"])
def test_ctrl_c_stops_within_a_second_and_leaves_complete_rounds(what, n_threads):
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, what],
        env=os.environ | {"ARUBA_NUM_THREADS": n_threads},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.4)
            assert process.poll() is None
            sent = time.time()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    stopped, done = out.split()
    assert done == "done"
    assert float(stopped) - sent < 1.0


def test_an_exception_of_a_callback_stops_between_rounds():
    tasks = workload.tasks_for("squared", np.random.default_rng(0), 4, np.float64, n_tasks=50)
    for argument in ("progress", "meta_step"):
        learner = af.MetaLearner(np.zeros(4))

        def fails(*_numbers, learner=learner):
            if learner.n_tasks >= 20:
                raise RuntimeError("enough")
            return 0.5

        # `progress` may be called as seldom as the library likes, but at the end of every pass.
        with pytest.raises(RuntimeError, match="enough"):
            af.meta_train(
                tasks, learner, loss="squared", round_size=10, n_passes=3, **{argument: fails}
            )
        assert learner.n_tasks % 10 == 0
        assert 20 <= learner.n_tasks <= 50
        af.meta_train(tasks, learner, loss="squared")


def test_progress_is_reported_in_order_up_to_the_total():
    tasks = workload.tasks_for("squared", np.random.default_rng(0), 4, np.float64, n_tasks=30)
    seen = []
    learner = af.MetaLearner(np.zeros(4))
    af.meta_train(
        tasks,
        learner,
        loss="squared",
        round_size=7,
        n_passes=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (60, 60)
    assert seen == sorted(set(seen))
    assert {total for _, total in seen} == {60}
