"""Does one pass over all arrays beat several? The element-wise steps against all who have one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import ml_dtypes
import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need

import aruba_fast as af

LARGE, SMALL = 1 << 24, 1000


class Inputs(NamedTuple):
    """One model: `state` is grad_sq for the first two rules and g for ARUBA++."""

    theta: np.ndarray
    grad: np.ndarray
    rate: np.ndarray
    state: np.ndarray


def inputs(n: int) -> Inputs:
    rng = np.random.default_rng(n)
    theta, grad = rng.standard_normal((2, n), np.float32)
    rate, state = rng.uniform(0.01, 0.1, (2, n)).astype(np.float32)
    return Inputs(theta, grad, rate, state + np.float32(1))


# ---- theta -= rate*grad; grad_sq += grad^2 -----------------------------------------------------


def ours(i: Inputs) -> Entrant:
    theta, state = i.theta.copy(), i.state.copy()
    return Entrant(
        lambda: af.step(theta, i.grad, i.rate, grad_sq=state),
        lambda: {"theta": theta, "state": state},
    )


def with_numba(i: Inputs) -> Entrant:
    numba = need("numba")
    theta, state = i.theta.copy(), i.state.copy()

    @numba.njit(parallel=True, fastmath=True)
    def step(theta, grad, rate, state):
        for j in numba.prange(theta.size):
            theta[j] -= rate[j] * grad[j]
            state[j] += grad[j] * grad[j]

    return Entrant(
        lambda: step(theta, i.grad, i.rate, state), lambda: {"theta": theta, "state": state}
    )


def with_numpy(i: Inputs) -> Entrant:
    theta, state, scratch = i.theta.copy(), i.state.copy(), np.empty_like(i.theta)

    def run() -> None:
        np.multiply(i.rate, i.grad, out=scratch)
        np.subtract(theta, scratch, out=theta)
        np.multiply(i.grad, i.grad, out=scratch)
        np.add(state, scratch, out=state)

    return Entrant(run, lambda: {"theta": theta, "state": state})


def torch_tensors(i: Inputs) -> list:
    return [need("torch").from_numpy(array.copy()) for array in i]


def with_torch(i: Inputs) -> Entrant:
    theta, grad, rate, state = torch_tensors(i)

    def run() -> None:
        theta.addcmul_(rate, grad, value=-1)
        state.addcmul_(grad, grad)

    return Entrant(run, lambda: {"theta": theta.numpy(), "state": state.numpy()})


def step_answer(i: Inputs) -> Arrays:
    theta, grad, rate, state = (array.astype(np.float64) for array in i)
    return {"theta": theta - rate * grad, "state": state + grad**2}


# ---- the same at rates that bfloat16 holds, which are read from there or from float32 -----------


def rounded(n: int) -> Inputs:
    i = inputs(n)
    return i._replace(rate=i.rate.astype(ml_dtypes.bfloat16).astype(np.float32))


def read_from(kind: type, keeps_sums: bool, i: Inputs) -> Entrant:
    theta, rate, state = i.theta.copy(), i.rate.astype(kind), i.state.copy()
    return Entrant(
        lambda: af.step(theta, i.grad, rate, grad_sq=state if keeps_sums else None),
        lambda: {"theta": theta} | ({"state": state} if keeps_sums else {}),
    )


def rounded_answer(keeps_sums: bool, i: Inputs) -> Arrays:
    answer = step_answer(i)
    return answer if keeps_sums else {"theta": answer["theta"]}


def at_rounded_rates(which: str, keeps_sums: bool, n_bytes: int) -> Work:
    return Work(
        f"step at bfloat16 rates{which}, n = 2^24",
        partial(rounded, LARGE),
        partial(rounded_answer, keeps_sums),
        {
            "ours": partial(read_from, ml_dtypes.bfloat16, keeps_sums),
            "ours, float32 rates": partial(read_from, np.float32, keeps_sums),
        },
        n_bytes=n_bytes * LARGE,
    )


# ---- AdaGrad: grad_sq += grad^2; theta -= rate*grad/sqrt(grad_sq) ------------------------------

ADAGRAD_RATE = 0.01


def our_adagrad(i: Inputs) -> Entrant:
    theta, state = i.theta.copy(), i.state.copy()
    return Entrant(
        lambda: af.adagrad_step(theta, i.grad, state, learning_rate=ADAGRAD_RATE, delta=1e-30),
        lambda: {"theta": theta, "state": state},
    )


def torch_adagrad(i: Inputs) -> Entrant:
    torch = need("torch")
    theta, grad, _, state = torch_tensors(i)
    theta.requires_grad_()
    theta.grad = grad
    optimizer = torch.optim.Adagrad([theta], lr=ADAGRAD_RATE, eps=0.0, fused=True)
    optimizer.state[theta]["sum"].copy_(state)
    return Entrant(
        optimizer.step,
        lambda: {
            "theta": theta.detach().numpy(),
            "state": optimizer.state[theta]["sum"].numpy(),
        },
    )


def adagrad_answer(i: Inputs) -> Arrays:
    theta, grad, _, state = (array.astype(np.float64) for array in i)
    state = state + grad**2
    return {"theta": theta - ADAGRAD_RATE * grad / np.sqrt(state), "state": state}


# ---- ARUBA++: eta = sqrt(b/g); g += coef*grad^2; theta -= eta*grad; b is in `rate` -------------

COEF = 0.1


def our_aruba(i: Inputs) -> Entrant:
    theta, g = i.theta.copy(), i.state.copy()
    return Entrant(
        lambda: af.aruba_step(theta, i.grad, i.rate, g, coef=COEF),
        lambda: {"theta": theta, "state": g},
    )


def reference_aruba(i: Inputs) -> Entrant:
    """The formulas of the authors' code, an allocation per operation as there."""
    theta, grad, b, g = torch_tensors(i)

    def run() -> None:
        eta = (b / g).sqrt()
        g.add_(COEF * grad.pow(2))
        theta.sub_(eta * grad)

    return Entrant(run, lambda: {"theta": theta.numpy(), "state": g.numpy()})


