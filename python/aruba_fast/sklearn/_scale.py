"""Units within: features and targets as the engine sees them, and parameters as the user does."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack, issparse
from scipy.sparse.linalg import lsmr

from .._check import Float64Array, Int64Array
from ..fit import _MOST

# Sparse rows of more columns than `meta_fit` takes, or of more bytes if dense, stay sparse.
_MOST_COLUMNS, _MOST_BYTES = _MOST, 1 << 30
# Numbers of 32 MB.
_AT_A_TIME = 1 << 22
# Of a column's largest number: what varies less does so by rounding.
_ROUNDING = 1e-14
# The least unit of a target, of its spread: where a fit is exact its residuals are rounding.
_LEAST = 1e-8
# Huber's loss is squared up to 1.345 standard deviations: 95 % of the efficiency of least squares
# for normal errors (Huber, 1981); 1.4826 makes one of a normal variable's median distance.
_HUBER, _NORMAL = 1.345, 1.4826


@dataclass(frozen=True, eq=False)
class Features:
    """Columns less `center` times `factor`, and a column of ones behind them for an intercept.

    Columns that do not vary are left out: their factor is zero, and so are their coefficients.
    """

    center: Float64Array
    factor: Float64Array
    intercept: bool

    @cached_property
    def _live(self) -> Int64Array:
        live = np.flatnonzero(self.factor)
        # The engine wants a column.
        return live if len(live) or self.intercept else np.zeros(1, np.int64)

    @property
    def width(self) -> int:
        """Number of columns that the engine sees."""
        return len(self._live) + self.intercept

    def blocks(self, n_rows: int, n_parameters: int) -> list[slice]:
        """Rows of which each may have its own parameters beside it."""
        size = max(1, _AT_A_TIME // n_parameters)
        return [slice(first, first + size) for first in range(0, n_rows, size)]

    def rows(self, x: Any) -> Float64Array:
        """The rows that the engine sees, [n_rows, width], of dense or sparse ones."""
        live = self._live
        x = x.toarray() if issparse(x) else x
        rows = np.ones((len(x), self.width))
        rows[:, : len(live)] = x[:, live]
        rows[:, : len(live)] -= self.center[live]
        rows[:, : len(live)] *= self.factor[live]
        return rows

    def parts(self, values: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Numbers for the engine's columns as those of features [..., n_features] and of ones."""
        own = np.zeros((*values.shape[:-1], len(self.center)))
        own[..., self._live] = values[..., : len(self._live)]
        return own, values[..., -1] if self.intercept else np.zeros(values.shape[:-1])

    def undone(self, theta: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Coefficients [..., n_features] and intercepts [...] for columns as they were given."""
        own, level = self.parts(theta)
        coef = own * self.factor
        return coef, level - coef @ self.center


@dataclass(frozen=True, eq=False)
class SparseFeatures:
    """Columns times `factor`, which stay sparse, and a column of ones behind them for an intercept.

    Columns without a number in `fit` are left out: their factor is zero.
    """

    factor: Float64Array
    intercept: bool

    @property
    def width(self) -> int:
        """Number of columns that the engine sees."""
        return len(self.factor) + self.intercept

    def blocks(self, n_rows: int, n_parameters: int) -> list[slice]:  # noqa: ARG002
        """All rows."""
        return [slice(n_rows)]

    def rows(self, x: Any) -> csr_array:
        """The rows that the engine sees, [n_rows, width], of dense or sparse ones."""
        rows = csr_array(x, dtype=np.float64, copy=True)
        rows.data *= self.factor[rows.indices]
        return hstack([rows, np.ones((rows.shape[0], 1))], "csr") if self.intercept else rows

    def parts(self, values: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Numbers for the engine's columns as those of features [..., n_features] and of ones."""
        n = len(self.factor)
        return values[..., :n], values[..., n] if self.intercept else np.zeros(values.shape[:-1])

    def undone(self, theta: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Coefficients [..., n_features] and intercepts [...] for columns as they were given."""
        own, level = self.parts(theta)
        return own * self.factor, level


def features_of(
    x: Any, weights: Float64Array | None, *, scale: bool, intercept: bool
) -> Features | SparseFeatures:
    """What brings columns to one scale, of rows that count by their weights.

    Dense rows, and sparse ones of few columns: every column that varies gets the mean 0 and the
    standard deviation 1; without an intercept no column is moved, and its root mean square becomes
    1. Other sparse rows stay sparse: the largest number of every column becomes 1.
    """
    n = x.shape[1]
    if issparse(x) and (n > _MOST_COLUMNS or 8 * n * x.shape[0] > _MOST_BYTES):
        peak = abs(x).max(axis=0).toarray().ravel() if scale else np.ones(n)
        with np.errstate(divide="ignore", over="ignore"):
            factor = 1.0 / peak
        return SparseFeatures(np.where(np.isfinite(factor), factor, 0.0), intercept)
    x = x.toarray() if issparse(x) else x
    if not scale:
        return Features(np.zeros(n), np.ones(n), intercept)
    # In units of the largest number, whose square may leave float64.
    peak = np.abs(x).max(axis=0)
    unit = np.where(peak > 0, peak, 1.0)
    relative = x / unit
    center = _mean(relative, weights) if intercept else np.zeros(n)
    spread = np.sqrt(_mean(np.square(relative - center), weights))
    with np.errstate(divide="ignore", over="ignore"):
        factor = np.where(spread > _ROUNDING, 1.0 / (spread * unit), 0.0)
    return Features(center * unit, factor, intercept)


def _mean(values: Float64Array, weights: Float64Array | None) -> Any:
    """Over the rows."""
    return values.mean(axis=0) if weights is None else np.average(values, axis=0, weights=weights)


def _median(values: Float64Array, weights: Float64Array | None) -> Any:
    """Over the rows; of whole weights as if each row were as many."""
    if weights is None:
        return np.median(values)
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    first = int(np.searchsorted(below, 0.5))
    last = min(int(np.searchsorted(below, 0.5, side="right")), len(order) - 1)
    return 0.5 * (values[order[first]] + values[order[last]])


@dataclass(frozen=True, eq=False)
class Target:
    """A target less `center`, over `unit`."""

    center: float = 0.0
    unit: float = 1.0

    def shrunk(self, y: Float64Array) -> Float64Array:
        """As the engine sees it."""
        return (y - self.center) / self.unit

    def restored(self, z: Float64Array) -> Float64Array:
        """As the user does."""
        return z * self.unit + self.center


def target_of(
    loss: str, rows: Any, y: Float64Array, weights: Float64Array | None, *, intercept: bool
) -> Target:
    """The center and unit of a target; none for counts.

    Of squared losses the unit is the standard deviation, which changes nothing but rounding. Of
    Huber's and absolute ones it is where Huber's loss ceases to be squared, 1.345 robust standard
    deviations of what one model for all leaves: of rows too few for that, of the target itself.
    """
    if loss == "poisson":
        return Target()
    robust = loss != "squared"
    center = float((_median if robust else _mean)(y, weights)) if intercept else 0.0
    left = y - center
    peak = float(np.abs(left).max())
    if not peak > _ROUNDING * float(np.abs(y).max()):
        return Target(center)
    spread = peak * float(np.sqrt(_mean(np.square(left / peak), weights)))
    if not robust:
        return Target(center, spread)
    if rows.shape[0] >= 2 * rows.shape[1]:
        sparse = issparse(rows)
        root = np.ones_like(y) if weights is None else np.sqrt(weights)
        x = csr_array(rows.multiply(root[:, None])) if sparse else rows * root[:, None]
        found = lsmr(x, left * root) if sparse else np.linalg.lstsq(x, left * root, rcond=None)
        left = left - rows @ found[0]
    deviation = _NORMAL * float(_median(np.abs(left), weights))
    if deviation <= _LEAST * spread:  # more than half of the rows are told exactly
        deviation = float(np.sqrt(_mean(np.square(left), weights)))
    return Target(center, _HUBER * max(deviation, _LEAST * spread))
