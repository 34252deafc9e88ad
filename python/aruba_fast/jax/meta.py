"""`apply`: the meta-update of a round."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from .. import _check
from . import _kernels, _trees
from ._average_task import most_spread, recent_mean, restraint, tasks_held, with_prior
from ._native import by_platform
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
    two_product,
    where,
)
from ._round import flat_round, pure_sums
from ._schedule import discount, smoothing
from ._sums import summed
from .state import MetaState, full, kept, rate_unit
from .statistics import TaskStatistics, round_of, statistics

__all__ = ["apply", "update"]


def apply(state: MetaState, statistics: TaskStatistics, meta_step: Any = None) -> MetaState:
    """Learns from the merged statistics of one round.

        b   <- (1 - decay)^K b + distance
        g   <- (1 - decay)^K g + grad_sq
        phi <- phi + meta_step (theta_sum / weight - phi)
        eta  = sqrt(b') / sqrt(g'), isotropic sqrt(sum b) / sqrt(sum g), at most max_learning_rate

    for K tasks, with the prior of `init`; the tight bound counts the distance twice. With a number
    for `zeta`, b' = b and g' = g, which get sum_k eps^2 / (t + k)^p and sum_k zeta^2 / (t + k)^p
    with every round, where t is the number of its first task, starting at 1.

    Args:
        state: The state that the tasks ran from.
        statistics: Sum of all parts of the round.
        meta_step: Step of the initialization. None for 10 / (t + 9) after t tasks, by weights, an
            average that forgets the first of them; with a number for `zeta` 1 / t, which makes phi
            the mean of all theta_hat. A number >= 0, which is not looked at if it is an array of
            JAX; or a function of the number of tasks, an integer array, those of this round
            included.

    Returns:
        The new MetaState. A round without a finite task changes `n_skipped` alone, and the rates,
        which tasks that were left out lower where `zeta` is no number; so does a round that would
        make phi or the weight infinite, whose tasks are counted there.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Trees or shapes do not fit, or the step is negative or not finite.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> state = aj.init(jnp.zeros(1))
        >>> theta_hat = jnp.array([[1.0], [2.0], [6.0]])
        >>> aj.apply(state, aj.statistics(state, theta_hat, jnp.ones((3, 1)))).phi
        Array([3.], dtype=float32)

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    _require("apply", state, statistics)
    if callable(meta_step):
        meta_step = meta_step(state.n_tasks + statistics.n_tasks)
    learned: MetaState = _learned(state, statistics, _pair_of("apply", meta_step, state))
    return learned


