"""The steps as operators of PyTorch, for one tensor: `torch.ops.aruba_fast.step` and so on.

`step`, `aruba_step`, `adagrad_step` and `adam_step` return new tensors; `step_` and so on write
in place. They trace, compile and export, and have no derivative. Tensors may be in host memory
or on a CUDA device; the equations are those of `aruba_fast.step` and so on.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import steps


def _plain(*tensors: Tensor) -> list[Tensor]:
    """The same memory, of which autograd knows nothing: device arrays are handed over only so."""
    return [tensor.detach() for tensor in tensors]


def _operators(step: Callable[..., None], state: str) -> tuple[Any, Any]:
    """Registers a step that writes theta and `state`, and its twin that returns them instead."""
    signature = inspect.signature(step)
    written = (0, list(signature.parameters).index(state))
    like = torch.contiguous_format

    def twin(*given: Any) -> tuple[Tensor, ...]:
        args = list(given)
        for i in written:
            args[i] = given[i].detach().clone(memory_format=like)
        step(*args)
        return tuple(args[i] for i in written)

    def shapes(*args: Any) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(args[i], memory_format=like) for i in written)

    # What the schema is made of.
    twin.__signature__ = signature.replace(  # type: ignore[attr-defined]
        return_annotation=tuple[Tensor, Tensor]
    )
    name = f"aruba_fast::{step.__name__.removeprefix('_')}"
    in_place = torch.library.custom_op(f"{name}_", step, mutates_args=("theta", state))
    in_place.register_fake(lambda *_: None)
    returning = torch.library.custom_op(name, twin, mutates_args=())
    returning.register_fake(shapes)
    return in_place, returning


def _step(theta: Tensor, grad: Tensor, learning_rate: Tensor, grad_sq: Tensor) -> None:
    """`learning_rate` as `theta`, of its last dimension, or of none."""
    # One rate for all, as a tensor without dimensions, is spread over theta: no value is read.
    whole = learning_rate.ndim > 0
    rates = learning_rate if whole else learning_rate.expand_as(theta).contiguous()
    theta, grad, rates, grad_sq = _plain(theta, grad, rates, grad_sq)
    steps.step(theta, grad, rates, grad_sq=grad_sq)


def _aruba_step(theta: Tensor, grad: Tensor, b: Tensor, g: Tensor, coef: float) -> None:
    steps.aruba_step(*_plain(theta, grad, b, g), coef=coef)


def _adagrad_step(
    theta: Tensor, grad: Tensor, grad_sq: Tensor, learning_rate: float, delta: float
) -> None:
    steps.adagrad_step(*_plain(theta, grad, grad_sq), learning_rate=learning_rate, delta=delta)


def _adam_step(
    theta: Tensor,
    grad: Tensor,
    mean_sq: Tensor,
    t: int,
    learning_rate: float,
    beta2: float,
    eps: float,
) -> None:
    steps.adam_step(
        *_plain(theta, grad, mean_sq), t=t, learning_rate=learning_rate, beta2=beta2, eps=eps
    )


step_, step = _operators(_step, "grad_sq")
aruba_step_, aruba_step = _operators(_aruba_step, "g")
adagrad_step_, adagrad_step = _operators(_adagrad_step, "grad_sq")
adam_step_, adam_step = _operators(_adam_step, "mean_sq")
