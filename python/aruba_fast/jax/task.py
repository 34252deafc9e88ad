"""The steps within a task as GradientTransformations: the learned rates, and ARUBA++."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax import numpy as jnp

from .. import _check
from . import _trees
from ._pairs import fma


class GradientTransformation(NamedTuple):
    """What optax calls by this name: a pair of pure functions, which `optax.chain` takes.

    Args:
        init: Function of the parameters, returns the state before the first step.
        update: Function of (updates, state, params=None), returns the pair (updates, state): what
            is to be added to the parameters, and the next state. With `params` the sum is the
            native kernel's; without, the product of rate and gradient is rounded once more.
    """

    init: Callable[..., Any]
    update: Callable[..., tuple[Any, Any]]


class OGDState(NamedTuple):
    """The state of `ogd`.

    Args:
        grad_sq: Sum of the task's squared gradients, a tree as the parameters.
        rest: What the last sum of parameters and update was rounded off by, as `grad_sq`: without
            it a weight that crosses zero would lose digits that the kernel keeps.
    """

    grad_sq: Any
    rest: Any


class ArubaPlusPlusState(NamedTuple):
    """The state of `aruba_plus_plus`.

    Args:
        g: The task's own g, a tree as the parameters.
        rest: As `OGDState.rest`.
    """

    g: Any
    rest: Any


def ogd(learning_rate: Any) -> GradientTransformation:
    """Gradient descent at the learned rates, which keeps what the meta-learner asks of a task.

        grad_sq <- grad_sq + grad^2;  theta <- theta - learning_rate * grad

    Parameters are float32 or float64; gradients may be bfloat16 or float16, and are widened before
    they are squared. Whatever stands before it in `optax.chain`, as clipping, is part of the
    gradient that is squared.

    Args:
        learning_rate: `MetaState.learning_rate`; or a number, or any tree as the parameters' of
            numbers and arrays.

    Returns:
        A `GradientTransformation`; its state is `OGDState(grad_sq, rest)`.

    Raises:
        TypeError: The number is none; in use: parameters or gradients are of the wrong type.
        ValueError: The number is negative or not finite; in use: trees or shapes do not fit.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> inner = aj.ogd(0.25)
        >>> theta, state = jnp.ones(2), inner.init(jnp.ones(2))
        >>> updates, state = inner.update(2 * theta, state, theta)
        >>> theta + updates, state.grad_sq
        (Array([0.5, 0.5], dtype=float32), Array([4., 4.], dtype=float32))

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    name = "ogd"
    learning_rate = _numbers_checked(name, "learning_rate", learning_rate)

    def init(params: Any) -> OGDState:
        structure, leaves = _params(name, params)
        return OGDState(*map(structure.unflatten, _zeros_twice(leaves)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, OGDState]:
        grads, sums, theta = _step_leaves(name, updates, state.grad_sq, "grad_sq", params)
        rates = _trees.rates_for(name, "learning_rate", learning_rate, "updates", updates)
        rest = jax.tree.leaves(state.rest)
        moved, *after = _ogd(rates, grads, sums, theta, rest)
        rebuilt = jax.tree.structure(updates).unflatten
        return rebuilt(moved), OGDState(*map(rebuilt, after))

    return GradientTransformation(init, update)


def aruba_plus_plus(b: Any, g: Any, coef: Any) -> GradientTransformation:
    """ARUBA++ for a task at meta-test: the learned rates, lowered by the task's own gradients.

        eta = sqrt(b) / sqrt(g');  g' <- g' + coef * grad^2;  theta <- theta - eta * grad

    g' starts at g in every task. `rule(state, coef)` makes it of a meta-state, limits and isotropic
    rates included.

    Args:
        b: Accumulated distances, `MetaState.b`; or a number, or any tree as the parameters' of
            numbers and arrays. Positive.
        g: Accumulated squared gradients, as `b`. Positive.
        coef: What a squared gradient adds to g', >= 0.

    Returns:
        A `GradientTransformation`; its state is `ArubaPlusPlusState(g, rest)`.

    Raises:
        TypeError: An argument is not real; in use: as `ogd`.
        ValueError: A number is out of range; in use: as `ogd`.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> inner = aj.aruba_plus_plus(b=1.0, g=1.0, coef=3.0)
        >>> theta, state = jnp.zeros(1), inner.init(jnp.zeros(1))
        >>> for _ in range(2):
        ...     updates, state = inner.update(jnp.ones(1), state, theta)
        ...     theta += updates
        >>> theta
        Array([-1.5], dtype=float32)

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    name = "aruba_plus_plus"
    b = _numbers_checked(name, "b", b, positive=True)
    g = _numbers_checked(name, "g", g, positive=True)
    coef = _trees.number(name, "coef", coef, _check.non_negative)

    def init(params: Any) -> ArubaPlusPlusState:
        structure, leaves = _params(name, params)
        first = _trees.rates_for(name, "g", g, "params", params)
        return ArubaPlusPlusState(*map(structure.unflatten, _spread(first, leaves)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, ArubaPlusPlusState]:
        grads, own, theta = _step_leaves(name, updates, state.g, "g", params)
        over = _trees.rates_for(name, "b", b, "updates", updates)
        rest = jax.tree.leaves(state.rest)
        share = _trees.array(name, "coef", coef)
        moved, *after = _lowered(over, own, share, grads, theta, rest)
        rebuilt = jax.tree.structure(updates).unflatten
        return rebuilt(moved), ArubaPlusPlusState(*map(rebuilt, after))

    return GradientTransformation(init, update)


def _numbers_checked(function: str, name: str, value: Any, *, positive: bool = False) -> Any:
    """Returns one number checked, or a tree of which all leaves are but those of JAX."""
    if _trees.is_number(value):
        check = _check.positive if positive else _check.non_negative
        return _trees.number(function, name, value, check)
    bound = {"above": 0.0} if positive else {"at_least": 0.0}
    for leaf in jax.tree.leaves(value):
        if not isinstance(leaf, jax.Array):
            _check.finite(function, name, _check.real_array(function, name, leaf), **bound)
    return value


def _params(function: str, params: Any) -> tuple[Any, list[Any]]:
    """Returns the structure of parameters, and the leaves in the type that each is learned in."""
    leaves, structure = jax.tree.flatten(params)
    arrays = [_trees.array(function, "params", leaf) for leaf in leaves]
    types = [_trees.master_type(function, "params", leaf) for leaf in arrays]
    return structure, [leaf.astype(kind) for leaf, kind in zip(arrays, types, strict=True)]


# Compiled, so that no two leaves of a state are one array: it can be donated.
@jax.jit
def _zeros_twice(leaves: list[Any]) -> tuple[list[Any], list[Any]]:
    """Returns the zeros that a task of `ogd` starts from."""
    return [jnp.zeros_like(leaf) for leaf in leaves], [jnp.zeros_like(leaf) for leaf in leaves]


@jax.jit
def _spread(values: list[Any], leaves: list[Any]) -> tuple[list[Any], list[Any]]:
    """Returns the g that a task of ARUBA++ starts from, and zeros."""
    pairs = zip(values, leaves, strict=True)
    own = [jnp.broadcast_to(value.astype(leaf.dtype), leaf.shape) for value, leaf in pairs]
    return own, [jnp.zeros_like(leaf) for leaf in leaves]


def _step_leaves(
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


@jax.jit
def _ogd(rates: Any, grads: Any, sums: Any, theta: Any, rest: Any) -> tuple[Any, Any, Any]:
    """Returns the updates, the sums of squares and the rests."""
    moves = [_moved(*leaf) for leaf in zip(rates, grads, theta, rest, strict=True)]
    squares = [fma(grad, grad, total) for grad, total in zip(grads, sums, strict=True)]
    return [move for move, _ in moves], squares, [left for _, left in moves]


@jax.jit
def _lowered(b: Any, g: Any, coef: Any, grads: Any, theta: Any, rest: Any) -> tuple[Any, Any, Any]:
    """Returns the updates, the next g and the rests."""
    rates, after = [], []
    for over, own, grad in zip(b, g, grads, strict=True):
        # Without the barriers XLA makes sqrt(b) * rsqrt(g) of it, and multiplies within the fma:
        # other last digits than the kernel's.
        root = lax.optimization_barrier(jnp.sqrt(own))
        square = lax.optimization_barrier(grad * grad)
        rates.append(jnp.sqrt(over.astype(own.dtype)) / root)
        after.append(fma(coef.astype(own.dtype), square, own))
    moves = [_moved(*leaf) for leaf in zip(rates, grads, theta, rest, strict=True)]
    return [move for move, _ in moves], after, [left for _, left in moves]


def _moved(rate: Any, grad: Any, theta: Any, rest: Any) -> tuple[Any, Any]:
    """Returns what has to be added to theta, and how far that sum is from where the kernel is."""
    step = -rate.astype(grad.dtype)
    if theta is None:
        return step * grad, rest
    at = fma(step, grad, theta + rest)
    move = at - theta
    return move, at - (theta + move)
