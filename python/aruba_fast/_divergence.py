"""`DivergenceWarning`, and the one rule when it is due: tasks skipped, or losses that explode."""

import threading
import warnings
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ._check import Float64Array

_GROWTH = 1e3
# One task says little: a row of it may be missing, and the losses of tasks differ by a thousandfold
# without harm. Rounds of one are taken so many at a time, and only a millionfold counts at once.
_TASKS_TOGETHER, _GROWTH_OF_ONE = 10, 1e6

REMEDY = "a smaller `learning_rate`, about 1 / max |x|^2 for a linear model, or 'auto'"
# Of a learner that finds its rate by itself.
_REMEDY_OF_DATA = "columns of one scale, or a `radius` for the parameters"


class DivergenceWarning(RuntimeWarning):
    """Training diverges: most tasks of a round are skipped, or losses have grown a thousandfold.

    A learner warns once. The usual cause is a first `learning_rate` that is too large (for a linear
    model the limit is about 1 / max |x|^2), or a task whose numbers are far larger than those of
    all others. If rounds have one task, ten of them are judged together.

    Args:
        message: What happened, and what to try.

    Example:
        >>> import warnings, numpy as np, aruba_fast as af
        >>> with warnings.catch_warnings(record=True) as said:
        ...     warnings.simplefilter("always")
        ...     run = af.TaskRun(np.full((4, 1), np.nan), np.ones((4, 1)))
        ...     af.MetaLearner(np.zeros(1)).update(run)
        >>> said[0].category.__name__
        'DivergenceWarning'
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


@dataclass
class _Seen:
    """What is remembered of a learner's rounds.

    Attributes:
        usual: Median loss before the first step, or else of the first round.
        first: The first loss that is not zero, where rounds are of one task.
        n_alone: Number of tasks of rounds of one that were not looked at together yet.
        n_skipped: Number of them that were skipped.
        waiting: Losses of the others.
    """

    warned: bool = False
    usual: float = 0.0
    first: float = 0.0
    n_alone: int = 0
    n_skipped: int = 0
    waiting: list[float] = field(default_factory=list)

    def trouble(
        self, n_tasks: int, n_skipped: int, loss: Float64Array, shortens: bool
    ) -> str | None:
        """Takes a round with its finite losses; returns what is wrong, if it is."""
        if n_tasks == 1:
            if not shortens and len(loss) and 0.0 < self.first * _GROWTH_OF_ONE < loss[0]:
                return _exploded(float(loss[0]), self.first)
            self.n_alone, self.n_skipped = self.n_alone + 1, self.n_skipped + n_skipped
            self.waiting += loss.tolist()
            self.first = self.first or max(self.waiting, default=0.0)
            if self.n_alone < _TASKS_TOGETHER:
                return None
            n_tasks, n_skipped, loss = self.n_alone, self.n_skipped, np.array(self.waiting)
            self.n_alone, self.n_skipped, self.waiting = 0, 0, []
        if 2 * n_skipped > n_tasks:
            return f"finite results: got {n_skipped} of {n_tasks} tasks skipped"
        if not len(loss):
            return None
        median = float(np.median(loss))
        now, of = (median, "median") if shortens else (float(loss.mean()), "mean")
        self.usual = self.usual or median
        return _exploded(now, self.usual, of) if 0.0 < self.usual * _GROWTH < now else None


def _exploded(now: float, before: float, of: str = "mean") -> str:
    return f"bounded losses: got {now:.2g} in the {of} of a round, {before:.2g} at first"


_seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()
_lock = threading.Lock()
_NO_LOSS = np.empty(0)


def look(
    function: str,
    learner: object,
    n_tasks: int,
    n_skipped: int,
    loss: NDArray[Any] | None = None,
    *,
    shortens: bool = False,
    remedy: str | None = None,
    stacklevel: int = 3,
) -> None:
    """Looks at a round, and warns once a learner.

    Args:
        function: Name of the public function, for the message.
        learner: What learns.
        n_tasks: Number of tasks in the round.
        n_skipped: Number of them that were skipped.
        loss: Losses of the tasks, float64, where they are known; in host memory.
        shortens: Whether a task that goes too far is shortened: then a few that do are no trouble,
            and it is the middle one of a round that counts.
        remedy: What to try, if it is not what a linear model should.
        stacklevel: As `warnings.warn`, seen from here: 3 when the public function calls.
    """
    with _lock:
        seen = _seen.get(learner)
        if seen is None:
            seen = _seen[learner] = _Seen()
        if seen.warned:
            return
        finite = _NO_LOSS if loss is None else loss[np.isfinite(loss)] if n_skipped else loss
        trouble = seen.trouble(n_tasks, n_skipped, finite, shortens)
        if trouble is None:
            return
        seen.warned = True
    if remedy is None:
        remedy = _REMEDY_OF_DATA if shortens else REMEDY
    warnings.warn(
        f"{function}: tasks must have {trouble}, expected {remedy}; this is said once a learner",
        DivergenceWarning,
        stacklevel=stacklevel,
    )


def was_said(learner: object) -> bool:
    """Whether somebody was warned of this learner."""
    with _lock:
        seen = _seen.get(learner)
    return seen is not None and seen.warned


def is_known(learner: object) -> bool:
    """Whether a round of this learner was looked at."""
    with _lock:
        return learner in _seen


def expect(learner: object, loss: NDArray[Any]) -> None:
    """Tells what the first tasks would lose if they stayed at phi: what they do may explode."""
    finite = loss[np.isfinite(loss)]
    with _lock:
        seen = _seen.setdefault(learner, _Seen())
        seen.usual = seen.usual or (float(np.median(finite)) if len(finite) else 0.0)


def look_through(
    function: str,
    learner: object,
    round_size: int,
    skipped: NDArray[Any],
    loss: NDArray[Any],
    *,
    shortens: bool,
    remedy: str | None = None,
) -> None:
    """Looks at many rounds, one after the other: at the first ones, and where anything is odd."""

    def look_at(first: int) -> None:
        part = slice(first, first + round_size)
        if n_tasks := len(skipped[part]):
            n_skipped = int(np.count_nonzero(skipped[part]))
            how: dict[str, Any] = {"shortens": shortens, "remedy": remedy, "stacklevel": 5}
            look(function, learner, n_tasks, n_skipped, loss[part], **how)

    n_first = min(_TASKS_TOGETHER * round_size, len(loss))
    for first in range(0, n_first, round_size):
        look_at(first)
    seen = _seen[learner]
    if seen.warned or n_first == len(loss):
        return
    odd = n_first + np.flatnonzero(skipped[n_first:] | ~(loss[n_first:] <= _GROWTH * seen.usual))
    # Where no task is odd, no mean is; of rounds of one, those are looked at that lie together.
    size = max(round_size, _TASKS_TOGETHER) // round_size * round_size
    for group in np.unique(odd // size):
        for first in range(int(group) * size, int(group + 1) * size, round_size):
            look_at(first)
