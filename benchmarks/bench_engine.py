"""How long does a step of a small convex task take, when thousands of tasks run whole?"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need

import aruba_fast as af

N_ROUNDS = 100


class Inputs(NamedTuple):
    """Dense tasks: x [n_tasks, N_ROUNDS, d], y [n_tasks, N_ROUNDS] in {0, 1}."""

    x: np.ndarray
    y: np.ndarray
    phi: np.ndarray
    rate: np.ndarray


def inputs(n_tasks: int, d: int) -> Inputs:
    rng = np.random.default_rng(d)
    x = rng.standard_normal((n_tasks, N_ROUNDS, d), np.float32)
    truth = rng.standard_normal((n_tasks, d), np.float32)
    y = (np.einsum("kmd,kd->km", x, truth) > 0).astype(np.float32)
    phi = 0.1 * rng.standard_normal(d, np.float32)
    rate = (rng.uniform(0.2, 1.0, d) / np.sqrt(d)).astype(np.float32)
    return Inputs(x, y, phi, rate)


def ours(i: Inputs) -> Entrant:
    tasks, rule = af.Tasks(i.x, i.y), af.OGD(i.rate)
    last = []

    def run() -> None:
        last[:] = [af.run_tasks(tasks, i.phi, rule, loss="logistic")]

    return Entrant(run, lambda: {"theta_hat": last[0].theta_hat, "grad_sq": last[0].grad_sq})


def with_numba(i: Inputs) -> Entrant:
    numba = need("numba")

    @numba.njit(parallel=True, fastmath=True)
    def run_tasks(x, y, phi, rate, theta_hat, grad_sq, losses):
        n_tasks, n_steps, d = x.shape
        for k in numba.prange(n_tasks):
            theta, squares = theta_hat[k], grad_sq[k]
            for j in range(d):
                theta[j] = phi[j]
                squares[j] = 0
            total = np.float32(0)
            for t in range(n_steps):
                row = x[k, t]
                z = np.float32(0)
                for j in range(d):
                    z += row[j] * theta[j]
                e = np.exp(-abs(z))
                total += max(z, np.float32(0)) - y[k, t] * z + np.log1p(e)
                slope = (np.float32(1) if z >= 0 else e) / (np.float32(1) + e) - y[k, t]
                for j in range(d):
                    g = slope * row[j]
                    theta[j] -= rate[j] * g
                    squares[j] += g * g
            losses[k] = total

    n_tasks, _, d = i.x.shape
    theta_hat, grad_sq = np.empty((2, n_tasks, d), np.float32)
    losses = np.empty(n_tasks, np.float32)
    return Entrant(
        lambda: run_tasks(*i, theta_hat, grad_sq, losses),
        lambda: {"theta_hat": theta_hat, "grad_sq": grad_sq},
    )


def with_jax(i: Inputs) -> Entrant:
    jax = need("jax")
    jnp = jax.numpy
    phi, rate = jnp.asarray(i.phi), jnp.asarray(i.rate)

    def one_step(state, row):
        (theta, squares, total), (x, y) = state, row
        z = x @ theta
        g = (jax.nn.sigmoid(z) - y) * x
        return (theta - rate * g, squares + g * g, total + jax.nn.softplus(z) - y * z), None

    def one_task(x, y):
        start = (phi, jnp.zeros_like(phi), jnp.float32(0))
        return jax.lax.scan(one_step, start, (x, y))[0]

    run_tasks = jax.jit(jax.vmap(one_task))
    x, y = jnp.asarray(i.x), jnp.asarray(i.y)
    last = []

    def run() -> None:
        last[:] = jax.block_until_ready(run_tasks(x, y))

    return Entrant(run, lambda: {"theta_hat": np.asarray(last[0]), "grad_sq": np.asarray(last[1])})


def with_torch(i: Inputs) -> Entrant:
    """A step of all tasks at once, in place wherever torch allows it."""
    torch = need("torch")
    x, y = torch.from_numpy(i.x), torch.from_numpy(i.y)
    phi, rate = torch.from_numpy(i.phi), torch.from_numpy(i.rate)
    theta, squares = (torch.empty(i.x.shape[0], i.x.shape[2]) for _ in range(2))
    total = torch.empty(i.x.shape[0])

    def run() -> None:
        theta.copy_(phi.expand_as(theta))
        squares.zero_()
        total.zero_()
        for t in range(N_ROUNDS):
            row, label = x[:, t], y[:, t]
            z = torch.linalg.vecdot(row, theta)
            total.add_(torch.nn.functional.softplus(z)).addcmul_(label, z, value=-1)
            g = row * torch.sigmoid(z).sub_(label)[:, None]
            theta.addcmul_(g, rate, value=-1)
            squares.addcmul_(g, g)

    return Entrant(run, lambda: {"theta_hat": theta.numpy(), "grad_sq": squares.numpy()})


def batched(i: Inputs, dtype: type) -> Arrays:
    """NumPy: the answer in float64, a rival in float32."""
    theta = np.tile(i.phi.astype(dtype), (len(i.x), 1))
    squares, rate = np.zeros_like(theta), i.rate.astype(dtype)
    total = np.zeros(len(i.x), dtype)
    for t in range(N_ROUNDS):
        row, y = i.x[:, t].astype(dtype, copy=False), i.y[:, t].astype(dtype, copy=False)
        z = np.einsum("kd,kd->k", row, theta)
        e = np.exp(-np.abs(z))
        total += np.maximum(z, 0) - y * z + np.log1p(e)
        g = row * (np.where(z >= 0, dtype(1), e) / (1 + e) - y)[:, None]
        theta -= rate * g
        squares += g * g
    return {"theta_hat": theta, "grad_sq": squares}


def with_numpy(i: Inputs) -> Entrant:
    last: Arrays = {}
    return Entrant(lambda: last.update(batched(i, np.float32)), lambda: last)


ENTRANTS = {
    "ours": ours,
    "numba, parallel loop": with_numba,
    "JAX, jit(vmap(scan))": with_jax,
    "torch, batched": with_torch,
    "NumPy, batched": with_numpy,
}
WORKS = [
    Work(
        f"logistic tasks, d = {d} ({n_tasks} tasks)",
        partial(inputs, n_tasks, d),
        partial(batched, dtype=np.float64),
        ENTRANTS,
        n_bytes=4 * (n_tasks * N_ROUNDS * (d + 1) + 2 * n_tasks * d),
        at_least={
            "numba, parallel loop": ratio,
            "JAX, jit(vmap(scan))": 10.0,
            "torch, batched": 10.0,
        },
        bandwidth="read",
        tolerance=1e-4,
        n_units=n_tasks * N_ROUNDS,
        unit="step",
    )
    for d, n_tasks, ratio in [(8, 50_000, 5.0), (64, 6250, 1.5), (512, 781, 1.1)]
]


@cases(*WORKS)
def test_engine(benchmark, work, name):
    measure(benchmark, work, name)
