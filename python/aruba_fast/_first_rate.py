"""The first learning rate of a linear model, from the rows of its tasks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays
from ._check import Float64Array
from .tasks import Tasks

# Rows at a time: what they are copied to stays in the cache.
_NUMBERS = 1 << 16
# The most that a row's loss bends along its score. The hinge loss bends nowhere: a step at this
# takes the score over its margin.
_CURVATURE = {"squared": 1.0, "huber": 1.0, "logistic": 0.25, "softmax": 0.5, "hinge": 1.0}
# The loss goes on along its tangent from there.
_MOST_SCORE = 30.0


def first_rate(tasks: Tasks, loss: str, phi: NDArray[Any]) -> float:
    """Returns the largest rate at which no single row's step from `phi` goes too far.

    `MetaLearner.first_rate` tells by which equations. Whatever the processor, the same bits: sums
    are over a leading axis, which NumPy takes in order.
    """
    steepest, distance, n_rows = 0.0, 0.0, 0
    # The softmax has a score a class, and needs none.
    start = _arrays.host(phi).astype(np.float64)[: tasks.n_features, None]
    per_block = max(_NUMBERS // tasks.n_features, 1)
    x, y = tasks.x, tasks.y
    for first in range(0, len(y), per_block):
        rows = slice(first, first + per_block)
        columns = np.ascontiguousarray(_arrays.host(x[rows]).T, np.float64)
        label = _arrays.host(y[rows]).astype(np.float64)
        with np.errstate(all="ignore"):
            norm = np.add.reduce(np.square(columns), axis=0)
            score = np.add.reduce(columns * start, axis=0)
            bend, way = _row(loss, score, label)
            bend = bend * norm
        counts = np.isfinite(bend) & np.isfinite(way)
        steepest = max(steepest, float(bend[counts].max(initial=0.0)))
        distance += float(np.add.accumulate(way[counts])[-1]) if counts.any() else 0.0
        n_rows += int(counts.sum())
    limits = np.finfo(tasks.dtype)
    mean = distance / n_rows if n_rows and distance > 0.0 else 1.0
    rate = mean / steepest if steepest > 0.0 else 1.0
    # A rate of the parameters' type: whatever is found is what the tasks are run with.
    return float(tasks.dtype.type(min(max(rate, float(limits.tiny)), float(limits.max))))


def _row(loss: str, score: Float64Array, y: Float64Array) -> tuple[Any, Float64Array]:
    """How much the loss of each row bends, and how far its score has to go."""
    one = np.ones_like(y)
    if loss == "absolute":
        return one, np.abs(score - y)
    if loss == "poisson":
        mean = np.exp(np.minimum(score, _MOST_SCORE))
        return np.maximum(np.maximum(mean, y), 1.0), one
    return _CURVATURE[loss] * one, one
