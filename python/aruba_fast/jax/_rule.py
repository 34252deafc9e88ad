"""`rule`: what a meta-state has learned, as a within-task rule."""

from typing import Any

import jax
from jax import numpy as jnp

from .. import _check
from .._state import AUTO
from . import _trees
from ._average_task import restraint, tasks_held, with_prior
from ._pairs import constant, divide, multiply, rounded, single, where
from ._sums import summed
from .state import MetaState, full, rate_unit
from .task import GradientTransformation, aruba_plus_plus, ogd

__all__ = ["rule"]


def rule(state: MetaState, coef: Any = AUTO) -> GradientTransformation:
    """Returns the within-task rule as learned so far.

    Args:
        state: The meta-state.
        coef: "auto" for `aruba_plus_plus`, the rule for new tasks, with the number of tasks that b
            and g hold, four times that for the tight bound: rates start at the learned ones, and a
            task's own squared gradients count as those of an average one, or of four. A number >= 0
            for another weight of them. None for `ogd` at the learned rates, which tasks are trained
            with.

    Returns:
        A `GradientTransformation`. For ARUBA++, b and g are those with their prior; isotropic
        states hand out their means, and b is lowered where its rate would exceed
        `max_learning_rate`. As long as nothing is known of them, it keeps to the rates.

    Raises:
        TypeError: `state` is not a MetaState, or `coef` not a real number.
        ValueError: `coef` is negative or not finite, or the first rate is not known yet; which,
            while a function is traced, nobody sees: rates are zero then.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> theta = jnp.ones(2)
        >>> inner = aj.rule(aj.init(theta, learning_rate=0.5))
        >>> inner.update(theta, inner.init(theta), theta)[0]
        Array([-0.5, -0.5], dtype=float32)
    """
    if not isinstance(state, MetaState):
        raise TypeError(
            f"rule: `state` must be a MetaState: got {type(state).__name__}, expected a MetaState"
        )
    if isinstance(coef, str):
        coef = _check.auto("rule", "coef", coef, _check.non_negative)
    elif coef is not None:
        coef = _trees.number("rule", "coef", coef, _check.non_negative)
    if not state.hyper.knows_rate and _trees.is_concrete(state.n_tasks) and not state.n_tasks:
        raise ValueError(
            "rule: the first learning rate must be known: got 'auto' and no task, expected "
            "first_rate(state, run) before, or a number for `learning_rate`"
        )
    if coef is None:
        return ogd(state.learning_rate)
    given = None if isinstance(coef, str) else _trees.array("rule", "coef", coef)
    b, g, weight = _accumulated(state, given)
    tree = state.layout.numbers if state.isotropic else state.layout.tree
    return aruba_plus_plus(tree(b), tree(g), weight)


@jax.jit
def _accumulated(state: MetaState, coef: Any) -> tuple[Any, Any, Any]:
    """Returns b and g as for a rule, in the spec's units, and what a squared gradient adds."""
    hyper, wide, dtype = state.hyper, state.weight.high.dtype, state.layout.dtype
    b, g = (full(state.masters[name]) for name in ("b", "g"))
    held = tasks_held(state.n_tasks, hyper.decay, wide)
    is_known = jnp.ones((), bool) if coef is not None else state.n_tasks > 0
    if hyper.average_task:
        b, g, moved = with_prior(state.layout, b, g, held, state.isotropic)
        is_known &= moved
        by = jnp.square(restraint(state.n_tasks, state.n_skipped, wide))
        b = multiply(b, single(by))
    elif state.isotropic:
        sizes = state.layout.sizes if state.isotropic == "tensor" else [sum(state.layout.sizes)]
        n = single(jnp.asarray([max(1, size) for size in sizes], wide))
        b, g = (divide(summed(state.layout, part, state.isotropic), n) for part in (b, g))
    zeta = hyper.unit_of_g
    b, g = (
        multiply(pair, constant(unit * unit, wide))
        for pair, unit in ((b, rate_unit(hyper) * zeta), (g, zeta))
    )
    if hyper.max_learning_rate is not None:
        most = multiply(g, constant(hyper.max_learning_rate * hyper.max_learning_rate, wide))
        b = where(b.high > most.high, most, b)
    # The root of a square is the number, so that ARUBA++ of these is OGD to the bit.
    weight = hyper.own_weight * held.high if coef is None else coef.astype(wide)
    return (
        jnp.where(is_known, rounded(b, dtype), jnp.square(state.rates)),
        jnp.where(is_known, rounded(g, dtype), 1),
        jnp.where(is_known, weight, 0).astype(dtype),
    )
