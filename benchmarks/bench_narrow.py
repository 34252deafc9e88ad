"""What does a table in fewer bytes cost or gain, when thousands of tasks run whole?

And what losses alone, which take no steps; and words in documents, counted in bytes.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from bench_engine import N_ROUNDS, Inputs, batched
from race import Arrays, Entrant, Work, cases, measure, need
from scipy.sparse import csr_array

import aruba_fast as af

# Multiples of 1/128 up to 255 of them: the same numbers in every type.
SCALE = 1 / 128


def inputs(n_tasks: int, d: int) -> Inputs:
    rng = np.random.default_rng(d)
    x = rng.integers(0, 256, (n_tasks, N_ROUNDS, d)).astype(np.float32) * np.float32(SCALE)
    y = rng.integers(0, 2, (n_tasks, N_ROUNDS)).astype(np.float32)
    phi = 0.1 * rng.standard_normal(d, np.float32) / np.float32(np.sqrt(d))
    rate = (rng.uniform(0.2, 1.0, d) / d).astype(np.float32)
    return Inputs(x, y, phi, rate)


def of_type(dtype: str, i: Inputs) -> Entrant:
    if dtype == "uint8":
        tasks = af.Tasks((i.x / np.float32(SCALE)).astype(np.uint8), i.y, scale=SCALE)
    else:
        kind = need("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
        tasks = af.Tasks(i.x.astype(kind), i.y)
    rule = af.OGD(i.rate)
    last = []

    def run() -> None:
        last[:] = [af.run_tasks(tasks, i.phi, rule, loss="logistic")]

    return Entrant(run, lambda: {"theta_hat": last[0].theta_hat, "grad_sq": last[0].grad_sq})


ENTRANTS = {
    "ours": partial(of_type, "bfloat16"),
    "float32": partial(of_type, "float32"),
    "float16": partial(of_type, "float16"),
    "uint8": partial(of_type, "uint8"),
}
WORKS = [
    Work(
        f"bfloat16 logistic tasks, d = {d} ({n_tasks} tasks)",
        partial(inputs, n_tasks, d),
        partial(batched, dtype=np.float64),
        ENTRANTS,
        n_bytes=n_tasks * N_ROUNDS * (2 * d + 4) + 8 * n_tasks * d,
        bandwidth="read",
        tolerance=1e-4,
        n_units=n_tasks * N_ROUNDS,
        unit="step",
    )
    for d, n_tasks in [(8, 50_000), (64, 6250), (512, 781)]
]


def alone(i: Inputs) -> Entrant:
    tasks, last = af.Tasks(i.x, i.y), []

    def run() -> None:
        last[:] = [af.evaluate(tasks, i.phi, loss="squared")]

    return Entrant(run, lambda: {"loss": last[0]})


def with_steps(i: Inputs) -> Entrant:
    """What the losses cost where nobody says that nothing else is wanted."""
    tasks, last = af.Tasks(i.x, i.y), []

    def run() -> None:
        last[:] = [af.run_tasks(tasks, i.phi, af.OGD(0.0), loss="squared")]

    return Entrant(run, lambda: {"loss": last[0].loss / last[0].weight})


def losses(i: Inputs) -> Arrays:
    rest = i.x.astype(np.float64) @ i.phi.astype(np.float64) - i.y
    return {"loss": 0.5 * (rest**2).mean(axis=1)}


WORKS += [
    Work(
        f"losses alone, d = {d} ({n_tasks} tasks)",
        partial(inputs, n_tasks, d),
        losses,
        {"ours": alone, "with steps of rate zero": with_steps},
        n_bytes=n_tasks * (N_ROUNDS * 4 * (d + 1) + 8),
        bandwidth="read",
        tolerance=1e-4,
        n_units=n_tasks * N_ROUNDS,
        unit="row",
    )
    for d, n_tasks in [(8, 50_000), (64, 6250), (512, 781)]
]


class Words(NamedTuple):
    """Documents, 20 of each author, and what words are worth."""

    counts: csr_array
    y: np.ndarray
    phi: np.ndarray


N_DOCUMENTS, N_WORDS, MOST = 20_000, 20_000, 100


def words() -> Words:
    rng = np.random.default_rng(0)
    word = np.minimum(rng.zipf(1.2, (N_DOCUMENTS, MOST)), 2**30) * 2654435761 % N_WORDS
    found = [np.unique(row, return_counts=True) for row in word]
    begins = np.cumsum([0, *(len(columns) for columns, _ in found)])
    columns, counts = (np.concatenate(part) for part in zip(*found, strict=True))
    counts = counts.astype(np.uint8), columns.astype(np.int32), begins
    phi = (0.05 * rng.standard_normal(N_WORDS)).astype(np.float32)
    return Words(csr_array(counts, (N_DOCUMENTS, N_WORDS)), rng.integers(0, 2, N_DOCUMENTS), phi)


def counted(dtype: str, i: Words) -> Entrant:
    scale = 1 if dtype == "uint8" else None
    offsets = np.arange(0, N_DOCUMENTS + 1, 20)
    tasks, last = af.Tasks(i.counts.astype(dtype), i.y, offsets, scale=scale), []

    def run() -> None:
        last[:] = [af.evaluate(tasks, i.phi, loss="squared")]

    return Entrant(run, lambda: {"loss": last[0]})


def counted_losses(i: Words) -> Arrays:
    rest = i.counts.astype(np.float64) @ i.phi.astype(np.float64) - i.y
    return {"loss": 0.5 * (rest**2).reshape(-1, 20).mean(axis=1)}


WORKS.append(
    Work(
        f"losses of words counted in bytes ({N_DOCUMENTS} documents)",
        words,
        counted_losses,
        {"ours": partial(counted, "uint8"), "float32": partial(counted, "float32")},
        n_bytes=5 * N_DOCUMENTS * 48,  # some 48 words each
        bandwidth="read",
        tolerance=1e-4,
        n_units=N_DOCUMENTS * 48,
        unit="word",
    )
)


@cases(*WORKS)
def test_narrow(benchmark, work, name):
    measure(benchmark, work, name)
