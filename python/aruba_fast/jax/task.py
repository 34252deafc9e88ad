"""The steps within a task as GradientTransformations: the learned rates, and ARUBA++."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax import numpy as jnp

from .. import _check
from . import _steps, _trees
from ._pairs import fma

__all__ = [
    "AdamState",
    "ArubaPlusPlusState",
    "GradientTransformation",
    "OGDState",
    "adam",
    "aruba_plus_plus",
    "ogd",
]

_NAMES = _steps.Names("updates", "state.grad_sq", "params")


class GradientTransformation(NamedTuple):
    """A pair of pure functions, as in optax; `optax.chain` takes it.

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
        rest: The rounding error of the last sum of parameters and update, as `grad_sq`. Without it
            a weight that crosses zero would lose digits that the kernel keeps.
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
    """Gradient descent at the learned rates, which also sums the squared gradients of a task.

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
    learning_rate = _steps.numbers_checked(name, "learning_rate", learning_rate)

    def init(params: Any) -> OGDState:
        structure, leaves = _steps.params(name, params)
        return OGDState(*map(structure.unflatten, _steps.zeros(leaves, 2)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, OGDState]:
        grads, sums, theta = _steps.step_leaves(name, _NAMES, updates, state.grad_sq, params)
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
    b = _steps.numbers_checked(name, "b", b, positive=True)
    g = _steps.numbers_checked(name, "g", g, positive=True)
    coef = _trees.number(name, "coef", coef, _check.non_negative)

    def init(params: Any) -> ArubaPlusPlusState:
        structure, leaves = _steps.params(name, params)
        first = _trees.rates_for(name, "g", g, "params", params)
        return ArubaPlusPlusState(*map(structure.unflatten, _spread(first, leaves)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, ArubaPlusPlusState]:
        names = _NAMES._replace(sums="state.g")
        grads, own, theta = _steps.step_leaves(name, names, updates, state.g, params)
        over = _trees.rates_for(name, "b", b, "updates", updates)
        rest = jax.tree.leaves(state.rest)
        share = _trees.array(name, "coef", coef)
        moved, *after = _lowered(over, own, share, grads, theta, rest)
        rebuilt = jax.tree.structure(updates).unflatten
        return rebuilt(moved), ArubaPlusPlusState(*map(rebuilt, after))

    return GradientTransformation(init, update)


class AdamState(NamedTuple):
    """The state of `adam`.

    Args:
        grad_sq: Sum of the task's squared gradients, a tree as the parameters.
        mean_sq: Their running mean, as `grad_sq`.
        weight: 1 - beta2^t after t steps.
        rest: As `OGDState.rest`.
    """

    grad_sq: Any
    mean_sq: Any
    weight: Any
    rest: Any


def adam(learning_rate: Any, beta2: Any = 0.999, eps: Any = 1e-8) -> GradientTransformation:
    """Adam without momentum (beta1 = 0), which also sums the squared gradients of a task.

        grad_sq <- grad_sq + grad^2;  v <- beta2 v + (1 - beta2) grad^2
        theta <- theta - learning_rate * grad / (sqrt(v / (1 - beta2^t)) + eps)

    Args:
        learning_rate: As in `ogd`.
        beta2: What a step keeps of v, at least 0 and below 1.
        eps: Positive, in units of the gradient.

    Returns:
        A `GradientTransformation`; its state is `AdamState(grad_sq, mean_sq, weight, rest)`.

    Raises:
        TypeError: As `ogd`.
        ValueError: A number is out of range; in use: as `ogd`.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> inner = aj.adam(0.5)
        >>> updates, _ = inner.update(jnp.array([3.0]), inner.init(jnp.zeros(1)), jnp.zeros(1))
        >>> updates
        Array([-0.5], dtype=float32)

    Source: Kingma, Ba, ICLR 2015; Nichol, Achiam, Schulman, 2018, for beta1 = 0.
    """
    name = "adam"
    learning_rate = _steps.numbers_checked(name, "learning_rate", learning_rate)
    forget = 1.0 - _check.fraction(name, "beta2", beta2, zero=True)
    least = _check.positive(name, "eps", eps)

    def init(params: Any) -> AdamState:
        structure, leaves = _steps.params(name, params)
        return AdamState(*map(structure.unflatten, _steps.zeros(leaves, 4)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, AdamState]:
        grads, sums, theta = _steps.step_leaves(name, _NAMES, updates, state.grad_sq, params)
        rates = _trees.rates_for(name, "learning_rate", learning_rate, "updates", updates)
        own = [jax.tree.leaves(tree) for tree in (state.mean_sq, state.weight, state.rest)]
        moved, *after = _adam(rates, forget, least, grads, sums, theta, *own)
        rebuilt = jax.tree.structure(updates).unflatten
        return rebuilt(moved), AdamState(*map(rebuilt, after))

    return GradientTransformation(init, update)


# Compiled for the same reason as `_steps.zeros`.
@jax.jit
def _spread(values: list[Any], leaves: list[Any]) -> tuple[list[Any], list[Any]]:
    """Returns the g that a task of ARUBA++ starts from, and zeros."""
    pairs = zip(values, leaves, strict=True)
    own = [jnp.broadcast_to(value.astype(leaf.dtype), leaf.shape) for value, leaf in pairs]
    return own, [jnp.zeros_like(leaf) for leaf in leaves]


@jax.jit
def _ogd(rates: Any, grads: Any, sums: Any, theta: Any, rest: Any) -> tuple[Any, Any, Any]:
    """Returns the updates, the sums of squares and the rests."""
    return _steps.updates(_steps.pure_ogd, rates, grads, sums, theta, rest)


@jax.jit
def _adam(
    rates: Any, forget: Any, eps: Any, grads: Any, sums: Any, theta: Any, means: Any, weights: Any,
    rest: Any,
) -> tuple[Any, Any, Any, Any, Any]:  # fmt: skip
    """Returns the updates, the sums of squares, their means, the weights and the rests."""
    lowered, v, w = [], [], []
    grads = [grad.astype(total.dtype) for grad, total in zip(grads, sums, strict=True)]
    for rate, grad, mean, weight in zip(rates, grads, means, weights, strict=True):
        share = jnp.asarray(forget, grad.dtype)
        w.append(fma(share, 1 - weight, weight))
        v.append(fma(share, fma(grad, grad, -mean), mean))
        # As in `_lowered`: a division, and a root of its own.
        root = lax.optimization_barrier(jnp.sqrt(lax.optimization_barrier(v[-1] / w[-1])))
        lowered.append(rate.astype(grad.dtype) / (root + jnp.asarray(eps, grad.dtype)))
    moved, squares, left = _ogd(lowered, grads, sums, theta, rest)
    return moved, squares, v, w, left


@jax.jit
def _lowered(b: Any, g: Any, coef: Any, grads: Any, theta: Any, rest: Any) -> tuple[Any, Any, Any]:
    """Returns the updates, the next g and the rests."""
    return _steps.updates(_steps.pure_aruba, b, grads, g, theta, rest, coef)
