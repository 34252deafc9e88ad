"""What the steps within a task share: checks of their trees, and a move rounded as the kernel's."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
from jax import lax
from jax import numpy as jnp

from .. import _check
from . import _kernels, _trees
from ._native import by_platform
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


class Names(NamedTuple):
    """What the arguments of a step are called."""

    grads: str
    sums: str
    theta: str


def step_leaves(
    function: str, names: Names, grads: Any, sums: Any, theta: Any
) -> tuple[list[Any], list[Any], list[Any] | None]:
    """Returns the leaves of a step."""
    totals = jax.tree.leaves(sums)
    expected = [total.shape for total in totals]
    slopes = _trees.leaves_as(function, names.grads, grads, names.sums, sums)
    _trees.shapes(function, names.grads, slopes, expected)
    for grad, total in zip(slopes, totals, strict=True):
        if _trees.master_type(function, names.grads, grad).itemsize > total.dtype.itemsize:
            raise TypeError(
                f"{function}: `{names.grads}` must not be of more precision than the parameters: "
                f"got {grad.dtype}, expected at most {total.dtype}"
            )
    if theta is None:
        return slopes, totals, None
    leaves = _trees.leaves_as(function, names.theta, theta, names.grads, grads)
    _trees.shapes(function, names.theta, leaves, expected)
    for leaf, total in zip(leaves, totals, strict=True):
        if leaf.dtype != total.dtype:
            raise TypeError(
                f"{function}: `{names.theta}` must be of full precision, lest small steps are "
                f"lost: got {leaf.dtype}, expected {total.dtype}, cast where the model computes"
            )
    return slopes, totals, leaves


# Rates or, with a `coef`, b; grads, sums, theta, rest and coef.
Pure: TypeAlias = Callable[..., tuple[list[Any], list[Any], list[Any]]]


def updates(
    pure: Pure, first: Any, grads: Any, sums: Any, theta: Any, rest: Any, coef: Any = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """Returns the updates, the sums and the rests of all leaves, by kernel or by `pure`."""
    at, off = theta, rest
    if theta is None:  # as from zero, where the product is the sum
        at, off = ([jnp.zeros_like(total) for total in sums] for _ in range(2))

    def native(*given: Any, device: Any) -> Any:
        rates, slopes, totals, before, rests, share = given
        return _kernels.stepped(slopes, totals, before, rests, rates, share, device=device)

    moved, after, left = by_platform(pure, native)(first, grads, sums, at, off, coef)
    return moved, after, rest if theta is None else left


def moved(rate: Any, grad: Any, theta: Any, rest: Any) -> tuple[Any, Any]:
    """Returns what has to be added to theta, and how far that sum is from where the kernel is."""
    at = fma(-rate.astype(theta.dtype), grad.astype(theta.dtype), theta + rest)
    move = at - theta
    return move, at - (theta + move)


def pure_ogd(
    rates: Any, grads: Any, sums: Any, theta: Any, rest: Any, coef: None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """A step of gradient descent in JAX's own operations."""
    assert coef is None
    moves = [moved(*leaf) for leaf in zip(rates, grads, theta, rest, strict=True)]
    wide = [grad.astype(total.dtype) for grad, total in zip(grads, sums, strict=True)]
    squares = [fma(grad, grad, total) for grad, total in zip(wide, sums, strict=True)]
    return [move for move, _ in moves], squares, [left for _, left in moves]


def pure_aruba(
    b: Any, grads: Any, g: Any, theta: Any, rest: Any, coef: Any
) -> tuple[list[Any], list[Any], list[Any]]:
    """A step of ARUBA++ in JAX's own operations."""
    rates, after = [], []
    for over, own, grad in zip(b, g, grads, strict=True):
        # Without the barriers XLA makes sqrt(b) * rsqrt(g) of it, and multiplies within the fma:
        # other last digits than the kernel's.
        root = lax.optimization_barrier(jnp.sqrt(own))
        square = lax.optimization_barrier(jnp.square(grad.astype(own.dtype)))
        rates.append(jnp.sqrt(over.astype(own.dtype)) / root)
        after.append(fma(coef.astype(own.dtype), square, own))
    moves = [moved(*leaf) for leaf in zip(rates, grads, theta, rest, strict=True)]
    return [move for move, _ in moves], after, [left for _, left in moves]
