"""The steps as operators of PyTorch, for one tensor: `torch.ops.aruba_fast.step` and so on.

`step`, `aruba_step`, `adagrad_step` and `adam_step` return what their twins `step_` and so on
write in place. They trace, compile and export; they have no derivative. Tensors in
host memory and on CUDA devices; the equations are those of `aruba_fast.step` and so on.
"""

import torch
from torch import Tensor

from .. import steps


def _plain(*tensors: Tensor) -> list[Tensor]:
    """The same memory, of which autograd knows nothing: device arrays are handed over only so."""
    return [tensor.detach() for tensor in tensors]


def _step(theta: Tensor, grad: Tensor, rate: Tensor, grad_sq: Tensor) -> None:
    # One rate for all, as a tensor without dimensions, is spread over theta: no value is read.
    rates = rate.expand_as(theta).contiguous() if rate.ndim == 0 else rate
    theta, grad, rates, grad_sq = _plain(theta, grad, rates, grad_sq)
    steps.step(theta, grad, rates, grad_sq=grad_sq)


@torch.library.custom_op("aruba_fast::step_", mutates_args=("theta", "grad_sq"))
def step_(theta: Tensor, grad: Tensor, learning_rate: Tensor, grad_sq: Tensor) -> None:
    """`aruba_fast.step` in place; `learning_rate` as `theta`, of its last dimension, or of none."""
    _step(theta, grad, learning_rate, grad_sq)


@torch.library.custom_op("aruba_fast::aruba_step_", mutates_args=("theta", "g"))
def aruba_step_(theta: Tensor, grad: Tensor, b: Tensor, g: Tensor, coef: float) -> None:
    """`aruba_fast.aruba_step` in place."""
    steps.aruba_step(*_plain(theta, grad, b, g), coef=coef)


@torch.library.custom_op("aruba_fast::adagrad_step_", mutates_args=("theta", "grad_sq"))
def adagrad_step_(
    theta: Tensor, grad: Tensor, grad_sq: Tensor, learning_rate: float, delta: float
) -> None:
    """`aruba_fast.adagrad_step` in place."""
    steps.adagrad_step(*_plain(theta, grad, grad_sq), learning_rate=learning_rate, delta=delta)


@torch.library.custom_op("aruba_fast::adam_step_", mutates_args=("theta", "mean_sq"))
def adam_step_(
    theta: Tensor,
    grad: Tensor,
    mean_sq: Tensor,
    t: int,
    learning_rate: float,
    beta2: float,
    eps: float,
) -> None:
    """`aruba_fast.adam_step` in place."""
    steps.adam_step(
        *_plain(theta, grad, mean_sq), t=t, learning_rate=learning_rate, beta2=beta2, eps=eps
    )


def _copies(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.detach().clone(memory_format=torch.contiguous_format) for t in tensors)


@torch.library.custom_op("aruba_fast::step", mutates_args=())
def step(
    theta: Tensor, grad: Tensor, learning_rate: Tensor, grad_sq: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns theta and grad_sq after `aruba_fast.step`."""
    theta, grad_sq = _copies(theta, grad_sq)
    _step(theta, grad, learning_rate, grad_sq)
    return theta, grad_sq


@torch.library.custom_op("aruba_fast::aruba_step", mutates_args=())
def aruba_step(
    theta: Tensor, grad: Tensor, b: Tensor, g: Tensor, coef: float
) -> tuple[Tensor, Tensor]:
    """Returns theta and g after `aruba_fast.aruba_step`."""
    theta, g = _copies(theta, g)
    steps.aruba_step(*_plain(theta, grad, b, g), coef=coef)
    return theta, g


@torch.library.custom_op("aruba_fast::adagrad_step", mutates_args=())
def adagrad_step(
    theta: Tensor, grad: Tensor, grad_sq: Tensor, learning_rate: float, delta: float
) -> tuple[Tensor, Tensor]:
    """Returns theta and grad_sq after `aruba_fast.adagrad_step`."""
    theta, grad_sq = _copies(theta, grad_sq)
    steps.adagrad_step(*_plain(theta, grad, grad_sq), learning_rate=learning_rate, delta=delta)
    return theta, grad_sq


@torch.library.custom_op("aruba_fast::adam_step", mutates_args=())
def adam_step(
    theta: Tensor,
    grad: Tensor,
    mean_sq: Tensor,
    t: int,
    learning_rate: float,
    beta2: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Returns theta and mean_sq after `aruba_fast.adam_step`."""
    theta, mean_sq = _copies(theta, mean_sq)
    steps.adam_step(
        *_plain(theta, grad, mean_sq), t=t, learning_rate=learning_rate, beta2=beta2, eps=eps
    )
    return theta, mean_sq


def _shapes(theta: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What the operators return, without values."""
    like = torch.contiguous_format
    return torch.empty_like(theta, memory_format=like), torch.empty_like(state, memory_format=like)


@step.register_fake
def _(theta: Tensor, grad: Tensor, learning_rate: Tensor, grad_sq: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return _shapes(theta, grad_sq)


@aruba_step.register_fake
def _(theta: Tensor, grad: Tensor, b: Tensor, g: Tensor, coef: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return _shapes(theta, g)


@adagrad_step.register_fake
def _(
    theta: Tensor,
    grad: Tensor,  # noqa: ARG001
    grad_sq: Tensor,
    learning_rate: float,  # noqa: ARG001
    delta: float,  # noqa: ARG001
) -> tuple[Tensor, Tensor]:
    return _shapes(theta, grad_sq)


@adam_step.register_fake
def _(theta: Tensor, grad: Tensor, mean_sq: Tensor, *_: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return _shapes(theta, mean_sq)


@step_.register_fake
@aruba_step_.register_fake
@adagrad_step_.register_fake
@adam_step_.register_fake
def _(*_: object) -> None:
    """Nothing is returned, and no shape changes."""
