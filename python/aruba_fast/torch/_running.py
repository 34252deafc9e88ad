"""Tasks of a `MetaOptimizer`: they begin at phi, leave their statistics, and phi comes back."""

import operator
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import _check
from ._collect import Collector
from ._errors import warn
from ._exchange import require_group
from ._groups import Whole
from ._parameters import Parameters, tensor
from ._persistent import Persistent
from ._searching import SearchingOptimizer
from ._shards import Shards, needs_sums
from .task import TaskOptimizer

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Running(Persistent):
    """The base of `MetaOptimizer` that opens a task and closes it."""

    # What is learned together, of all processes.
    _wholes: list[Whole]
    # What steps read rates in; None for the parameters' type, as what is too old to say so does.
    _rate_type: torch.dtype | None = None

    def _attach(self) -> None:
        """Finds where the parameters are."""
        self._parameters = Parameters(self._tensors)
        self._active: object = None
        self._agreed = None
        self._open = threading.Lock()
        ours = {id(p) for p in self._tensors}
        given = (p for group in self.param_groups for p in group["params"])
        self._left_alone = [p for p in given if id(p) not in ours]

    @torch.inference_mode(False)
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
        self._versions: list[int] = []
        self._all_rates = tensor(flat["rate"])
        self._read_rates = self._rounded(self._all_rates)
        sums, scratch, rates, self._step_rates = (
            self._parameters.for_steps(views)
            for views in (shaped(self._sums), self._masters, self._rates, shaped(self._read_rates))
        )
        self._collector = Collector(self._parameters.given, sums, scratch)
        self._stepper = TaskOptimizer(self, self._step_rates, sums, None)
        self._searcher = SearchingOptimizer(self, rates, sums, self._flat, self._sums)
        if self._parameters.sharded and needs_sums(self._wholes):
            self._flat.join(Shards(self._parameters.sharded_over(), self._wholes))

    def _rounded(self, rates: torch.Tensor) -> torch.Tensor:
        """Returns rates as steps read them."""
        return rates if self._rate_type is None else rates.to(self._rate_type)

    def _take_turn(self, function: str, group: "ProcessGroup") -> None:
        raise NotImplementedError

    def _require_no_task(self, function: str) -> None:
        if self._open.locked():
            raise _task_is_open(function)

    @torch.inference_mode(False)
    def _start(self, function: str) -> None:
        """Loads phi, into the masters too, and forgets gradients of before."""
        self._require_groups(function)
        if any(p.requires_grad for p in self._left_alone):
            warn(
                f"{function}: a parameter that was frozen when MetaOptimizer was made is left "
                "alone: got one that requires a gradient by now, expected a new MetaOptimizer"
            )
        self._parameters.require(function)
        self._require_phi(function)
        self._active = None
        where, self._copied = self._parameters.masters(self._masters)
        # The same list for the same tensors: what is planned for it goes on.
        if len(where) != len(self._where) or not all(map(operator.is_, where, self._where)):
            self._where = where
        self._parameters.load(self._phi)
        self._buffers.save()
        with torch.no_grad():
            if self._copied:
                masters = [self._masters[i] for i in self._copied]
                torch._foreach_copy_(masters, [self._phi[i] for i in self._copied])
            if self._rate_type is not None:
                self._read_rates.copy_(self._all_rates)
        self._versions = [self._parameters.tensors[i]._version for i in self._copied]
        for p in self._parameters.given:
            p.grad = None

    def _publish(self) -> None:
        """Copies the masters that steps have moved to their parameters."""
        if self._copied:
            with torch.no_grad():
                parameters = [self._parameters.tensors[i] for i in self._copied]
                torch._foreach_copy_(parameters, [self._masters[i] for i in self._copied])
                self._versions = [p._version for p in parameters]

    def _fold_written(self) -> None:
        """As `_fold`, where PyTorch knows that somebody wrote: unlike values, it costs nothing."""
        if self._versions != [self._parameters.tensors[i]._version for i in self._copied]:
            self._fold()

    def _fold(self) -> None:
        """Takes into the masters what others than steps have written to their parameters."""
        with torch.no_grad():
            for i in self._copied:
                p, own = self._parameters.tensors[i], self._masters[i]
                own.copy_(torch.where(p == own.to(p.dtype), own, p.to(own.dtype)))

    @contextmanager
    def task(
        self,
        weight: float = 1.0,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        process_group: "ProcessGroup | None" = None,
    ) -> Iterator[torch.optim.Optimizer]:
        """A context for one task: phi is loaded, statistics are collected, phi comes back.

        An exception that leaves the context drops the task: phi comes back, and nothing else has
        changed but what the model and `optimizer` keep for themselves. A task that is not finite is
        left out of the round and counted in `n_skipped`, which lowers all rates until others count.

        Args:
            weight: Weight of the task in the mean of the round, finite and >= 0: 1 for Reptile, the
                number of its rows for FedAvg.
            optimizer: None for steps at the learned rates. Any other optimizer of the same
                parameters takes its own steps, and its gradients are collected by a hook before
                each: Reptile with Adam, say.
            process_group: That of the `step` which will end the round, or None. Nothing is sent,
                but while the first rate is searched: then tasks of all ranks are run one after the
                other, and the first one of a rank waits until the ranks before have called `step`.
                Without it no more tasks can wait for a group's `step` than are summed together, 128
                or 256 MB of them.

        Returns:
            A context manager that gives a `TaskOptimizer`, or `optimizer`.

        Raises:
            TypeError: `weight` is not a real number, `optimizer` no optimizer, or `process_group`
                not a group of this process.
            ValueError: `weight` is out of range, or `optimizer` has no parameter of the model; the
                parameters do not hold phi before the first task (later that is a warning: see
                `adopt`); a parameter was given another shape. The round is unchanged.
            RuntimeError: A task is open already, or a parameter has moved and no gradient of it was
                seen; or a process of the group has ended. The round is unchanged.

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
        _check.weights(name, "weight", np.array(weight))
        sharded = self._parameters.sharded
        together = process_group is not None or sharded
        if process_group is not None:
            require_group(name, process_group)
        if not self._open.acquire(blocking=False):
            raise _task_is_open(name)
        try:
            searches = optimizer is None and self._flat.search is not None
            if process_group is not None and searches and not sharded:
                self._take_turn(name, process_group)
            self._start(name)
            self._sums.zero_()
            try:
                if optimizer is None and self._flat.search is not None:
                    self._active = searcher = self._searcher
                    searcher.begin()
                    yield searcher
                    searcher.end(self._ended(self._where, searcher._unseen(), together))
                elif optimizer is None:
                    self._active = self._stepper
                    self._stepper._forget_seen()
                    yield self._stepper
                    self._keep(self._where, self._stepper._unseen(), weight, together)
                else:
                    with self._collector.watching(optimizer):
                        yield optimizer
                    unseen = self._collector.unseen()
                    self._keep(self._parameters.tensors, unseen, weight, together)
            finally:
                self._active = None
                self._parameters.mend()
                self._load_phi()
                self._buffers.forget()
        finally:
            self._open.release()

    def _keep(
        self, theta_hat: list[torch.Tensor], unseen: list[int], weight: float, together: bool
    ) -> None:
        """Takes the task that has ended into the round."""
        self._ended(theta_hat, unseen, together)
        self._flat.keep_run(weight)

    def _ended(
        self, theta_hat: list[torch.Tensor], unseen: list[int], together: bool
    ) -> torch.Tensor:
        """Returns where the task that has ended is, in the memory of the next one of the round."""
        name = "MetaOptimizer.task"
        self._parameters.require(name)
        if (i := self._parameters.other_than(self._phi, unseen)) is not None:
            raise RuntimeError(
                f"{name}: gradients must be seen: got `params[{i}]` moved without one, and its "
                "rate would be wrong, expected steps through the optimizer's `step`, or "
                "`task(optimizer=...)` with the one that moves it; the task is dropped"
            )
        self._parameters.require_memory(name, theta_hat, self._copied)
        self._fold()
        with self._parameters.beside():
            run = [tensor(vector) for vector in self._flat.next_run(keep=together)]
            self._parameters.joined(theta_hat, out=run[0])
            run[1].copy_(self._sums)
        return run[0]


def rate_type_of(function: str, name: object, parameters: Parameters) -> torch.dtype | None:
    """Returns the type that steps read rates in; None for that of the parameters.

    Raises:
        TypeError: The kernels of these parameters do not read it, or it is no name.
        ValueError: It is an unknown name.
    """
    if name is None:
        return None
    _check.one_of(function, "rate_type", name, ("bfloat16",))
    if parameters.dtype != torch.float32:
        raise TypeError(
            f"{function}: `rate_type` must be None but for float32 parameters: got "
            f"{name!r} beside {parameters.dtype}, expected None"
        )
    return torch.bfloat16


def _task_is_open(function: str) -> RuntimeError:
    return RuntimeError(
        f"{function}: no task must be open: got a call within `with meta.task()`, "
        "expected it after the task"
    )