def aruba_answer(i: Inputs) -> Arrays:
    theta, grad, b, g = (array.astype(np.float64) for array in i)
    return {"theta": theta - np.sqrt(b / g) * grad, "state": g + COEF * grad**2}


STEP: dict[str, Callable[[Inputs], Entrant]] = {
    "ours": ours,
    "numba, fused loop": with_numba,
    "torch, two addcmul_": with_torch,
    "NumPy, out=": with_numpy,
}
WORKS = [
    Work(
        "fused step, n = 2^24",
        partial(inputs, LARGE),
        step_answer,
        STEP,
        n_bytes=24 * LARGE,
        at_least={"numba, fused loop": 1.0, "torch, two addcmul_": 1.1, "NumPy, out=": 3.0},
        share=0.95,
    ),
    Work(
        "fused step, n = 1000",
        partial(inputs, SMALL),
        step_answer,
        STEP,
        n_bytes=24 * SMALL,
        at_least={"NumPy, out=": 2.0},
    ),
    at_rounded_rates("", True, 22),
    at_rounded_rates(" without statistics", False, 14),
    Work(
        "AdaGrad step, n = 2^24",
        partial(inputs, LARGE),
        adagrad_answer,
        {"ours": our_adagrad, "torch.optim.Adagrad(fused=True)": torch_adagrad},
        n_bytes=20 * LARGE,
    ),
    Work(
        "ARUBA++ step, n = 2^24",
        partial(inputs, LARGE),
        aruba_answer,
        {"ours": our_aruba, "torch, the reference's formulas": reference_aruba},
        n_bytes=24 * LARGE,
    ),
]


@cases(*WORKS)
def test_step(benchmark, work, name):
    measure(benchmark, work, name)
