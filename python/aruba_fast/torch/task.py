"""`TaskOptimizer`: the step within a task, for a whole model in one native call."""

from collections.abc import Callable
from types import NoneType
from typing import TYPE_CHECKING, Any

import torch

from .. import _core

if TYPE_CHECKING:
    from .meta import MetaOptimizer

Closure = Callable[[], Any]


class TaskOptimizer(torch.optim.Optimizer):
    """Moves the parameters of a model at the meta-learned rates; made by `MetaOptimizer`.

        within `task()`            grad_sq <- grad_sq + grad^2;  theta <- theta - eta grad
        `optimizer(coef=c)`        eta = sqrt(b) / sqrt(g');  g' <- g' + c grad^2;
                                   theta <- theta - eta grad

    Every operation on `.grad` before `step` is part of the gradient that is squared: unscale
    (`GradScaler` does so in its `step`), then clip, then step. Several backward passes before one
    step are one gradient, their sum. A parameter whose `.grad` is None stays as it is. Gradients
    may be bfloat16 or float16, sparse, and of any strides. Parameters of less than float32, and
    those that are not contiguous, have a master copy of full precision for the length of the task.

    Args:
        meta: The meta-learner that hands it out.
        rates: For every parameter its rates, or with `coef` its b.
        state: For every parameter its sums of squared gradients, or with `coef` its g'; None to
            keep none.
        coef: None for plain steps, a float for ARUBA++.

    Example:
        >>> import torch, aruba_fast.torch
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> meta = aruba_fast.torch.MetaOptimizer([weight], learning_rate=0.25)
        >>> with meta.task() as optimizer:
        ...     weight.square().sum().backward()
        ...     optimizer.step()
        ...     print(weight.tolist())
        [0.5, 0.5]
        >>> weight.tolist()
        [1.0, 1.0]

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    def __init__(
        self,
        meta: "MetaOptimizer",
        rates: list[torch.Tensor],
        state: list[torch.Tensor] | None,
        coef: float | None,
    ) -> None:
        super().__init__([{"params": group["params"]} for group in meta.param_groups], {})
        self._meta, self._rates, self._sums, self._coef = meta, rates, state, coef

    def step(self, closure: Closure | None = None) -> Any:
        """Does one step with the gradients that the parameters hold.

        Args:
            closure: Evaluates the model, and returns the loss; None if the gradients are there.

        Returns:
            What `closure` returned, or None.

        Raises:
            RuntimeError: This optimizer's task has ended.
            TypeError: A gradient is of the wrong type or on another device. Nothing was changed.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
            >>> optimizer = meta.optimizer(coef=3.0)
            >>> for _ in range(2):
            ...     weight.grad = torch.ones(1)
            ...     optimizer.step()
            >>> weight.item()
            -0.5
        """
        meta = self._meta
        if meta._active is not self:
            raise RuntimeError(
                "TaskOptimizer.step: the optimizer must be the one in use: got one whose task has "
                "ended, expected that of the open `task()` or the last `optimizer()`"
            )
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        grads: list[Any] = [p.grad for p in meta._parameters.tensors]
        for i in meta._parameters.scalars:
            grads[i] = None if grads[i] is None else grads[i].reshape(1)
        lists = [meta._where, grads, self._rates]
        if self._sums is not None:
            lists.append(self._sums)
        if NoneType in map(type, lists[1]):
            used = [i for i, grad in enumerate(lists[1]) if grad is not None]
            lists = [[values[i] for i in used] for values in lists]
            if not used:
                return loss
        try:
            self._move(*lists)
        except TypeError:
            # A failed call changed nothing. Asking every gradient for its layout would cost more
            # than all other work on a small tensor.
            if all(grad.layout is torch.strided for grad in lists[1]):
                raise
            lists[1] = [grad.to_dense() for grad in lists[1]]
            self._move(*lists)
        meta._publish()
        return loss

    def _move(
        self,
        theta: list[torch.Tensor],
        grad: list[torch.Tensor],
        rates: list[torch.Tensor],
        state: list[torch.Tensor] | None = None,
    ) -> None:
        if self._coef is None:
            _core.step(theta, grad, rates, grad_sq=state)
        elif state is not None:
            _core.aruba_step(theta, grad, rates, state, coef=self._coef)
