"""Arithmetic on unevaluated sums (high, low) of two float64, as the sums of tasks are kept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._check import Float64Array

# 2^27 + 1: its product with a number has the number's upper half on its top (Veltkamp).
_SPLITTER = 134217729.0
# Larger ones are scaled, lest that product overflow; a power of two.
_LARGE, _SCALE = 2.0**990, 2.0**-60


def of(values: NDArray[Any]) -> Float64Array:
    """Numbers [k, n] of any type as pairs [k, 2, n] whose second part is zero."""
    pairs = np.zeros((len(values), 2, values.shape[1]))
    pairs[:, 0] = values
    return pairs


def total(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Adds exactly (Knuth)."""
    high = x + y
    part = high - x
    return high, (x - (high - part)) + (y - part)


def product(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Multiplies exactly, but for underflow (Dekker)."""
    high = x * y
    (a, b), (c, d) = _halves(x), _halves(y)
    return high, ((a * c - high) + a * d + b * c) + b * d


def _halves(x: Float64Array) -> tuple[Float64Array, Float64Array]:
    large = np.abs(x) > _LARGE
    scaled = np.where(large, x * _SCALE, x)
    upper = scaled * _SPLITTER
    upper = upper - (upper - scaled)
    upper = np.where(large, upper / _SCALE, upper)
    return upper, x - upper


def times(pair: Float64Array, factor: Float64Array) -> Float64Array:
    """A pair [2, ...] times a number."""
    high, low = product(pair[0], factor)
    return np.stack(total(high, low + pair[1] * factor))


def plus(one: Float64Array, other: Float64Array) -> Float64Array:
    """The sum of two pairs [2, ...]."""
    high, low = total(one[0], other[0])
    rest, lost = total(one[1], other[1])
    high, low = total(high, low + rest)
    return np.stack(total(high, low + lost))


def added(values: Float64Array) -> Float64Array:
    """The sum of numbers [k, ...] as a pair [2, ...], by halves."""
    high = values if len(values) else np.zeros((1, *values.shape[1:]))
    low = np.zeros_like(high)
    while len(high) > 1:
        half = len(high) // 2
        rest = (high[2 * half :], low[2 * half :])
        pairs = plus(
            np.stack([high[:half], low[:half]]), np.stack([high[half:][:half], low[half:][:half]])
        )
        high, low = (np.concatenate(both) for both in zip(pairs, rest, strict=True))
    return np.stack([high[0], low[0]])
