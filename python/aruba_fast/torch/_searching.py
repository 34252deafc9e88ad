"""The first tasks of a model whose first rate is not known: they run at the rates of a grid."""

from typing import TYPE_CHECKING, Any

import torch

from ._parameters import tensor
from .task import Closure, Owner, TaskOptimizer

if TYPE_CHECKING:
    from .._search import Search
    from ._flat import FlatState

_NAME = "MetaOptimizer.task"
# So many tasks in turn that tell nothing are no accident.
_MOST_SILENT = 10


class SearchingOptimizer(TaskOptimizer):
    """Moves the parameters of a task at a rate that is tried, and tells the search what came of it.

    Args:
        meta: The meta-learner, whose first rate is searched.
        rates: For every parameter its rates; views of those of `flat`.
        sums: For every parameter its sums of squared gradients; views of `grad_sq`.
        flat: Where the search is.
        grad_sq: All sums as one vector.
    """

    def __init__(
        self,
        meta: Owner,
        rates: list[torch.Tensor],
        sums: list[torch.Tensor],
        flat: "FlatState",
        grad_sq: torch.Tensor,
    ) -> None:
        super().__init__(meta, rates, sums, None)
        self._flat, self._grad_sq = flat, grad_sq
        self._n_silent = 0

    def begin(self) -> None:
        """A task begins: at the next rate, once a first gradient has told how long steps are."""
        self._forget_seen()
        self._n_steps, self._first_sq = 0, 0.0
        self._set_rate()

    def step(self, closure: Closure | None = None) -> Any:
        """As `TaskOptimizer.step`; the first one of all does not move."""
        loss = super().step(closure)
        self._n_steps += 1
        if self._n_steps == 1:
            search, (self._first_sq,) = self._search, self._totals(self._grad_sq)
            if search.scale is None and 0.0 < self._first_sq < float("inf"):
                (phi_sq,) = self._totals(tensor(self._flat.arrays["phi"]).double().square())
                length = phi_sq**0.5
                search.scale = (length or 1.0) / self._first_sq**0.5
                self._set_rate()
        return loss

    def end(self, theta_hat: torch.Tensor) -> None:
        """The task has ended at `theta_hat`, as one vector: the next rate, or the one that is it.

        A task of one step, whose gradient is the same at any rate, tells nothing, nor does one
        without a gradient.

        Raises:
            RuntimeError: Many in turn have told nothing.
        """
        with torch.no_grad():
            moved = theta_hat.double() - tensor(self._flat.arrays["phi"]).double()
            distance, grad_sq = self._totals(moved.square(), self._grad_sq)
        before = self._search.n_tasks
        if self._n_steps > 1 and 0.0 < self._first_sq < float("inf"):
            self._search.add(grad_sq / self._n_steps / self._first_sq, distance, grad_sq)
        self._n_silent = 0 if self._search.n_tasks > before else self._n_silent + 1
        if self._n_silent == _MOST_SILENT:
            self._n_silent = 0
            raise RuntimeError(
                f"{_NAME}: tasks must tell the first rate: got {_MOST_SILENT} in turn of less than "
                "2 steps, or without a finite gradient, expected several steps a task, or a number "
                "for `learning_rate`"
            )
        self._flat.look_at_search()

    @property
    def _search(self) -> "Search":
        assert self._flat.search is not None
        return self._flat.search

    def _set_rate(self) -> None:
        search = self._search
        self._flat.fill_searched(0.0 if search.scale is None else search.scale * search.step)

    def _totals(self, *vectors: torch.Tensor) -> list[float]:
        """The sums over all coordinates whose rate is searched."""
        parts = self._flat.searched
        own = [sum(float(v[part].sum(dtype=torch.float64)) for part in parts) for v in vectors]
        shards = self._flat.shards
        return own if shards is None else shards.total(_NAME, own).tolist()
