"""Statistics of a task whose steps another optimizer does, through hooks on its step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from .._step_plan import Planned, planned
from ._errors import renamed, warn
from ._fixed import Fixed
from ._parameters import local
from .task import NO_GRADIENT

_NAME = "MetaOptimizer.task"


class Collector:
    """Adds the square of every gradient that an optimizer is about to use to `grad_sq`.

    Every optimizer of the parameters is listened to, not only the one that is named: a wrapper such
    as SAM leaves the step to another one, and where it has a `first_step` and a `second_step`, that
    of the other one is the only step there is. A step within a step is not counted again.

    Args:
        parameters: The parameters of the meta-learner.
        grad_sq: For every parameter the sum of its squared gradients, changed.
        scratch: As `grad_sq`; its values are lost.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        grad_sq: list[torch.Tensor],
        scratch: list[torch.Tensor],
    ) -> None:
        self._all = list(zip(range(len(parameters)), parameters, grad_sq, scratch, strict=True))
        # The sums of the last step's parameters.
        self._known: tuple[list[int], Planned] | None = None

    @contextmanager
    def watching(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Collects from `optimizer` within the context."""
        self._watched: dict[int, tuple[Any, list[Any]]] = {}
        self._seen: set[int] = set()
        self._depth = 0
        groups = getattr(optimizer, "param_groups", None)
        is_one = hasattr(optimizer, "step") and isinstance(groups, (list, tuple))
        if not is_one or isinstance(optimizer, Fixed):
            raise TypeError(
                f"{_NAME}: `optimizer` must be an optimizer of PyTorch: got "
                f"{type(optimizer).__name__}, expected torch.optim.SGD(...) or another"
            )
        if not self._entries(optimizer):
            raise ValueError(
                f"{_NAME}: `optimizer` must move parameters of the model: got "
                f"{type(optimizer).__name__} with none of them, expected at least 1"
            )
        before = register_optimizer_step_pre_hook(self._before_step)
        after = register_optimizer_step_post_hook(self._after_step)
        try:
            yield
        finally:
            before.remove()
            after.remove()
        if self._depth:
            raise RuntimeError(
                f"{_NAME}: no step may fail within a task: got one of "
                f"{type(optimizer).__name__} that raised, so that its gradients may not have been "
                "used, expected a task without it; this one is dropped"
            )

    def unseen(self) -> list[int]:
        """Returns the parameters of which no gradient was seen in the last context."""
        return [entry[0] for entry in self._all if entry[0] not in self._seen]

    def _entries(self, optimizer: Any) -> list[Any]:
        """What is kept of the parameters that an optimizer moves."""
        known = self._watched.get(id(optimizer))
        if known is None:
            groups = [] if isinstance(optimizer, Fixed) else optimizer.param_groups
            ours = {id(p) for group in groups for p in group["params"]}
            known = optimizer, [entry for entry in self._all if id(entry[1]) in ours]
            self._watched[id(optimizer)] = known
        return known[1]

    def _after_step(self, optimizer: Any, *_: Any) -> None:
        if self._entries(optimizer):
            self._depth -= 1

    def _before_step(
        self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not self._entries(optimizer):
            return None
        self._depth += 1
        if self._depth > 1:
            return None
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
        used = [entry for entry in self._entries(optimizer) if entry[1].grad is not None]
        if not used:
            warn(f"{_NAME}: {NO_GRADIENT}")
            return
        self._seen.update(entry[0] for entry in used)
        grads: list[Any] = [local(entry[1].grad) for entry in used]
        grads = [g if g.layout is torch.strided else g.to_dense() for g in grads]
        grads = [g if g.ndim else g.reshape(1) for g in grads]
        if scale is not None:
            inverse = scale.double().reciprocal().float()
            grads = [grad * inverse.to(grad.device) for grad in grads]
        numbers = [entry[0] for entry in used]
        try:
            if self._known is None or self._known[0] != numbers:
                # A step at rate 0 of nothing: squares are then summed as in every other step.
                nothing, grad_sq = [entry[3] for entry in used], [entry[2] for entry in used]
                plan = planned("step", nothing, None, None, grad_sq, (0.0,), is_private=True)
                self._known = numbers, plan
            self._known[1].step(grads, None)
        except (TypeError, ValueError) as error:
            raise renamed(error, _NAME, numbers) from None
