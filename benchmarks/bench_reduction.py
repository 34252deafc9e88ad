"""Does a round's reduction over its tasks run at the speed at which memory can be read?"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need

import aruba_fast as af


class Inputs(NamedTuple):
    """What a round of tasks left behind."""

    theta_hat: np.ndarray
    grad_sq: np.ndarray
    phi: np.ndarray


def inputs(n_tasks: int, d: int) -> Inputs:
    rng = np.random.default_rng(d)
    theta_hat = rng.standard_normal((n_tasks, d), np.float32)
    grad_sq = rng.random((n_tasks, d), np.float32)
    return Inputs(theta_hat, grad_sq, rng.standard_normal(d, np.float32))


def ours(i: Inputs) -> Entrant:
    learner = af.MetaLearner(i.phi.copy())
    run = af.TaskRun(i.theta_hat, i.grad_sq)
    last = []

    def reduce() -> None:
        last[:] = [learner.statistics(run)]

    def answer() -> Arrays:
        high = last[0].sums[:, 0]
        return {"distance": high[0], "grad_sq": high[1], "theta": high[2]}

    return Entrant(reduce, answer)


def with_numpy(i: Inputs) -> Entrant:
    scratch = np.empty_like(i.theta_hat)
    out: Arrays = {}

    def run() -> None:
        np.subtract(i.theta_hat, i.phi, out=scratch)
        np.multiply(scratch, scratch, out=scratch)
        out["distance"] = 0.5 * scratch.sum(0, dtype=np.float64)
        out["grad_sq"] = i.grad_sq.sum(0, dtype=np.float64)
        out["theta"] = i.theta_hat.sum(0, dtype=np.float64)

    return Entrant(run, lambda: out)


def with_numba(i: Inputs) -> Entrant:
    """One pass, plain float64 sums: no compensation, no test for nan."""
    numba = need("numba")

    @numba.njit(parallel=True, fastmath=True)
    def reduce(theta_hat, grad_sq, phi, out):
        n_tasks, d = theta_hat.shape
        block = 2048
        for part in numba.prange((d + block - 1) // block):
            begin, end = part * block, min(d, (part + 1) * block)
            out[:, begin:end] = 0
            for k in range(n_tasks):
                for j in range(begin, end):
                    distance = np.float64(theta_hat[k, j]) - np.float64(phi[j])
                    out[0, j] += 0.5 * distance * distance
                    out[1, j] += grad_sq[k, j]
                    out[2, j] += theta_hat[k, j]

    out = np.empty((3, i.phi.size))
    return Entrant(
        lambda: reduce(i.theta_hat, i.grad_sq, i.phi, out),
        lambda: {"distance": out[0], "grad_sq": out[1], "theta": out[2]},
    )


def expected(i: Inputs) -> Arrays:
    phi = i.phi.astype(np.float64)
    rows = zip(i.theta_hat, i.grad_sq, strict=True)
    out = np.zeros((3, phi.size))
    for theta_hat, grad_sq in rows:  # a row at a time: a float64 copy of all would take 1.6 GB
        out += (0.5 * (theta_hat - phi) ** 2, grad_sq, theta_hat)
    return {"distance": out[0], "grad_sq": out[1], "theta": out[2]}


N_TASKS, D = 1000, 100_000
WORKS = [
    Work(
        "round reduction, [1000, 100 000]",
        partial(inputs, N_TASKS, D),
        expected,
        {"ours": ours, "NumPy, float64 sums": with_numpy, "numba, uncompensated": with_numba},
        n_bytes=8 * N_TASKS * D,
        at_least={"NumPy, float64 sums": 4.0},
        bandwidth="read",
        share=0.90,
    )
]


@cases(*WORKS)
def test_reduction(benchmark, work, name):
    measure(benchmark, work, name)
