"""The harness of all benchmarks: what is raced, the answer first, bandwidth, interleaved minima."""

from __future__ import annotations

import gc
import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

Arrays = dict[str, np.ndarray]


class Entrant(NamedTuple):
    """`run` is timed; `answer` gives what the runs so far have computed, as NumPy arrays."""

    run: Callable[[], object]
    answer: Callable[[], Arrays]


@dataclass(frozen=True)
class Work:
    """One row of the table: the same inputs and the same answer for every entrant.

    `build[name](inputs)` makes an Entrant; a ModuleNotFoundError in it means that this rival is not
    installed. `expected(inputs)` is the float64 answer of ONE run. `n_bytes` counts what one run
    must read and write at least; `n_units` of `unit` is another way to state its size.
    """

    name: str
    inputs: Callable[[], Any]
    expected: Callable[[Any], Arrays]
    build: Mapping[str, Callable[[Any], Entrant]]
    n_bytes: int
    at_least: Mapping[str, float] = field(default_factory=dict)
    bandwidth: str = "triad"
    share: float = 0.0
    tolerance: float = 1e-5
    n_units: int = 0
    unit: str = ""


def need(module: str) -> Any:
    """Imports a rival; without it the benchmark is skipped, in CI it fails."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{module} is not installed: pip install aruba_fast[bench]")


def error(entrant: Entrant, expected: Arrays) -> float:
    """Runs once; the largest error, relative to the largest entry of each array."""
    entrant.run()
    got = entrant.answer()
    return max(float(np.max(np.abs(got[k] - v)) / np.max(np.abs(v))) for k, v in expected.items())


def measure(benchmark: Any, work: Work, name: str) -> None:
    """Checks the answer of one entrant, then times it in the group of its work."""
    inputs = work.inputs()
    entrant = work.build[name](inputs)
    wrong = error(entrant, work.expected(inputs))
    assert wrong <= work.tolerance, f"{name} is off by {wrong:.1e}: nothing to time"
    benchmark.group = work.name
    benchmark.extra_info["relative_error"] = wrong
    benchmark(entrant.run)
    if benchmark.stats is not None:  # None under --benchmark-disable
        speed = work.n_bytes / benchmark.stats.stats.min / 1e9
        benchmark.extra_info["GB/s"] = round(speed, 2)
        if limit := bandwidth(work.bandwidth):
            benchmark.extra_info[f"share_of_{work.bandwidth}"] = round(speed / limit, 3)
    gc.collect()


def cases(*works: Work) -> Any:
    """Parametrizes a test over every entrant of every work."""
    pairs = [(work, name) for work in works for name in work.build]
    names = [f"{work.name}-{name}" for work, name in pairs]
    return pytest.mark.parametrize(("work", "name"), pairs, ids=names)


def interleaved_minima(
    runs: Mapping[str, Callable[[], object]], seconds: float
) -> dict[str, float]:
    """Seconds per call of each, the least of many samples taken in turns.

    Turns, because the speed of a shared machine drifts by more than the differences of interest;
    minima, because noise only ever adds. Threads of the last entrant may still spin when the next
    one starts: everybody gets a pause and an untimed call first.
    """
    repeats = {}
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(1, int(2e-3 / (time.perf_counter() - start)))
    best = dict.fromkeys(runs, float("inf"))
    end = time.perf_counter() + seconds
    samples = 0
    while samples < 5 or time.perf_counter() < end:
        for name, run in runs.items():
            time.sleep(0.004)
            if repeats[name] > 1:
                run()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            best[name] = min(best[name], (time.perf_counter() - start) / repeats[name])
        samples += 1
    return best


def bandwidth_run(kind: str) -> tuple[Callable[[], object], int] | None:
    """A loop that does nothing but move memory, and its bytes; None without numba.

    triad: a = b + s*c (12 bytes per element, the line that a store first fetches not counted);
    update: a += s*b, in place like our steps (12 bytes); read: a sum (4 bytes).
    """
    try:
        import numba
    except ModuleNotFoundError:
        return None
    jit = numba.njit(parallel=True, fastmath=True)
    n = 1 << 25
    a, b, c = (np.full(n, value, np.float32) for value in (0.0, 1.0, 2.0))

    @jit
    def triad(a, b, c):
        for i in numba.prange(a.size):
            a[i] = b[i] + np.float32(0.5) * c[i]

    @jit
    def update(a, b):
        for i in numba.prange(a.size):
            a[i] += np.float32(1e-3) * b[i]

    @jit
    def read(a):
        total = np.float32(0)
        for i in numba.prange(a.size):
            total += a[i]
        return total

    runs = {
        "triad": (lambda: triad(a, b, c), 12 * n),
        "update": (lambda: update(a, b), 12 * n),
        "read": (lambda: read(a), 4 * n),
    }
    return runs[kind]


@cache
def bandwidth(kind: str) -> float | None:
    """GB/s of bandwidth_run on this machine, measured once a session."""
    run = bandwidth_run(kind)
    if run is None:
        return None
    return run[1] / interleaved_minima({kind: run[0]}, 1.0)[kind] / 1e9
