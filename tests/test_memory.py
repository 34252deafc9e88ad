"""Memory: nothing leaks, nothing is held, and a round of many tasks needs little."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import aruba_fast as af

STATM = Path("/proc/self/statm")


def resident_bytes():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def leak_free_calls():
    theta, grad, squares = (np.ones(8, np.float32) for _ in range(3))
    grad64, tasks = np.ones(8), af.Tasks(np.ones((3, 2, 4)), np.ones((3, 2)))
    phi, learner = np.zeros(4), af.MetaLearner(np.zeros(4))
    run, rule = af.TaskRun(np.ones((3, 4)), np.ones((3, 4))), af.OGD(0.1)
    yield 100_000, partial(af.step, theta, grad, 1e-9, grad_sq=squares)
    yield 10_000, partial(af.step, [theta, theta[:0]], [grad, grad[:0]], [grad, grad[:0]])
    yield 10_000, partial(af.aruba_step, theta, grad[::-1], grad, squares, coef=0.1)
    yield 10_000, partial(raises, af.step, theta, grad64, 0.1)
    yield 10_000, partial(raises, af.step, theta, theta, 0.1)
    yield 3_000, partial(af.run_tasks, tasks, phi, rule, loss="squared")
    yield 3_000, partial(learner.update, run)
    yield 1_000, partial(af.meta_train, tasks, learner, loss="squared")


def raises(call, *arguments):
    try:
        call(*arguments)
    except (TypeError, ValueError):
        return
    raise AssertionError("must be refused")


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="needs /proc")
def test_a_hundred_thousand_calls_leak_nothing():
    """Neither native memory, nor Python's, nor references to the arguments."""
    for n_calls, call in leak_free_calls():
        objects = [a for a in call.args if isinstance(a, np.ndarray)]
        for _ in range(n_calls // 10):  # caches and pools fill here
            call()
        gc.collect()
        references = [sys.getrefcount(a) for a in objects]
        tracemalloc.start()
        try:
            python, resident = tracemalloc.get_traced_memory()[0], resident_bytes()
            for _ in range(n_calls):
                call()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - python
            assert resident_bytes() - resident < 2_000_000, call
        finally:
            tracemalloc.stop()
        # One leaked object of the smallest size a call would be 16 bytes a call; Python itself
        # keeps a kilobyte or two at times.
        assert grown < 4_000 + 2 * n_calls, call
        assert [sys.getrefcount(a) for a in objects] == references


def test_arguments_are_released_after_a_call():
    """Temporary copies of strided inputs, results and a learner's arrays die with their owner."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            theta, grad = np.ones(1_000_000), np.ones(2_000_000)[::2]
            af.step(theta, grad, 0.1)
            learner = af.MetaLearner(theta)
            learner.update(af.TaskRun(theta[None], theta[None]))
            del theta, grad, learner
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()


PEAK = """
import resource, sys
import numpy as np, aruba_fast as af
n = 1_000_000
tasks = af.Tasks(np.ones((n, 1, 2), np.float32), np.ones((n, 1), np.float32))
phi = np.zeros(2, np.float32)
af.run_tasks(tasks[:1000], phi, af.OGD(0.1), loss="squared")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
learner = af.MetaLearner(phi)
af.meta_train(tasks, learner, loss="squared", round_size=n)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
assert learner.n_tasks == n
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
def test_a_round_of_a_million_tasks_streams():
    """Its results would be 16 MB; the history (17 bytes a task) and the streaming blocks remain."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 17_000_000 + 24_000_000
