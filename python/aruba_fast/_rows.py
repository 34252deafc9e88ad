"""The rows of tasks: one table that all views share, and what a view has of it for itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arrays, _check, _narrow
from ._check import Float64Array, FloatArray, Int64Array
from ._sparse import Csr, as_scipy, checked_csr, is_sparse


class Block(NamedTuple):
    """Some rows: of sparse ones `x` holds the values, and `csr` tells where they are.

    Of bytes, `scale` is what they are multiplied by.
    """

    x: NDArray[Any]
    y: FloatArray
    row_weights: Float64Array | None
    csr: Csr | None
    scale: float | None = None


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Rows:
    """A table, `_x` and `_y`, and tasks chosen of it: task t is its rows `_starts[t]:_stops[t]`.

    Native code reads the table itself, so that no choice of tasks copies a row. What is public
    counts the rows of the chosen tasks alone. Of sparse rows `_x` holds the values, and `_csr`
    tells where they are.
    """

    _x: NDArray[Any]
    _y: FloatArray
    _starts: Int64Array
    _stops: Int64Array
    _row_weights: Float64Array | None
    _csr: Csr | None
    _scale: float | None
    _checked: set[tuple[str, int]]
    _on_device: _arrays.Copies | None

    def _fill(
        self,
        table: Block,
        starts: Int64Array,
        stops: Int64Array,
        checked: set[tuple[str, int]],
    ) -> None:
        """Takes contiguous arrays."""
        arrays = {"_x": table.x, "_y": table.y, "_starts": starts, "_stops": stops}
        for name, value in arrays.items():
            object.__setattr__(self, name, _arrays.frozen(value))
        weights = table.row_weights
        object.__setattr__(
            self, "_row_weights", None if weights is None else _arrays.frozen(weights)
        )
        object.__setattr__(self, "_csr", table.csr)
        object.__setattr__(self, "_scale", table.scale)
        object.__setattr__(self, "_checked", checked)
        object.__setattr__(self, "_on_device", None)

    def __getstate__(self) -> tuple[Any, ...]:
        x, y, *rest = self._own_rows
        return (x, y, self.starts, self.stops, dict(zip(Block._fields[2:], rest, strict=True)))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *arrays, rest = (*state, {}) if len(state) == 4 else state
        # What was received from a socket may begin anywhere; native code reads aligned arrays.
        x, y, starts, stops = map(_arrays.contiguous, arrays)
        weights = rest.get("row_weights")
        weights = None if weights is None else _arrays.contiguous(weights)
        table = Block(x, y, weights, rest.get("csr"), rest.get("scale"))
        self._fill(table, starts, stops, checked=set())

    @property
    def x(self) -> Any:
        """Features of these tasks, [n_rows, n_features], read-only; see the class for copies.

        Of sparse rows, a `csr_array` of scipy.sparse. In the type in which they were given.
        """
        own = self._own_rows
        return own.x if own.csr is None else as_scipy(own.x, own.csr)

    @property
    def y(self) -> FloatArray:
        """Labels of these tasks, [n_rows] of the dtype of the tasks, read-only."""
        return self._own_rows.y

    @property
    def row_weights(self) -> Float64Array | None:
        """How often the loss of every row counts, float64 [n_rows], read-only; None: once."""
        return self._own_rows.row_weights

    @property
    def scale(self) -> float | None:
        """What uint8 features are multiplied by, a number of float32; None for all others."""
        return self._scale

    @property
    def starts(self) -> Int64Array:
        """Where the rows of every task begin in `x` and `y`, int64 [n_tasks], read-only."""
        return self._own_limits[0]

    @property
    def stops(self) -> Int64Array:
        """Where they end, int64 [n_tasks], read-only."""
        return self._own_limits[1]

    @property
    def _rows(self) -> Block:
        """The table."""
        return Block(self._x, self._y, self._row_weights, self._csr, self._scale)

    @cached_property
    def _own_limits(self) -> tuple[Int64Array, Int64Array]:
        stops = np.cumsum(self.sizes)
        return _arrays.frozen(stops - self.sizes), _arrays.frozen(stops)

    @cached_property
    def _own_rows(self) -> Block:
        """The rows: slices of the table where the tasks lie side by side in it, else copies."""
        rows = next(self._blocks(self.n_rows))
        frozen, weights = _arrays.frozen, rows.row_weights
        weights = None if weights is None else frozen(weights)
        return rows._replace(x=frozen(rows.x), y=frozen(rows.y), row_weights=weights)

    def _blocks(self, size: int) -> Iterator[Block]:
        """The rows in their order, so many at a time: slices of the table, or copies."""
        begin: int = self._starts[0]
        order = None
        if (self._starts[1:] != self._stops[:-1]).any():
            order = np.repeat(self._starts - self.starts, self.sizes) + np.arange(self.n_rows)
        for first in range(0, self.n_rows, size):
            end = min(first + size, self.n_rows)
            rows: Any = slice(begin + first, begin + end)
            if order is not None:
                rows = _arrays.moved(order[first:end], self._x)
            weights = None if self._row_weights is None else self._row_weights[rows]
            if self._csr is None:
                x, csr = self._x[rows], None
            elif order is None:
                x, csr = self._csr.part(self._x, rows.start, rows.stop)
            else:
                x, csr = self._csr.chosen(self._x, rows)
            yield Block(x, self._y[rows], weights, csr, self._scale)

    @property
    def n_features(self) -> int:
        """Number of columns of `x`."""
        return int(self._x.shape[1]) if self._csr is None else self._csr.n_features

    @property
    def n_rows(self) -> int:
        """Number of rows of all these tasks."""
        return int(self.sizes.sum())

    @property
    def sizes(self) -> Int64Array:
        """Number of rows of every task, int64 [n_tasks]."""
        return self._stops - self._starts

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of `y`, of what is computed and hence of the parameters: float32 or float64."""
        return self._y.dtype

    @property
    def device(self) -> str:
        """Where the rows live: "cpu", or "cuda:0" and so on; starts and stops are on the host."""
        return _arrays.device_of(self._x)

    def _weights(self) -> Float64Array:
        """How much every task counts by its rows: their number, or the sum of their weights."""
        if self._row_weights is None:
            return self.sizes.astype(np.float64)
        # One after the other, as native code adds them.
        task = np.repeat(np.arange(len(self._starts)), self.sizes)
        return np.bincount(task, self._own_rows.row_weights).astype(np.float64, copy=False)

    def _beside_rows(self) -> tuple[Any, Any, Any]:
        """`_starts`, `_stops` and weights where the rows live; copied to a device once."""
        if self._on_device is None:
            arrays = (self._starts, self._stops, self._weights())
            object.__setattr__(self, "_on_device", _arrays.Copies(arrays, self._x))
        assert self._on_device is not None
        starts, stops, weights = self._on_device.get()
        return starts, stops, weights

    def _table(self, starts: Any = None, stops: Any = None) -> tuple[Any, ...]:
        """The table and where tasks are in it, as native code takes them; None: on the host."""
        starts = self._starts if starts is None else starts
        stops = self._stops if stops is None else stops
        return table_for_native(self._rows, starts, stops)

    def _check_labels(self, function: str, loss: str, n_classes: int) -> None:
        """Checks all labels of the table against the loss, once for all views."""
        if (loss, n_classes) not in self._checked:
            _arrays.native(self._y).check_labels(function, self._y, loss, n_classes)
            self._checked.add((loss, n_classes))


