"""The first learning rate of a linear model, from the rows of its tasks."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _core, _narrow
from ._check import Float64Array
from ._rows import Block, joined_weights, table_for_native
from .tasks import Tasks

# Numbers at a time: what they are copied to stays in the cache.
_NUMBERS = 1 << 16
# The most that a row's loss bends along its score. The hinge loss bends nowhere: a step at this
# takes the score over its margin.
_CURVATURE = {"squared": 1.0, "huber": 1.0, "logistic": 0.25, "softmax": 0.5, "hinge": 1.0}
# The loss goes on along its tangent from there.
_MOST_SCORE = 30.0
# Rows this near to the longest may be it: far more than a sum of squares is wrong by, in any order.
_NEAR = 0.99


def is_limit(loss: str) -> bool:
    """Whether the rate is the least of what each row allows, so that parts of rows can be asked."""
    return loss in _CURVATURE


def first_rate(
    tasks: Iterable[Tasks], loss: str, phi: NDArray[Any], *, proximal: bool = False
) -> float | None:
    """Returns the largest rate at which no single row's step from `phi` goes too far.

    Or, for the proximal rule, that at which a row of mean length weighs as much as the start does,
    in the mean over the parameters. `MetaLearner.first_rate` tells by which equations. None where
    no row has any length. Whatever the processor, the same bits: sums are over a leading axis,
    which NumPy takes in order, and over blocks of rows that do not depend on the chunks in which
    the tasks come.
    """
    return rate_of([measured(tasks, loss, phi, proximal=proximal)], phi, proximal=proximal)


class Measures(NamedTuple):
    """What some rows tell of the first rate."""

    steepest: float
    distance: float
    n_rows: int
    bent: float
    n_bent: int
    n_features: int


def measured(
    tasks: Iterable[Tasks], loss: str, phi: NDArray[Any], *, proximal: bool = False
) -> Measures:
    """Measures rows; parts of them may be measured elsewhere, and `rate_of` joins them."""
    steepest, distance, n_rows = 0.0, 0.0, 0
    bent, n_bent, n_features = 0.0, 0, 1
    for block in _blocks(tasks):
        rows, labels, weights, csr, _ = block
        with np.errstate(all="ignore"):
            if csr is not None:
                squares, score = _measured(block, loss, phi)
                bend, way = _row(loss, score, labels.astype(np.float64))
                bend = bend * squares
            elif loss in _CURVATURE:
                rows, weights = (rows, weights) if proximal else _longest(rows, weights)
                bend, way = _CURVATURE[loss] * _squared_lengths(rows), np.empty(0)
            else:
                start = _arrays.host(phi).astype(np.float64)[:, None]
                score = np.add.reduce(_columns(rows) * start, axis=0)
                bend, way = _row(loss, score, labels.astype(np.float64))
                bend = bend * _squared_lengths(rows)
            bend = bend if weights is None else bend * weights
            way = way[np.isfinite(bend)] if loss not in _CURVATURE else np.empty(0)
        n_features = rows.shape[1] if csr is None else csr.n_features
        bend = bend[np.isfinite(bend)]
        steepest = max(steepest, float(bend.max(initial=0.0)))
        bent += float(np.add.accumulate(bend)[-1]) if proximal and len(bend) else 0.0
        n_bent += len(bend)
        way = way[np.isfinite(way)]
        distance += float(np.add.accumulate(way)[-1]) if len(way) else 0.0
        n_rows += len(way)
    return Measures(steepest, distance, n_rows, bent, n_bent, n_features)


def rate_of(parts: list[Measures], phi: NDArray[Any], *, proximal: bool = False) -> float | None:
    """The first rate that all parts tell, in their order; None where no row has any length."""
    distance, bent = (sum(p.distance for p in parts), sum(p.bent for p in parts))
    n_rows, n_bent = (sum(p.n_rows for p in parts), sum(p.n_bent for p in parts))
    limits = np.finfo(phi.dtype)
    mean = distance / n_rows if n_rows and distance > 0.0 else 1.0
    most = max(part.steepest for part in parts)
    if proximal and n_bent:
        most = bent / (n_bent * parts[0].n_features)
    if not most > 0.0:
        return None
    rate = mean / most
    # A rate of the parameters' type: whatever is found is what the tasks are run with.
    return float(phi.dtype.type(min(max(rate, float(limits.tiny)), float(limits.max))))


def _blocks(tasks: Iterable[Tasks]) -> Iterator[Block]:
    """The rows of all chunks in their order, so many at a time, in host memory.

    Sparse rows come chunk by chunk.
    """
    left: Block | None = None
    for chunk in tasks:
        if chunk._csr is not None:
            yield from chunk._blocks(chunk.n_rows)
            continue
        size = max(_NUMBERS // chunk.n_features, 1)
        for part in chunk._blocks(size):
            x = _narrow.widened(_arrays.host(part.x), part.scale)
            block = Block(x, _arrays.host(part.y), part.row_weights, None)
            block = block if left is None else _joined(left, block)
            if len(block.x) >= size:
                yield _some(block, slice(size))
                block = _some(block, slice(size, None))
            # Copies: the chunk itself is let go before the next one comes.
            left = _joined(block) if len(block.x) else None
    if left is not None:
        yield left


def _some(block: Block, rows: slice) -> Block:
    weights = block.row_weights
    return Block(block.x[rows], block.y[rows], None if weights is None else weights[rows], None)


def _joined(*blocks: Block) -> Block:
    """A copy of all of them."""
    weights = joined_weights((block.row_weights, len(block.y)) for block in blocks)
    x, y = (np.concatenate([block[i] for block in blocks]) for i in range(2))
    return Block(x, y, weights, None)


def _measured(rows: Block, loss: str, phi: NDArray[Any]) -> tuple[Float64Array, Float64Array]:
    """Squared lengths of sparse rows, and their scores where the loss asks for them."""
    n_rows = len(rows.y)
    squares, scores = (np.empty(n_rows) for _ in range(2))
    table = table_for_native(rows, np.zeros(1, np.int64), np.array([n_rows]))
    start = None if loss in _CURVATURE else phi.astype(np.float64)
    _core.measure_rows(table, start, squares, scores)
    return squares, scores


def _columns(rows: NDArray[Any]) -> Float64Array:
    return np.ascontiguousarray(rows.T, np.float64)


def _squared_lengths(rows: NDArray[Any]) -> Float64Array:
    lengths: Float64Array = np.add.reduce(np.square(_columns(rows)), axis=0)
    return lengths


def _longest(
    rows: NDArray[Any], weights: Float64Array | None
) -> tuple[NDArray[Any], Float64Array | None]:
    """The rows of which one is the longest, by sums whose order nobody knows: 5 to 10 x faster."""
    lengths = np.einsum("ij,ij->i", rows, rows)
    lengths = lengths if weights is None else (lengths * weights).astype(rows.dtype)
    finite = np.isfinite(lengths)
    most = lengths[finite].max(initial=0.0)
    # What overflows, or vanishes, in the rows' own type may be a number in float64.
    if not most > np.finfo(rows.dtype).tiny:
        return rows, weights
    near = ~(lengths < _NEAR * most)
    return rows[near], None if weights is None else weights[near]


def _row(loss: str, score: Float64Array, y: Float64Array) -> tuple[Any, Float64Array]:
    """How much the loss of each row bends, and how far its score has to go."""
    one = np.ones_like(y)
    if loss in _CURVATURE:
        return _CURVATURE[loss] * one, one
    if loss == "absolute":
        return one, np.abs(score - y)
    mean = np.exp(np.minimum(score, _MOST_SCORE))
    return np.maximum(np.maximum(mean, y), 1.0), one
