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
from cases import smoothed

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

def exponentiated():  # a row takes a millisecond
    wide = af.Tasks(np.ones((1000, 200_000), np.float32), np.ones(1000), [0, 1000])
    stop_within(lambda: af.run_tasks(wide, np.full(200_000, 1 / 200_000, np.float32), af.EG(0.1),
                                     loss="squared", n_epochs=1000))

def wide_rows():  # a row takes a tenth of a second
    wide = af.Tasks(np.ones((2, 20_000_000), np.float32), np.ones(2), [0, 2])
    stop_within(lambda: af.run_tasks(wide, np.zeros(20_000_000, np.float32), af.OGD(0.1),
                                     loss="logistic", n_epochs=10_000))

def hindsight():
    wide = af.Tasks(rng.standard_normal((600, 500, 200)), (rng.random((600, 500)) < 0.5) * 1.0)
    stop_within(lambda: af.theory.best_in_hindsight(wide, loss="logistic", regularization=1.0))

def people():
    many = af.Tasks(rng.standard_normal((20_000, 60, 40)), rng.standard_normal((20_000, 60)))
    stop_within(lambda: af.meta_fit(many, loss="squared"))

def one_wide_person():
    one = af.Tasks(rng.standard_normal((1, 3000, 1000)), (rng.random((1, 3000)) < 0.5) * 1.0)
    stop_within(lambda: af.run_tasks(one, np.zeros(1000), af.Proximal(1.0), loss="logistic"))

def one_wide_task():
    x, y = rng.standard_normal((6000, 1200)), (rng.random(6000) < 0.5) * 1.0
    wide = af.Tasks(x, y, [0, 6000])
    stop_within(lambda: af.theory.best_in_hindsight(wide, loss="logistic", regularization=1.0))

def nearly_dependent_columns():
    x = rng.standard_normal((4000, 1000))
    x[:, ::2] = x[:, 1::2] + 1e-9 * x[:, ::2]
    wide = af.Tasks(x, x.sum(axis=1), [0, 4000])
    stop_within(lambda: af.theory.best_in_hindsight(wide, loss="absolute"))

def many_matrix_products():
    tasks = af.Tasks(np.ones((30_000, 1, 512)), np.ones((30_000, 1)))
    learner = af.theory.FullMatrixLearner(np.zeros(512), learning_rate=1e-3)
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
        return af.MetaLearner(np.zeros(tasks.n_features), learning_rate=0.01, zeta=1.0)
    learner, twin = fresh(), fresh()
    stop_within(lambda: af.meta_train(tasks, learner, n_passes=100_000, round_size=round_size,
                                      seed=5, **how))
    # The learner is what complete rounds made of it, and nothing of the last one.
    for part in tasks.rounds(round_size, n_passes=100_000, seed=5):
        if twin.n_tasks >= learner.n_tasks:
            break
        twin.update(af.run_tasks(part, twin.phi, twin.rule(coef=None), **how))
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
        "exponentiated",
        "wide_rows",
        "hindsight",
        "people",
        "one_wide_person",
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
        learner = smoothed(np.zeros(4))

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
    learner = smoothed(np.zeros(4))
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


class Raising:
    """An object whose own code raises, whatever it is asked for."""

    def __init__(self, error, asked):
        self.error, self.asked = error, asked

    def __getattr__(self, name):
        raise self.error if name == self.asked else AttributeError(name)

    def _raise(self, *_, **__):
        raise self.error


def raising(error, asked):
    kind = type("Raising", (Raising,), {} if asked == "__getattr__" else {asked: Raising._raise})
    if asked == "__dlpack__":
        kind.__dlpack_device__ = lambda _: (1, 0)
    return kind(error, "__dlpack_device__")


def calls(value):
    """Every kind of argument that an object's own code is asked for."""
    theta, learner = np.ones(3), smoothed(np.zeros(3))
    tasks = af.Tasks(np.ones((2, 2, 3)), np.ones((2, 2)))
    return {
        "step theta": lambda: af.step(value, theta, 0.1),
        "step grad": lambda: af.step(theta, value, 0.1),
        "step grad[0]": lambda: af.step([theta], [value], 0.1),
        "step learning_rate": lambda: af.step(theta, theta.copy(), value),
        "aruba_step coef": lambda: af.aruba_step(*np.ones((4, 3)), coef=value),
        "adagrad_step delta": lambda: af.adagrad_step(
            *np.ones((3, 3)), learning_rate=0.1, delta=value
        ),
        "set_num_threads n": lambda: af.set_num_threads(value),
        "MetaLearner phi": lambda: smoothed(value),
        "Tasks x": lambda: af.Tasks(value, np.ones((2, 2))),
        "run_tasks batch_size": lambda: af.run_tasks(
            tasks, np.zeros(3), af.OGD(0.1), loss="squared", batch_size=value
        ),
        "meta_train meta_step": lambda: af.meta_train(
            tasks, learner, loss="squared", meta_step=lambda _: value
        ),
    }


ASKED = {
    "__float__": (
        "step learning_rate", "aruba_step coef", "adagrad_step delta", "set_num_threads n",
    ),
    "__index__": ("aruba_step coef", "run_tasks batch_size"),
    "__array__": ("MetaLearner phi", "Tasks x"),
    "__dlpack__": ("step theta", "step grad", "step grad[0]"),
    "__dlpack_device__": ("step theta", "step grad", "step grad[0]", "MetaLearner phi"),
    "__getattr__": ("step theta", "step grad", "step grad[0]", "MetaLearner phi"),
}  # fmt: skip
RAISES = [(asked, name) for asked, names in ASKED.items() for name in names]


@pytest.mark.parametrize(("asked", "name"), RAISES)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_what_is_no_failure_to_answer_goes_on(asked, name, kind):
    error = kind()
    with pytest.raises(kind) as caught:
        calls(raising(error, asked))[name]()
    assert caught.value is error


@pytest.mark.parametrize(("asked", "name"), RAISES)
@pytest.mark.parametrize("kind", [RuntimeError, ZeroDivisionError, OSError, TypeError, ValueError])
def test_a_failure_to_answer_is_told_in_the_sentence(asked, name, kind):
    function, argument = name.split()
    with pytest.raises((TypeError, ValueError), match=f"{function}: `") as caught:
        calls(raising(kind("out of order"), asked))[name]()
    assert f"`{argument}`" in str(caught.value)
