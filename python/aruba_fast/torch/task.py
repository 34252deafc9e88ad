"""`TaskOptimizer`: the step within a task, for a whole model in one native call."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

import torch

from .._step_plan import Planned, planned
from ._errors import renamed, warn
from ._fixed import Fixed
from ._parameters import Parameters

# For one of them that is usual; for all of them it is a model that they no longer belong to.
NO_GRADIENT = (
    "a parameter must have a gradient: got None in all of them, so that nothing moves, expected "
    "`backward()` before, of a model that still holds these parameters: one that was given others, "
    "as by load_state_dict(assign=True), needs a new MetaOptimizer"
)
Closure = Callable[[], Any]


class Owner(Protocol):
    """What a `TaskOptimizer` needs of the `MetaOptimizer` that made it.

    Attributes:
        param_groups: The groups of the parameters.
        _active: The optimizer whose steps count now.
        _parameters: The parameters that are learned.
        _where: What is moved for each of them, itself or its master copy.
        _copied: Numbers of those with a master copy.
    """

    param_groups: list[dict[str, Any]]
    _active: object
    _parameters: Parameters
    _where: list[torch.Tensor]
    _copied: list[int]

    def _fold_written(self) -> None:
        """Takes into the masters what others have written to their parameters."""

    def _publish(self) -> None:
        """Copies the masters to their parameters."""


class TaskOptimizer(Fixed):
    """Moves the parameters of a model at the meta-learned rates; made by `MetaOptimizer`.

        within `task()`            grad_sq <- grad_sq + grad^2;  theta <- theta - eta grad
        `rule(coef=c)`             eta = sqrt(b) / sqrt(g');  g' <- g' + c grad^2;
                                   theta <- theta - eta grad

    Every operation on `.grad` before `step` is part of the gradient that is squared: unscale
    (`GradScaler` does so in its `step`), then clip, then step. Several backward passes before one
    step are one gradient, their sum. A parameter whose `.grad` is None stays as it is. Gradients
    may be bfloat16 or float16, sparse, and of any strides. Parameters of less than float32, and
    those that are not contiguous, have a master copy of full precision for the length of the task.

    Args:
        meta: The meta-learner that hands it out.
        rates: For every parameter its rates, or with `coef` its b; of float32 parameters in host
            memory also in bfloat16, as `step` of NumPy's arrays takes them.
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

    _owner = "TaskOptimizer"
    _schedule = (
        "`meta.learning_rate` to read them, or an optimizer of your own with its scheduler in "
        "`meta.task(optimizer=...)`"
    )
    # That of a copy: never the one in use.
    _meta: Any = SimpleNamespace(_active=None)
    # The plan of the last step: of which tensors, of which of them, and itself.
    _known: tuple[list[torch.Tensor], Sequence[int], Planned] | None = None

    def __init__(
        self,
        meta: Owner,
        rates: list[torch.Tensor],
        state: list[torch.Tensor] | None,
        coef: float | None,
    ) -> None:
        super().__init__([{"params": group["params"]} for group in meta.param_groups], {})
        self._meta, self._rates, self._sums, self._coef = meta, rates, state, coef
        self._forget_seen()

    def _forget_seen(self) -> None:
        """Starts to notice anew which parameters get a gradient."""
        self._all_seen, self._seen = False, set[int]()

    def _unseen(self) -> list[int]:
        """Returns the parameters that have not got a gradient in any step since."""
        if self._all_seen:
            return []
        return [i for i in range(len(self._rates)) if i not in self._seen]

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
            >>> meta = aruba_fast.torch.MetaOptimizer([weight], learning_rate=1.0, zeta=1.0)
            >>> optimizer = meta.rule(coef=3.0)
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
                "ended, expected that of the open `task()` or the last `rule()`"
            )
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if meta._copied:
            meta._fold_written()
        grads, has_none = meta._parameters.grads()
        used: Sequence[int] = range(len(grads))
        if has_none:
            used = [i for i, grad in enumerate(grads) if grad is not None]
            grads = [grads[i] for i in used]
            if not used:
                warn(f"TaskOptimizer.step: {NO_GRADIENT}")
                return loss
            self._seen.update(used)
        else:
            self._all_seen = True
        try:
            self._plan(used).step(grads, None)
        except (TypeError, ValueError) as error:
            # A failed call changed nothing. Asking every gradient for its layout would cost more
            # than all other work on a small tensor.
            if all(grad.layout is torch.strided for grad in grads):
                raise renamed(error, "TaskOptimizer.step", used) from None
            self._plan(used).step([grad.to_dense() for grad in grads], None)
        meta._publish()
        meta._parameters.written(used)
        return loss

    def _plan(self, used: Sequence[int]) -> Planned:
        """Returns the step of these parameters: of their gradients alone it knows nothing yet."""
        where, known = self._meta._where, self._known
        if known is not None and known[0] is where and known[1] == used:
            return known[2]
        theta, rates = ([values[i] for i in used] for values in (where, self._rates))
        state = None if self._sums is None else [self._sums[i] for i in used]
        function, numbers = ("step", ()) if self._coef is None else ("aruba_step", (self._coef,))
        plan = planned(function, theta, None, None, state, (rates, *numbers), is_private=True)
        self._known = where, used, plan
        return plan
