"""Sums of b and g over the coordinates of every leaf, or over all."""

from typing import Any

import numpy as np
from jax import lax
from jax import numpy as jnp

from ._devices import everywhere
from ._layout import Layout
from ._pairs import Pair, add, settled, single, total, where

# Coordinates that are summed side by side.
_LANES = 1024


def sums_of_leaves(layout: Layout, b: Pair, g: Pair) -> Pair:
    """Returns the sums of b and of g over every leaf, [n_leaves, 2].

    A loop over the leaves, for what XLA compiles must not grow with their number: with a `total`
    for each of 32, an update took 11 s to compile instead of 1.
    """
    both = [jnp.pad(jnp.stack(parts, 1), [(0, _LANES), (0, 0)]) for parts in zip(b, g, strict=True)]
    sizes = np.array(layout.sizes)
    lane = jnp.arange(_LANES)[:, None]

    def of_leaf(_: None, leaf: Any) -> tuple[None, Pair]:
        begin, n = leaf

        def block(k: Any, sums: Pair) -> Pair:
            at = begin + k * _LANES
            parts = Pair(*(lax.dynamic_slice_in_dim(part, at, _LANES) for part in both))
            inside = lane < n - k * _LANES
            return add(sums, where(inside, parts, zero))

        zero = everywhere(single(jnp.zeros((_LANES, 2), b.high.dtype)), like=both)
        n_blocks = (n + (_LANES - 1)) // _LANES
        return None, settled(total(lax.fori_loop(jnp.zeros_like(n), n_blocks, block, zero)))

    leaves = jnp.asarray(np.cumsum(sizes) - sizes), jnp.asarray(sizes)
    sums: Pair = lax.scan(of_leaf, None, leaves)[1]
    return sums


def summed(layout: Layout, pair: Pair, shared: bool | str) -> Pair:
    """Returns the sum over all coordinates, [1], or over those of every leaf, 1 of none."""
    if shared != "tensor":
        return Pair(*(part[None] for part in total(pair)))
    ends, one = np.cumsum(layout.sizes), single(jnp.ones((), pair.high.dtype))
    sums = [
        total(Pair(pair.high[end - n : end], pair.low[end - n : end])) if n else one
        for n, end in zip(layout.sizes, ends, strict=True)
    ]
    return Pair(jnp.stack([s.high for s in sums]), jnp.stack([s.low for s in sums]))
