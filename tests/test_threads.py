"""One learner, several threads: what they do comes one after the other; what they see is whole."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checkpoints import state

import aruba_fast as af

N_THREADS, D = 4, 3000
REPEATS = 3 if "ARUBA_SANITIZED" in os.environ else 25


def fresh(**hyper):
    return af.MetaLearner(np.linspace(-1, 1, D, dtype=np.float32), learning_rate=0.3, **hyper)


def some_run(n_tasks=2):
    rng = np.random.default_rng(5)
    theta = rng.standard_normal((n_tasks, D)).astype(np.float32)
    return af.TaskRun(theta, theta**2 + np.float32(0.1))


RUN, LONG = some_run(), some_run(20)
TASKS = af.Tasks(np.ones((6, 2, D), np.float32) / D, np.ones((6, 2)))
# Equal ones, so that any order of them ends with the same bits.
WRITERS = {
    "update": lambda one: one.update(RUN),
    "update of a long round": lambda one: one.update(LONG, weights=np.ones(20)),
    "update with a function": lambda one: one.update(RUN, meta_step=lambda n: 1.0 / n),
    "apply": lambda one: one.apply(af.MetaLearner.statistics(fresh(), RUN), 0.25),
    "meta_train": lambda one: af.meta_train(TASKS, one, loss="squared", n_passes=2),
    "meta_train with a function": lambda one: af.meta_train(
        TASKS, one, loss="squared", round_size=2, meta_step=lambda n: 1.0 / (1 + n)
    ),
}
READERS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "to": lambda one: one.to("cpu"),
}


def at_once(*calls):
    """Calls each in a thread of its own, all at the same time; returns what they return."""
    gate = threading.Barrier(len(calls))

    def run(call):
        gate.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(300) for future in [pool.submit(run, call) for call in calls]]


@pytest.mark.parametrize("hyper", [{}, {"isotropic": True, "decay": 0.01}], ids=str)
@pytest.mark.parametrize("how", WRITERS)
def test_nothing_is_lost(how, hyper):
    shared, alone = fresh(**hyper), fresh(**hyper)

    def repeated(one, n):
        for _ in range(n):
            WRITERS[how](one)

    at_once(*[lambda: repeated(shared, REPEATS)] * N_THREADS)
    repeated(alone, REPEATS * N_THREADS)
    assert state(shared) == state(alone)


def states_of(how, n):
    """Every state that a learner alone goes through."""
    alone, seen = fresh(), []
    for _ in range(n):
        seen.append(state(alone))
        WRITERS[how](alone)
    return [*seen, state(alone)]


@pytest.mark.parametrize("how", ["update", "update of a long round", "apply"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_read_is_of_one_moment(reader, how, tmp_path):
    shared, done = fresh(), threading.Event()
    known = states_of(how, 4 * REPEATS)

    def learn():
        for _ in range(4 * REPEATS):
            WRITERS[how](shared)
        done.set()

    def look():
        seen = [state(READERS[reader](shared))]
        while not done.is_set():
            seen.append(state(READERS[reader](shared)))
        return seen

    def save():
        seen = []
        while not done.is_set():
            shared.save(tmp_path / "x")
            seen.append(state(af.MetaLearner.load(tmp_path / "x")))
        return seen

    def read_phi():
        seen = [shared.phi.tobytes()]
        while not done.is_set():
            seen.append(shared.phi.tobytes())
        return seen

    _, looked, saved, phis = at_once(learn, look, save, read_phi)
    assert all(found in known for found in looked + saved)
    assert set(phis) <= {found[0] for found in known}


def test_what_was_handed_out_does_not_change():
    one = fresh()
    handed = [
        one.phi,
        one.learning_rate,
        one.b,
        one.g,
        one.rho,
        *vars(one.rule(coef=None)).values(),
    ]
    before = [array.copy() for array in handed]
    one.update(RUN)
    for array, old in zip(handed, before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert (one.phi != before[0]).all()


@pytest.mark.parametrize("callback", ["meta_step", "progress"])
def test_functions_that_meta_train_calls_may_use_the_learner(callback, tmp_path):
    """In their own thread all of it, in another one whatever changes nothing."""
    one, calls = fresh(), []

    def everything():
        one.save(tmp_path / "x")
        return [state(one), state(copy.copy(one)), one.rule(0.5), one.statistics(RUN)]

    def use(*_):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(everything).result(60)
        everything()
        one.update(RUN)
        if len(calls) < 2:
            calls.append(None)
            af.meta_train(TASKS[:1], one, loss="squared", **{callback: use})
        return 0.5

    af.meta_train(TASKS, one, loss="squared", round_size=3, **{callback: use})
    assert one.n_tasks > 6 + 2 * 2


def test_reading_does_not_wait_for_meta_train_and_learning_does():
    one, inside, over = fresh(), threading.Event(), threading.Event()

    def stay(*_):
        inside.set()
        assert over.wait(60)

    trainer = threading.Thread(
        target=lambda: af.meta_train(TASKS, one, loss="squared", progress=stay)
    )
    trainer.start()
    assert inside.wait(60)
    learner = threading.Thread(target=lambda: one.update(RUN))
    learner.start()
    learner.join(0.05)
    assert learner.is_alive()
    n_tasks = one.n_tasks
    assert 0 < n_tasks <= 6
    over.set()
    trainer.join()
    learner.join()
    assert one.n_tasks == 6 + 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("how", WRITERS)
def test_a_child_forked_meanwhile_has_a_whole_learner(how):
    shared, done = fresh(), threading.Event()
    # One that is in a meta_train is forked between two of its rounds.
    known = states_of(how, 8 * REPEATS) if not how.startswith("meta_train") else None

    def learn():
        for _ in range(8 * REPEATS):
            WRITERS[how](shared)
        done.set()

    worker = threading.Thread(target=learn)
    worker.start()
    answers = [0]
    while not done.is_set():
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            whole = known is None or state(shared) in known
            before = shared.n_tasks
            shared.update(RUN)
            os._exit(0 if whole and shared.n_tasks == before + 2 else 1)
        answers.append(os.waitpid(child, 0)[1])
    worker.join()
    assert set(answers) == {0}


def test_waiting_lets_the_interpreter_run():
    one, ticks = fresh(), 0
    with one._lock:
        waiting = threading.Thread(target=lambda: one.update(RUN))
        waiting.start()
        for _ in range(20):
            time.sleep(0.001)
            ticks += 1
        assert waiting.is_alive()
        assert one.n_tasks == 0
    waiting.join(60)
    assert (one.n_tasks, ticks) == (2, 20)
