"""Are the element-wise steps as fast as the device copies memory, and faster than rivals?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from bench_step import ADAGRAD_RATE, COEF, adagrad_answer, aruba_answer, step_answer
from bench_step import inputs as host_inputs
from gpu_device import Device
from race import Arrays, Entrant, Work, need

import aruba_fast as af

SGD_RATE = 0.05
N_TENSORS, SIZE = 1000, 1000  # a model of many small tensors


class Inputs(NamedTuple):
    """One model: the first numbers on the host, and all of them on the device."""

    device: Device
    host: Any
    n: int
    grad: Any
    rate: Any

    def fresh(self) -> tuple[Any, Any]:
        """A theta and its accumulator, for one entrant alone."""
        return tuple(self.device.tiled(a, self.n) for a in (self.host.theta, self.host.state))

    def answer(self, **arrays: Any) -> Arrays:
        """The first period of each array, if all periods are the same bits; else nan."""
        out, period = {}, self.device.period
        for name, array in arrays.items():
            values = self.device.host(array).ravel()
            first = values[:period]
            same = all(
                np.array_equal(values[at : at + period], first[: self.n - at])
                for at in range(0, self.n, period)
            )
            out[name] = first if same else np.full_like(first, np.nan)
        return out


def inputs(device: Device, n: int) -> Inputs:
    host = host_inputs(min(n, device.period))
    return Inputs(device, host, n, device.tiled(host.grad, n), device.tiled(host.rate, n))


# ---- theta -= rate*grad; grad_sq += grad^2 -----------------------------------------------------


def ours(i: Inputs) -> Entrant:
    theta, state = i.fresh()
    return Entrant(
        lambda: af.step(theta, i.grad, i.rate, grad_sq=state),
        lambda: i.answer(theta=theta, state=state),
    )


def replayed(i: Inputs) -> Entrant:
    """The same call as a CUDA graph; capturing runs it once, which the answer starts after."""
    theta, state = i.fresh()
    run = i.device.captured(lambda: af.step(theta, i.grad, i.rate, grad_sq=state))
    for array, start in zip((theta, state), i.fresh(), strict=True):
        array.data.copy_from_device(start.data, start.nbytes)
    return Entrant(run, lambda: i.answer(theta=theta, state=state))


def with_elementwise(i: Inputs) -> Entrant:
    """CuPy, the same fused loop written by hand."""
    kernel = i.device.cupy().ElementwiseKernel(
        "float32 grad, float32 rate",
        "float32 theta, float32 state",
        "theta -= rate * grad; state += grad * grad",
        "aruba_rival",
    )
    theta, state = i.fresh()
    return Entrant(
        lambda: kernel(i.grad, i.rate, theta, state), lambda: i.answer(theta=theta, state=state)
    )


def with_fuse(i: Inputs) -> Entrant:
    cupy = i.device.cupy()
    theta, state = i.fresh()

    @cupy.fuse()
    def step(theta, grad, rate, state):
        theta -= rate * grad
        state += grad * grad

    return Entrant(
        lambda: step(theta, i.grad, i.rate, state), lambda: i.answer(theta=theta, state=state)
    )


def with_torch(i: Inputs) -> Entrant:
    arrays = (*i.fresh(), i.grad, i.rate)
    theta, state, grad, rate = (i.device.torch(a) for a in arrays)

    def run() -> None:
        theta.addcmul_(rate, grad, value=-1)
        state.addcmul_(grad, grad)

    return Entrant(run, lambda: i.answer(theta=arrays[0], state=arrays[1]))


def step_expected(i: Inputs) -> Arrays:
    return step_answer(i.host)


# ---- one rate and no statistics: what torch.optim.SGD does -------------------------------------


def our_sgd(i: Inputs) -> Entrant:
    theta, _ = i.fresh()
    return Entrant(lambda: af.step(theta, i.grad, SGD_RATE), lambda: i.answer(theta=theta))


def torch_sgd(i: Inputs, **options: bool) -> Entrant:
    array, _ = i.fresh()
    optimizer = optimizer_of(i, "SGD", array, lr=SGD_RATE, **options)
    return Entrant(optimizer.step, lambda: i.answer(theta=array))


def optimizer_of(i: Inputs, name: str, array: Any, **options: Any) -> Any:
    theta = i.device.torch(array).requires_grad_()
    theta.grad = i.device.torch(i.grad)
    return getattr(need("torch").optim, name)([theta], **options)


def sgd_expected(i: Inputs) -> Arrays:
    theta, grad = i.host.theta.astype(np.float64), i.host.grad.astype(np.float64)
    return {"theta": theta - SGD_RATE * grad}


# ---- AdaGrad and ARUBA++ -----------------------------------------------------------------------


def our_adagrad(i: Inputs) -> Entrant:
    theta, state = i.fresh()
    return Entrant(
        lambda: af.adagrad_step(theta, i.grad, state, learning_rate=ADAGRAD_RATE, delta=1e-30),
        lambda: i.answer(theta=theta, state=state),
    )


def torch_adagrad(i: Inputs) -> Entrant:
    arrays = i.fresh()
    optimizer = optimizer_of(i, "Adagrad", arrays[0], lr=ADAGRAD_RATE, eps=0.0, foreach=True)
    (parameter,) = optimizer.state
    optimizer.state[parameter]["sum"] = i.device.torch(arrays[1])
    return Entrant(optimizer.step, lambda: i.answer(theta=arrays[0], state=arrays[1]))


def our_aruba(i: Inputs) -> Entrant:
    theta, g = i.fresh()
    return Entrant(
        lambda: af.aruba_step(theta, i.grad, i.rate, g, coef=COEF),
        lambda: i.answer(theta=theta, state=g),
    )


def reference_aruba(i: Inputs) -> Entrant:
    """The formulas of the authors' code, an allocation per operation as there."""
    arrays = (*i.fresh(), i.grad, i.rate)
    theta, g, grad, b = (i.device.torch(a) for a in arrays)

    def run() -> None:
        eta = (b / g).sqrt()
        g.add_(COEF * grad.pow(2))
        theta.sub_(eta * grad)

    return Entrant(run, lambda: i.answer(theta=arrays[0], state=arrays[1]))


