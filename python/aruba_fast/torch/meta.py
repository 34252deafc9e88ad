"""`MetaOptimizer`: learns the initialization and the rates of a PyTorch model across tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .. import _check
from ..learner import MetaStep
from ..statistics import TaskStatistics
from ._collect import Collector
from ._flat import FlatState
from ._groups import HYPERPARAMETERS, blocks_of
from ._parameters import Parameters, array, tensor
from ._persistent import Persistent
from .task import TaskOptimizer

_NAME = "MetaOptimizer"


class MetaOptimizer(Persistent):
    """Learns where a model starts a task, and how fast each of its weights moves, by ARUBA.

    The equations are those of `aruba_fast.MetaLearner` on the concatenation of all parameters that
    require a gradient, in their order, each flattened row by row: the same numbers, bit for bit.
    Between tasks the parameters hold the initialization phi. Make it when the model is initialized,
    and on its device; buffers, such as BatchNorm's, are not its business.

    Args:
        params: Parameters, named parameters or parameter groups, as every optimizer's. A group may
            have hyperparameters of its own, by the names below, and is then learned by itself.
            Parameters that do not require a gradient now are left alone for ever; float32 with
            bfloat16 and float16, which are learned as float32, or float64.
        learning_rate: First learning rate, > 0.
        zeta: Smoothing of the squared gradients, > 0.
        p: Exponent of the smoothing schedule, >= 0.
        decay: Share of the past that every task discounts, in [0, 1).
        isotropic: False for a rate a coordinate, True for one rate a group, "tensor" for one a
            parameter tensor.
        max_learning_rate: Upper limit of the learning rate, > 0, or None.

    Raises:
        TypeError: An argument is of the wrong type, or parameters differ in type or device.
        ValueError: An argument is out of range, or no parameter requires a gradient.

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
        >>> meta.n_tasks, [tuple(rate.shape) for rate in meta.learning_rates()]
        (4, [(1, 3), (1,)])

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    def __init__(
        self,
        params: Any,
        *,
        learning_rate: float = 1.0,
        zeta: float = 1.0,
        p: float = 1.0,
        decay: float = 0.0,
        isotropic: bool | str = False,
        max_learning_rate: float | None = None,
    ) -> None:
        given = (learning_rate, zeta, p, decay, isotropic, max_learning_rate)
        super().__init__(params, dict(zip(HYPERPARAMETERS, given, strict=True)))
        self._attach()
        blocks = blocks_of(self.param_groups)
        with self._parameters.beside():
            phi = array(self._parameters.joined(self._parameters.tensors))
            _check.finite(_NAME, "params", phi)
            self._flat = FlatState.first(phi, blocks)
        self._view()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group while the optimizer is made; later the meta-state is of fixed size.

        Args:
            param_group: Parameters and hyperparameters.

        Raises:
            RuntimeError: The optimizer exists already.
        """
        if hasattr(self, "_flat"):
            raise RuntimeError(
                "MetaOptimizer.add_param_group: groups must be given when the optimizer is made: "
                "got one more, expected a new MetaOptimizer"
            )
        super().add_param_group(param_group)

    def _attach(self) -> None:
        """Finds the parameters to be learned, each once, in the order of the groups."""
        trainable = (p for g in self.param_groups for p in g["params"] if p.requires_grad)
        self._parameters = Parameters(list({id(p): p for p in trainable}.values()))
        self._active: object = None
        self._in_task = False

    def _view(self) -> None:
        """Makes the views of the flat arrays in the shapes of the parameters."""
        flat, shaped = self._flat.arrays, self._parameters.views
        self._phi = shaped(tensor(flat["phi"]))
        self._rates = shaped(tensor(flat["rate"]))
        like = tensor(flat["phi"])
        self._sums, masters = torch.zeros_like(like), torch.zeros_like(like)
        self._masters = shaped(masters)
        self._where: list[torch.Tensor] = []
        self._copied: list[int] = []
        sums, scratch, self._step_rates = (
            self._parameters.for_steps(v) for v in (shaped(self._sums), self._masters, self._rates)
        )
        self._collector = Collector(self._parameters.tensors, sums, scratch)
        self._stepper = TaskOptimizer(self, self._step_rates, sums, None)

    def _require_no_task(self, function: str) -> None:
        if self._in_task:
            raise RuntimeError(
                f"{function}: no task must be open: got a call within `with meta.task()`, "
                "expected it after the task"
            )

    def _start(self) -> None:
        """Loads phi, into the masters too, and forgets gradients of before."""
        self._active = None
        self._where, self._copied = self._parameters.masters(self._masters)
        self.restore()
        with torch.no_grad():
            if self._copied:
                masters = [self._masters[i] for i in self._copied]
                torch._foreach_copy_(masters, [self._phi[i] for i in self._copied])
        for p in self._parameters.tensors:
            p.grad = None

    def _publish(self) -> None:
        """Copies the masters that steps have moved to their parameters."""
        if self._copied:
            with torch.no_grad():
                parameters = [self._parameters.tensors[i] for i in self._copied]
                torch._foreach_copy_(parameters, [self._masters[i] for i in self._copied])

    @contextmanager
    def task(
        self, weight: float = 1.0, *, optimizer: torch.optim.Optimizer | None = None
    ) -> Iterator[torch.optim.Optimizer]:
        """A context for one task: phi is loaded, statistics are collected, phi comes back.

        An exception that leaves the context drops the task: phi comes back, and nothing else has
        changed but what the model and `optimizer` keep for themselves. A task that is not finite is
        left out of the round and counted in `n_skipped`.

        Args:
            weight: Weight of the task in the mean of the round, finite and >= 0: 1 for Reptile, the
                number of its rows for FedAvg.
            optimizer: None for steps at the learned rates. Any other optimizer of the same
                parameters takes its own steps, and its gradients are collected by a hook before
                each: Reptile with Adam, say.

        Returns:
            A context manager that gives a `TaskOptimizer`, or `optimizer`.

        Raises:
            TypeError: `weight` is not a real number.
            ValueError: `weight` is out of range, or `optimizer` has no parameter of the model.
            RuntimeError: A task is open already.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(1))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
            >>> with meta.task(optimizer=torch.optim.Adam([weight], lr=0.5)) as adam:
            ...     weight.grad = torch.tensor([3.0])
            ...     adam.step()
            >>> meta.statistics().grad_sq
            array([9.])
        """
        name = "MetaOptimizer.task"
        weight = _check.non_negative(name, "weight", weight)
        self._require_no_task(name)
        self._start()
        self._sums.zero_()
        self._in_task = True
        try:
            if optimizer is None:
                self._active = self._stepper
                yield self._stepper
                theta_hat = self._where
            else:
                with self._collector.watching(optimizer):
                    yield optimizer
                theta_hat = self._parameters.tensors
            with self._parameters.beside():
                run = [tensor(vector) for vector in self._flat.next_run()]
                self._parameters.joined(theta_hat, out=run[0])
                run[1].copy_(self._sums)
            self._flat.keep_run(weight)
        finally:
            self._in_task, self._active = False, None
            self.restore()

    def step(self, meta_step: MetaStep = None, *, statistics: TaskStatistics | None = None) -> None:
        """Learns from the tasks since the last call, and moves the model to the new phi.

        Args:
            meta_step: Step of the initialization: None for the running mean of all tasks, a float
                >= 0 (1 is FedAvg), or a function of the number of tasks.
            statistics: Learn from these instead, merged from other machines; the tasks of this one
                are forgotten.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: An argument is out of range or of another size. Nothing is changed.
            RuntimeError: A task is open, or there was none.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.zeros(1))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
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
        if statistics is not None:
            if not isinstance(statistics, TaskStatistics):
                raise TypeError(
                    f"{name}: `statistics` must be TaskStatistics: got "
                    f"{type(statistics).__name__}, expected TaskStatistics"
                )
            phi = self._flat.arrays["phi"]
            _check.shape(name, "statistics", statistics.sums, (3, 2, len(phi)))
            _check.together(name, "statistics", statistics.sums, "params", phi)
        elif not self._flat.n_waiting:
            raise RuntimeError(
                f"{name}: the round must hold a task: got none, expected `with meta.task()` before"
            )
        with self._parameters.beside():
            of_round = self._flat.statistics if statistics is None else lambda: statistics
            step = _check.meta_step(name, meta_step, lambda: self.n_tasks + of_round().n_tasks)
            self._flat.apply(statistics, step)
        self.restore()

    def statistics(self) -> TaskStatistics:
        """Returns the sums over the tasks since the last `step`, to be sent and merged with `+`.

        Returns:
            TaskStatistics over all coordinates; the round stays open.

        Raises:
            RuntimeError: A task is open.

        Example:
            >>> import torch, aruba_fast.torch
            >>> meta = aruba_fast.torch.MetaOptimizer([torch.nn.Parameter(torch.ones(2))])
            >>> with meta.task(weight=3.0):
            ...     pass
            >>> meta.statistics()
            TaskStatistics(n_tasks=1, n_skipped=0, n_parameters=2, weight=3)
        """
        self._require_no_task("MetaOptimizer.statistics")
        with self._parameters.beside():
            return self._flat.statistics()

    def optimizer(self, coef: float | None = None) -> TaskOptimizer:
        """Loads phi and returns an optimizer for a new task at meta-test; nothing is learned.

        Args:
            coef: None for the learned rates, a float >= 0 for ARUBA++, which lowers them within the
                task by `coef` times its own squared gradients.

        Returns:
            A `TaskOptimizer`, good until the next call or the next `task`.

        Raises:
            TypeError: `coef` is not a real number.
            ValueError: `coef` is out of range, or b and g are not within the parameters' type.
            RuntimeError: A task is open.

        Example:
            >>> import torch, aruba_fast.torch
            >>> weight = torch.nn.Parameter(torch.ones(2))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight], learning_rate=0.5)
            >>> optimizer = meta.optimizer(coef=0.1)
            >>> weight.sum().backward()
            >>> optimizer.step()
            >>> weight.tolist()
            [0.5, 0.5]
        """
        name = "MetaOptimizer.optimizer"
        if coef is not None:
            coef = _check.non_negative(name, "coef", coef)
        self._require_no_task(name)
        if coef is None:
            made = TaskOptimizer(self, self._step_rates, None, None)
        else:
            with self._parameters.beside():
                rules = [learner.rule(coef) for learner in self._flat.learners]
                b, g = (
                    self._cast(name, key, torch.cat([tensor(getattr(r, key)) for r in rules]))
                    for key in ("b", "g")
                )
            made = TaskOptimizer(self, b, g, coef)
        self._start()
        self._active = made
        return made

    def _cast(self, function: str, name: str, values: torch.Tensor) -> list[torch.Tensor]:
        result = values.to(self._parameters.dtype)
        if result.device.type == "cpu" and not bool((result.isfinite() & (result > 0)).all()):
            raise ValueError(
                f"{function}: `{name}` must be positive within {result.dtype}: got "
                f"{values.min().item():g} to {values.max().item():g}, expected other `zeta`"
            )
        return self._parameters.for_steps(self._parameters.views(result))
