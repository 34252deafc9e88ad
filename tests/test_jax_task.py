"""The steps of `aruba_fast.jax` within a task: the native kernel's, however they are run."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from cases import KERNELS, kernel_arguments
from jax_models import aj, jax, jnp, scanned, ulps
from optional import need

import aruba_fast as af
from aruba_fast.jax import task
from aruba_fast.jax._native import IS_BUILT


def tasks_of_gradients(rng, n=1000, n_tasks=3, n_steps=6):
    """Start, rates and gradients that do not depend on where they are taken."""
    phi = rng.standard_normal(n).astype(np.float32)
    rate = np.exp(rng.standard_normal(n) - 2).astype(np.float32)
    return phi, rate, rng.standard_normal((n_tasks, n_steps, n)).astype(np.float32)


def test_a_task_is_the_same_under_jit_vmap_and_scan(rng):
    """And the native kernel's, of which the parameters and their rest are the sum."""
    phi, rate, grads = tasks_of_gradients(rng)
    inner = aj.ogd(jnp.asarray(rate))
    run = scanned(inner)
    theta, state = jax.jit(jax.vmap(run, (None, 0)))(phi, grads)
    for k, gradients in enumerate(grads):
        expected, squares = phi.copy(), np.zeros_like(phi)
        at, own = jnp.asarray(phi), inner.init(phi)
        for grad in gradients:
            af.step(expected, grad, rate, grad_sq=squares)
            updates, own = inner.update(grad, own, at)
            at += updates
        np.testing.assert_array_equal(at, theta[k])
        np.testing.assert_array_equal(own.grad_sq, state.grad_sq[k])
        np.testing.assert_array_equal(theta[k] + state.rest[k], expected)
        np.testing.assert_array_equal(state.grad_sq[k], squares)


def test_a_long_task_does_not_drift_from_the_kernel(rng):
    """A thousand steps: sums of float32 would differ by dozens of ulp if each rounded otherwise."""
    phi, rate, grads = tasks_of_gradients(rng, n=500, n_tasks=1, n_steps=1000)
    theta, state = jax.jit(scanned(aj.ogd(jnp.asarray(rate))))(phi, grads[0])
    expected, squares, largest = phi.copy(), np.zeros_like(phi), np.abs(phi)
    for grad in grads[0]:
        af.step(expected, grad, rate, grad_sq=squares)
        largest = np.maximum(largest, np.abs(expected))
    np.testing.assert_array_equal(state.grad_sq, squares)
    np.testing.assert_array_equal(theta + state.rest, expected)
    assert ulps(theta, expected, [largest]) <= 2
    assert (theta != expected).any(), "no weight crossed zero"


RULES = [kernel for kernel in KERNELS if kernel.jax]


def test_every_rule_has_its_kernel():
    found = {name: inspect.signature(getattr(aj, name)).return_annotation for name in task.__all__}
    exported = {name for name, kind in found.items() if kind is aj.GradientTransformation}
    assert exported == {kernel.jax for kernel in RULES}


NUMBERS = [
    *((kernel, {}) for kernel in RULES),
    *((kernel, {"coef": 0.0}) for kernel in RULES if "coef" in kernel.numbers),
]


