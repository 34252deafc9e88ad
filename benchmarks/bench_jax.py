"""What do a step within a task and the meta-update cost in JAX, beside the authors' formulas?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need

RATE = 0.01
N_TASKS = 5
N = 1 << 20


class Round(NamedTuple):
    """Parameters, a gradient, and the tasks of a round that took one step."""

    phi: np.ndarray
    grad: np.ndarray
    theta_hat: np.ndarray
    grad_sq: np.ndarray


def inputs() -> Round:
    rng = np.random.default_rng(0)
    phi = rng.standard_normal(N, np.float32)
    grads = rng.standard_normal((N_TASKS, N), np.float32)
    return Round(phi, grads[0], phi - np.float32(RATE) * grads, grads * grads)


def on_device(round: Round) -> Any:
    """The arrays as JAX's, and JAX."""
    jax = need("jax")
    return jax, Round(*(jax.numpy.asarray(array) for array in round))


def step_answer(round: Round) -> Arrays:
    grad = round.grad.astype(np.float64)
    return {"theta": round.phi - RATE * grad, "grad_sq": grad * grad}


def our_step(round: Round) -> Entrant:
    jax, at = on_device(round)
    import aruba_fast.jax as aj

    return loop(jax, at, lambda theta, sums, grad, rate: aj.step(theta, grad, rate, grad_sq=sums))


def step_formulas(round: Round) -> Entrant:
    jax, at = on_device(round)

    def step(theta: Any, sums: Any, grad: Any, rate: Any) -> Any:
        return theta - rate * grad, sums + grad * grad

    return loop(jax, at, step)


def loop(jax: Any, at: Round, step: Any) -> Entrant:
    """Steps in a row, as a loop does them that donates what it needs no more.

    The rates are an argument, for XLA would make one number of a constant.
    """
    compiled = jax.jit(step, donate_argnums=(0, 1))
    own = [at.phi.copy(), jax.numpy.zeros(N, np.float32)]
    rate = jax.numpy.full(N, RATE, np.float32)

    def run() -> None:
        own[:] = jax.block_until_ready(compiled(*own, at.grad, rate))

    return Entrant(run, lambda: dict(zip(("theta", "grad_sq"), map(np.asarray, own), strict=True)))


def our_update(round: Round) -> Entrant:
    """What optax asks for: an update that is added afterwards, and the rest that it leaves."""
    jax, at = on_device(round)
    import aruba_fast.jax as aj

    def step(theta: Any, state: Any, grad: Any, rate: Any) -> Any:
        updates, state = aj.ogd(rate).update(grad, state, theta)
        return theta + updates, state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    own = [at.phi.copy(), aj.ogd(RATE).init(at.phi)]
    rate = jax.numpy.full(N, RATE, np.float32)

    def run() -> None:
        own[:] = jax.block_until_ready(compiled(*own, at.grad, rate))

    return Entrant(
        run, lambda: {"theta": np.asarray(own[0]), "grad_sq": np.asarray(own[1].grad_sq)}
    )


def meta_answer(round: Round) -> Arrays:
    """b, g, phi and the rates after the first round; FedAvg."""
    moved = round.theta_hat.astype(np.float64) - round.phi
    smoothing = sum(1 / (t + 2) for t in range(N_TASKS))
    b = RATE**2 * (1 + smoothing) + (0.5 * moved**2).sum(0)
    g = 1 + smoothing + round.grad_sq.sum(0, dtype=np.float64)
    return {"phi": round.theta_hat.mean(0, dtype=np.float64), "rate": np.sqrt(b / g)}


def our_meta(round: Round) -> Entrant:
    """Compensated sums over the tasks in float64, pairs of float32 for phi, b and g."""
    jax, at = on_device(round)
    import aruba_fast.jax as aj

    def update(state: Any, theta_hat: Any, grad_sq: Any) -> Any:
        return aj.update(state, theta_hat, grad_sq, meta_step=1.0)

    compiled = jax.jit(update, donate_argnums=0)
    own = [aj.init(at.phi, learning_rate=RATE, zeta=1.0)]

    def run() -> None:
        own[0] = jax.block_until_ready(compiled(own[0], at.theta_hat, at.grad_sq))

    def answer() -> Arrays:
        return {"phi": np.asarray(own[0].phi), "rate": np.asarray(own[0].learning_rate)}

    return Entrant(run, answer)


def meta_formulas(round: Round) -> Entrant:
    """The same as the authors' code does it, in float32."""
    jax, at = on_device(round)

    @jax.jit
    def update(phi: Any, b: Any, g: Any, theta_hat: Any, grad_sq: Any) -> Any:
        for task in range(N_TASKS):
            smoothing = 1 / (task + 2)
            b = b + 0.5 * (theta_hat[task] - phi) ** 2 + RATE**2 * smoothing
            g = g + grad_sq[task] + smoothing
        return phi + (theta_hat.mean(0) - phi), jax.numpy.sqrt(b / g)

    b, g = (jax.numpy.full(N, value, np.float32) for value in (RATE**2, 1.0))
    return entrant(jax, lambda: update(at.phi, b, g, at.theta_hat, at.grad_sq), ("phi", "rate"))


def entrant(jax: Any, run: Any, names: tuple[str, ...]) -> Entrant:
    """Runs to the end, as JAX returns before it has computed; the first leaves are the answer."""
    return Entrant(
        lambda: jax.block_until_ready(run()),
        lambda: dict(zip(names, map(np.asarray, jax.tree.leaves(run())), strict=False)),
    )


WORKS = [
    Work(
        "step within a task, JAX, n = 2^20",
        inputs,
        step_answer,
        {"ours": our_step, "the authors' formulas, jit": step_formulas},
        n_bytes=24 * N,
    ),
    Work(
        "update for optax, JAX, n = 2^20",
        inputs,
        step_answer,
        {"ours": our_update, "the authors' formulas, jit": step_formulas},
        n_bytes=32 * N,  # with the rests of the updates, which the formulas do not keep
    ),
    Work(
        "meta-update, 5 tasks, JAX, n = 2^20",
        inputs,
        meta_answer,
        {"ours": our_meta, "the authors' formulas, jit": meta_formulas},
        n_bytes=(8 * N_TASKS + 56) * N,
        # A step of 1% of phi, rounded to float32 with it.
        tolerance=1e-4,
    ),
]


@cases(*WORKS)
def test_jax(benchmark, work, name):
    measure(benchmark, work, name)
