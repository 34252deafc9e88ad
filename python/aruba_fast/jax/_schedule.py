"""What of a round's meta-update depends on the numbers of tasks alone, as pairs of floats."""

import math
from typing import Any

import numpy as np
from jax import lax
from jax import numpy as jnp

from ._devices import everywhere
from ._pairs import (
    Pair,
    add,
    constant,
    divide,
    integer,
    multiply,
    negative,
    quick_sum,
    settled,
    single,
    total,
    where,
)

# Tasks whose terms are made at once.
_LANES = 128


def smoothing(n_tasks: Any, n_new: Any, p: float, dtype: Any) -> Pair:
    """Returns the sum of 1 / t^p over t = n_tasks + 2, ..., n_tasks + 1 + n_new."""
    lane = jnp.arange(_LANES, dtype=n_tasks.dtype)
    zero = single(jnp.zeros(_LANES, dtype))

    def block(number: Any, sums: Pair) -> Pair:
        place = number * _LANES + lane
        t = integer(n_tasks + 2 + place, dtype)
        one = single(jnp.ones(_LANES, dtype))
        term = divide(one, t) if p == 1.0 else _negative_power(t, p)
        return add(sums, where(place < n_new, settled(term), zero))

    n_blocks = (n_new + (_LANES - 1)) // _LANES
    start = everywhere((jnp.zeros_like(n_blocks), zero), like=(n_tasks, n_blocks))
    return settled(total(lax.fori_loop(start[0], n_blocks, block, start[1])))


def discount(decay: float, n_new: Any, dtype: Any) -> Pair:
    """Returns (1 - decay)^n_new, by squaring."""
    base = Pair(*map(jnp.asarray, constant(1.0 - decay, dtype)))

    def halve(state: Any) -> Any:
        left, base, result = state
        result = where(left % 2 == 1, settled(multiply(result, base)), result)
        return left // 2, settled(multiply(base, base)), result

    start = everywhere((n_new, base, single(jnp.ones((), dtype))))
    result: Pair = lax.while_loop(lambda state: state[0] > 0, halve, start)[2]
    return result


def _negative_power(t: Pair, p: float) -> Pair:
    """Returns t^-p for t >= 2 by the device's own exp, corrected by a step of Newton's method."""
    exponent = negative(multiply(constant(p, t.high.dtype), _log(t)))
    # Below it exp leaves the normal numbers, and what is added is lost in sums that start at 1.
    least = math.log(float(np.finfo(t.high.dtype).tiny)) + 7.0
    small = exponent.high < least
    guess = jnp.where(small, 1.0, jnp.exp(jnp.where(small, 0.0, exponent.high)))
    off = add(exponent, negative(_log(single(guess)))).high
    power = quick_sum(guess, guess * (off + off * off / 2))
    return where(small, single(jnp.zeros_like(guess)), power)


def _log(x: Pair) -> Pair:
    """Returns log x: exponent * log 2 + 2 artanh s, s = (m - 1) / (m + 1) of the mantissa m."""
    dtype = x.high.dtype
    mantissa, exponent = jnp.frexp(x.high)
    low = mantissa < math.sqrt(0.5)
    exponent = jnp.where(low, exponent - 1, exponent)
    scale = jnp.where(low, mantissa + mantissa, mantissa) / x.high  # a power of two
    m = Pair(x.high * scale, x.low * scale)
    one = single(jnp.ones_like(m.high))
    s = divide(add(m, negative(one)), add(m, one))
    z = multiply(s, s)
    # z < 0.03, so that the terms from z^5 on, of 12, need no more digits than a float has.
    tail = jnp.zeros_like(m.high)
    for k in range(11, 4, -1):
        tail = tail * z.high + dtype.type(1.0 / (2 * k + 1))
    series = single(tail)
    for k in range(4, -1, -1):
        series = add(multiply(series, z), constant(1.0 / (2 * k + 1), dtype))
    twice = multiply(add(s, s), series)
    whole = multiply(single(exponent.astype(dtype)), constant(math.log(2.0), dtype))
    return add(whole, twice)
