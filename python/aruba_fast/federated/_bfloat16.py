"""Numbers as words of bfloat16, rounded at random so that nothing is lost in the mean."""

import numpy as np
from numpy.typing import NDArray

from .._check import Float64Array

# The digits of a bfloat16, and the exponent of the least step between two of them.
_DIGITS, _LEAST = 8, -133


def rounded(values: Float64Array, rng: "np.random.Generator") -> Float64Array:
    """One of the two neighbours in bfloat16, so that the mean of what comes is the value itself."""
    exponent = np.maximum(np.frexp(values)[1] - _DIGITS, _LEAST)
    steps = np.floor(np.ldexp(values, -exponent) + rng.random(values.shape))
    nearby: Float64Array = np.ldexp(steps, exponent)
    return nearby


def words(values: Float64Array) -> NDArray[np.uint16]:
    """The bits of values that are bfloat16's."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def numbers(bits: NDArray[np.uint16]) -> Float64Array:
    """The values of words."""
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
