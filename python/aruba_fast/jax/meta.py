"""`apply`, the meta-update of a round, and `rule`, what it has learned as a within-task rule."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from .. import _check
from . import _trees
from ._pairs import (
    Pair,
    add,
    constant,
    divide,
    fused,
    multiply,
    negative,
    rounded,
    settled,
    single,
    square_root,
    total,
    two_product,
    where,
)
from ._schedule import discount, smoothing
from .state import MetaState, full, kept
from .statistics import TaskStatistics
from .task import GradientTransformation, aruba_plus_plus, ogd

__all__ = ["apply", "rule"]


def apply(state: MetaState, statistics: TaskStatistics, meta_step: Any = None) -> MetaState:
    """Learns from the merged statistics of one round.

        b   <- (1 - decay)^K b + distance + sum_k eps^2 / (t + k)^p
        g   <- (1 - decay)^K g + grad_sq + sum_k zeta^2 / (t + k)^p
        phi <- phi + meta_step (theta_sum / weight - phi)
        eta  = sqrt(b) / sqrt(g), isotropic sqrt(sum b) / sqrt(sum g), at most max_learning_rate

    for K tasks, where t is the number of the first of them, starting at 1.

    Args:
        state: The state that the tasks ran from.
        statistics: Sum of all parts of the round.
        meta_step: Step of the initialization. None for (weight of the round) / (weight of all
            rounds), which makes phi the running mean of all theta_hat; a number >= 0, which is not
            looked at if it is an array of JAX; or a function of the number of tasks, an integer
            array, those of this round included.

    Returns:
        The new MetaState. A round without a finite task changes `n_skipped` alone; so does a round
        that would make phi or the weight infinite, whose tasks are counted there.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Trees or shapes do not fit, or the step is negative or not finite.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> state = aj.init(jnp.zeros(1))
        >>> theta_hat = jnp.array([[1.0], [2.0], [6.0]])
        >>> aj.apply(state, aj.statistics(state.phi, theta_hat, jnp.ones((3, 1)))).phi
        Array([3.], dtype=float32)

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    _require("apply", state, statistics)
    if callable(meta_step):
        meta_step = meta_step(state.n_tasks + statistics.n_tasks)
    step = _step("apply", meta_step)
    if step is not None and not isinstance(step, jax.Array):
        step = Pair(*map(jax.device_put, constant(step, state.weight.high.dtype)))
    learned: MetaState = _learned(state, statistics, step)
    return learned


@jax.jit
def _learned(state: MetaState, statistics: TaskStatistics, meta_step: Any) -> MetaState:
    hyper, wide = state.hyper, state.weight.high.dtype
    weight = add(state.weight, statistics.weight)
    one, zero = single(jnp.ones((), wide)), single(jnp.zeros((), wide))
    some = statistics.weight.high > 0
    of_round = settled(where(some, statistics.weight, one))
    if meta_step is None:
        meta_step = divide(of_round, settled(where(some, weight, one)))
    elif not isinstance(meta_step, Pair):
        meta_step = single(meta_step.astype(wide))
    alpha = where(some, meta_step, zero)
    per_weight = divide(one, of_round)
    added = smoothing(state.n_tasks, statistics.n_tasks, hyper.p, wide)
    share = discount(hyper.decay, statistics.n_tasks, wide) if hyper.decay else one
    phi, b, g = (full(state.masters[name]) for name in ("phi", "b", "g"))
    n = sum(state.layout.sizes) if state.isotropic else 1
    b, g = (
        _limited(
            fused(share, old, fused(settled(new), constant(1.0 / (unit * unit), wide), added)),
            n * max(1.0, unit * unit),
        )
        for old, new, unit in (
            (b, statistics.distance, hyper.unit_of_b),
            (g, statistics.grad_sq, hyper.unit_of_g),
        )
    )
    way = fused(settled(statistics.theta_sum), settled(per_weight), negative(phi))
    phi = fused(settled(alpha), way, phi)
    fits = jnp.isfinite(rounded(phi, state.layout.dtype) + phi.low.astype(state.layout.dtype)).all()
    fits &= jnp.isfinite(weight.high + weight.low)
    masters = {"phi": kept(phi), "b": kept(b), "g": kept(g)}
    learned = replace(
        state,
        masters=masters,
        rates=_rates(state, full(masters["b"]), full(masters["g"])),
        ratios=_rho(statistics, _rate_of_each(state)),
        n_tasks=state.n_tasks + statistics.n_tasks,
        weight=weight,
    )
    chosen: MetaState = jax.tree.map(
        lambda new, old: jnp.where(fits & (statistics.n_tasks > 0), new, old), learned, state
    )
    n_skipped = statistics.n_skipped + jnp.where(fits, 0, statistics.n_tasks)
    return replace(chosen, n_skipped=state.n_skipped + n_skipped)