def joined_weights(parts: Iterable[tuple[Float64Array | None, int]]) -> Float64Array | None:
    """Weights of rows behind each other, of parts of so many rows; None where no part has any."""
    parts = [*parts]
    if all(weights is None for weights, _ in parts):
        return None
    return np.concatenate([np.ones(n) if weights is None else weights for weights, n in parts])


def stacked(
    parts: Iterable[tuple[Any, NDArray[Any], Float64Array | None]],
) -> tuple[Any, NDArray[Any], Float64Array | None]:
    """Features, labels and weights of rows below each other; CSR where any features are."""
    x, y, weights = zip(*parts, strict=True)
    if any(map(is_sparse, x)):
        from scipy.sparse import vstack

        joined = vstack(x, format="csr")
    else:
        joined = np.concatenate(x)
    every = joined_weights(zip(weights, map(len, y), strict=True))
    return joined, np.concatenate(y), every


def table_for_native(rows: Block, starts: Any, stops: Any) -> tuple[Any, ...]:
    """Rows and where tasks are in them, as native code takes them."""
    table = (rows.x, rows.y, starts, stops, rows.row_weights, rows.scale)
    if rows.csr is None:
        return table
    return (*table, rows.csr.begins, rows.csr.columns, rows.csr.n_features)


def checked_weights(function: str, value: ArrayLike | None, like: NDArray[Any]) -> Any:
    """Returns a float64 copy of the weights of the rows of labels `like`, or None."""
    if value is None:
        return None
    if not isinstance(like, np.ndarray):
        raise TypeError(
            f"{function}: `row_weights` must be None for tasks on a CUDA device: got "
            f"{_check.shown(value)}, expected rows in host memory"
        )
    weights = _check.real_array(function, "row_weights", value)
    _check.shape(function, "row_weights", weights, like.shape)
    _check.together(function, "row_weights", weights, "y", like)
    weights = np.array(weights, np.float64, order="C").reshape(-1)
    _check.finite(function, "row_weights", weights, above=0.0)
    return weights


def checked_rows(
    function: str, x: ArrayLike, y: ArrayLike, scale: float | None, axes: str
) -> Block:
    """Returns features and labels that are of one number of rows, and of one place."""
    if is_sparse(x):
        if axes.startswith("[n_tasks"):
            raise ValueError(
                f"{function}: `offsets` must be given with CSR rows: got None, expected "
                "[n_tasks + 1] integers, or Tasks.from_groups"
            )
        values, csr, factor = checked_csr(function, x, scale)
        labels = _check.real_array(function, "y", y)
        _check.shape(function, "y", labels, (len(csr.begins) - 1,))
        _check.together(function, "y", labels, "x", values)
        return Block(values, labels, None, csr, factor)
    features, factor = _narrow.checked(function, x, scale, axes)
    if 0 in features.shape:
        raise ValueError(
            f"{function}: `x` must not be empty: got shape {features.shape}, expected {axes}"
        )
    labels = _check.real_array(function, "y", y)
    _check.shape(function, "y", labels, features.shape[:-1])
    _check.together(function, "y", labels, "x", features)
    return Block(features, labels, None, None, factor)
