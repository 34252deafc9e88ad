"""The meta-state of a model as flat arrays over all its parameters, and the sums of its round."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _arrays
from .._search import Search
from .._state import (
    ARRAYS,
    AUTO,
    SIZES,
    block_of,
    check_arrays,
    completed,
    initial_arrays,
)
from ..federated import Round
from ..learner import MetaLearner
from ..rules import OGD, ArubaPlusPlus
from ..statistics import TaskStatistics
from ._round import Block, OpenRound
from ._shards import Shards

Rule = OGD | ArubaPlusPlus


class FlatState(OpenRound):
    """One `MetaLearner` a block of coordinates, all in the same flat arrays.

    Args:
        arrays: The learners' arrays by name: vectors over all coordinates, and those of the blocks
            [n_blocks, size]. Not copied.
        blocks: Number of coordinates and hyperparameters of every block.
    """

    def __init__(self, arrays: Mapping[str, Any], blocks: Sequence[Block]) -> None:
        self.arrays = dict(arrays)
        self.blocks = list(blocks)
        self.learners: list[MetaLearner] = []
        self.slices: list[slice] = []
        begin = 0
        for k, (n, hyper) in enumerate(self.blocks):
            block = slice(begin, begin + n)
            learner = MetaLearner.__new__(MetaLearner)
            learner._hold(hyper, block_of(self.arrays, k, block))
            self.learners.append(learner)
            self.slices.append(block)
            begin += n
        self._begin_round()
        self._untouched = True
        self.searched = [
            block
            for block, (_, hyper) in zip(self.slices, self.blocks, strict=True)
            if not hyper.knows_rate
        ]
        self.search = Search() if self.searched else None
        self._followed: Round | None = None
        # Of a model of which this process has a part: what sums over all of it.
        self.shards: Shards | None = None

    @classmethod
    def first(cls, phi: Any, blocks: Sequence[Block]) -> "FlatState":
        """The state before the first task, where `phi` lives."""
        begin, parts, host = 0, [], _arrays.host(phi)
        for n, hyper in blocks:
            parts.append(initial_arrays(host[begin : begin + n], hyper, "MetaOptimizer"))
            begin += n
        joined = {
            name: (np.stack if name in SIZES else np.concatenate)([part[name] for part in parts])
            for name in ARRAYS
        }
        return cls({name: _arrays.moved(array, phi) for name, array in joined.items()}, blocks)

    def join(self, shards: Shards) -> None:
        """Learns from sums over all coordinates of a model of which this process has a part."""
        self.shards = shards
        shards.take(self.learners)

    @property
    def fresh(self) -> bool:
        """Whether no task has ended yet; known without asking a device."""
        return self._untouched and not self.n_waiting

    # ---- while the first rate is searched ----

    def fill_searched(self, rate: float) -> None:
        """Sets the rates that are searched."""
        with _arrays.beside(self.arrays["rate"]):
            for block in self.searched:
                self.arrays["rate"][block] = rate

    def look_at_search(self) -> None:
        """A task has ended that was run for the search alone: is the first rate known?"""
        assert self.search is not None
        self.n_searched += 1
        self.fill_searched(0.0)
        if (rate := self.search.found()) is not None:
            self._start(rate)

    def _start(self, rate: float) -> None:
        for (_, hyper), learner in zip(self.blocks, self.learners, strict=True):
            if not hyper.knows_rate:
                learner._start(rate)
        self.search = None

    def told_search(self) -> tuple[Any, Any]:
        """What is known of the search, for another process: its tasks, and the first rates."""
        if self.search is not None:
            return self.search.stored(), None
        first = [learner.initial_learning_rate for learner in self.learners]
        return None, None if None in first else np.array(first)

    def take_search(self, told: tuple[Any, Any]) -> None:
        """Goes on where another process has come to."""
        if self.search is not None:
            self._restore_search(*told, begun=all(each is None for each in told))
            if self.search is not None:
                self.fill_searched(0.0)

    def _restore_search(self, search: Any, first: Any, *, begun: bool) -> None:
        found = None if search is None else Search.restored(search)
        if first is not None:
            good = first.shape == (len(self.blocks),) and (first > 0).all()
            if not good or not np.isfinite(first).all():
                raise ValueError(f"`first_rate` is {first}, expected one for each block")
        for k, ((_, hyper), learner) in enumerate(zip(self.blocks, self.learners, strict=True)):
            learner._hyper = hyper
            if first is not None and not hyper.knows_rate:
                learner._start(float(first[k]))
        self.search = None if begun or first is not None else found or Search()

    # ---- what another machine has learned ----

    def follow(self, sent: Round) -> None:
        """Takes a server's phi and rates; b, g and what was counted stay as they are."""
        asks = sent.rule is None
        if asks and len(self.searched) < len(self.blocks):
            raise ValueError(
                "MetaOptimizer.follow: `round` must know the rate of every group that was made "
                "with a number for `learning_rate`: got one that asks for it, expected "
                "learning_rate='auto'"
            )
        shortened = all(hyper.average_task for _, hyper in self.blocks)
        if sent.limit not in (None, np.inf) and not shortened:
            raise ValueError(
                "MetaOptimizer.follow: `round` must come from a learner with a number for `zeta`, "
                "as this has one: got one that shortens tasks, expected zeta='auto' here"
            )
        self.forget_round()
        self._followed = sent
        self.search = Search(n_passes=1) if asks else None
        values = {"phi": sent.phi, "phi_master": sent.phi, "rate": sent.rates()}
        for name, value in values.items():
            own = self.arrays[name]
            own[...] = _arrays.moved(value.astype(own.dtype), own)
        # All blocks are one: their limits are added.
        self.arrays["limit"].fill(0.0)
        self.arrays["limit"][:1].fill(np.inf if sent.limit is None else sent.limit)

    def searched_rate(self) -> float:
        """The first rate that a search has found."""
        return float(self.learners[0]._hyper.learning_rate)

    def rules(self, coef: float | str | None) -> tuple[list[Rule], list[slice]]:
        """The rules for new tasks, and what of the parameters each is for; none: the rates."""
        if coef is None:
            return [], []
        if coef == AUTO and self._followed is not None and self._followed.personal is not None:
            return [self._followed.personal], [slice(None)]
        if self.shards is not None:
            return self.shards.rules("MetaOptimizer.rule", self.learners, coef), self.slices
        return [learner.rule(coef) for learner in self.learners], self.slices

    # ---- the end of a round ----

    def apply(self, statistics: TaskStatistics | None, meta_step: float | None) -> tuple[int, int]:
        """The meta-update from the given sums, or from those of the open round, which is closed.

        Returns:
            Number of tasks of the round, and of those that were skipped; none on a CUDA device.
        """
        self._untouched, self._followed = False, None
        self.search = None  # by tasks of another optimizer rates are known, too
        on_host = isinstance(self._sums, np.ndarray)
        before = self.arrays["counts"][0].copy() if on_host else np.zeros(2, np.int64)
        self._apply(statistics, meta_step, on_host)
        n_tasks, n_skipped = self.arrays["counts"][0] - before if on_host else before
        return int(n_tasks + n_skipped), int(n_skipped)

    def _apply(
        self, statistics: TaskStatistics | None, meta_step: float | None, on_host: bool
    ) -> None:
        whole = not (self._n_summed or self._kept)
        if statistics is None and whole and len(self.learners) == 1 and on_host:
            self.learners[0]._state.learn(*self._waiting(), meta_step)
            self.forget_round()
            return
        if statistics is None:
            self._sum()
            sums, weight, counts = self._round()
        else:
            sums, weight, counts = statistics._parts()
        parts = self._parts(sums, weight, counts)
        if len(parts) > 1 and on_host:  # so that where one refuses its part, nothing has changed
            self._require_sound(parts, meta_step)
        for learner, part in zip(self.learners, parts, strict=True):
            learner._state.apply(part, meta_step)
        self.forget_round()
        if self.shards is not None:
            self.shards.find_rates("MetaOptimizer.step", self.learners)

    def _parts(self, sums: Any, weight: Any, counts: Any) -> list[Any]:
        """The same for every block."""
        many = len(self.learners) > 1
        own = [_arrays.contiguous(sums[:, :, b]) if many else sums for b in self.slices]
        return [(part, weight, counts) for part in own]

    def _require_sound(self, parts: list[Any], meta_step: float | None) -> None:
        for learner, part in zip(self.learners, parts, strict=True):
            learner._state.require_sound(part, meta_step)

    def require_sound(self, statistics: TaskStatistics, meta_step: float | None) -> None:
        """Refuses what `apply` would, with a ValueError; on a device nobody knows before."""
        if isinstance(self._sums, np.ndarray):
            self._require_sound(self._parts(*statistics._parts()), meta_step)

    def export(self) -> dict[str, Any]:
        """Returns copies of all arrays, with those of the open round where there is one."""
        self._sum()
        found = {name: _arrays.owned(array) for name, array in self.arrays.items()}
        if self._n_summed:
            names = ("round_sums", "round_weight", "round_counts")
            found |= {n: _arrays.owned(a) for n, a in zip(names, self._round(), strict=True)}
        if self.search is not None and self.search.n_tasks:
            found["search"] = _arrays.moved(self.search.stored(), self.arrays["phi"])
        first = [learner.initial_learning_rate for learner in self.learners]
        if self.searched and self.search is None and None not in first:
            found["first_rate"] = _arrays.moved(np.array(first), self.arrays["phi"])
        return found

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Takes what `export` gave; where that is refused, with a ValueError, nothing changed."""
        host = {name: _arrays.host(array) for name, array in completed(arrays).items()}
        names = ("round_sums", "round_weight", "round_counts")
        given = {name: host.pop(name) for name in names if name in host}
        search, first = (host.pop(name, None) for name in ("search", "first_rate"))
        for name, now in self.arrays.items():
            found = host.get(name)
            if found is None or (found.dtype, found.shape) != (now.dtype, now.shape):
                got = "nothing" if found is None else f"{found.dtype} {found.shape}"
                raise ValueError(f"`{name}` is {got}, expected {now.dtype} {now.shape}")
        for k, (block, (_, hyper)) in enumerate(zip(self.slices, self.blocks, strict=True)):
            check_arrays(block_of(host, k, block), hyper)
        for name, now in zip(names, self._round(), strict=True):
            found = given.get(name)
            if given and (
                found is None
                or (found.dtype, found.shape) != (now.dtype, now.shape)
                or not np.isfinite(found).all()
            ):
                raise ValueError(f"`{name}` must be finite {now.dtype} {now.shape}")
        if self.searched:
            self._restore_search(search, first, begun=bool(host["counts"].any()))
        for name, now in self.arrays.items():
            now[...] = _arrays.moved(host[name], now)
        self.forget_round()
        self._followed = None
        for name, now in zip(names, self._round(), strict=True):
            if given:
                now[...] = _arrays.moved(given[name], now)
        if given:
            self._n_summed = int(given["round_counts"].sum())
        self._untouched = not host["counts"].any()

    def __getstate__(self) -> tuple[Any, ...]:
        return self.export(), self.blocks

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        stored, blocks = state
        exported = completed(stored)
        # Memory of its own: joblib, Ray and Dask hand over arrays that cannot be written to.
        like = {name: exported[name] for name in ARRAYS}
        own = {name: _arrays.empty(a.shape, a.dtype, a) for name, a in like.items()}
        self.__init__(own, blocks)  # type: ignore[misc]
        self.restore(exported)
