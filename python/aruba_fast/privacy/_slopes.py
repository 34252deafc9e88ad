"""Gradients of linear models, row by row, each clipped by itself."""

import numpy as np

from .._check import Float64Array
from ..rules import OGD
from ..run import run_tasks
from ..tasks import Tasks


def _slopes(
    scores: Float64Array, y: Float64Array, weights: Float64Array | None, loss: str
) -> Float64Array:
    """What the loss of each row says of its scores, [n_rows, n_classes], by the engine.

    A row is a task whose parameters are the scores, and whose feature is one. Its squared gradient
    has all digits of the slope; one step of rate 1 has its sign.
    """
    one = np.ones((len(y), 1))
    rows = Tasks(one, y, np.arange(len(y) + 1), row_weights=weights)
    run = run_tasks(rows, scores, OGD(1.0), loss=loss)
    slopes: Float64Array = np.sqrt(run.grad_sq) * np.sign(scores - run.theta_hat)
    return slopes


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
    slopes = _slopes(scores, y, weights, loss)
    # A gradient is slope times x: its length needs no array of all of them.
    lengths = np.sqrt((slopes**2 * (x**2 @ (scale**-2.0).T)).sum(axis=1))
    # A length of zero may be one that is too small to be squared.
    part = np.where(lengths > most, most / lengths, lengths > 0.0)
    if not np.isfinite(lengths).all():
        finite = np.isfinite(lengths)
        slopes, part, x = slopes[finite], part[finite], x[finite]
    clipped: Float64Array = (slopes * part[:, None]).T @ x
    return clipped
