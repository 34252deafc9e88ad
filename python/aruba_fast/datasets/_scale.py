"""Columns of mean 0 and variance 1, and which of them vary at all: one rule for all who ask."""

import numpy as np
from numpy.typing import NDArray

from .._check import Float64Array

# Shares whose sum is 100 but for rounding differ by some units in the last place.
_UNITS = 32


def varying(columns: Float64Array) -> NDArray[np.bool_]:
    """Whether a column is more than one number and its rounding errors.

    A column of fractions that are all float32 was rounded to float32, whatever its type is now.

    Args:
        columns: [n_rows, n_columns], or one column [n_rows], finite.

    Returns:
        bool [n_columns].
    """
    exponent = _exponent(columns)
    scaled = np.ldexp(columns, -exponent)
    with np.errstate(over="ignore", under="ignore"):
        single = (columns.astype(np.float32) == columns).all(axis=0)
    single &= (columns != np.rint(columns)).any(axis=0)
    eps = np.where(single, np.finfo(np.float32).eps, np.finfo(np.float64).eps)
    result: NDArray[np.bool_] = np.ptp(scaled, axis=0) > _UNITS * eps * np.abs(scaled).max(axis=0)
    return result


def standardized(columns: Float64Array, rows: NDArray[np.bool_]) -> Float64Array:
    """Gives columns the mean 0 and the variance 1 over the chosen rows.

    A column that does not vary there is centred. Neither the mean nor the variance overflows or
    underflows: they are taken of the columns times a power of two, which rounds nothing.

    Args:
        columns: [n_rows, n_columns], or one column [n_rows], finite.
        rows: bool [n_rows].

    Returns:
        float64 [n_rows, n_columns]; infinite where a row that was not chosen is beyond float64 in
        units of those that were.
    """
    exponent = _exponent(columns[rows])
    with np.errstate(over="ignore"):
        scaled = np.ldexp(columns, -exponent)
        chosen = scaled[rows]
        unit = np.ldexp(1.0, -exponent)
        scale = np.where(varying(columns[rows]), chosen.std(axis=0), unit)
        result: Float64Array = (scaled - chosen.mean(axis=0)) / scale
    return result


def _exponent(columns: Float64Array) -> NDArray[np.intc]:
    """The power of two that every column lies below."""
    exponent: NDArray[np.intc] = np.frexp(np.abs(columns).max(axis=0))[1]
    return exponent


def told_apart(columns: Float64Array) -> NDArray[np.bool_]:
    """Whether float32 still tells apart what columns do once they are standardized.

    Beside an outlier that is far enough away, all other numbers are one. Asked of the quartiles:
    where they differ in a column, they still have to.

    Args:
        columns: [n_rows, n_columns], or one column [n_rows], finite.

    Returns:
        bool [n_columns].
    """
    with np.errstate(under="ignore"):
        narrow = standardized(columns, np.ones(len(columns), bool)).astype(np.float32)
    same = []
    for values in (columns, narrow):
        low, high = np.quantile(values, (0.25, 0.75), axis=0, method="nearest")
        same.append(low == high)
    result: NDArray[np.bool_] = same[0] | ~same[1]
    return result
