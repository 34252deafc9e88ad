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
    Hyperparameters,
    block_of,
    check_arrays,
    completed,
    initial_arrays,
)
from ..federated import Round
from ..learner import MetaLearner
from ..rules import OGD, ArubaPlusPlus
from ..statistics import TaskStatistics

# Tasks of a round wait here and are summed together, which reads each of them once; more than the
# kernels sum in one chunk are of no use, and more than so many bytes are not kept.
_TASKS_AT_ONCE = 128
_TASKS_AT_LEAST = 8
_BYTES = 1 << 28

Block = tuple[int, Hyperparameters]
Rule = OGD | ArubaPlusPlus


class FlatState:
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
        phi = self.arrays["phi"]
        fitting = _BYTES // (2 * phi.nbytes)
        capacity = max(_TASKS_AT_LEAST, min(_TASKS_AT_ONCE, fitting))
        # Memory that no task has used yet is not there: NumPy's comes page by page.
        self._runs = _arrays.empty((2, capacity, len(phi)), phi.dtype, phi)
        self._sums = _arrays.zeros((3, 2, len(phi)), np.float64, phi)
        self._weight = _arrays.zeros(2, np.float64, phi)
        self._counts = _arrays.zeros(2, np.int64, phi)
        self._weights: list[float] = []
        self._n_summed = 0
        self._untouched = True
        self.searched = [
            block
            for block, (_, hyper) in zip(self.slices, self.blocks, strict=True)
            if not hyper.knows_rate
        ]
        self.search = Search() if self.searched else None
        self.n_searched = 0  # tasks of the open round that did nothing else
        self._followed: Round | None = None

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

    @property
    def n_waiting(self) -> int:
        """Number of tasks of the open round."""
        return self._n_summed + len(self._weights)

    @property
    def fresh(self) -> bool:
        """Whether no task has ended yet; known without asking a device."""
        return self._untouched and not self.n_waiting

    def next_run(self) -> tuple[Any, Any]:
        """Returns the memory for theta_hat and grad_sq of the next task."""
        if len(self._weights) == self._runs.shape[1]:
            self._sum()
        row = len(self._weights)
        return self._runs[0, row], self._runs[1, row]

    def keep_run(self, weight: float) -> None:
        """Takes what `next_run` handed out into the round."""
        self._weights.append(weight)

    def _sum(self) -> None:
        if self._weights:
            theta_hat, grad_sq, weights = self._waiting()
            phi, into = self.arrays["phi"], self._round()
            limited = self._limited()
            _arrays.native(phi).add_round(theta_hat, grad_sq, phi, weights, into, *limited)
            self._n_summed += len(self._weights)
            self._weights = []

    def _limited(self) -> tuple[Any, ...]:
        """The rates and how far a task may spread, all blocks together; none where one has none."""
        if not all(hyper.average_task for _, hyper in self.blocks):
            return ()
        with _arrays.beside(self.arrays["limit"]):
            return self.arrays["rate"], self.arrays["limit"].sum(axis=0)

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
        return [learner.rule(coef) for learner in self.learners], self.slices

    # ---- the round ----

    def _waiting(self) -> tuple[Any, Any, Any]:
        """theta_hat, grad_sq and weights of the tasks that are not summed yet."""
        n = len(self._weights)
        weights = _arrays.moved(np.array(self._weights), self.arrays["phi"])
        return self._runs[0, :n], self._runs[1, :n], weights

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
        self._weights, self.n_searched = [], 0
        if self._n_summed:
            self._weight.fill(0)
            self._counts.fill(0)
            if not isinstance(self._sums, np.ndarray):  # on the host no sum is read before a task
                self._sums.fill(0)
            self._n_summed = 0

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
        if statistics is None and not self._n_summed and len(self.learners) == 1 and on_host:
            self.learners[0]._state.learn(*self._waiting(), meta_step)
            self.forget_round()
            return
        if statistics is None:
            self._sum()
            sums, weight, counts = self._round()
        else:
            sums, weight, counts = statistics._parts()
        many = len(self.learners) > 1
        own = [_arrays.contiguous(sums[:, :, b]) if many else sums for b in self.slices]
        parts = [(part, weight, counts) for part in own]
        if many and on_host:  # so that where one refuses its part, nothing has changed
            for learner, part in zip(self.learners, parts, strict=True):
                learner._state.require_sound(part, meta_step)
        for learner, part in zip(self.learners, parts, strict=True):
            learner._state.apply(part, meta_step)
        self.forget_round()

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
