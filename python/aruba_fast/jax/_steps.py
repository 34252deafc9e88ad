"""What the steps within a task share: checks of their trees, and a move rounded as the kernel's."""

from functools import partial
from typing import Any

import jax
from jax import numpy as jnp

from .. import _check
from . import _trees
from ._pairs import fma


def numbers_checked(function: str, name: str, value: Any, *, positive: bool = False) -> Any:
    """Returns one number checked, or a tree of which all leaves are but those of JAX."""
    if _trees.is_number(value):
        check = _check.positive if positive else _check.non_negative
        return _trees.number(function, name, value, check)
    bound = {"above": 0.0} if positive else {"at_least": 0.0}
    for leaf in jax.tree.leaves(value):
        if not isinstance(leaf, jax.Array):
            _check.finite(function, name, _check.real_array(function, name, leaf), **bound)
    return value


def params(function: str, params: Any) -> tuple[Any, list[Any]]:
    """Returns the structure of parameters, and the leaves in the type that each is learned in."""
    leaves, structure = jax.tree.flatten(params)
    arrays = [_trees.array(function, "params", leaf) for leaf in leaves]
    types = [_trees.master_type(function, "params", leaf) for leaf in arrays]
    return structure, [leaf.astype(kind) for leaf, kind in zip(arrays, types, strict=True)]


# Compiled, so that no two leaves of a state are one array: it can be donated.
@partial(jax.jit, static_argnames="n")
def zeros(leaves: list[Any], n: int) -> list[list[Any]]:
    """Returns n times the zeros that a task starts from."""
    return [[jnp.zeros_like(leaf) for leaf in leaves] for _ in range(n)]


def step_leaves(
    function: str, updates: Any, sums: Any, called: str, params: Any
) -> tuple[list[Any], list[Any], list[Any]]:
    """Returns the leaves of a step, the gradients in the type of the sums."""
    totals = jax.tree.leaves(sums)
    grads = _trees.leaves_as(function, "updates", updates, f"state.{called}", sums)
    _trees.shapes(function, "updates", grads, [total.shape for total in totals])
    wide = []
    for grad, total in zip(grads, totals, strict=True):
        if _trees.master_type(function, "updates", grad).itemsize > total.dtype.itemsize:
            raise TypeError(
                f"{function}: `updates` must not be of more precision than the parameters: "
                f"got {grad.dtype}, expected at most {total.dtype}"
            )
        wide.append(grad.astype(total.dtype))
    if params is None:
        return wide, totals, [None] * len(wide)
    theta = _trees.leaves_as(function, "params", params, "updates", updates)
    _trees.shapes(function, "params", theta, [total.shape for total in totals])
    for leaf, total in zip(theta, totals, strict=True):
        if leaf.dtype != total.dtype:
            raise TypeError(
                f"{function}: `params` must be of full precision, lest small steps are lost: got "
                f"{leaf.dtype}, expected {total.dtype}, cast where the model computes"
            )
    return wide, totals, theta


def moved(rate: Any, grad: Any, theta: Any, rest: Any) -> tuple[Any, Any]:
    """Returns what has to be added to theta, and how far that sum is from where the kernel is."""
    step = -rate.astype(grad.dtype)
    if theta is None:
        return step * grad, rest
    at = fma(step, grad, theta + rest)
    move = at - theta
    return move, at - (theta + move)
