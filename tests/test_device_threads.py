"""One learner on a CUDA device, several threads: no update is lost, no copy is torn."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import device
import numpy as np
import pytest
from checkpoints import state

import aruba_fast as af

N_THREADS, REPEATS, D = 3, 6, 300


@pytest.fixture(autouse=True)
def emulated():
    device.require()
    with device.installed():
        yield


@pytest.mark.parametrize("how", ["update", "meta_train"])
def test_nothing_is_lost_and_copies_are_whole(how):
    theta = np.random.default_rng(5).standard_normal((2, D)).astype(np.float32)
    run = af.TaskRun(device.array(theta), device.array(theta**2 + 1))
    tasks = af.Tasks(np.ones((2, 2, D), np.float32) / D, np.ones((2, 2))).to("cuda")
    shared, alone = (af.MetaLearner(np.ones(D, np.float32)).to("cuda") for _ in range(2))
    done = threading.Event()

    def learn(one, repeats):
        for _ in range(repeats):
            if how == "update":
                one.update(run)
            else:
                af.meta_train(tasks, one, loss="squared", meta_step=lambda n: 1.0 / n)

    def watch():
        seen = []
        while not done.is_set():
            seen.append(state(copy.copy(shared).to("cpu")))
        return seen

    with ThreadPoolExecutor(N_THREADS + 1) as pool:
        watching = pool.submit(watch)
        for learning in [pool.submit(learn, shared, REPEATS) for _ in range(N_THREADS)]:
            learning.result(100)
        done.set()
        seen = watching.result(100)
    known = [state(alone.to("cpu"))]
    for _ in range(N_THREADS * REPEATS):
        learn(alone, 1)
        known.append(state(alone.to("cpu")))
    assert state(shared.to("cpu")) == known[-1]
    if how == "update":
        assert all(found in known for found in seen)
