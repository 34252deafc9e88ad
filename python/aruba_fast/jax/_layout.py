"""`Layout`: how the leaves of a tree of parameters lie in one flat vector, each row by row."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from . import _trees


@dataclass(frozen=True)
class Layout:
    """Structure, shapes and type of the parameters; static where the state is traced.

    One vector, because the arithmetic of pairs takes a thousand operations, which XLA would compile
    for every leaf anew: an update of two leaves took 2.8 s to compile, of one vector 1.0.
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, function: str, name: str, tree: Any) -> "Layout":
        """Returns the layout of parameters, checked."""
        given, structure = jax.tree.flatten(tree)
        leaves = [_trees.array(function, name, leaf) for leaf in given]
        types = [_trees.master_type(function, name, leaf) for leaf in leaves]
        shapes = tuple(leaf.shape for leaf in leaves)
        if not sum(map(math.prod, shapes)):
            raise ValueError(
                f"{function}: `{name}` must hold a coordinate: got {len(leaves)} leaves with 0 "
                "coordinates, expected at least 1"
            )
        for leaf, kind in zip(leaves, types, strict=True):
            if kind != types[0]:
                raise TypeError(
                    f"{function}: `{name}` must have one type: got {leaf.dtype} beside "
                    f"{leaves[0].dtype}, expected float64 alone, or float32 with bfloat16 and "
                    "float16"
                )
        return cls(structure, shapes, types[0])

    @property
    def sizes(self) -> list[int]:
        """Numbers of coordinates of the leaves."""
        return [math.prod(shape) for shape in self.shapes]

    def leaves(
        self, function: str, name: str, tree: Any, other: str, lead: tuple[int, ...] = ()
    ) -> list[Any]:
        """Returns the leaves of a tree, which must be as this one, every shape behind `lead`."""
        leaves, structure = jax.tree.flatten(tree)
        _trees.same_structure(function, name, structure, other, self.structure)
        arrays = [_trees.array(function, name, leaf) for leaf in leaves]
        _trees.shapes(function, name, arrays, [(*lead, *shape) for shape in self.shapes])
        return arrays

    def tree(self, flat: Any) -> Any:
        """Returns the leaves of a flat vector as a tree, in memory of their own."""
        return self.structure.unflatten(_leaves(flat, self))

    def numbers(self, values: Any) -> Any:
        """Returns one number for every leaf, or the only one for all, as a tree."""
        return self.structure.unflatten(_numbers(values, len(self.shapes)))


# Compiled, because a slice of all of a vector would be the vector itself: whoever donates what he
# read would delete the state.
@partial(jax.jit, static_argnames="layout")
def _leaves(flat: Any, layout: Layout) -> list[Any]:
    leaves, begin = [], 0
    for shape, n in zip(layout.shapes, layout.sizes, strict=True):
        leaves.append(flat[begin : begin + n].reshape(shape))
        begin += n
    return leaves


@partial(jax.jit, static_argnames="n")
def _numbers(values: Any, n: int) -> list[Any]:
    return [values[min(i, len(values) - 1)] for i in range(n)]


def joined(leaves: list[Any], n_lead: int = 0) -> Any:
    """Returns leaves as one vector, or as [..., n] behind leading axes."""
    return jnp.concatenate([leaf.reshape(*leaf.shape[:n_lead], -1) for leaf in leaves], n_lead)


def spread(values: Any, layout: Layout) -> Any:
    """Returns one value for every leaf as one for each of its coordinates."""
    sizes = layout.sizes
    if len(sizes) == 1:
        return jnp.broadcast_to(values, sizes[0])
    # Searched for when it runs: XLA would fold the indices of a `jnp.repeat` into a constant, which
    # takes 15 s to compile for a million coordinates in 512 leaves instead of 0.2.
    ends = jnp.asarray(np.cumsum(sizes))
    at = jnp.arange(sum(sizes), dtype=ends.dtype)
    return values[jnp.searchsorted(ends, at, side="right")]
