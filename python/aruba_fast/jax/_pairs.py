"""Arithmetic on unevaluated sums of two floats: float64's precision where JAX has float32 alone.

A compiler may contract a product and a sum into one fused operation, and XLA does, on a CPU in
23 % of a*b + c. Nothing here depends on it: the high part of a product is made of factors of half
the digits, whose products are exact, so that fused or not the same number comes out. Only the low
order of a low part, 2^-48 of a float32 pair, may differ from one compilation to the next.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from ._devices import everywhere

# Digits that the lower factor of a split keeps at most, one less than half of the mantissa.
_BITS: dict[Any, Any] = {
    np.dtype(np.float32): (np.uint32, 12),
    np.dtype(np.float64): (np.uint64, 27),
}

# Up to so many pairs are summed one after the other.
_ROW = 32


class Pair(NamedTuple):
    """The number high + low; high is that sum rounded."""

    high: Any
    low: Any


def constant(value: float, dtype: Any) -> Pair:
    """Returns a Python float as a pair."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        high = dtype.type(value)
        return Pair(high, dtype.type(value - float(high)))


def single(value: Any) -> Pair:
    """Returns an array as a pair."""
    return Pair(value, jnp.zeros_like(value))


def integer(value: Any, dtype: Any) -> Pair:
    """Returns integers of any size as pairs, exactly."""
    low = value % 4096
    return quick_sum((value - low).astype(dtype), low.astype(dtype))


def rounded(pair: Pair, dtype: Any) -> Any:
    """Returns the nearest number of a type."""
    return pair.high.astype(dtype)


def settled(pair: Pair) -> Pair:
    """Rounds a pair of float64 to float64, as NumPy's learner does after every operation."""
    return single(pair.high) if pair.high.dtype == np.float64 else pair


def quick_sum(x: Any, y: Any) -> Pair:
    """Returns x + y exactly where |x| >= |y| (Dekker)."""
    s = x + y
    return Pair(s, y - (s - x))


def two_sum(x: Any, y: Any) -> Pair:
    """Returns x + y exactly (Knuth)."""
    s = x + y
    part = s - x
    return Pair(s, (x - (s - part)) + (y - part))


@jax.custom_jvp
def split(x: Any) -> Pair:
    """Returns x as the sum of two numbers of half its digits, by rounding in its bits."""
    words, n = _BITS[x.dtype]
    bits = lax.bitcast_convert_type(x, words)
    high = (bits + words(1 << (n - 1))) & words(~((1 << n) - 1) & np.iinfo(words).max)
    high = lax.bitcast_convert_type(high, x.dtype)
    return Pair(high, x - high)


@split.defjvp
def _(primals: Any, tangents: Any) -> Any:
    # To a derivative the number is one: bits have none.
    (tangent,) = tangents
    return split(*primals), Pair(tangent, jnp.zeros_like(tangent))


def two_product(x: Any, y: Any) -> Pair:
    """Returns x * y exactly, but for underflow: no step needs more digits than there are."""
    a, b = split(x), split(y)
    first = two_sum(a.high * b.high, a.high * b.low)
    second = two_sum(first.high, a.low * b.high)
    product = quick_sum(second.high, first.low + second.low)
    return quick_sum(product.high, product.low + a.low * b.low)


def add(x: Pair, y: Pair) -> Pair:
    """Returns x + y."""
    s, t = two_sum(x.high, y.high), two_sum(x.low, y.low)
    s = quick_sum(s.high, s.low + t.high)
    return quick_sum(s.high, s.low + t.low)


def multiply(x: Pair, y: Pair) -> Pair:
    """Returns x * y."""
    p = two_product(x.high, y.high)
    return quick_sum(p.high, p.low + (x.high * y.low + x.low * y.high))


def fused(x: Pair, y: Pair, z: Pair) -> Pair:
    """Returns x * y + z; of float64 rounded once."""
    return settled(add(multiply(x, y), z))


def negative(x: Pair) -> Pair:
    """Returns -x."""
    return Pair(-x.high, -x.low)


def divide(x: Pair, y: Pair) -> Pair:
    """Returns x / y; corrected, so that a device's own division may be off by some ulp."""
    first = x.high / y.high
    rest = add(x, negative(multiply(single(first), y)))
    return quick_sum(first, rest.high / y.high)


def square_root(x: Pair) -> Pair:
    """Returns sqrt(x) for x > 0, corrected as `divide`."""
    first = lax.optimization_barrier(jnp.sqrt(x.high))
    rest = add(x, negative(two_product(first, first)))
    return quick_sum(first, rest.high / (first + first))


def where(condition: Any, x: Pair, y: Pair) -> Pair:
    """Returns x where the condition holds, y elsewhere."""
    return Pair(jnp.where(condition, x.high, y.high), jnp.where(condition, x.low, y.low))


def within_float64(pair: Pair) -> Pair:
    """Rounds the low part of a float32 pair so that float64 holds the sum: a checkpoint does."""
    bits = lax.bitcast_convert_type(pair.high, np.uint32) & np.uint32(0x7F800000)
    unit = lax.bitcast_convert_type(bits, np.float32) * np.float32(2.0**-29)
    # A low part of at least one unit ends within float64's digits by itself.
    off = 3 * unit
    low = jnp.where(jnp.abs(pair.low) < unit, (pair.low + off) - off, pair.low)
    return Pair(pair.high, low)


def total(pairs: Pair) -> Pair:
    """Returns the sum over the first axis: row after row of a square, and then over one row."""
    n = pairs.high.shape[0]
    n_columns = max(1, math.isqrt(n)) if n > _ROW else 1

    def rows(part: Any) -> Any:
        padding = [(0, -n % n_columns)] + [(0, 0)] * (part.ndim - 1)
        return jnp.pad(part, padding).reshape(-1, n_columns, *part.shape[1:])

    zero = single(jnp.zeros((n_columns, *pairs.high.shape[1:]), pairs.high.dtype))
    rows_of = Pair(rows(pairs.high), rows(pairs.low))
    zero = everywhere(zero, like=rows_of)
    row, _ = lax.scan(lambda sums, row: (add(sums, row), None), zero, rows_of)
    return total(row) if n_columns > 1 else Pair(row.high[0], row.low[0])


@jax.custom_jvp
def fma(x: Any, y: Any, z: Any) -> Any:
    """Returns x * y + z rounded once, as the native kernels do.

    But where what is lost of the low parts decides between two neighbours, 2^-24 of an ulp from
    half-way: of 2 * 10^7 random ones none was off.
    """
    product = two_product(x, y)
    s = two_sum(z, product.high)
    return s.high + (s.low + product.low)


@fma.defjvp
def _(primals: Any, tangents: Any) -> Any:
    x, y, z = primals
    dx, dy, dz = tangents
    return fma(x, y, z), dx * y + x * dy + dz
