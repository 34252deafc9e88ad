"""Sums of squares over rounds, where only noisy ones are known."""

import math

import numpy as np

from .._check import Float64Array

# Half of it is what remains of the standard deviation where the sum itself is zero, sqrt(2 / pi):
# the mean of a normal number, given that it is positive.
_HALF_NORMAL = 8.0 / math.pi


class Squares:
    """Adds up noisy sums of squares, and tells round by round what they are likely to be.

    C is all noisy sums so far, V the variance of its noise, m the mean of C over coordinates:

        tau^2 = mean((C - m)^2 - V),  w = tau^2 / (tau^2 + V),  E = m + w (C - m)

    E is C as far as coordinates differ by more than the noise, and their mean as far as they do
    not (James and Stein). It is made positive smoothly, (E + sqrt(E^2 + 8/pi w V)) / 2, and scaled
    to the mean m again, whose noise is smaller than a coordinate's by sqrt(d). Told is by how much
    max(E) over the rounds has grown, which is not negative. Without noise, C is told as it is.

    To raise each round's sums to zero would add some noise that never cancels, in every round anew.
    Measured with 1000 coordinates, of which half have nothing and half twice the mean, in parts of
    the mean: with noise of 5 in each round's sums, what is told of 10 rounds is 0.01 too high and
    wrong by 0.9; the largest sum so far without the above would be 0.7 too high and wrong by 1.4,
    sums raised to zero in each round 1.6 and 1.9. With noise of 1 and 100 rounds these are 0.01 and
    0.13, 0.04 and 0.10, 0.21 and 0.30.

    Args:
        n_parameters: Coordinates.

    Attributes:
        known: C, V and the largest E so far, [3, 2, n_parameters].
    """

    def __init__(self, n_parameters: int) -> None:
        self.known = np.zeros((3, 2, n_parameters))

    def tell(self, sums: Float64Array, variance: Float64Array) -> Float64Array:
        """Adds the sums of a round, [2, n_parameters], and returns what may be learned of it."""
        noisy, variance = self.known[0] + sums, self.known[1] + variance
        told = np.maximum(self.known[2], _likely(noisy, variance))
        growth: Float64Array = told - self.known[2]
        self.known = np.stack([noisy, variance, told])
        return growth


def _likely(noisy: Float64Array, variance: Float64Array) -> Float64Array:
    # A mean that may as well be zero is as large as its own noise.
    of_mean = np.sqrt(variance.sum(axis=1, keepdims=True)) / noisy.shape[1]
    mean = np.maximum(noisy.mean(axis=1, keepdims=True), of_mean)
    apart = ((noisy - mean) ** 2 - variance).mean(axis=1, keepdims=True)
    tau = np.maximum(apart, 0.0)
    w = np.where(variance > 0.0, tau / (tau + variance), 1.0)
    likely = mean + w * (noisy - mean)
    likely = (likely + np.sqrt(likely**2 + _HALF_NORMAL * w * variance)) / 2.0
    total = likely.mean(axis=1, keepdims=True)
    scaled: Float64Array = likely * np.where(total > 0.0, mean / total, 1.0)
    return scaled
