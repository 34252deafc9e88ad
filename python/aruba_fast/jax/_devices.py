"""Within `shard_map`: what differs from device to device, of which JAX keeps count by type."""

from typing import Any

import jax
from jax import lax


def everywhere(tree: Any, like: Any = ()) -> Any:
    """Returns a tree, all of which differs where some of it, or of what it is `like`, does.

    Loops want what they start from to be of the type that they end with, branches of one type.
    """
    axes = frozenset().union(*map(_axes, jax.tree.leaves((tree, like))))
    if not axes:
        return tree
    return jax.tree.map(lambda x: lax.pcast(x, tuple(axes - _axes(x)), to="varying"), tree)


def _axes(array: Any) -> frozenset[str]:
    """The axes of a mesh along which an array differs."""
    kind = jax.typeof(array)
    if hasattr(kind, "vma"):  # before JAX 0.10.2
        return frozenset(kind.vma)
    return frozenset(kind.manual_axis_type.varying)
