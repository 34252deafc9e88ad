"""The prior of one average task, a leaf at a time, and how far a task goes that weighs too much.

The equations and their constants are those of `cpp/rules/meta.h`.
"""

from typing import Any

import numpy as np
from jax import numpy as jnp

from ._layout import Layout, spread
from ._pairs import (
    Pair,
    add,
    constant,
    divide,
    integer,
    multiply,
    negative,
    settled,
    single,
    total,
    where,
)
from ._schedule import discount
from ._sums import sums_of_leaves

# Average tasks that one may weigh, and what phi remembers beyond a round.
_MOST, _RECENT = 10.0, 9.0
_LEAST_RESTRAINT = 2.0**-20


def tasks_held(n_tasks: Any, decay: float, wide: Any) -> Pair:
    """Returns the number of tasks that b and g still hold, of so many."""
    n, one = integer(n_tasks, wide), single(jnp.ones((), wide))
    if 1.0 - decay == 1.0:
        return n
    kept = add(one, negative(discount(decay, n_tasks, wide)))
    held = settled(divide(settled(kept), constant(decay, wide)))
    return where(held.high < jnp.minimum(n.high, 1), one, held)


def with_prior(
    layout: Layout, b: Pair, g: Pair, held: Pair, shared: bool | str
) -> tuple[Pair, Pair, Any]:
    """Returns b' and g', and whether anything is known: that a task moved, and had a gradient.

    Of what is `shared`, all coordinates or those of a leaf, the means. A leaf that did not move, or
    had no gradient, has the prior, and the means, of all coordinates.
    """
    wide, n = b.high.dtype, sum(layout.sizes)
    sums = sums_of_leaves(layout, b, g)
    of_all = Pair(*(part[None] for part in total(sums)))
    if shared is True:
        sums, sizes = of_all, jnp.asarray([[n]])
    else:
        own = (sums.high > 0).all(1, keepdims=True)
        sums = where(own, sums, of_all)
        sizes = jnp.where(own, jnp.asarray(layout.sizes)[:, None], n)
    size, one = integer(sizes, wide), single(jnp.ones((), wide))
    prior = settled(multiply(sums, settled(divide(one, settled(multiply(size, held))))))
    if shared:
        prior = settled(add(settled(divide(sums, size)), prior))
    columns = [Pair(*(part[:, k] for part in prior)) for k in (0, 1)]
    if not shared:
        each = [Pair(*(spread(part, layout) for part in column)) for column in columns]
        columns = [settled(add(*parts)) for parts in zip((b, g), each, strict=True)]
    return columns[0], columns[1], (of_all.high > 0).all()


def most_spread(b: Pair, g: Pair, rates: Any, held: Pair, per_distance: float) -> Any:
    """Returns the most that a task may spread, by the spread of all before; else what is finite."""
    limit = _MOST * _spread(2 / per_distance * b.high, g.high, rates) / held.high
    return jnp.where((limit > 0) & jnp.isfinite(limit), limit, jnp.finfo(limit.dtype).max)


def restraint(n_tasks: Any, n_skipped: Any, wide: Any) -> Any:
    """Returns what rates are multiplied by after so many tasks that count and were left out."""
    share = n_skipped.astype(wide) / jnp.maximum(n_tasks, 1).astype(wide)
    return jnp.maximum(jnp.exp(-_MOST / 2 * share), _LEAST_RESTRAINT)


def shortening(start: Any, hat: Any, square: Any, rates: Any, limit: Any) -> tuple[Any, Any]:
    """Returns by what each task is shortened, and whether its spread is a number."""
    spreads = _spread(jnp.square(hat - start), square, rates[None])
    beyond = spreads > limit
    by = jnp.where(beyond, jnp.sqrt(limit / jnp.where(beyond, spreads, 1)), 1)
    return by, jnp.isfinite(spreads)


def recent_mean(of_round: Pair, weight: Pair, n_tasks: Any) -> Pair:
    """Returns the step of an average that forgets its first tenths: 10 / (t + 9), by weights."""
    wide = weight.high.dtype
    n = integer(jnp.maximum(n_tasks, 1), wide)
    before = multiply(constant(_RECENT, wide), settled(divide(of_round, n)))
    now = settled(multiply(constant(1 + _RECENT, wide), of_round))
    mean = divide(now, settled(add(settled(weight), settled(before))))
    return where(mean.high > 1, single(jnp.ones((), wide)), mean)


def _spread(distance_sq: Any, grad_sq: Any, rates: Any) -> Any:
    """Returns sum distance_sq / rate + rate grad_sq; where nothing moves, of the gradient alone."""
    still = rates < np.finfo(rates.dtype).tiny
    per_rate = jnp.where(still, 0, 1 / jnp.where(still, 1, rates))
    return (distance_sq * per_rate + rates * grad_sq).sum(-1)