# ---- a model of many tensors in one call -------------------------------------------------------


def split(array: Any) -> list[Any]:
    return [array[at : at + SIZE] for at in range(0, array.size, SIZE)]


def our_tensors(i: Inputs, capture: bool = False) -> Entrant:
    theta, state = i.fresh()
    lists = [split(a) for a in (theta, i.grad, i.rate, state)]

    def run() -> None:
        af.step(*lists[:3], grad_sq=lists[3])

    if capture:
        replay = i.device.captured(run)
        for array, start in zip((theta, state), i.fresh(), strict=True):
            array.data.copy_from_device(start.data, start.nbytes)
        return Entrant(replay, lambda: i.answer(theta=theta, state=state))
    return Entrant(run, lambda: i.answer(theta=theta, state=state))


def torch_foreach(i: Inputs) -> Entrant:
    torch = need("torch")
    arrays = (*i.fresh(), i.grad, i.rate)
    theta, state, grad, rate = ([*i.device.torch(a).split(SIZE)] for a in arrays)

    def run() -> None:
        torch._foreach_addcmul_(theta, rate, grad, value=-1)
        torch._foreach_addcmul_(state, grad, grad)

    return Entrant(run, lambda: i.answer(theta=arrays[0], state=arrays[1]))


STEP: dict[str, Callable[[Inputs], Entrant]] = {
    "ours": ours,
    "ours, CUDA graph": replayed,
    "CuPy, ElementwiseKernel": with_elementwise,
    "CuPy, fuse": with_fuse,
    "torch, two addcmul_": with_torch,
}


def works(device: Device) -> list[Work]:
    exponents = (10, 13) if device.dry else (10, 12, 14, 16, 18, 20, 22, 24, 26, 28)
    large = 1 << (12 if device.dry else 26)
    tensors = SIZE * (5 if device.dry else N_TENSORS)
    out = [
        Work(
            f"fused step, n = 2^{exponent}",
            partial(inputs, device, 1 << exponent),
            step_expected,
            STEP,
            n_bytes=24 << exponent,
            share=0.9 if exponent >= 24 else 0.0,
        )
        for exponent in exponents
    ]
    others = (
        ("SGD step, one rate", sgd_expected, 12, {
            "ours": our_sgd,
            "torch.optim.SGD(fused=True)": partial(torch_sgd, fused=True),
            "torch.optim.SGD(foreach=True)": partial(torch_sgd, foreach=True),
        }),
        ("AdaGrad step", lambda i: adagrad_answer(i.host), 20, {
            "ours": our_adagrad, "torch.optim.Adagrad(foreach=True)": torch_adagrad,
        }),
        ("ARUBA++ step", lambda i: aruba_answer(i.host), 24, {
            "ours": our_aruba, "torch, the reference's formulas": reference_aruba,
        }),
    )  # fmt: skip
    out += [
        Work(
            f"{name}, n = {large}",
            partial(inputs, device, large),
            expected,
            build,
            n_bytes=n_bytes * large,
            share=0.9,
        )
        for name, expected, n_bytes, build in others
    ]
    out.append(
        Work(
            f"{tensors // SIZE} tensors x {SIZE}, one call",
            partial(inputs, device, tensors),
            step_expected,
            {
                "ours": our_tensors,
                "ours, CUDA graph": partial(our_tensors, capture=True),
                "ours, one flat array": ours,
                "torch, _foreach_addcmul_": torch_foreach,
            },
            n_bytes=24 * tensors,
        )
    )
    return out
