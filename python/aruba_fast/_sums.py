"""`Sums`: what statistics of tasks and replies about them have in common."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _arrays
from ._check import Float64Array, Int64Array

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Sums:
    """Sums over tasks as pairs of float64; the third is what a kind of them says it is."""

    sums: Float64Array
    weight_sum: Float64Array
    counts: Int64Array

    @property
    def n_tasks(self) -> int:
        """Number of tasks in the sums; on a CUDA device, asking waits for it."""
        return int(self.counts[0])

    @property
    def n_skipped(self) -> int:
        """Number of tasks that were left out because they were not finite; asked as `n_tasks`."""
        return int(self.counts[1])

    @property
    def distance(self) -> Float64Array:
        """Sum over tasks of 1/2 (theta_hat - phi)^2, float64 [n_parameters]."""
        return self._rounded(0)

    @property
    def grad_sq(self) -> Float64Array:
        """Sum over tasks of their squared gradients, float64 [n_parameters]."""
        return self._rounded(1)

    @property
    def weight(self) -> float:
        """Sum of the weights."""
        return float(self.weight_sum[0] + self.weight_sum[1])

    def _rounded(self, index: int) -> Float64Array:
        with _arrays.beside(self.sums):
            result: Float64Array = self.sums[index, 0] + self.sums[index, 1]
        return result

    def __radd__(self, other: object) -> "Self":
        # sum() starts from the integer 0
        return self if isinstance(other, int) and other == 0 else NotImplemented
