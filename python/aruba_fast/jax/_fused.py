"""`step` and `aruba_step`: the steps of NumPy's functions of these names, as pure functions."""

from typing import Any

import jax

from .. import _check
from . import _kernels, _steps, _trees
from ._native import by_platform

__all__ = ["aruba_step", "step"]

_NAMES = _steps.Names("grad", "grad_sq", "theta")


def step(theta: Any, grad: Any, learning_rate: Any, *, grad_sq: Any) -> tuple[Any, Any]:
    """Preconditioned gradient step, with the statistics of ARUBA in the same pass.

        grad_sq <- grad_sq + grad^2;  theta <- theta - learning_rate * grad

    What `ogd` does, without an update that somebody has to add: that takes fewer bytes. On a CPU
    and on CUDA it is `aruba_fast.step`, to the bit, and moves nothing else where `theta` and
    `grad_sq` are not needed afterwards, as in a `scan`, or donated; otherwise XLA copies them
    first.

    Args:
        theta: Parameters, a tree of float32 or float64 arrays.
        grad: Gradients, a tree as `theta`; for float32 also bfloat16 or float16.
        learning_rate: `MetaState.learning_rate`; or a number, or any tree as `theta` of numbers
            and arrays. In units of theta / grad.
        grad_sq: Sums of the task's squared gradients, a tree as `theta`; zeros before its first
            step.

    Returns:
        The pair of the next `theta` and `grad_sq`.

    Raises:
        TypeError: A type is wrong, or `learning_rate` not real.
        ValueError: Trees or shapes do not fit, or `learning_rate` is negative or not finite.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> aj.step(jnp.ones(2), jnp.array([1.0, 2.0]), 0.25, grad_sq=jnp.zeros(2))
        (Array([0.75, 0.5 ], dtype=float32), Array([1., 4.], dtype=float32))

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    name = "step"
    learning_rate = _steps.numbers_checked(name, "learning_rate", learning_rate)
    grads, sums, leaves = _leaves(name, _NAMES, theta, grad, grad_sq)
    rates = _trees.rates_for(name, "learning_rate", learning_rate, "theta", theta)
    return _rebuilt(theta, _stepped(rates, grads, sums, leaves, None))


def aruba_step(theta: Any, grad: Any, b: Any, g: Any, *, coef: Any) -> tuple[Any, Any]:
    """ARUBA++ step: the meta-learned rate, lowered by the task's own gradients.

        eta = sqrt(b) / sqrt(g);  g <- g + coef * grad^2;  theta <- theta - eta * grad

    As `step` is to `ogd`, so is this to `aruba_plus_plus`.

    Args:
        theta: Parameters, a tree of float32 or float64 arrays.
        grad: Gradients, a tree as `theta`; for float32 also bfloat16 or float16.
        b: Accumulated squared distances: a number, or a tree as `theta` of numbers and arrays.
            Positive.
        g: The task's own copy of the accumulated squared gradients, a tree as `theta`. Positive.
        coef: What a squared gradient adds to g, >= 0.

    Returns:
        The pair of the next `theta` and `g`.

    Raises:
        TypeError: A type is wrong.
        ValueError: Trees or shapes do not fit, or a number is out of range.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> theta, g = jnp.zeros(2), jnp.ones(2)
        >>> aj.aruba_step(theta, jnp.ones(2), jnp.array([1.0, 4.0]), g, coef=3.0)
        (Array([-1., -2.], dtype=float32), Array([4., 4.], dtype=float32))

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    name = "aruba_step"
    b = _steps.numbers_checked(name, "b", b, positive=True)
    coef = _trees.array(name, "coef", _trees.number(name, "coef", coef, _check.non_negative))
    grads, own, leaves = _leaves(name, _NAMES._replace(sums="g"), theta, grad, g)
    over = _trees.rates_for(name, "b", b, "theta", theta)
    return _rebuilt(theta, _stepped(over, grads, own, leaves, coef))


def _leaves(
    function: str, names: _steps.Names, theta: Any, grad: Any, sums: Any
) -> tuple[list[Any], list[Any], Any]:
    """Returns the leaves of a step, all of the sums in the type of the parameters."""
    leaves = [_trees.array(function, names.theta, leaf) for leaf in jax.tree.leaves(theta)]
    totals = _trees.leaves_as(function, names.sums, sums, names.theta, theta)
    for leaf, total in zip(leaves, totals, strict=True):
        for name, array in ((names.theta, leaf), (names.sums, total)):
            kind = _trees.master_type(function, names.theta, leaf)
            if array.dtype != kind:
                raise TypeError(
                    f"{function}: `{name}` must be of full precision, as the parameters: got "
                    f"{array.dtype}, expected {kind}"
                )
    structure = jax.tree.structure(theta)
    return _steps.step_leaves(function, names, grad, structure.unflatten(totals), theta)


def _rebuilt(theta: Any, made: tuple[list[Any], list[Any]]) -> tuple[Any, Any]:
    structure = jax.tree.structure(theta)
    return structure.unflatten(made[0]), structure.unflatten(made[1])


@jax.jit
def _stepped(first: Any, grads: Any, sums: Any, theta: Any, coef: Any) -> Any:
    """Returns the next parameters and sums of every leaf."""

    def pure(first: Any, grads: Any, sums: Any, theta: Any, coef: Any) -> Any:
        rest = _steps.zeros(theta, 1)[0]
        one = _steps.pure_ogd if coef is None else _steps.pure_aruba
        moves, after, left = one(first, grads, sums, theta, rest, coef)
        parts = zip(theta, moves, left, strict=True)
        return [(at + move) + off for at, move, off in parts], after

    def native(first: Any, grads: Any, sums: Any, theta: Any, coef: Any, *, device: Any) -> Any:
        moved, after = _kernels.stepped(grads, sums, theta, None, first, coef, device=device)
        return list(moved), list(after)

    return by_platform(pure, native)(first, grads, sums, theta, coef)
