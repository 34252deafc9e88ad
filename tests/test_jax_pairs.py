"""Pairs of floats against exact fractions: 48 digits of float32, however they are compiled."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from jax_models import jax, jnp, lax

from aruba_fast.jax import _pairs, _schedule

WAYS = {
    "eager": lambda f: f,
    "jit": jax.jit,
    "vmap": jax.vmap,
    "scan": lambda f: lambda *at: lax.scan(lambda _, row: (None, f(*row)), None, at)[1],
}
ways = pytest.mark.parametrize("way", WAYS)


def exact(pair):
    return [
        Fraction(high) + Fraction(low)
        for high, low in zip(
            *(np.asarray(part, np.float64).ravel().tolist() for part in pair), strict=True
        )
    ]


def numbers(rng, n=500):
    """Pairs of every size within 2^40 of another, both signs."""
    high = (rng.standard_normal(n) * 2.0 ** rng.integers(-20, 20, n)).astype(np.float32)
    low = (np.spacing(high) * (rng.random(n) - 0.5)).astype(np.float32)
    return _pairs.Pair(high, low)


def worst(got, expected):
    """Largest relative error, as a power of two."""
    off = max(abs((g - e) / e) for g, e in zip(exact(got), expected, strict=True) if e)
    return math.log2(off) if off else -math.inf


@ways
def test_sums_and_products_are_exact(way, rng):
    x, y = (numbers(rng).high for _ in range(2))
    both = [tuple(map(Fraction, row)) for row in zip(x.tolist(), y.tolist(), strict=True)]
    for function, expected in (
        (_pairs.two_sum, [a + b for a, b in both]),
        (_pairs.two_product, [a * b for a, b in both]),
    ):
        assert exact(WAYS[way](function)(x, y)) == expected


@ways
def test_arithmetic_keeps_twice_the_digits(way, rng):
    x, y = (_pairs.Pair(abs(v.high), v.low * np.sign(v.high)) for v in (numbers(rng), numbers(rng)))
    a, b = exact(x), exact(y)
    cases = (
        (_pairs.add, [p + q for p, q in zip(a, b, strict=True)], 46),
        (_pairs.multiply, [p * q for p, q in zip(a, b, strict=True)], 45),
        (_pairs.divide, [p / q for p, q in zip(a, b, strict=True)], 44),
    )
    for function, expected, digits in cases:
        got = WAYS[way](function)(x, y)
        assert worst(got, expected) <= -digits, function.__name__
        np.testing.assert_array_equal(got.high, np.float32(got.high) + got.low)
    root = WAYS[way](_pairs.square_root)(x)
    assert worst(root, [Fraction(math.sqrt(v)) for v in a]) <= -44


@ways
def test_one_is_not_lost_beside_two_to_the_25(way):
    """The failure of a float32 sum: 2^25 + 1 + 1 + ... stays 2^25."""
    start, n = np.float32(2.0**25), 1000

    def one_more(total, _):
        return _pairs.add(total, _pairs.Pair(jnp.float32(1), jnp.float32(0))), None

    def accumulated(first):
        return lax.scan(one_more, _pairs.Pair(first, jnp.float32(0)), None, n)[0]

    got = WAYS[way](accumulated)(np.full(2, start) if way in ("vmap", "scan") else start)
    assert set(exact(got)) == {Fraction(2**25 + n)}
    many = np.append(start, np.ones(n, np.float32))
    whole = jax.jit(lambda v: _pairs.total(_pairs.single(v)))(many)
    assert exact(whole) == [Fraction(2**25 + n)]


@ways
def test_fma_rounds_once(way, rng):
    """Also where product and summand cancel."""
    n = 20_000
    x, y = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
    near = -(np.float64(x) * y) * (1 + 2.0 ** -rng.integers(1, 30, n))
    z = np.where(rng.random(n) < 0.5, near, rng.standard_normal(n)).astype(np.float32)
    product = np.float64(x) * np.float64(y)  # exact; the sum is rounded to odd by hand
    total = product + np.float64(z)
    part = total - product
    error = (product - (total - part)) + (np.float64(z) - part)
    even = total.view(np.int64) % 2 == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    total = np.where(even & (error != 0), np.nextafter(total, toward), total)
    np.testing.assert_array_equal(WAYS[way](_pairs.fma)(x, y, z), total.astype(np.float32))


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0, 2.5, 40.0])
def test_the_smoothing_of_a_round(p):
    """Against exact sums; more terms than lanes, and a start far on."""
    for first, n in ((0, 3), (5, 300), (2**30, 4)):
        got = jax.jit(_schedule.smoothing, static_argnums=(2, 3))(
            jnp.int32(first), jnp.int32(n), p, np.dtype(np.float32)
        )
        expected = math.fsum(float(first + k + 2) ** -p for k in range(n))
        if expected > 1e-30:
            assert float(exact(got)[0]) == pytest.approx(expected, rel=2.0**-38)
        else:
            assert float(exact(got)[0]) <= 1e-30


def test_the_discount_of_a_round():
    """An error of the base counts n times."""
    for decay, n in ((0.1, 1), (0.1, 77), (1e-6, 100_000)):
        got = jax.jit(_schedule.discount, static_argnums=(0, 2))(
            decay, jnp.int32(n), np.dtype(np.float32)
        )
        assert float(exact(got)[0]) == pytest.approx((1 - decay) ** n, rel=(n + 8) * 2.0**-47)
