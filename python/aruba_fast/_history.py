"""What `meta_train` saw: `History`, and the record that becomes one."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _arrays
from ._check import Float64Array, Int64Array
from .tasks import Tasks


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """What `meta_train` saw, task after task.

    Attributes:
        loss: Sum over the task's steps of the mini-batch's mean loss at the iterate before the
            update, as `TaskRun.loss`; float64 [n_passes * n_tasks].
        task: Number of the task in the `Tasks` that were given, over all chunks of an iterable;
            int64, of the same length.
        skipped: Whether the task was left out because its result was not finite; bool, likewise.
            Of tasks on a CUDA device, `loss` and `skipped` are CuPy's arrays there.
    """

    loss: Float64Array
    task: Int64Array
    skipped: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.task)

    def __repr__(self) -> str:
        return f"History(n_tasks={len(self)}, n_skipped={int(_arrays.host(self.skipped).sum())})"


Visits: TypeAlias = tuple[Any, Int64Array, Any]


class Record:
    """Memory for the visits of one chunk after the other: of all of them, or only of the last."""

    def __init__(self, *, keeps: bool) -> None:
        self._keeps = keeps
        self._full: list[Visits] = []
        self._last: Visits | None = None
        self._used = 0

    def room(self, chunk: Tasks, total: int | None) -> Visits:
        """Arrays for losses, numbers and skips of a chunk, beside it; `total` visits are to come.

        Where `total` is known they are parts of one allocation, so that nothing is copied.
        """
        n_tasks = len(chunk)
        if self._last is None or not self._keeps or self._used + n_tasks > len(self._last[1]):
            self._retire()
            size = total if self._keeps and total is not None else n_tasks
            self._last = (
                _arrays.empty((size,), np.float64, chunk._x),
                np.empty(size, np.int64),
                _arrays.zeros(size, np.bool_, chunk._x),
            )
        first, self._used = self._used, self._used + n_tasks
        return _part(self._last, first, self._used)

    def _retire(self) -> None:
        if self._last is not None and self._keeps:
            self._full.append(_part(self._last, 0, self._used))
        self._last, self._used = None, 0

    def history(self) -> History:
        """Everything that was kept, in order."""
        self._retire()
        if not self._full:
            return History(np.empty(0), np.empty(0, np.int64), np.empty(0, np.bool_))
        if len(self._full) == 1:
            return History(*self._full[0])
        with _arrays.beside(self._full[0][0]):
            columns = zip(*self._full, strict=True)
            return History(*(_arrays.namespace(some[0]).concatenate(some) for some in columns))


def _part(visits: Visits, first: int, stop: int) -> Visits:
    if stop - first == len(visits[1]):
        return visits
    loss, task, skipped = visits
    return loss[first:stop], task[first:stop], skipped[first:stop]
