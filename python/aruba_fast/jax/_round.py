"""The sums over the tasks of a round in JAX's own operations."""

from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from ._average_task import shortening
from ._devices import everywhere
from ._layout import joined
from ._pairs import (
    Pair,
    add,
    fused,
    multiply,
    negative,
    settled,
    single,
    total,
    two_product,
    two_sum,
    where,
)

# What a task may add, as NumPy's learner has it: from a phi that it leaves behind the next ones can
# still be run. The weights are those whose sums and inverses are numbers.
_MOST = {np.dtype(np.float64): (2.0**900, 2.0**960), np.dtype(np.float32): (np.inf, np.inf)}
_WEIGHTS = {np.dtype(np.float64): (1e-150, 1e150), np.dtype(np.float32): (1e-30, 1e30)}

# Elements that the sums over tasks keep in hand: tasks of few parameters are summed side by side.
_ELEMENTS = 1 << 16


def _terms(
    hat: Any, square: Any, start: Any, weight: Any, by: Any, wide: Any
) -> tuple[Pair, Pair, Pair]:
    """What tasks add: 1/2 (theta_hat - phi)^2, the squares, w theta_hat; exact but for 2^-45."""
    hat, start, weight = hat.astype(wide), start.astype(wide)[None], weight[:, None]
    moved = settled(two_sum(hat, -start))
    squares, weighted = single(square.astype(wide)), two_product(weight, hat)
    if by is not None:
        shorter, factor = (by < 1)[:, None], single(by[:, None])
        at = fused(factor, moved, single(start))
        moved = where(shorter, settled(add(at, negative(single(start)))), moved)
        less = settled(multiply(settled(multiply(factor, factor)), squares))
        squares = where(shorter, less, squares)
        weighted = where(shorter, multiply(single(weight), at), weighted)
    distance = multiply(moved, Pair(moved.high / 2, moved.low / 2))
    return settled(distance), squares, settled(weighted)


def flat_round(hats: Any, squares: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Returns tasks as rows, one row of a single one."""
    hat, square = (joined(leaves, weight.ndim) for leaves in (hats, squares))
    weight = weight.reshape(-1)
    return hat.reshape(weight.size, -1), square.reshape(weight.size, -1), weight


def pure_sums(
    wide: Any, start: Any, hat: Any, square: Any, weight: Any, limits: Any
) -> tuple[Any, ...]:
    """The fields of TaskStatistics, in JAX's own operations.

    Tasks that are not finite are left out, those beyond the limit shortened.
    """
    n_tasks = len(weight)
    lanes = max(1, min(n_tasks, _ELEMENTS // start.size))

    def rows(values: Any) -> Any:
        # What fills the last row has no weight that is one, and so is left out.
        padding = [(0, -n_tasks % lanes)] + [(0, 0)] * (values.ndim - 1)
        padded = jnp.pad(values, padding, constant_values=-1)
        return padded.reshape(-1, lanes, *values.shape[1:])

    def body(sums: Any, row: Any) -> tuple[Any, Any]:
        hat, square, weight = row
        least, most = _WEIGHTS[wide]
        finite = (weight == 0) | ((weight >= least) & (weight <= most))
        by = None
        if limits is not None:
            ends = (part.astype(wide) for part in (start[None], hat, square))
            by, is_number = shortening(*ends, *limits)
            finite &= is_number
        terms = _terms(hat, square, start, weight, by, wide)
        distance, squares = terms[0].high, terms[1].high
        finite &= (distance <= _MOST[wide][0]).all(1)
        finite &= ((squares >= 0) & (squares <= _MOST[wide][1])).all(1)
        for term in terms:
            finite &= jnp.isfinite(term.high + term.low).all(1)
        zero = single(jnp.zeros(hat.shape, wide))
        chosen = [where(finite[:, None], term, zero) for term in terms]
        return [add(*parts) for parts in zip(sums, chosen, strict=True)], finite

    zero = single(jnp.zeros((lanes, start.size), wide))
    stacked = [rows(v) for v in (hat, square, weight)]
    sums, finite = lax.scan(body, everywhere([zero] * 3, like=stacked), stacked)
    finite = finite.reshape(-1)[:n_tasks]
    weights = total(single(jnp.where(finite, weight, 0)))
    n_kept = finite.sum(dtype=jax.dtypes.canonicalize_dtype(int))
    distance, grad_sq, theta_sum = map(total, sums)
    return distance, grad_sq, theta_sum, weights, n_kept, n_tasks - n_kept