def rule(state: MetaState, coef: Any = None) -> GradientTransformation:
    """Returns the within-task rule as learned so far.

    Args:
        state: The meta-state.
        coef: None for `ogd` at the learned rates; a number >= 0 for `aruba_plus_plus`,
            which lowers them within the task by `coef` times the task's own squared gradients.

    Returns:
        A `GradientTransformation`. For ARUBA++ isotropic states hand out the means of b and g, and
        b is lowered where its rate would exceed `max_learning_rate`.

    Raises:
        TypeError: `state` is not a MetaState, or `coef` not a real number.
        ValueError: `coef` is negative or not finite.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> theta = jnp.ones(2)
        >>> inner = aj.rule(aj.init(theta, learning_rate=0.5), coef=0.1)
        >>> inner.update(theta, inner.init(theta), theta)[0]
        Array([-0.5, -0.5], dtype=float32)
    """
    if not isinstance(state, MetaState):
        raise TypeError(
            f"rule: `state` must be a MetaState: got {type(state).__name__}, expected a MetaState"
        )
    if coef is None:
        return ogd(state.learning_rate)
    coef = _trees.number("rule", "coef", coef, _check.non_negative)
    b, g = _accumulated(state)
    if state.isotropic:
        return aruba_plus_plus(state.layout.numbers(b), state.layout.numbers(g), coef)
    return aruba_plus_plus(state.layout.tree(b), state.layout.tree(g), coef)


@jax.jit
def _accumulated(state: MetaState) -> tuple[Any, Any]:
    """Returns b and g in the spec's units, or their means over what has one rate, as for a rule."""
    hyper, wide = state.hyper, state.weight.high.dtype
    b, g = (full(state.masters[name]) for name in ("b", "g"))
    if state.isotropic:
        sizes = state.layout.sizes if state.isotropic == "tensor" else [sum(state.layout.sizes)]
        n = single(jnp.asarray([max(1, size) for size in sizes], wide))
        b, g = divide(_sums(state, b), n), divide(_sums(state, g), n)
    b, g = (
        multiply(pair, constant(unit * unit, wide))
        for pair, unit in ((b, hyper.unit_of_b), (g, hyper.unit_of_g))
    )
    if hyper.max_learning_rate is not None:
        most = multiply(g, constant(hyper.max_learning_rate * hyper.max_learning_rate, wide))
        b = where(b.high > most.high, most, b)
    return rounded(b, state.layout.dtype), rounded(g, state.layout.dtype)


def _require(function: str, state: Any, statistics: Any) -> None:
    for name, value, kind, maker in (
        ("state", state, MetaState, "init"),
        ("statistics", statistics, TaskStatistics, "statistics"),
    ):
        if not isinstance(value, kind):
            raise TypeError(
                f"{function}: `{name}` must be aruba_fast.jax.{kind.__name__}: got "
                f"{type(value).__name__}, expected what aruba_fast.jax.{maker} returns"
            )
    expected = (sum(state.layout.sizes),)
    _trees.shapes(function, "statistics", [statistics.distance.high], [expected])
    got, wide = statistics.weight.high.dtype, state.weight.high.dtype
    if got != wide:
        raise TypeError(
            f"{function}: `statistics` must have sums of the type of the state: got {got}, "
            f"expected {wide}"
        )


def _step(function: str, meta_step: Any) -> Any:
    if meta_step is None:
        return None
    return _trees.number(function, "meta_step", meta_step, _check.non_negative)


def _limited(pair: Pair, times: float) -> Pair:
    """Puts what overflows, now or multiplied, at the largest number, and what decayed at the least.

    So that a rate stays a number whatever happened, and 1 where b and g are the same.
    """
    limits = np.finfo(pair.high.dtype)
    largest = jnp.full_like(pair.high, limits.max / 4 / times)
    pair = where(pair.high + pair.low <= largest, pair, single(largest))
    least = jnp.full_like(pair.high, limits.tiny)
    return where(pair.high < least, single(least), pair)


def _rho(statistics: TaskStatistics, rate: Any) -> Any:
    """Returns sum (theta_hat - phi)^2 / (eta^2 sum grad^2), -1 without a gradient."""
    distance, grad_sq = statistics.distance, statistics.grad_sq
    seen = grad_sq.high > 0
    one = single(jnp.ones_like(grad_sq.high))
    ratio = divide(
        divide(add(distance, distance), where(seen, grad_sq, one)), two_product(rate, rate)
    )
    return jnp.where(seen & (ratio.high >= 0), ratio.high, -1)


def _rate_of_each(state: MetaState) -> Any:
    """The rate of every coordinate."""
    rates = state.rates
    if state.isotropic == "tensor":
        sizes = state.layout.sizes
        rates = jnp.repeat(rates, np.array(sizes), total_repeat_length=sum(sizes))
    return rates.astype(state.weight.high.dtype)


def _sums(state: MetaState, pair: Pair) -> Pair:
    """Sums over all coordinates, [1], or over those of every leaf."""
    if state.isotropic != "tensor":
        return Pair(*(part[None] for part in total(pair)))
    ends, one = np.cumsum(state.layout.sizes), single(jnp.ones((), pair.high.dtype))
    sums = [
        total(Pair(pair.high[end - n : end], pair.low[end - n : end])) if n else one
        for n, end in zip(state.layout.sizes, ends, strict=True)
    ]
    return Pair(jnp.stack([s.high for s in sums]), jnp.stack([s.low for s in sums]))


def _rates(state: MetaState, b: Pair, g: Pair) -> Any:
    if state.isotropic:
        b, g = settled(_sums(state, b)), settled(_sums(state, g))
    hyper, dtype = state.hyper, state.layout.dtype
    ratio = settled(divide(settled(square_root(b)), settled(square_root(g))))
    rates = rounded(multiply(ratio, constant(float(hyper.learning_rate), b.high.dtype)), dtype)
    largest = float(np.finfo(dtype).max)
    return jnp.minimum(rates, dtype.type(min(hyper.max_learning_rate or largest, largest)))
