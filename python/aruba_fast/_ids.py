"""Rows divided by the id of their task, whatever an id is; rows without one are refused."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arrays, _check
from ._check import Int64Array

# What NumPy makes of nan among strings, and pandas of NaT and NA.
_MISSING_TEXTS = ("nan", "NaT", "<NA>")
# Integers beyond this are rounded where a list of numbers becomes float64.
_EXACT = 2**53


def grouped(
    function: str, group: ArrayLike, n_rows: int
) -> tuple[Int64Array | None, Int64Array, NDArray[Any]]:
    """Divides rows by the value of `group`.

    Returns:
        `(order, offsets, keys)`: the stable order of rows that brings each group together, None
        where it is the given one, the offsets of the groups in it, and their values, which rise.
    """
    ids = _arrays.host(_check.array(function, "group", group))
    _check.shape(function, "group", ids, (n_rows,))
    if isinstance(group, (list, tuple)) and not _as_given(group, ids):
        ids = np.empty(n_rows, object)
        ids[:] = group
    if ids.dtype.kind == "T":  # strings of variable length, whose missing value is any object
        ids = ids.astype(object)
    if ids.dtype.kind == "O":
        keys, codes, counts = _coded_objects(function, ids)
    else:
        lost = _lost(ids)
        if lost.any():
            row = int(lost.argmax())
            raise _without_id(function, ids[row], row, int(lost.sum()))
        keys, codes, counts = _coded(function, ids)
    mixed = bool((codes[1:] < codes[:-1]).any())
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return (np.argsort(codes, kind="stable") if mixed else None), offsets, keys


def _as_given(group: Sequence[Any], ids: NDArray[Any]) -> bool:
    """Whether the array has the list's own values: NumPy makes 1 and "1" one, and rounds."""
    types = set(map(type, group))
    if ids.dtype.kind in "US":
        return all(issubclass(kind, str if ids.dtype.kind == "U" else bytes) for kind in types)
    if ids.dtype.kind in "fc":
        whole = {kind for kind in types if issubclass(kind, numbers.Integral)}
        return not whole or all(abs(int(v)) <= _EXACT for v in group if type(v) in whole)
    return True


def without_id(ids: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the ids stand for none."""
    if ids.dtype.kind == "O":
        return np.array([_is_missing(value) for value in ids], bool)
    return _lost(ids)


def _lost(ids: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows have no id, of an array that holds no objects."""
    kind = ids.dtype.kind
    lost = np.zeros(len(ids), bool)
    if kind in "fc":
        lost = np.isnan(ids)
    elif kind in "mM":
        lost = np.isnat(ids)
    elif kind in "US":
        lost = np.isin(ids, np.array(_MISSING_TEXTS, kind))
    for name in ids.dtype.names or ():
        if ids[name].ndim == 1 and ids[name].dtype.kind != "O":
            lost |= _lost(ids[name])
    return lost


def _coded(function: str, ids: NDArray[Any]) -> tuple[NDArray[Any], Int64Array, Int64Array]:
    """The sorted ids, the number of every row's among them, and how often each occurs."""
    try:
        keys, codes, counts = np.unique(ids, return_inverse=True, return_counts=True)
    except TypeError as error:
        raise _unsortable(function, str(ids.dtype), error) from None
    return keys, codes, counts


def _coded_objects(function: str, ids: NDArray[Any]) -> tuple[NDArray[Any], Int64Array, Int64Array]:
    """The same of Python's objects: equal ones are one id, as in a dict."""
    numbered: dict[Any, int] = {}
    try:
        codes = np.array([numbered.setdefault(value, len(numbered)) for value in ids], np.int64)
    except Exception as error:  # __hash__ and __eq__ are the objects' own
        raise TypeError(
            f"{function}: `group` must be hashable: got {_types(ids)} ({error}), "
            "expected numbers or strings"
        ) from None
    counts = np.bincount(codes, minlength=len(numbered))
    keys = list(numbered)
    labels = np.empty(len(keys), object)
    labels[:] = keys
    absent = without_id(labels)
    if absent.any():
        row = int(absent[codes].argmax())
        raise _without_id(function, ids[row], row, int(counts[absent].sum()))
    try:
        order = sorted(range(len(keys)), key=keys.__getitem__)
    except Exception as error:  # so is __lt__
        raise _unsortable(function, _types(ids), error) from None
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys))
    return labels[order], rank[codes], counts[order]


def _is_missing(value: Any) -> bool:
    """Whether an object stands for no value: what does not equal itself, as nan, NaT and NA."""
    if value is None or (isinstance(value, str) and value in _MISSING_TEXTS):
        return True
    if isinstance(value, tuple):
        return any(map(_is_missing, value))
    try:
        return not bool(value == value)
    except Exception:  # pandas' NA has no truth value, a signaling nan cannot be compared
        return True


def _types(ids: NDArray[Any]) -> str:
    return ", ".join(sorted({type(value).__name__ for value in ids})[:4])


def _unsortable(function: str, got: str, error: Exception) -> TypeError:
    return TypeError(
        f"{function}: `group` must be sortable: got {got} ({error}), expected numbers or strings"
    )


def _without_id(function: str, value: object, row: int, n_rows: int) -> ValueError:
    shown = repr(str(value)) if isinstance(value, (str, bytes)) else str(value)
    return ValueError(
        f"{function}: `group` must name a task in every row: got {shown} in row {row} "
        f"({n_rows} such row{'s' * (n_rows > 1)}), expected no missing id: leave these rows out"
    )
