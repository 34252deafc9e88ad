"""The open round of a model: tasks that wait as rows, and the sums of those that do not."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .. import _arrays
from .._state import Hyperparameters
from ..statistics import TaskStatistics

# Tasks of a round wait here and are summed together, which reads each of them once; more than the
# kernels sum in one chunk are of no use, and more than so many bytes are not kept.
_TASKS_AT_ONCE = 128
_TASKS_AT_LEAST = 8
_BYTES = 1 << 28

Block = tuple[int, Hyperparameters]
# theta_hat, grad_sq and weights of some tasks; if others than the open round's, rates, the limit
# and what the tasks spread.
Part = tuple[Any, ...]


class OpenRound:
    """The base of `FlatState` that takes tasks in.

    Attributes:
        arrays: The learners' arrays by name.
        blocks: Number of coordinates and hyperparameters of every block.
    """

    arrays: dict[str, Any]
    blocks: list[Block]

    def _begin_round(self) -> None:
        """Makes the memory."""
        phi = self.arrays["phi"]
        fitting = _BYTES // (2 * phi.nbytes)
        capacity = max(_TASKS_AT_LEAST, min(_TASKS_AT_ONCE, fitting))
        # Memory that no task has used yet is not there: NumPy's comes page by page.
        self._runs = _arrays.empty((2, capacity, len(phi)), phi.dtype, phi)
        self._sums = _arrays.zeros((3, 2, len(phi)), np.float64, phi)
        self._weight = _arrays.zeros(2, np.float64, phi)
        self._counts = _arrays.zeros(2, np.int64, phi)
        # Whole blocks of tasks before those in `_runs`, where none may be summed by itself.
        self._kept: list[Any] = []
        self._weights: list[float] = []
        self._n_summed = 0
        self.n_searched = 0  # tasks that did nothing else
        # Of a search over several processes: the group in which it came here, and if it went on.
        self.turn: object = None
        self.has_passed = False

    @property
    def n_waiting(self) -> int:
        """Number of tasks of the open round."""
        return self._n_summed + len(self._weights)

    @property
    def capacity(self) -> int:
        """Number of tasks that are summed together."""
        return int(self._runs.shape[1])

    @property
    def n_summed(self) -> int:
        """Number of tasks of the open round whose rows are gone."""
        return self._n_summed

    def next_run(self, *, keep: bool = False) -> tuple[Any, Any]:
        """Returns the memory for theta_hat and grad_sq of the next task.

        Args:
            keep: Tasks before it must wait as rows, however many there are.
        """
        row = len(self._weights) - len(self._kept) * self.capacity
        if row == self.capacity:
            row = 0
            if keep:
                self._kept.append(self._runs)
                self._runs = _arrays.empty(self._runs.shape, self._runs.dtype, self._runs)
            else:
                self._sum()
        return self._runs[0, row], self._runs[1, row]

    def keep_run(self, weight: float) -> None:
        """Takes what `next_run` handed out into the round."""
        self._weights.append(weight)

    def _sum(self) -> None:
        while self._weights:
            part = self._waiting()
            self._add(part, self._round())
            n = len(part[0])
            self._n_summed += n
            self._weights, self._kept = self._weights[n:], self._kept[1:]

    def _add(self, part: Part, into: tuple[Any, Any, Any]) -> None:
        """Adds tasks to sums, weight and counts."""
        theta_hat, grad_sq, weights, *limited = part
        phi, limited = self.arrays["phi"], limited or self._limited()
        _arrays.native(phi).add_round(theta_hat, grad_sq, phi, weights, into, *limited)

    def statistics_of(self, parts: Iterable[Part], *, n_left_out: int = 0) -> TaskStatistics:
        """Returns the sums of some tasks: the bits of a round, part by part."""
        into = tuple(_arrays.zeros(a.shape, a.dtype, a) for a in self._round())
        for part in parts:
            if len(part[0]):
                self._add(part, into)
        into[2][1] += n_left_out
        return TaskStatistics._of(*into)

    def row(self, i: int) -> Any:
        """Theta_hat and grad_sq of the i-th task that waits, [2, n]."""
        block, at = divmod(i, self.capacity)
        return [*self._kept, self._runs][block][:, at]

    def counts(self) -> list[bool]:
        """Whether each task that waits is finite, and its squares are squares."""
        rows = map(self.row, range(len(self._weights)))
        return [bool(np.isfinite(_arrays.host(r)).all() and (r[1] >= 0).all()) for r in rows]

    def parts_of(self, which: list[bool]) -> Iterator[Part]:
        """Some of the tasks that wait, in the parts that all of them are summed in."""
        for first in range(0, len(which), self.capacity):
            taken = [i for i in range(first, min(first + self.capacity, len(which))) if which[i]]
            with _arrays.beside(self._runs):
                rows = [*self._kept, self._runs][first // self.capacity]
                every = len(taken) == min(self.capacity, len(which) - first)
                rows = rows[:, : len(taken)] if every else rows[:, [i - first for i in taken]]
            yield rows[0], rows[1], self.of_weights([self._weights[i] for i in taken])

    def _limited(self) -> list[Any]:
        """The rates and how far a task may spread, all blocks together; none where one has none."""
        if not all(hyper.average_task for _, hyper in self.blocks):
            return []
        with _arrays.beside(self.arrays["limit"]):
            return [self.arrays["rate"], self.arrays["limit"].sum(axis=0)]

    def _waiting(self) -> Part:
        """theta_hat, grad_sq and weights of the first tasks that are not summed yet."""
        runs = self._kept[0] if self._kept else self._runs
        n = min(len(self._weights), self.capacity)
        return runs[0, :n], runs[1, :n], self.of_weights(self._weights[:n])

    def of_weights(self, weights: list[float]) -> Any:
        """Weights of tasks, where phi is."""
        return _arrays.moved(np.array(weights), self.arrays["phi"])

    @property
    def weights(self) -> list[float]:
        """Those of the tasks that wait."""
        return list(self._weights)

    def _round(self) -> tuple[Any, Any, Any]:
        return self._sums, self._weight, self._counts

    def statistics(self) -> TaskStatistics:
        """Returns the sums of the open round, a copy."""
        self._sum()
        if not self._n_summed:
            self._sums.fill(0)
        return TaskStatistics._of(*(_arrays.owned(array) for array in self._round()))

    def forget_round(self) -> None:
        """Starts a new round."""
        self._weights, self._kept, self.n_searched = [], [], 0
        self.turn, self.has_passed = None, False
        if self._n_summed:
            self._weight.fill(0)
            self._counts.fill(0)
            if not isinstance(self._sums, np.ndarray):  # on the host no sum is read before a task
                self._sums.fill(0)
            self._n_summed = 0
