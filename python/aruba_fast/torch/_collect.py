"""Statistics of a task whose steps another optimizer does, through hooks on its step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .. import _core


class Collector:
    """Adds the square of every gradient that an optimizer is about to use to `grad_sq`.

    Args:
        parameters: The parameters of the meta-learner.
        grad_sq: For every parameter the sum of its squared gradients, changed.
        scratch: As `grad_sq`; its values are lost.
    """

    def __init__(
        self,
        parameters: list[torch.Tensor],
        grad_sq: list[torch.Tensor],
        scratch: list[torch.Tensor],
    ) -> None:
        self._all = list(zip(parameters, grad_sq, scratch, strict=True))

    @contextmanager
    def watching(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Collects from `optimizer` within the context."""
        ours = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self._watched = [entry for entry in self._all if id(entry[0]) in ours]
        if not self._watched:
            raise ValueError(
                "MetaOptimizer.task: `optimizer` must move parameters of the model: got "
                f"{type(optimizer).__name__} with none of them, expected at least 1"
            )
        handle = optimizer.register_step_pre_hook(self._before_step)
        try:
            yield
        finally:
            handle.remove()

    def _before_step(
        self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        arguments = list(args)
        in_args = len(arguments) > 1 and callable(arguments[1])  # the first one is the optimizer
        closure = arguments[1] if in_args else kwargs.get("closure")
        if closure is None:
            self._add(optimizer)
            return None

        # The gradients come with the closure: every evaluation of it, a line search's too, counts.
        def counted() -> Any:
            loss = closure()
            self._add(optimizer)
            return loss

        if in_args:
            arguments[1] = counted
        else:
            kwargs = {**kwargs, "closure": counted}
        return tuple(arguments), kwargs

    def _add(self, optimizer: Any) -> None:
        # A GradScaler leaves it to fused optimizers to unscale, and to skip a step with infinities.
        scale, found_inf = (getattr(optimizer, key, None) for key in ("grad_scale", "found_inf"))
        if found_inf is not None and bool(found_inf):
            return
        used = [entry for entry in self._watched if entry[0].grad is not None]
        if not used:
            return
        grads: list[Any] = [entry[0].grad.detach() for entry in used]
        grads = [g if g.layout is torch.strided else g.to_dense() for g in grads]
        grads = [g if g.ndim else g.reshape(1) for g in grads]
        if scale is not None:
            inverse = scale.double().reciprocal().float()
            grads = [grad * inverse.to(grad.device) for grad in grads]
        # A step at rate 0 of nothing: the squares are then summed as in every other step.
        _core.step([s for _, _, s in used], grads, 0.0, grad_sq=[q for _, q, _ in used])
