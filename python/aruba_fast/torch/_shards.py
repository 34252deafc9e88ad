"""Sums over the coordinates of a model of which each of several processes has a part."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._check import Float64Array, Int64Array
from .._state import Hyperparameters
from ..learner import MetaLearner
from ..rules import OGD, ArubaPlusPlus
from . import _exchange
from ._groups import Whole

if TYPE_CHECKING:
    import torch.distributed as dist

    from ._round import OpenRound, Part

# What b and g sum to: of every tensor of a block that is here, and last of the block; their sizes.
Sums = tuple[Float64Array, Int64Array]


@dataclass(frozen=True)
class _Block:
    """A block that this process has coordinates of.

    Attributes:
        number: Which one of all it is.
        first: The first of its tensors among all, and the one after its last.
        here: Those of which coordinates are here, among all.
        sizes: The sizes of its tensors as a whole.
    """

    number: int
    first: int
    beyond: int
    here: list[int]
    sizes: list[int]


class Shards:
    """What is learned from sums over all coordinates, of which each process has its shards.

    The coordinates of a shard are summed as those of a model are, and then the processes' sums in
    the order of their ranks: the same bits on every rank, and those of the whole model but for the
    rounding of terms that all are >= 0.

    Args:
        group: The processes.
        wholes: The blocks of the whole model.

    Raises:
        ValueError: The first rate of some is to be found, and that of others given.
    """

    def __init__(self, group: "dist.ProcessGroup", wholes: Sequence[Whole]) -> None:
        if len({whole.hyper.knows_rate for whole in wholes}) > 1:
            raise ValueError(
                "MetaOptimizer: `learning_rate` must be 'auto' for all groups of sharded "
                "parameters, or for none: got numbers beside 'auto', expected one of them, for a "
                "process may have no part of those that are searched"
            )
        self._group = group
        self._n_blocks = len(wholes)
        self._shortens = all(whole.hyper.average_task for whole in wholes)
        self._blocks: list[_Block] = []
        first = 0
        for number, whole in enumerate(wholes):
            beyond = first + len(whole.sizes)
            here = [first + i for i, (_, own) in enumerate(whole.sizes) if own]
            if here:
                sizes = [n for n, _ in whole.sizes]
                self._blocks.append(_Block(number, first, beyond, here, sizes))
            first = beyond
        self._n_tensors = first

    def take(self, learners: Sequence[MetaLearner]) -> None:
        """Tells learners that they have a part of their block only."""
        for block, learner in zip(self._blocks, learners, strict=True):
            learner._state.be_part(sum(block.sizes))

    def total(self, function: str, values: Any, **said: str) -> Float64Array:
        """The sums of the processes' values."""
        with _exchange.whole(function, **said):
            told = _exchange.gathered(np.asarray(values, np.float64), self._group)
        with np.errstate(over="ignore", invalid="ignore"):  # of a task that is left out for it
            result: Float64Array = np.sum(told, axis=0)
        return result

    # ---- the rates and the limit of a task ----

    def find_rates(self, function: str, learners: Sequence[MetaLearner]) -> None:
        """Finds what a round leaves to sums over all coordinates."""
        lost = {"left": "phi has moved and the rates have not: load the last checkpoint"}
        sums = self._sums(function, learners, training=True, **lost)
        spreads = np.zeros(self._n_blocks)
        for block, learner, own in zip(self._blocks, learners, sums, strict=True):
            if _has_sums(learner._hyper):
                spreads[block.number] = learner._state.find_rates(*own)
        spreads = self.total(function, spreads, **lost)
        for block, learner in zip(self._blocks, learners, strict=True):
            if learner._hyper.average_task:
                learner._state.set_limit(float(spreads[block.number]))

    def rules(
        self, function: str, learners: Sequence[MetaLearner], coef: float | str
    ) -> list[OGD | ArubaPlusPlus]:
        """The rules for new tasks."""
        sums = self._sums(function, learners, training=False)
        return [learner._rule(coef, own) for learner, own in zip(learners, sums, strict=True)]

    def _sums(
        self, function: str, learners: Sequence[MetaLearner], *, training: bool, **said: str
    ) -> list[Sums]:
        """What b and g of the blocks that are here sum to, over all processes."""
        places = []
        mine = np.zeros((self._n_tensors, 2))
        for block, learner in zip(self._blocks, learners, strict=True):
            hyper, b, g = learner._hyper, learner._arrays["b"], learner._arrays["g"]
            by_tensor = hyper.tensors is not None and not (training and hyper.train == "scalar")
            places.append(rows := block.here if by_tensor else [block.first])
            mine[rows] = _core.sums_of_tensors(b, g, hyper.table(len(b), training=training))
        all_sums = self.total(function, mine, **said)
        found = []
        for block, rows in zip(self._blocks, places, strict=True):
            n = sum(block.sizes)
            by_tensor = rows is block.here
            sizes = [block.sizes[i - block.first] for i in rows] if by_tensor else [n]
            of_all = all_sums[block.first : block.beyond].sum(axis=0, keepdims=True)
            found.append((np.concatenate([all_sums[rows], of_all]), np.array([*sizes, n])))
        return found

    # ---- the tasks of a round ----

    def limits(self, own: Any) -> Float64Array:
        """How far a task of the next round may spread, of every block; nan: none of it is here."""
        found = np.full((self._n_blocks, 1), np.nan)
        found[[block.number for block in self._blocks]] = own
        return found

    def limit(self, told: Sequence[Float64Array]) -> Float64Array:
        """How far a task may spread over all blocks, by the `limits` of all processes."""
        of_blocks = [limits[~np.isnan(limits)][0] for limits in np.stack(told, axis=1)]
        total: Float64Array = np.array(of_blocks)[:, None].sum(axis=0)  # as of one process
        return total

    def limited(
        self, function: str, flat: "OpenRound", count: list[bool], told: Sequence[Any]
    ) -> "Iterator[Part]":
        """The tasks that count, in parts, with what their shortening asks for.

        Args:
            function: The name of the caller.
            flat: The round.
            count: Which tasks count.
            told: The `limits` of all processes.
        """
        limit = self.limit(told)
        phi, rate = (flat.arrays[key] for key in ("phi", "rate"))
        if not (self._shortens and np.isfinite(limit).all()):
            for part in flat.parts_of(count):
                yield *part, None, None, None
            return
        own = [_core.spreads(part[0], part[1], phi, rate) for part in flat.parts_of(count)]
        spreads = self.total(function, np.concatenate(own))
        first = 0
        for part in flat.parts_of(count):
            n = len(part[0])
            yield *part, rate, limit, spreads[first : first + n].copy()
            first += n


def needs_sums(wholes: Sequence[Whole]) -> bool:
    """Whether something is learned from sums over coordinates."""
    return any(not whole.hyper.knows_rate or _has_sums(whole.hyper) for whole in wholes)


def _has_sums(hyper: Hyperparameters) -> bool:
    return hyper.average_task or hyper.isotropic or hyper.train == "scalar"
