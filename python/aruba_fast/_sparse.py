"""Rows in CSR form: recognized by their attributes, checked once, and kept out of reach."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _check, _core
from ._check import FloatArray, Int64Array

# A column is an int32 beside its value.
_MOST_COLUMNS = 2**31 - 1
_FORMATS = ("csc", "coo", "bsr", "dia", "dok", "lil")


@dataclass(frozen=True, eq=False)
class Csr:
    """Where the values of sparse rows are: private copies, which nobody can write to.

    Attributes:
        begins: Row i has the entries begins[i] to begins[i + 1]; int64 [n_rows + 1].
        columns: Their columns, which rise strictly in every row; int32 [n_entries].
        n_features: Number of columns.
    """

    begins: Int64Array
    columns: NDArray[np.int32]
    n_features: int

    def __post_init__(self) -> None:
        for name in ("begins", "columns"):
            object.__setattr__(self, name, _arrays.frozen(getattr(self, name)))

    def part(self, values: FloatArray, begin: int, end: int) -> "tuple[FloatArray, Csr]":
        """Rows begin to end, which share the memory of these."""
        first, last = self.begins[begin], self.begins[end]
        begins = self.begins[begin : end + 1] - first
        return values[first:last], Csr(begins, self.columns[first:last], self.n_features)

    def chosen(self, values: FloatArray, rows: Int64Array) -> "tuple[FloatArray, Csr]":
        """Copies of some rows."""
        sizes = np.diff(self.begins)[rows]
        begins = np.concatenate([[0], np.cumsum(sizes)])
        places = np.repeat(self.begins[rows] - begins[:-1], sizes) + np.arange(begins[-1])
        return values[places], Csr(begins, self.columns[places], self.n_features)


def is_sparse(x: object) -> bool:
    """Whether something is a matrix of scipy.sparse, of any format; that is not imported."""
    form = getattr(x, "format", None)
    if not isinstance(form, str) or isinstance(x, np.ndarray):
        return False
    if form == "csr":
        return all(hasattr(x, name) for name in ("data", "indices", "indptr", "shape"))
    return form in _FORMATS and hasattr(x, "tocsr")


def checked_csr(function: str, x: Any) -> tuple[FloatArray, Csr]:
    """Returns the values of a CSR matrix and where they are; those are copied.

    The values are referenced where columns rise in every row; else sorted, and those of one place
    added up, as `sum_duplicates` does it.
    """
    if x.format != "csr":
        raise TypeError(
            f"{function}: `x` must be dense or CSR: got {x.format.upper()}, expected x.tocsr()"
        )
    shape = tuple(x.shape)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"{function}: `x` must have rows and columns: got shape {shape}, "
            "expected [n_rows, n_features]"
        )
    n_rows, n_features = (int(n) for n in shape)
    if n_features > _MOST_COLUMNS:
        raise ValueError(
            f"{function}: `x` must have columns whose numbers are int32: got {n_features}, "
            f"expected at most {_MOST_COLUMNS}, as a FeatureHasher makes them"
        )
    values = _check.float_array(function, "x", x.data, "[n_entries]")
    begins, columns = (_integers(function, name, getattr(x, name)) for name in ("indptr", "indices"))
    if len(begins) != n_rows + 1:
        raise ValueError(
            f"{function}: `x` must have an `indptr` of n_rows + 1 entries: got {len(begins)}, "
            f"expected {n_rows + 1}"
        )
    begins, columns, values = _core.read_csr(function, begins, columns, values, n_features)
    return values, Csr(begins, columns, n_features)


def _integers(function: str, name: str, value: Any) -> NDArray[Any]:
    array = _check.array(function, "x", value)
    if array.dtype not in (np.int32, np.int64) or array.ndim != 1:
        raise TypeError(
            f"{function}: `x` must have `{name}` of int32 or int64: got {array.dtype} of shape "
            f"{array.shape}, expected scipy.sparse.csr_array(x)"
        )
    return np.ascontiguousarray(array)


def as_scipy(values: FloatArray, csr: Csr) -> Any:
    """The rows as a `csr_array` of scipy.sparse."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

    shape = (len(csr.begins) - 1, csr.n_features)
    return csr_array((values, csr.columns, csr.begins), shape=shape)


def require_dense(function: str, tasks: Any, rule: str, got: object, remedy: str) -> None:
    """Refuses what moves every coordinate, for tasks whose rows are sparse."""
    if tasks._csr is not None:
        raise ValueError(f"{function}: {rule} for tasks of CSR rows: got {got}, expected {remedy}")
