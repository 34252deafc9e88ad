"""Gradients of linear models in NumPy, row by row, each clipped by itself."""

from collections.abc import Callable

import numpy as np

from .._check import Float64Array

# Scores of counts go on along their tangent from there, as in native code.
_MOST_SCORE = 30.0

Slope = Callable[[Float64Array, Float64Array], Float64Array]


def _logistic(z: Float64Array, y: Float64Array) -> Float64Array:
    power = np.exp(-np.abs(z))
    slope: Float64Array = np.where(z >= 0.0, 1.0, power) / (1.0 + power) - y
    return slope


_SLOPES: dict[str, Slope] = {
    "squared": lambda z, y: z - y,
    "absolute": lambda z, y: np.sign(z - y),
    "huber": lambda z, y: np.clip(z - y, -1.0, 1.0),
    "logistic": _logistic,
    "hinge": lambda z, y: np.where(y * z < 1.0, -y, 0.0),
    "poisson": lambda z, y: np.exp(np.minimum(z, _MOST_SCORE)) - y,
}


def clipped_sum(
    theta: Float64Array,
    x: Float64Array,
    y: Float64Array,
    weights: Float64Array | None,
    loss: str,
    scale: Float64Array,
    most: float,
) -> Float64Array:
    """The sum of the gradients of rows, each shortened so that its norm over `scale` is at most.

    Args:
        theta: Where the model is, [n_classes, n_features]; one class but for softmax.
        x: Rows, [n_rows, n_features].
        y: Their labels, [n_rows].
        weights: What the loss of each counts, [n_rows], or None.
        loss: Name of the loss.
        scale: As theta.
        most: The longest that a gradient may be.

    Returns:
        As theta. A row whose gradient is not finite counts nothing.
    """
    scores = x @ theta.T
    if loss == "softmax":
        power = np.exp(scores - scores.max(axis=1, keepdims=True))
        slopes = power / power.sum(axis=1, keepdims=True)
        slopes[np.arange(len(y)), y.astype(np.intp)] -= 1.0
    else:
        slopes = _SLOPES[loss](scores, y[:, None])
    if weights is not None:
        slopes = slopes * weights[:, None]
    # A gradient is slope times x: its length needs no array of all of them.
    lengths = np.sqrt((slopes**2 * (x**2 @ (scale**-2.0).T)).sum(axis=1))
    # A length of zero may be one that is too small to be squared.
    part = np.where(lengths > most, most / lengths, lengths > 0.0)
    if not np.isfinite(lengths).all():
        finite = np.isfinite(lengths)
        slopes, part, x = slopes[finite], part[finite], x[finite]
    clipped: Float64Array = (slopes * part[:, None]).T @ x
    return clipped
