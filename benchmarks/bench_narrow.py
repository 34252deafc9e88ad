"""What does a table in fewer bytes cost or gain, when thousands of tasks run whole?"""

from __future__ import annotations

from functools import partial

import numpy as np
from bench_engine import N_ROUNDS, Inputs, batched
from race import Entrant, Work, cases, measure, need

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


@cases(*WORKS)
def test_narrow(benchmark, work, name):
    measure(benchmark, work, name)
