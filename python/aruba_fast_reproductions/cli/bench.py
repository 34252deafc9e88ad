"""What `aruba-fast bench` measures: kernels and task engine against NumPy, on this machine.

Every answer is compared with NumPy's before it is timed. The yardstick of memory-bound work is a
sum in place, two arrays read and one written, on as many threads as the library has.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aruba_fast import OGD, MetaLearner, TaskRun, Tasks, get_num_threads, run_tasks, step

Array: TypeAlias = NDArray[np.float32]
Row: TypeAlias = tuple[str, str, str, str, str]
Report: TypeAlias = Callable[[int, int], object]

# What the rows of the table are called, explained below it.
LEGEND = (
    "stream: a = a + b. fused step: a gradient step with the sum of squared gradients. sums over "
    "tasks: a round's statistics. task step: one row of a logistic task, mini-batches of one."
)
# 64 MiB an array: larger than the caches of most machines, smaller than their memory.
_LENGTH = 1 << 24
_ROUND = (200, 100_000)
_ENGINE = ((8, 5000), (64, 1000), (512, 120))
_ROUNDS = 100
_BUDGET = 0.8  # seconds for each measurement


def rows(report: Report) -> Iterator[Row]:
    """Measures one line of the table after the other; `report` gets (done, total)."""
    rng = np.random.default_rng(0)
    total = 3 + len(_ENGINE)
    stream = _stream(rng)
    report(1, total)
    yield "stream", "", f"{stream:.1f} GB/s", "", "100 %"
    yield _step(rng, stream)
    report(2, total)
    yield _reduction(rng, stream)
    report(3, total)
    for done, (n_features, n_tasks) in enumerate(_ENGINE, start=4):
        yield _engine(rng, n_features, n_tasks)
        report(done, total)


def _seconds(work: Callable[[], object]) -> float:
    """Best time of several runs within the budget, after one that is not counted."""
    work()
    best, end = np.inf, perf_counter() + _BUDGET
    while perf_counter() < end:
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return float(best)


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


def _check(found: Array, expected: Array) -> None:
    if not np.allclose(found, expected, rtol=1e-4, atol=1e-5):
        raise ValueError("bench: the library and NumPy disagree, their times mean nothing")


def _stream(rng: np.random.Generator) -> float:
    """GB/s of a = a + b, each thread adding its part in one call that needs no interpreter."""
    a, b = _normal(rng, _LENGTH), np.zeros(_LENGTH, np.float32)
    ends = np.linspace(0, _LENGTH, get_num_threads() + 1).astype(int).tolist()
    slices = [slice(*part) for part in pairwise(ends)]

    def add(part: slice) -> None:
        np.add(a[part], b[part], out=a[part])

    with ThreadPoolExecutor(len(slices)) as pool:
        seconds = _seconds(lambda: list(pool.map(add, slices)))
    return 12e-9 * _LENGTH / seconds


def _step(rng: np.random.Generator, stream: float) -> Row:
    """The fused step with statistics: reads theta, grad, rate and grad_sq, writes two of them."""
    theta, grad, rate, grad_sq = (np.abs(_normal(rng, _LENGTH)) for _ in range(4))
    rate *= np.float32(1e-3)
    product = np.empty_like(theta)

    def numpy_step(theta: Array, grad_sq: Array) -> None:
        np.multiply(rate, grad, out=product)
        np.subtract(theta, product, out=theta)
        np.multiply(grad, grad, out=product)
        np.add(grad_sq, product, out=grad_sq)

    expected = theta.copy(), grad_sq.copy()
    numpy_step(*expected)
    step(theta, grad, rate, grad_sq=grad_sq)
    _check(theta, expected[0])
    _check(grad_sq, expected[1])
    ours = _seconds(lambda: step(theta, grad, rate, grad_sq=grad_sq))
    return _memory_row(
        "fused step",
        24 * _LENGTH,
        ours,
        _seconds(lambda: numpy_step(theta, grad_sq)),
        stream,
    )


def _reduction(rng: np.random.Generator, stream: float) -> Row:
    """A round's sums over tasks, read once."""
    run = TaskRun(_normal(rng, *_ROUND), np.abs(_normal(rng, *_ROUND)))
    learner = MetaLearner(_normal(rng, _ROUND[1]))

    def numpy_sums() -> tuple[Array, ...]:
        half = 0.5 * np.square(run.theta_hat - learner.phi).sum(axis=0, dtype=np.float64)
        return half, run.grad_sq.sum(0, dtype=np.float64), run.theta_hat.sum(0, dtype=np.float64)

    for found, expected in zip(learner.statistics(run).sums[:, 0], numpy_sums(), strict=True):
        _check(found, expected)
    name = "sums over tasks"
    ours, numpys = _seconds(lambda: learner.statistics(run)), _seconds(numpy_sums)
    return _memory_row(name, run.theta_hat.nbytes + run.grad_sq.nbytes, ours, numpys, stream)


def _memory_row(name: str, n_bytes: int, ours: float, numpys: float, stream: float) -> Row:
    speeds = [1e-9 * n_bytes / seconds for seconds in (ours, numpys)]
    return (
        name,
        f"{speeds[0]:.1f} GB/s",
        f"{speeds[1]:.1f} GB/s",
        f"{numpys / ours:.1f}",
        f"{100 * speeds[0] / stream:.0f} %",
    )


def _engine(rng: np.random.Generator, n_features: int, n_tasks: int) -> Row:
    """Logistic tasks, one epoch of 100 steps; NumPy takes the same step of all tasks at once."""
    x = _normal(rng, n_tasks, _ROUNDS, n_features)
    y = (x[..., 0] > 0).astype(np.float32)
    tasks, phi, rate = Tasks(x, y), np.zeros(n_features, np.float32), np.float32(0.01)

    def ours() -> TaskRun:
        return run_tasks(tasks, phi, OGD(float(rate)), loss="logistic")

    def numpys() -> tuple[Array, Array]:
        theta, grad_sq = np.zeros((2, n_tasks, n_features), np.float32)
        for i in range(_ROUNDS):
            score = np.einsum("tj,tj->t", theta, x[:, i])
            grad = (1 / (1 + np.exp(-score)) - y[:, i])[:, None] * x[:, i]
            theta -= rate * grad
            grad_sq += grad * grad
        return theta, grad_sq

    found: Any = ours()
    for value, expected in zip((found.theta_hat, found.grad_sq), numpys(), strict=True):
        _check(value, expected)
    times = [1e9 * _seconds(work) / (n_tasks * _ROUNDS) for work in (ours, numpys)]
    return (
        f"task step, {n_features} features",
        f"{times[0]:.2f} ns",
        f"{times[1]:.2f} ns",
        f"{times[1] / times[0]:.1f}",
        "",
    )
