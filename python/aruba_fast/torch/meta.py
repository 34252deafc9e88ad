"""`MetaOptimizer`: learns the initialization and the rates of a PyTorch model across tasks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from .. import _check, _divergence
from .._deprecated import warn_renamed
from ..learner import MetaStep
from ..rules import OGD, ArubaPlusPlus
from ..statistics import TaskStatistics
from ._buffers import Buffers
from ._errors import renamed
from ._flat import FlatState
from ._following import Following
from ._groups import HYPERPARAMETERS, blocks_of, trainable, wholes_of
from ._parameters import array, tensor
from ._running import rate_type_of
from .task import TaskOptimizer

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_NAME = "MetaOptimizer"
_REMEDY = "inputs of one scale, or a smaller `learning_rate` where one was given"
# So much of g that no task's own gradients count beside it.
_STAYS = 2.0**96


class MetaOptimizer(Following):
    """Learns where a model starts a task, and how fast each of its weights moves, by ARUBA.

    The equations are those of `aruba_fast.MetaLearner` on the concatenation of all parameters that
    require a gradient, in their order, each flattened row by row: the same numbers, bit for bit,
    with `tensors` their sizes. Between tasks the parameters hold the initialization phi. Make it
    when the model is initialized, and on its device. Like the model, it belongs to one thread at a
    time.

    Nothing has to be chosen. The first 30 to 51 tasks find the first rate: they run at the rates of
    a grid, from rates that move no weight up to those where gradients begin to grow, and nothing
    else is learned from them. Then b and g are smoothed by one average task for each parameter. A
    task that spreads more than ten times as far as an average one is shortened. A task that is not
    finite is left out, and lowers all rates until other tasks count again.

    Args:
        params: Parameters, named parameters or parameter groups, as every optimizer's. A group may
            have hyperparameters of its own, by the names below, and is then learned by itself.
            A parameter that does not require a gradient now is never learned or changed. They are
            float32, bfloat16 and float16 (learned as float32), or float64. Of parameters sharded by
            FSDP2 each process learns its shards; sums over all weights are those of all processes.
        learning_rate: First learning rate, > 0; "auto" to find it, for which tasks must have
            several steps.
        zeta: "auto" to smooth by one average task; or the paper's smoothing of the squared
            gradients, > 0.
        p: Exponent of the smoothing schedule, >= 0; unused if `zeta` is "auto".
        decay: Share of the past that every task discounts, in [0, 1).
        isotropic: False for a rate a coordinate, True for one rate a group, "tensor" for one a
            parameter tensor.
        max_learning_rate: Upper limit of the learning rate, > 0, or None.
        bound: As `MetaLearner`: "tight", "blog", or "auto" for the tight one unless `zeta` is a
            number. The larger rates of the tight bound train phi of a network faster.
        train: As `MetaLearner`: "learned", or "scalar" to train tasks at one rate.
        buffers: `model.buffers()`: every task then starts with the buffers as they were before the
            first task, and they are restored with phi. None leaves them to you: BatchNorm's running
            statistics then go on from task to task.
        rate_type: "bfloat16": steps read rates rounded to it, 2 bytes less a weight; at most 2^-8
            of a rate is lost. For float32 parameters. None: rates as learned.

    Raises:
        TypeError: An argument is of the wrong type, or parameters differ in type or device.
        ValueError: An argument is out of range, a group has an unknown key, or no parameter
            requires a gradient.

    Example:
        >>> import torch, aruba_fast.torch
        >>> model = torch.nn.Linear(3, 1)
        >>> meta = aruba_fast.torch.MetaOptimizer(model.parameters(), learning_rate=0.1)
        >>> for _ in range(4):
        ...     with meta.task() as optimizer:
        ...         optimizer.zero_grad()
        ...         model(torch.ones(5, 3)).square().mean().backward()
        ...         optimizer.step()
        >>> meta.step(meta_step=0.5)
        >>> meta.n_tasks, [tuple(rate.shape) for rate in meta.learning_rate]
        (4, [(1, 3), (1,)])

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    def __init__(
        self,
        params: Any,
        *,
        learning_rate: float | str = "auto",
        zeta: float | str = "auto",
        p: float = 1.0,
        decay: float = 0.0,
        isotropic: bool | str = False,
        max_learning_rate: float | None = None,
        bound: str = "auto",
        train: str = "learned",
        buffers: Iterable[Any] | None = None,
        rate_type: str | None = None,
    ) -> None:
        given = (learning_rate, zeta, p, decay, isotropic, max_learning_rate, bound, train)
        super().__init__(params, dict(zip(HYPERPARAMETERS, given, strict=True)))
        self._tensors = trainable(self.param_groups)
        self._buffers = Buffers(buffers)
        self._attach()
        self._parameters.require(_NAME)
        self._rate_type = rate_type_of(_NAME, rate_type, self._parameters)
        # What is made in inference mode could not be written to outside of it.
        with self._parameters.beside(), torch.inference_mode(False):
            phi = array(self._parameters.joined(self._parameters.tensors))
            _check.finite(_NAME, "params", phi)
            try:
                self._wholes = wholes_of(self.param_groups)
                self._flat = FlatState.first(phi, blocks_of(self._wholes))
            except (TypeError, ValueError) as error:
                raise renamed(error, _NAME) from None
        self._view()
        self._at_phi, self._left = True, self._parameters.marks()

    def step(
        self,
        meta_step: MetaStep = None,
        *,
        statistics: TaskStatistics | None = None,
        process_group: "ProcessGroup | None" = None,
    ) -> None:
        """Learns from the tasks since the last call, and moves the model to the new phi.

        Args:
            meta_step: Step of the initialization: None for a mean of all tasks, as
                `MetaLearner.apply`, a float >= 0 (1 is FedAvg), or a function of the number of
                tasks.
            statistics: Learn from these instead, merged from other machines; the tasks of this one
                are forgotten.
            process_group: Learn from the tasks of all its processes, as one process that had run
                those of rank 0 first, then those of rank 1 and so on: the same bits on every rank,
                for any number of ranks and of tasks on each, also none. Every rank must call it. Of
                sharded parameters: None for that of their mesh, whose ranks all have run the same
                tasks.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of range or of another size, or differs between ranks; or
                the ranks have not started from the same state. Nothing is changed.
            RuntimeError: A task is open, or there was none. Tasks that were run to find the first
                rate are enough: then nothing changes. Or another rank refuses, or has ended.

        Warns:
            DivergenceWarning: More than half of the tasks were skipped; once, and not on a GPU.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.zeros(1))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight], learning_rate=1.0)
            >>> for target in (1.0, 3.0):
            ...     with meta.task() as optimizer:
            ...         (0.5 * (weight - target).square()).sum().backward()
            ...         optimizer.step()
            >>> meta.step()
            >>> weight.item()
            2.0
        """
        name = "MetaOptimizer.step"
        self._require_no_task(name)
        with self._parameters.beside():
            group = self._parameters.group if process_group is None else process_group
            if group is None:
                found = self._of_process(meta_step, statistics)
            else:
                found = self._of_group(group, meta_step, statistics)
            if found is None:  # all tasks of the round were for the first rate
                self._flat.forget_round()
                return
            self._require_phi(name, at_any_cost=False)
            of_round = self._flat.apply(*found)
        self.restore()
        # torch.optim wraps `step` once.
        _divergence.look(name, self, *of_round, remedy=_REMEDY, stacklevel=4)

    def statistics(self) -> TaskStatistics:
        """Returns the sums over the tasks since the last `step`, to be sent and merged with `+`.

        Returns:
            TaskStatistics over all coordinates; the round stays open.

        Raises:
            ValueError: Parameters are sharded, and the tasks' sums ask for all of them.
            RuntimeError: A task is open.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(2))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight], learning_rate=1.0)
            >>> with meta.task(weight=3.0):
            ...     pass
            >>> meta.statistics()
            TaskStatistics(n_tasks=1, n_skipped=0, n_parameters=2, weight=3)
        """
        name = "MetaOptimizer.statistics"
        self._require_no_task(name)
        if self._flat.shards is not None:
            raise ValueError(
                f"{name}: the model must be whole on this process: got parameters that are "
                "sharded, expected `step`, which sums the tasks of all shards"
            )
        with self._parameters.beside():
            return self._flat.statistics()

    def rule(self, coef: float | str | None = "auto") -> TaskOptimizer:
        """Loads phi and returns the rule as learned so far, an optimizer for a task at meta-test.

        Nothing is learned from that task.

        Args:
            coef: "auto" for ARUBA++ with the number of tasks learned from, four times that for the
                tight bound: it starts at the learned rates and lowers them within the task by its
                own squared gradients, which count as those of an average task, or of four. A float
                >= 0 for another weight of them; None for the learned rates, which tasks are trained
                with.

        Returns:
            A `TaskOptimizer`, good until the next call or the next `task`.

        Raises:
            TypeError: `coef` is not a real number.
            ValueError: `coef` is out of range, the first rate is not known yet, b and g are not
                within the parameters' type, or the parameters are not as they were left (as
                `task`).
            RuntimeError: A task is open.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(2))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight], learning_rate=0.5)
            >>> optimizer = meta.rule()
            >>> weight.sum().backward()
            >>> optimizer.step()
            >>> weight.tolist()
            [0.5, 0.5]
        """
        name = "MetaOptimizer.rule"
        if coef is not None:
            coef = _check.auto(name, "coef", coef, _check.non_negative)
        self._require_no_task(name)
        self._require_groups(name)
        if self._flat.search is not None:
            raise ValueError(
                f"{name}: the first learning rate must be known: got 'auto' and "
                f"{self._flat.search.n_tasks} tasks, expected some tens of them before, which find "
                "it, or a number for `learning_rate`"
            )
        with self._parameters.beside(), torch.inference_mode(False):
            rules, slices = self._flat.rules(coef)
            plus = [rule for rule in rules if isinstance(rule, ArubaPlusPlus)]
            if not plus:
                made = TaskOptimizer(self, self._step_rates, None, None)
            else:
                weight = max(rule.coef for rule in plus)
                rates = [tensor(self._flat.arrays["rate"][block]) for block in slices]
                parts = [_b_and_g(*each, weight) for each in zip(rules, rates, strict=True)]
                b, g = (
                    self._cast(name, key, torch.cat([part[i] for part in parts]))
                    for i, key in enumerate(("b", "g"))
                )
                made = TaskOptimizer(self, [self._rounded(each) for each in b], g, weight)
        self._start(name)
        self._active, self._at_phi = made, False
        return made

    def optimizer(self, coef: float | str | None = None) -> TaskOptimizer:
        """The name of `rule` in the version before."""
        warn_renamed("MetaOptimizer.optimizer", "MetaOptimizer.rule")
        return self.rule(coef)

    def _cast(self, function: str, name: str, values: torch.Tensor) -> list[torch.Tensor]:
        result = values.to(self._parameters.dtype)
        if result.device.type == "cpu" and not bool((result.isfinite() & (result > 0)).all()):
            raise ValueError(
                f"{function}: `{name}` must be positive within {result.dtype}: got "
                f"{values.min().item():g} to {values.max().item():g}, expected another unit of the "
                "loss"
            )
        return self._parameters.for_steps(self._parameters.views(result))


def _b_and_g(
    rule: OGD | ArubaPlusPlus, rates: torch.Tensor, coef: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """B and g of a block for a weight that others share: what counts are the three's ratios."""
    if isinstance(rule, ArubaPlusPlus):
        scale = coef / rule.coef if rule.coef else 1.0
        return scale * tensor(rule.b), scale * tensor(rule.g)
    rates = rates.double()  # that of a block which has learned nothing
    return _STAYS * rates.square(), torch.full_like(rates, _STAYS)
