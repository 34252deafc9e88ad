"""Checks of pytrees: which leaves go together, and of which type what is learned is."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

MASTERS: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(np.float32),
    "float16": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


def is_concrete(value: Any) -> bool:
    """Whether the values of an array can be looked at: not those of a function being traced."""
    return not isinstance(value, jax.core.Tracer)


def array(function: str, name: str, leaf: Any) -> Any:
    """Returns a leaf as an array of JAX."""
    if isinstance(leaf, jax.Array):
        return leaf
    try:
        # Explicit, for those who let JAX move nothing by itself; and of a copy: JAX would go on
        # reading the caller's memory.
        return jax.device_put(np.array(leaf))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{function}: `{name}` must have arrays as leaves: got {type(leaf).__name__} "
            f"({error}), expected a tree of floating point arrays"
        ) from None


def is_number(value: Any) -> bool:
    """Whether a tree is one leaf by itself, without dimensions."""
    return jax.tree_util.treedef_is_leaf(jax.tree.structure(value)) and not np.ndim(value)


def master_type(function: str, name: str, leaf: Any) -> np.dtype[Any]:
    """Returns the type in which a leaf is learned: float32, or float64 for float64."""
    if leaf.dtype.name not in MASTERS:
        raise TypeError(
            f"{function}: `{name}` must be floating point: got {leaf.dtype}, "
            "expected float32, float64, bfloat16 or float16"
        )
    return MASTERS[leaf.dtype.name]


def same_structure(function: str, name: str, got: Any, other: str, expected: Any) -> None:
    """Refuses a tree that is not built as another."""
    if got != expected:
        raise ValueError(
            f"{function}: `{name}` must be a tree as `{other}`: got {got}, expected {expected}"
        )


def leaves_as(function: str, name: str, tree: Any, other: str, beside: Any) -> list[Any]:
    """Returns the leaves of `tree`, which must be built as the tree `beside`, called `other`."""
    leaves, structure = jax.tree.flatten(tree)
    same_structure(function, name, structure, other, jax.tree.structure(beside))
    return [array(function, name, leaf) for leaf in leaves]


def rates_for(function: str, name: str, given: Any, other: str, tree: Any) -> list[Any]:
    """Returns a value a leaf of `tree`: of shape () or its own, from one number or such a tree."""
    leaves = jax.tree.leaves(tree)
    if is_number(given):
        return [array(function, name, given)] * len(leaves)
    values = leaves_as(function, name, given, other, tree)
    for value, leaf in zip(values, leaves, strict=True):
        if value.shape not in ((), np.shape(leaf)):
            raise ValueError(
                f"{function}: `{name}` must have the shape of `{other}`, or none: "
                f"got {value.shape}, expected {np.shape(leaf)} or ()"
            )
    return values


def shapes(function: str, name: str, leaves: list[Any], expected: list[tuple[int, ...]]) -> None:
    """Refuses leaves that are not of the expected shapes."""
    for leaf, shape in zip(leaves, expected, strict=True):
        if leaf.shape != shape:
            raise ValueError(
                f"{function}: `{name}` must have the right shape: got {leaf.shape}, "
                f"expected {shape}"
            )


def number(function: str, name: str, value: Any, check: Callable[[str, str, object], float]) -> Any:
    """Returns a checked float, or an array of JAX, whose value may not exist yet, as it is."""
    if isinstance(value, (jax.Array, np.ndarray)) and value.shape != ():
        raise ValueError(
            f"{function}: `{name}` must be one number: got shape {value.shape}, expected ()"
        )
    if isinstance(value, jax.Array):
        return value
    return check(function, name, value.item() if isinstance(value, np.ndarray) else value)