@pytest.mark.parametrize(
    ("kernel", "more"), NUMBERS, ids=lambda value: getattr(value, "jax", None) or str(value)
)
def test_a_rule_is_its_kernel(kernel, more, rng):
    rule = getattr(aj, kernel.jax)
    phi, _, grads = tasks_of_gradients(rng, n_tasks=1)
    drawn = {n: a.astype(np.float32) for n, a in kernel_arguments(kernel, rng, phi.shape).items()}
    told = {n: (drawn | kernel.numbers | more)[n] for n in inspect.signature(rule).parameters}
    theta, state = jax.jit(scanned(rule(**told)))(phi, grads[0])
    # What a rule is not told starts at zero.
    arrays = {n: a.copy() if n in told else np.zeros_like(a) for n, a in drawn.items()}
    arrays["theta"], path = phi.copy(), np.abs(phi)
    for t, grad in enumerate(grads[0], 1):
        before = arrays["theta"].copy()
        now = more | {"t": t} if "t" in kernel.numbers else more
        kernel.call(arrays | {"grad": grad}, **now)
        path += np.abs(arrays["theta"] - before)
    # Adam alone is not the kernel but JAX's operations.
    limit = 2 if kernel.jax == "adam" or not IS_BUILT else 0
    assert ulps(theta + state.rest, arrays["theta"], [path]) <= limit
    for name in kernel.written[1:]:
        assert ulps(getattr(state, name), arrays[name]) <= limit
    if "grad_sq" in state._fields:
        np.testing.assert_allclose(state.grad_sq, (grads[0] ** 2).sum(0), rtol=1e-6)
    if "weight" in state._fields:
        np.testing.assert_allclose(state.weight, 1 - told["beta2"] ** len(grads[0]), rtol=1e-6)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_gradients_are_widened_before_they_are_squared(kind, rng):
    """And parameters of 16 bits are learned as float32."""
    phi = rng.standard_normal(33).astype(np.float32)
    grad = jnp.asarray(100 * rng.standard_normal(33), kind)
    state = aj.init(jnp.asarray(phi, kind), learning_rate=1e-4)
    assert state.phi.dtype == np.float32
    inner = aj.ogd(state.learning_rate)
    updates, at = inner.update(grad, inner.init(state.phi), state.phi)
    theta, squares = np.array(state.phi), np.zeros(33, np.float32)
    af.step(theta, np.asarray(grad), 1e-4, grad_sq=squares)
    np.testing.assert_array_equal(state.phi + updates, theta)
    np.testing.assert_array_equal(at.grad_sq, squares)


def test_derivatives_go_through_the_steps():
    """Quadratics h (theta - c)^2 / 2: theta_m - c = q^m (phi - c), q = 1 - eta h."""
    h, c, n_steps = 0.5, 3.0, 4

    def last(phi, rate):
        inner = aj.ogd(rate)
        theta, state = phi, inner.init(phi)
        for _ in range(n_steps):
            updates, state = inner.update(h * (theta - c), state, theta)
            theta += updates
        return theta, state.grad_sq

    phi, rate = jnp.float32(1.0), jnp.float32(0.3)
    by_phi, by_rate = jax.grad(lambda *at: last(*at)[0], (0, 1))(phi, rate)
    q = 1 - 0.3 * h
    assert by_phi == pytest.approx(q**n_steps, rel=1e-6)
    assert by_rate == pytest.approx(-n_steps * h * q ** (n_steps - 1) * (1 - c), rel=1e-6)
    total = h * h * (1 - q ** (2 * n_steps)) / (1 - q * q)
    by_squares = jax.grad(lambda p: last(p, rate)[1])(phi)
    assert by_squares == pytest.approx(2 * total * (1 - c), rel=1e-6)


def test_optax_chains_it(rng):
    """Clipping before it is part of the gradient; `apply_updates` adds what comes out."""
    optax = need("optax")
    phi, rate, grads = tasks_of_gradients(rng, n=8, n_tasks=1, n_steps=2)
    chain = optax.chain(optax.clip(0.5), aj.ogd(jnp.asarray(rate)))
    theta, state = jnp.asarray(phi), chain.init(phi)
    expected, squares = phi.copy(), np.zeros(8, np.float32)
    for grad in grads[0]:
        updates, state = jax.jit(chain.update)(grad, state, theta)
        theta = optax.apply_updates(theta, updates)
        af.step(expected, np.clip(grad, -0.5, 0.5), rate, grad_sq=squares)
    np.testing.assert_array_equal(theta, expected)
    np.testing.assert_array_equal(state[1].grad_sq, squares)


def test_without_the_parameters_an_update_is_rounded_once_more():
    inner = aj.ogd({"a": 0.1, "b": jnp.full(3, 0.2)})
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    updates, state = inner.update(params, inner.init(params))
    np.testing.assert_array_equal(updates["a"], np.full(2, -0.1, np.float32))
    np.testing.assert_array_equal(updates["b"], np.full(3, -0.2, np.float32))
    assert (state.grad_sq["b"] == 1).all()
