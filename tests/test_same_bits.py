"""One input gives one output: every instruction set and every number of threads, bit for bit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import workload

import aruba_fast as af

WORKLOAD = Path(workload.__file__)
THREADS = (1, 2, 7)
BEST = {"x86_64": ("avx2", "avx512"), "aarch64": ("neon",)}.get(platform.machine(), ())


# Of NumPy's BLAS: the number of its threads, and its oldest kernels; elsewhere it ignores both.
ANOTHER_BLAS = (("OPENBLAS_NUM_THREADS", "1"), ("OPENBLAS_CORETYPE", "PRESCOTT"))


@cache
def hashes(isa, n_threads, blas=()):
    """The workload's hashes in a process that really runs with that set and that many threads."""
    chosen = {"ARUBA_ISA": isa, "ARUBA_NUM_THREADS": str(n_threads)}
    environment = os.environ | chosen | dict(blas)
    done = subprocess.run(
        [sys.executable, WORKLOAD], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["info"]["isa"] == isa
    assert found["info"]["threads"] == n_threads
    return found["hashes"]


def test_this_machine_offers_something_to_compare():
    isas = af.info()["isas"]
    assert "baseline" in isas
    if not set(isas) & set(BEST):
        reason = f"only {isas} can run here: nothing to compare with"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    assert af.info()["isa"] == isas[-1] or "ARUBA_ISA" in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512", "neon"])
@pytest.mark.parametrize("n_threads", THREADS)
def test_every_instruction_set_and_number_of_threads(isa, n_threads):
    if isa not in af.info()["isas"]:
        pytest.skip(f"{isa} is not compiled for or cannot run on this machine")
    expected, got = hashes("baseline", 1), hashes(isa, n_threads)
    assert len(expected) > 300
    assert set(got) == set(expected)
    assert [what for what in expected if got[what] != expected[what]] == []


@pytest.mark.slow
@pytest.mark.parametrize("choice", ANOTHER_BLAS)
def test_no_number_of_ours_goes_through_blas(choice):
    assert hashes("baseline", 1, (choice,)) == hashes("baseline", 1)


def test_the_hash_sees_a_single_bit(rng):
    """The comparison above can fail: one flipped bit, or one changed shape, changes the hash."""
    values = rng.standard_normal(1000)
    changed = values.copy()
    changed.view(np.uint64)[500] ^= 1
    assert workload.fingerprint(values) == workload.fingerprint(values.copy())
    assert workload.fingerprint(values) != workload.fingerprint(changed)
    assert workload.fingerprint(values) != workload.fingerprint(values.reshape(10, 100))


@pytest.mark.parametrize("part", ["kernels", "extremes", "reductions"])
def test_threads_set_at_run_time(part, threads):
    """`set_num_threads` within one process changes nothing but the time."""
    found = []
    for n in (*THREADS, 1):
        threads(n)
        assert af.get_num_threads() == n
        with np.errstate(all="ignore"):
            found.append(dict(getattr(workload, part)(np.random.default_rng(7))))
    assert found[0]
    assert all(other == found[0] for other in found[1:])


@pytest.mark.parametrize("repeat", range(3))
def test_the_same_call_twice_gives_the_same_bits(repeat, threads):
    """Which thread takes which task is a race; the result must not know of it."""
    threads(7)
    rng = np.random.default_rng(repeat)
    tasks = workload.tasks_for("logistic", rng, 5, np.float32, n_tasks=3000)
    runs = [
        af.run_tasks(tasks, np.zeros(5, np.float32), af.AdaGrad(0.3, 0.5), loss="logistic")
        for _ in range(5)
    ]
    prints = {workload.fingerprint(run.theta_hat, run.grad_sq, run.loss) for run in runs}
    assert len(prints) == 1


def test_an_unknown_instruction_set_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", "import aruba_fast; aruba_fast.info()"],
        env=os.environ | {"ARUBA_ISA": "sse9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "ARUBA_ISA" in done.stderr
    assert "sse9" in done.stderr
