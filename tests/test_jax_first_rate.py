"""The first rate of a state of `aruba_fast.jax`, and that no unit is left to choose from there."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
from cases import single
from jax_models import aj, flat, jax, jnp, lax, rates_of

TREE = {"a": (3, 2), "b": (5,)}


class Quadratics:
    """Tasks of m steps down curvature/2 |theta - target|^2 with noise, in any units.

    Targets are around a phi, all of them random, where `unit` is that of the parameters.
    """

    def __init__(self, rng, *, m=6, curvature=1.0, unit=1.0, factor=1.0, dtype=np.float32):
        self.m, self.curvature, self.unit, self.factor = m, curvature, unit, factor
        self.dtype, self.rng = np.dtype(dtype), rng
        self.phi = {k: self.number(unit * rng.standard_normal(v)) for k, v in TREE.items()}
        self.some = self.tasks(12)

    def number(self, values):
        return jnp.asarray(values, self.dtype)

    def tasks(self, n_tasks):
        """Where they want to go, and what else there is in their gradients."""
        draw = self.rng.standard_normal
        return {
            k: tuple(
                # Rounded in one unit, so that powers of two of it have the same digits.
                self.number(self.unit * single(values))
                for values in (2 * draw((n_tasks, *v)), draw((n_tasks, self.m, *v)))
            )
            for k, v in TREE.items()
        }

    def run(self, phi, make, given, tasks):
        """Tasks side by side, by the rule that is made of what is given."""
        slope = self.number(self.factor * self.curvature / self.unit**2)
        return descend(make, phi, given, slope, tasks)

    def at(self, rate):
        theta_hat, at = self.run(self.phi, aj.ogd, rate, self.some)
        return theta_hat, at.grad_sq


@partial(jax.jit, static_argnums=0)
def descend(make, phi, given, slope, tasks):
    inner = make(given)

    def one(task):
        def step(carry, noise):
            theta, at = carry
            grad = {k: slope * (theta[k] - task[k][0] + noise[k]) for k in TREE}
            updates, at = inner.update(grad, at, theta)
            return (jax.tree.map(jnp.add, theta, updates), at), None

        return lax.scan(step, (phi, inner.init(phi)), {k: task[k][1] for k in TREE})[0]

    return jax.vmap(one)(tasks)


@pytest.mark.parametrize("m", [3, 30])
@pytest.mark.parametrize("curvature", [1e-3, 1.0, 1e3])
def test_it_is_stable_and_not_far_from_the_limit(curvature, m, rng):
    """Beyond 2 / curvature, gradient descent diverges."""
    tasks = Quadratics(rng, curvature=curvature, m=m)
    state = aj.first_rate(aj.init(tasks.phi), tasks.at)
    rate = state.hyper.learning_rate
    assert 1 / 40 < rate * curvature < 2
    assert set(rates_of(state).tolist()) == {rate}


@pytest.mark.parametrize("hyper", [{"isotropic": "tensor"}, {"train": "scalar"}, {"zeta": 1.0}])
def test_it_changes_nothing_else(hyper, rng):
    tasks = Quadratics(rng)
    start = aj.init(tasks.phi, max_learning_rate=0.125, **hyper)
    state = aj.first_rate(start, tasks.at)
    assert set(rates_of(state).tolist()) == {0.125}
    rate = state.hyper.learning_rate
    assert rate > 0.125
    given = aj.init(tasks.phi, max_learning_rate=0.125, learning_rate=rate, **hyper)
    assert jax.tree.structure(state) == jax.tree.structure(given)
    for one, other in zip(*map(jax.tree.leaves, (state, given)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_who_knows_a_rate_keeps_it(rng):
    """And nothing is run."""
    tasks = Quadratics(rng)
    given = aj.init(tasks.phi, learning_rate=0.5)
    assert aj.first_rate(given, lambda _: 1 / 0) is given
    start = aj.init(tasks.phi)
    learned = aj.apply(start, aj.statistics(start, *tasks.at(np.float32(0.1))))
    assert aj.first_rate(learned, lambda _: 1 / 0) is learned


def test_tasks_that_tell_nothing_are_left_out(rng):
    """One without a gradient, one that is never finite; and one that diverges before the others."""
    tasks = Quadratics(rng)
    start = aj.init(tasks.phi)

    def beside(changed, factor=1.0):
        def run(rate):
            hats, squares = tasks.at(rate)
            stay = jax.tree.map(lambda leaf: changed(leaf[None], rate), tasks.phi)
            more = jax.tree.map(lambda leaf: leaf[:1] * factor, squares)
            return jax.tree.map(lambda *v: jnp.concatenate(v), (hats, squares), (stay, more))

        return aj.first_rate(start, run).hyper.learning_rate

    rate = aj.first_rate(start, tasks.at).hyper.learning_rate
    for factor in (0.0, np.nan):
        assert beside(lambda leaf, _: leaf, factor) == pytest.approx(rate, rel=1e-6)
    limit = rate / 100
    found = beside(lambda leaf, at: jnp.where(at > limit, np.inf, leaf))
    assert limit / 20 < found < 4 * limit


PHI = {"a": jnp.ones((2, 3)), "b": jnp.ones(2)}
STATE = aj.init(PHI)
TWO = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PHI)
NONE = jax.tree.map(jnp.zeros_like, TWO)


def changing(rate):
    return jax.tree.map(lambda leaf: leaf[: 1 + (rate == 0)], (TWO, TWO))


REFUSED = (
    (PHI, None, TypeError, "`state` must be a MetaState: got dict, expected a MetaState"),
    (STATE, 0.5, TypeError, "`run` must be a function of the learning rate: got float, expected"),
    (
        STATE,
        lambda _: TWO,
        TypeError,
        "`run` must return theta_hat and grad_sq: got dict, expected",
    ),
    (
        STATE,
        lambda _: (TWO, TWO, TWO),
        TypeError,
        "`run` must return theta_hat and grad_sq: got tup",
    ),
    (STATE, lambda _: (TWO, TWO["a"]), ValueError, "`grad_sq` must be a tree as `phi`: got"),
    (
        STATE,
        lambda _: (TWO, PHI),
        ValueError,
        "`grad_sq` must have the right shape: got (2, 3), ",
    ),
    (
        STATE,
        lambda _: jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (TWO, TWO)),
        TypeError,
        "`theta_hat` must have the full precision of what is learned: got bfloat16, ",
    ),
    (STATE, lambda _: (TWO, NONE), ValueError, "`run` must return a task with a gradient that is "),
    (
        STATE,
        lambda _: (TWO, jax.tree.map(lambda v: v + jnp.nan, TWO)),
        ValueError,
        "`run` must ",
    ),
    (
        STATE,
        lambda rate: jax.tree.map(lambda v: jnp.where(rate > 0, jnp.nan, v), (TWO, TWO)),
        ValueError,
        "`run` must return a task with a gradient that is finite at small rates: got none of 2",
    ),
    (
        STATE,
        changing,
        ValueError,
        "`run` must run the same tasks at every rate: got 1 of them, exp",
    ),
)


@pytest.mark.parametrize(("state", "run", "kind", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(state, run, kind, message):
    with pytest.raises(kind, match="^" + re.escape(f"first_rate: {message}")):
        aj.first_rate(state, run)


def test_a_traced_state_is_refused():
    with pytest.raises(TypeError, match=r"^first_rate: `state` must hold numbers: got one that is"):
        jax.jit(lambda state: aj.first_rate(state, lambda _: (TWO, TWO)))(STATE)


# ---- no unit is left to choose -------------------------------------------------------------------


def learned(*, x64=False, hyper=None, **units):
    """What rounds and a rule for new tasks make of phi, from `first_rate` on; by its unit."""
    with jax.enable_x64(x64):
        dtype = np.float64 if x64 else np.float32
        tasks = Quadratics(np.random.default_rng(5), dtype=dtype, **units)
        state = aj.first_rate(aj.init(tasks.phi, **(hyper or {})), tasks.at)

        for number in range(4):
            some = tasks.tasks(5)
            if number == 3:  # shortened
                some = jax.tree.map(lambda leaf: leaf.at[0].multiply(64), some)
            theta_hat, at = tasks.run(state.phi, aj.ogd, state.learning_rate, some)
            state = aj.apply(state, aj.statistics(state, theta_hat, at.grad_sq))
        new, _ = tasks.run(state.phi, aj.rule, state, tasks.tasks(5))
        assert int(state.n_skipped) == 0
        return flat(state.phi) / tasks.unit, flat(new) / tasks.unit


@pytest.mark.parametrize("x64", [False, True])
def test_no_unit_is_left(x64):
    """Of the loss or of the parameters: powers of two change no bit."""
    plain, close = learned(x64=x64), 1e-10 if x64 else 1e-4
    for units in ({"factor": 2.0**-14}, {"unit": 2.0**12, "factor": 2.0**5}):
        for one, other in zip(plain, learned(x64=x64, **units), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=str(units))
    for units in ({"factor": 1e-4}, {"unit": 1e4, "factor": 1e4}):
        for one, other in zip(plain, learned(x64=x64, **units), strict=True):
            np.testing.assert_allclose(one, other, rtol=close, atol=close, err_msg=str(units))


@pytest.mark.parametrize("hyper", [{"isotropic": "tensor", "bound": "blog"}, {"train": "scalar"}])
def test_no_unit_is_left_of_other_states(hyper):
    plain, other = (learned(hyper=hyper, unit=unit) for unit in (1.0, 2.0**-9))
    np.testing.assert_array_equal(*map(np.concatenate, (plain, other)))
