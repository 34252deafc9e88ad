"""The rows of tasks: one table that all views share, and what a view has of it for itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arrays, _check
from ._check import FloatArray, Int64Array
from ._sparse import Csr, as_scipy, checked_csr, is_sparse


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Rows:
    """A table, `_x` and `_y`, and tasks chosen of it: task t is its rows `_starts[t]:_stops[t]`.

    Native code reads the table itself, so that no choice of tasks copies a row. What is public
    counts the rows of the chosen tasks alone. Of sparse rows `_x` holds the values, and `_csr`
    tells where they are.
    """

    _x: FloatArray
    _y: FloatArray
    _starts: Int64Array
    _stops: Int64Array
    _csr: Csr | None
    _checked: set[tuple[str, int]]
    _on_device: _arrays.Copies | None

    def _fill(
        self, *arrays: NDArray[Any], checked: set[tuple[str, int]], csr: Csr | None = None
    ) -> None:
        """Takes contiguous arrays: the table's x and y, starts, stops."""
        for name, value in zip(("_x", "_y", "_starts", "_stops"), arrays, strict=True):
            object.__setattr__(self, name, _arrays.frozen(value))
        object.__setattr__(self, "_csr", csr)
        object.__setattr__(self, "_checked", checked)
        object.__setattr__(self, "_on_device", None)

    def __getstate__(self) -> tuple[Any, ...]:
        x, y, csr = self._own_rows
        return (x, y, self.starts, self.stops, *([] if csr is None else [csr]))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._fill(*state[:4], checked=set(), csr=state[4] if len(state) > 4 else None)

    @property
    def x(self) -> Any:
        """Features of these tasks, [n_rows, n_features], read-only; see the class for copies.

        Of sparse rows, a `csr_array` of scipy.sparse.
        """
        x, _, csr = self._own_rows
        return x if csr is None else as_scipy(x, csr)

    @property
    def y(self) -> FloatArray:
        """Labels of these tasks, [n_rows] of the dtype of `x`, read-only."""
        return self._own_rows[1]

    @property
    def starts(self) -> Int64Array:
        """Where the rows of every task begin in `x` and `y`, int64 [n_tasks], read-only."""
        return self._own_limits[0]

    @property
    def stops(self) -> Int64Array:
        """Where they end, int64 [n_tasks], read-only."""
        return self._own_limits[1]

    @cached_property
    def _own_limits(self) -> tuple[Int64Array, Int64Array]:
        stops = np.cumsum(self.sizes)
        return _arrays.frozen(stops - self.sizes), _arrays.frozen(stops)

    @cached_property
    def _own_rows(self) -> tuple[FloatArray, FloatArray, Csr | None]:
        """`x` and `y`: slices of the table where the tasks lie side by side in it, else copies."""
        x, y, csr = next(self._blocks(self.n_rows))
        return _arrays.frozen(x), _arrays.frozen(y), csr

    def _blocks(self, size: int) -> Iterator[tuple[FloatArray, FloatArray, Csr | None]]:
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
            if self._csr is None:
                yield self._x[rows], self._y[rows], None
            elif order is None:
                x, csr = self._csr.part(self._x, rows.start, rows.stop)
                yield x, self._y[rows], csr
            else:
                x, csr = self._csr.chosen(self._x, rows)
                yield x, self._y[rows], csr

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
        """Type of `x` and `y`, and hence of the parameters: float32 or float64."""
        return self._x.dtype

    @property
    def device(self) -> str:
        """Where the rows live: "cpu", or "cuda:0" and so on; starts and stops are on the host."""
        return _arrays.device_of(self._x)

    def _beside_rows(self) -> tuple[Any, Any, Any]:
        """`_starts`, `_stops` and sizes where the rows live; copied to a device once."""
        if self._on_device is None:
            arrays = (self._starts, self._stops, self.sizes.astype(np.float64))
            object.__setattr__(self, "_on_device", _arrays.Copies(arrays, self._x))
        assert self._on_device is not None
        starts, stops, sizes = self._on_device.get()
        return starts, stops, sizes

    def _table(self, starts: Any, stops: Any) -> tuple[Any, ...]:
        """The table and where tasks are in it, as native code takes them."""
        table = (self._x, self._y, starts, stops)
        if self._csr is None:
            return table
        return (*table, self._csr.begins, self._csr.columns, self._csr.n_features)

    def _check_labels(self, function: str, loss: str, n_classes: int) -> None:
        """Checks all labels of the table against the loss, once for all views."""
        if (loss, n_classes) not in self._checked:
            _arrays.native(self._y).check_labels(function, self._y, loss, n_classes)
            self._checked.add((loss, n_classes))


def checked_rows(
    function: str, x: ArrayLike, y: ArrayLike, axes: str
) -> tuple[FloatArray, NDArray[Any], Csr | None]:
    """Returns features and labels that are of one number of rows, and of one place."""
    if is_sparse(x):
        if axes.startswith("[n_tasks"):
            raise ValueError(
                f"{function}: `offsets` must be given with CSR rows: got None, expected "
                "[n_tasks + 1] integers, or Tasks.from_groups"
            )
        values, csr = checked_csr(function, x)
        labels = _check.real_array(function, "y", y)
        _check.shape(function, "y", labels, (len(csr.begins) - 1,))
        _check.together(function, "y", labels, "x", values)
        return values, labels, csr
    features = _check.float_array(function, "x", x, axes)
    if 0 in features.shape:
        raise ValueError(
            f"{function}: `x` must not be empty: got shape {features.shape}, expected {axes}"
        )
    labels = _check.real_array(function, "y", y)
    _check.shape(function, "y", labels, features.shape[:-1])
    _check.together(function, "y", labels, "x", features)
    return features, labels, None
