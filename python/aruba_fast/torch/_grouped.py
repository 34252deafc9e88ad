"""Rounds of a `MetaOptimizer` whose tasks are spread over processes: one exchange at their end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _check
from ..learner import MetaStep
from ..statistics import TaskStatistics
from . import _exchange
from ._groups import HYPERPARAMETERS
from ._parameters import array
from ._running import Running

if TYPE_CHECKING:
    import torch.distributed as dist

_STEP = "MetaOptimizer.step"
# What to learn from, None for the open round, and the step of the initialization.
Found = tuple[TaskStatistics | None, float | None]


@dataclass(frozen=True)
class _Told:
    """What a rank tells of its round before rows travel.

    Attributes:
        weights: Those of its tasks.
        n_searched: Number of its tasks that did nothing but to find the first rate.
        search: How far that is.
        counts: Tasks that it has learned from, and left out.
        new: Whether it has not looked yet if all ranks start from the same state.
        trouble: Why it cannot go on.
    """

    weights: list[float]
    n_searched: int
    search: Any
    counts: tuple[int, int]
    new: bool
    trouble: str | None


class Grouped(Running):
    """The base of `MetaOptimizer` that learns from the tasks of a whole group.

    Every rank gets the rows of all tasks, in one order, and does with them what one process does
    with its own: partial sums of other groupings would agree within an ulp only. Until the last
    exchange of a step nothing is changed.
    """

    def _take_turn(self, function: str, group: "dist.ProcessGroup") -> None:
        """Waits for the first rate as the ranks before have left it, once a round."""
        if self._flat.turn is not group:
            with _exchange.whole(function):
                told = _exchange.received(group)
            if told is not None:
                self._flat.take_search(told)
            self._flat.turn, self._flat.has_passed = group, False

    def _of_process(self, meta_step: MetaStep, statistics: TaskStatistics | None) -> Found | None:
        """What to learn from, None for the open round, and the step; None for nothing."""
        self._parameters.require(_STEP)
        if self._parameters.sharded:
            raise TypeError(
                f"{_STEP}: `process_group` must be given for parameters that are sharded over "
                "several dimensions: got None, expected the group of all their processes"
            )
        self._agreed = None  # what the ranks of a group learn by themselves they need not share
        if statistics is not None:
            if not isinstance(statistics, TaskStatistics):
                raise TypeError(
                    f"{_STEP}: `statistics` must be TaskStatistics: got "
                    f"{type(statistics).__name__}, expected TaskStatistics"
                )
            phi = self._flat.arrays["phi"]
            _check.shape(_STEP, "statistics", statistics.sums, (3, 2, len(phi)))
            _check.together(_STEP, "statistics", statistics.sums, "params", phi)
        elif not self._flat.n_waiting:
            if self._flat.n_searched:
                return None
            raise RuntimeError(
                f"{_STEP}: the round must hold a task: got none, expected `with meta.task()` before"
            )
        sums = self._flat.statistics if statistics is None else lambda: statistics
        step = _check.meta_step(_STEP, meta_step, lambda: self.n_tasks + sums().n_tasks)
        return statistics, step

    def _of_group(
        self, group: "dist.ProcessGroup", meta_step: MetaStep, statistics: TaskStatistics | None
    ) -> Found | None:
        """What all ranks learn from, and the step; None where the round only found the first rate.

        Every rank comes to every exchange, and tells there what is wrong.
        """
        _exchange.require_group(_STEP, group)
        given = statistics is not None
        trouble = "`statistics` must be None beside `process_group`" if given else self._trouble()
        sharded = self._parameters.sharded
        sums = self._of_shards(group, trouble) if sharded else self._gathered(group, trouble)
        if sums is None:
            return None
        step, refused = None, None
        try:
            step = _check.meta_step(_STEP, meta_step, lambda: self.n_tasks + sums.n_tasks)
            if sharded:  # what one shard refuses is learned on none
                self._flat.require_sound(sums, step)
        except Exception as error:  # the function is the user's
            refused = error
        mine = step, (sums.n_tasks, sums.n_skipped)
        told = _last_word(group, mine, refused)
        for name, i in (("`meta_step`", 0), ("sums of tasks that count, and do not,", 1)):
            for rank, other in enumerate(told):
                if other[i] != mine[i]:
                    raise ValueError(
                        f"{_STEP}: {name} must be the same on all ranks: got {mine[i]}, and "
                        f"{other[i]} on rank {rank}, expected one; nothing is learned"
                    )
        return sums, step

    def _gathered(self, group: "dist.ProcessGroup", trouble: str | None) -> TaskStatistics | None:
        """The sums over the tasks of all ranks; None where all were run to find the first rate."""
        flat = self._flat
        if flat.n_searched and flat.turn is None:
            trouble = trouble or (
                "tasks that find the first rate must be run in turn: got "
                f"{flat.n_searched} of a rank by itself, expected "
                "`meta.task(process_group=...)`, or a number for `learning_rate`"
            )
        new = self._agreed is not group
        if new or flat.search is not None or flat.n_searched or flat.turn is group:
            self._take_turn(_STEP, group)
            if not flat.has_passed:
                with _exchange.whole(_STEP):
                    _exchange.sent(flat.told_search(), group)
                flat.has_passed = True
        counts = self.n_tasks, self.n_skipped
        mine = _Told(flat.weights, flat.n_searched, flat.told_search(), counts, new, trouble)
        with _exchange.whole(_STEP):
            told = _exchange.gathered(mine, group)
        _refuse([each.trouble for each in told])
        if any(each.new or each.counts != counts for each in told):
            self._require_same(group)
            self._agreed = group
        flat.take_search(told[-1].search)
        if not any(each.weights for each in told):
            if any(each.n_searched for each in told):
                return None
            raise RuntimeError(
                f"{_STEP}: the round must hold a task: got none on any rank, expected "
                "`with meta.task()` before"
            )
        with _exchange.whole(_STEP):
            weights = [each.weights for each in told]
            return flat.statistics_of(_exchange.rows_of_all(flat, weights, group))

    def _of_shards(self, group: "dist.ProcessGroup", trouble: str | None) -> TaskStatistics | None:
        """The sums over the tasks, which all ranks have run, of this rank's shards; or None.

        A task that is not finite in one shard is left out of all. What else travels is what the
        tasks spread over a shard.
        """
        flat, shards = self._flat, self._flat.shards
        rules = [str([each[key] for key in HYPERPARAMETERS]) for each in self.param_groups]
        same = {
            "tasks": (flat.weights, flat.n_searched),
            "counts": (self.n_tasks, self.n_skipped),
            "rules": rules,
        }
        limits = None if shards is None else shards.limits(flat.arrays["limit"])
        with _exchange.whole(_STEP):
            told = _exchange.gathered((trouble, same, flat.counts(), limits), group)
        _refuse([each for each, *_ in told])
        for rank, (_, other, *_) in enumerate(told):
            for name, value in told[0][1].items():
                if other[name] != value:
                    raise ValueError(
                        f"{_STEP}: all ranks of a sharded model must run the same tasks from the "
                        f"same state: got other {name} on rank {rank} than on rank 0"
                    )
        if not flat.weights:
            if flat.n_searched:
                return None
            raise RuntimeError(
                f"{_STEP}: the round must hold a task: got none, expected `with meta.task()` before"
            )
        count = [all(each) for each in zip(*(counts for _, _, counts, _ in told), strict=True)]
        parts = flat.parts_of(count)
        if shards is not None:
            parts = shards.limited(_STEP, flat, count, [limits for *_, limits in told])
        try:
            return flat.statistics_of(parts, n_left_out=count.count(False))
        except ValueError as error:  # an overflow of this shard's sums
            _last_word(group, None, error)
            raise

    def _trouble(self) -> str | None:
        """Why the tasks of this rank cannot travel."""
        try:
            self._parameters.require(_STEP)
        except ValueError as error:
            return str(error).removeprefix(f"{_STEP}: ")
        n = self._flat.n_summed
        if not n:
            return None
        return (
            f"the tasks of the round must wait as they are: got {n} that are summed by now (by "
            f"`statistics`, `state_dict` or `save`, or as one of more than {self._flat.capacity}), "
            "expected those between rounds, and `meta.task(process_group=...)`"
        )

    def _require_same(self, group: "dist.ProcessGroup") -> None:
        """Refuses ranks that would learn different things."""
        layout = self._layout()
        mine: dict[str, Any] = {
            "shapes": layout["shapes"],
            "hyperparameters": [[n, str(hyper)] for n, hyper in layout["blocks"]],
        }
        with self._parameters.beside():
            mine |= _exchange.checksums(self._flat.arrays)
            buffers = {str(i): array(t) for i, t in enumerate(self._buffers.values())}
            mine["buffers"] = _exchange.checksums(buffers)
        with _exchange.whole(_STEP):
            told = _exchange.gathered(mine, group)
        for rank, other in enumerate(told):
            for name, value in told[0].items():
                if other[name] != value:
                    raise ValueError(
                        f"{_STEP}: all ranks must start from the same state: got other "
                        f"{name} on rank {rank} than on rank 0, expected one `torch.manual_seed` "
                        "before the model is made, or one `load_state_dict` on all"
                    )


def _last_word(group: "dist.ProcessGroup", mine: Any, refused: Exception | None) -> list[Any]:
    """What all ranks are about to learn with, if none refuses."""
    with _exchange.whole(_STEP):
        told = _exchange.gathered((mine, None if refused is None else str(refused)), group)
    if refused is not None:
        raise refused
    _refuse([trouble for _, trouble in told])
    return [its for its, _ in told]


def _refuse(troubles: list[str | None]) -> None:
    for rank, trouble in enumerate(troubles):
        if trouble is not None:
            raise RuntimeError(
                f"{_STEP}: no rank must be in trouble: got from rank {rank}: {trouble}; on no rank "
                "is anything learned"
            )