def update(
    state: MetaState, theta_hat: Any, grad_sq: Any, weights: Any = None, meta_step: Any = None
) -> MetaState:
    """Learns from a round of tasks: `apply(state, statistics(state, theta_hat, grad_sq, weights))`.

    On a CPU in one pass, which holds no sums in memory and takes a fraction of the time; without
    `jax_enable_x64` the sums then keep the digits that pairs of float32 have no room for.

    Args:
        state: The state that the tasks ran from.
        theta_hat: As `statistics`.
        grad_sq: As `statistics`.
        weights: As `statistics`.
        meta_step: As `apply`.

    Returns:
        The new MetaState, as `apply`.

    Raises:
        TypeError: As `statistics` and `apply`.
        ValueError: As `statistics` and `apply`.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> state = aj.init(jnp.zeros(1))
        >>> aj.update(state, jnp.array([[1.0], [2.0], [6.0]]), jnp.ones((3, 1))).phi
        Array([3.], dtype=float32)

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    _require_kind("update", "state", state, MetaState, "init")
    if callable(meta_step):
        return apply(state, statistics(state, theta_hat, grad_sq, weights), meta_step)
    tasks = round_of("update", state.layout, theta_hat, grad_sq, weights)
    learned: MetaState = _updated(state, *tasks, _pair_of("update", meta_step, state))
    return learned


@jax.jit
def _updated(state: MetaState, hats: Any, squares: Any, weight: Any, meta_step: Any) -> MetaState:
    meta_step = _as_pair(meta_step, state)

    def pure(state: MetaState, round: Any, meta_step: Any) -> MetaState:
        wide, start = state.weight.high.dtype, full(state.masters["phi"])
        limits = (state._rate_of_each, state.limit) if state.hyper.average_task else None
        hat, square, weights = round
        phi = rounded(start, state.layout.dtype)
        sums = pure_sums(wide, phi, hat, square, weights, limits)
        return _pure_learned(state, TaskStatistics(*sums), meta_step)

    learned = pure
    if _kernels.can_learn(state):
        learned = by_platform(pure, partial(_kernels.learned, of_tasks=True))
    result: MetaState = learned(state, flat_round(hats, squares, weight), meta_step)
    return result


@jax.jit
def _learned(state: MetaState, statistics: TaskStatistics, meta_step: Any) -> MetaState:
    meta_step = _as_pair(meta_step, state)
    learned = _pure_learned
    if _kernels.can_learn(state):
        learned = by_platform(_pure_learned, partial(_kernels.learned, of_tasks=False))
    result: MetaState = learned(state, statistics, meta_step)
    return result


def _pure_learned(state: MetaState, statistics: TaskStatistics, meta_step: Any) -> MetaState:
    hyper, wide = state.hyper, state.weight.high.dtype
    weight = add(state.weight, statistics.weight)
    n_tasks = state.n_tasks + statistics.n_tasks
    one, zero = single(jnp.ones((), wide)), single(jnp.zeros((), wide))
    some = statistics.weight.high > 0
    of_round = settled(where(some, statistics.weight, one))
    if meta_step is None:
        of_all = where(some, weight, one)
        if hyper.average_task:
            meta_step = recent_mean(of_round, of_all, statistics.n_tasks)
        else:
            meta_step = divide(of_round, settled(of_all))
    alpha = where(some, meta_step, zero)
    per_weight = divide(one, of_round)
    added = zero
    if not hyper.average_task:
        added = smoothing(state.n_tasks, statistics.n_tasks, hyper.p, wide)
    share = discount(hyper.decay, statistics.n_tasks, wide) if hyper.decay else one
    phi, b, g = (full(state.masters[name]) for name in ("phi", "b", "g"))
    n = sum(state.layout.sizes) if state._shared or hyper.average_task else 1
    b, g = (
        _limited(
            fused(share, old, fused(settled(new), constant(times / (unit * unit), wide), added)),
            n * max(1.0, unit * unit),
            to_zero=hyper.average_task,
        )
        for old, new, times, unit in (
            (b, statistics.distance, hyper.per_distance, rate_unit(hyper) * hyper.unit_of_g),
            (g, statistics.grad_sq, 1.0, hyper.unit_of_g),
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
        ratios=_rho(statistics, state._rate_of_each),
        n_tasks=n_tasks,
        weight=weight,
    )
    if not hyper.average_task:
        learned = _with_rates(learned)
    chosen: MetaState = jax.tree.map(
        lambda new, old: jnp.where(fits & (statistics.n_tasks > 0), new, old), learned, state
    )
    n_skipped = statistics.n_skipped + jnp.where(fits, 0, statistics.n_tasks)
    chosen = replace(chosen, n_skipped=state.n_skipped + n_skipped)
    # The prior's rates follow the tasks that were left out, too.
    return _with_rates(chosen) if hyper.average_task else chosen


def _with_rates(state: MetaState) -> MetaState:
    """The state at the rates of its b and g."""
    hyper = state.hyper
    b, g = (full(state.masters[name]) for name in ("b", "g"))
    if not hyper.average_task:
        if state._shared:
            b, g = (settled(summed(state.layout, part, state._shared)) for part in (b, g))
        return replace(state, rates=_rates(state, b, g, constant(rate_unit(hyper), b.high.dtype)))
    held = tasks_held(state.n_tasks, hyper.decay, b.high.dtype)
    over, under, is_known = with_prior(state.layout, b, g, held, state._shared)
    one = single(jnp.ones_like(over.high))
    by = restraint(state.n_tasks, state.n_skipped, b.high.dtype)
    rates = _rates(state, where(is_known, over, one), where(is_known, under, one), single(by))
    state = replace(state, rates=jnp.where(is_known, rates, state.rates))
    return replace(state, limit=most_spread(b, g, state._rate_of_each, held, hyper.per_distance))


def _require_kind(function: str, name: str, value: Any, kind: type, maker: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(
            f"{function}: `{name}` must be aruba_fast.jax.{kind.__name__}: got "
            f"{type(value).__name__}, expected what aruba_fast.jax.{maker} returns"
        )


def _require(function: str, state: Any, statistics: Any) -> None:
    _require_kind(function, "state", state, MetaState, "init")
    _require_kind(function, "statistics", statistics, TaskStatistics, "statistics")
    expected = (sum(state.layout.sizes),)
    _trees.shapes(function, "statistics", [statistics.distance.high], [expected])
    got, wide = statistics.weight.high.dtype, state.weight.high.dtype
    if got != wide:
        raise TypeError(
            f"{function}: `statistics` must have sums of the type of the state: got {got}, "
            f"expected {wide}"
        )


def _pair_of(function: str, meta_step: Any, state: MetaState) -> Any:
    """Returns a checked step as a pair, an array of JAX as it is."""
    if meta_step is None:
        return None
    step = _trees.number(function, "meta_step", meta_step, _check.non_negative)
    if isinstance(step, jax.Array):
        return step
    return Pair(*map(jax.device_put, constant(step, state.weight.high.dtype)))


def _as_pair(meta_step: Any, state: MetaState) -> Any:
    if meta_step is None or isinstance(meta_step, Pair):
        return meta_step
    return single(meta_step.astype(state.weight.high.dtype))


def _limited(pair: Pair, times: float, *, to_zero: bool) -> Pair:
    """Puts what overflows, now or multiplied, at the largest number, and what decayed at the least.

    So that a rate stays a number whatever happened, and 1 where b and g are the same. What is
    smoothed does not decay `to_zero`.
    """
    limits = np.finfo(pair.high.dtype)
    largest = jnp.full_like(pair.high, limits.max / 4 / times)
    pair = where(pair.high + pair.low <= largest, pair, single(largest))
    if to_zero:
        return pair
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


def _rates(state: MetaState, b: Pair, g: Pair, unit: Pair) -> Any:
    hyper, dtype = state.hyper, state.layout.dtype
    ratio = settled(divide(settled(square_root(b)), settled(square_root(g))))
    rates = rounded(multiply(ratio, unit), dtype)
    largest = float(np.finfo(dtype).max)
    return jnp.minimum(rates, dtype.type(min(hyper.max_learning_rate or largest, largest)))
