"""Rows in CSR form: recognized by their attributes, checked once, and kept out of reach."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _check, _core, _narrow
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

    def part(self, values: NDArray[Any], begin: int, end: int) -> "tuple[NDArray[Any], Csr]":
        """Rows begin to end, which share the memory of these."""
        first, last = self.begins[begin], self.begins[end]
        begins = self.begins[begin : end + 1] - first
        return values[first:last], Csr(begins, self.columns[first:last], self.n_features)

    def chosen(self, values: NDArray[Any], rows: Int64Array) -> "tuple[NDArray[Any], Csr]":
        """Copies of some rows."""
        sizes = np.diff(self.begins)[rows]
        begins = np.concatenate([[0], np.cumsum(sizes)])
        places = np.repeat(self.begins[rows] - begins[:-1], sizes) + np.arange(begins[-1])
        return values[places], Csr(begins, self.columns[places], self.n_features)


def is_sparse(x: object) -> bool:
    """Whether something is a matrix of scipy.sparse, of any format; that is not imported."""
    if isinstance(x, (np.ndarray, list, tuple)):
        return False
    try:
        form = getattr(x, "format", None)
    except Exception:  # of an attribute that is a property: whatever x is, it is no matrix
        return False
    return isinstance(form, str) and (form == "csr" or (form in _FORMATS and hasattr(x, "tocsr")))


def checked_csr(
    function: str, x: Any, scale: float | None
) -> tuple[NDArray[Any], Csr, float | None]:
    """Returns the values of a CSR matrix, where they are, and what bytes are multiplied by.

    Where they are is copied. The values are referenced where columns rise in every row; else
    sorted, and those of one place added up, as `sum_duplicates` does it, but for narrow ones.
    """
    if x.format != "csr":
        raise TypeError(
            f"{function}: `x` must be dense or CSR: got {x.format.upper()}, expected x.tocsr()"
        )
    try:
        given, pointers, indices = x.data, x.indptr, x.indices
        shape = tuple(int(n) for n in x.shape)
    except Exception as error:  # of attributes that are properties
        raise TypeError(
            f"{function}: `x` must have the attributes of a CSR matrix: got "
            f"{type(x).__name__} ({error}), expected scipy.sparse.csr_array(x)"
        ) from error
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(
            f"{function}: `x` must have rows and columns: got shape {shape}, "
            "expected [n_rows, n_features]"
        )
    n_rows, n_features = shape
    if n_features > _MOST_COLUMNS:
        raise ValueError(
            f"{function}: `x` must have columns whose numbers are int32: got {n_features}, "
            f"expected at most {_MOST_COLUMNS}, as a FeatureHasher makes them"
        )
    values, factor = _narrow.checked(function, given, scale, "[n_entries]")
    if not isinstance(values, np.ndarray):
        raise TypeError(
            f"{function}: `x` must live in host memory: got CSR on {_arrays.device_of(values)}, "
            "expected x.get()"
        )
    values = np.require(values, requirements=["C", "A"])
    begins = _integers(function, "indptr", pointers)
    columns = _integers(function, "indices", indices)
    if len(begins) != n_rows + 1:
        raise ValueError(
            f"{function}: `x` must have an `indptr` of n_rows + 1 entries: got {len(begins)}, "
            f"expected {n_rows + 1}"
        )
    begins, columns, values = _core.read_csr(function, begins, columns, values, n_features)
    return values, Csr(begins, columns, n_features), factor


def _integers(function: str, name: str, value: Any) -> NDArray[Any]:
    array = _check.array(function, "x", value)
    if array.dtype not in (np.int32, np.int64) or array.ndim != 1:
        raise TypeError(
            f"{function}: `x` must have `{name}` of int32 or int64: got {array.dtype} of shape "
            f"{array.shape}, expected scipy.sparse.csr_array(x)"
        )
    return np.require(array, requirements=["C", "A"])


def as_scipy(values: NDArray[Any], csr: Csr) -> Any:
    """The rows as a `csr_array` of scipy.sparse."""
    from scipy.sparse import csr_array

    shape = (len(csr.begins) - 1, csr.n_features)
    return csr_array((values, csr.columns, csr.begins), shape=shape)


def dense_tasks(tasks: Any) -> Iterator[tuple[Int64Array, tuple[Any, ...]]]:
    """Every task of sparse rows: the columns that it touches, and a table of these alone."""
    for start, stop in zip(tasks._starts, tasks._stops, strict=True):
        values, csr = tasks._csr.part(tasks._x, start, stop)
        weights = None if tasks._row_weights is None else tasks._row_weights[start:stop]
        columns, places = np.unique(csr.columns, return_inverse=True)
        if not len(columns):
            columns = np.zeros(1, np.int64)
        x = np.zeros((stop - start, len(columns)), tasks.dtype)
        rows = np.repeat(np.arange(stop - start), np.diff(csr.begins))
        x[rows, places] = _narrow.widened(values, tasks.scale)
        limits = np.array([0, stop - start])
        yield columns, (x, tasks._y[start:stop], limits[:1], limits[1:], weights, None)


def changes(tasks: Any, phi: FloatArray, rule: tuple[Any, ...], loss: str) -> Any:
    """theta_hat - phi of sparse tasks, [n_tasks, n_parameters], as a `csr_array` of scipy.sparse.

    A task has entries in the columns that its rows touch, and none where it diverges.

    Args:
        tasks: The tasks.
        phi: Their start, [n_parameters].
        rule: As native code takes it.
        loss: Name of the loss.
    """
    from scipy.sparse import csr_array

    table = tasks._table()
    begins, columns, theta = _core.run_sparse_tasks(table, phi, rule, (loss, 1, 1, None))
    n_outputs = phi.size // tasks.n_features
    of_classes = tasks.n_features * np.arange(n_outputs)
    places = (columns[:, None].astype(np.int64) + of_classes).ravel()
    found = csr_array((theta - phi[places], places, n_outputs * begins), (len(tasks), phi.size))
    found.sort_indices()
    return found


def require_dense(function: str, tasks: Any, rule: str, got: object, remedy: str) -> None:
    """Refuses what moves every coordinate, for tasks whose rows are sparse."""
    if tasks._csr is not None:
        raise ValueError(f"{function}: {rule}: got {got} for tasks of CSR rows, expected {remedy}")
