"""JAX's rounds by the device kernels: the tables of its tests on the CPU, the same bits."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from jax_device import kernels_of, machine, nothing_waits  # noqa: F401
from jax_models import aj, jax, jnp
from test_jax_native_meta import (  # noqa: F401
    HYPERS,
    SHAPES,
    a_round,
    assert_same,
    pytestmark,
    test_derivatives_go_through_a_round,
    test_parts_are_merged_as_numpy_merges_them,
    test_vmap_scan_and_threads_leave_the_bits,
    test_with_float64_every_round_leaves_the_bits_of_numpy,
    test_without_float64_a_round_is_numpys_from_the_numbers_of_the_state,
)


def rounds(rng, phi, kind):
    """Four rounds, of which some cannot be learned from."""
    state, made = phi, []
    for number in range(4):
        hats, squares, weights = a_round(rng, state, 4, number)
        if kind == "no task":
            hats["table"][:] = np.inf
        if kind == "no weight":
            weights[:] = 0 if number % 2 else np.nan
        if kind == "no room":  # of float32, where there is no float64
            hats["kernel"][1, 0, 0] = 1e30
            squares["kernel"][2, 1, 1] = 3e38
            squares["kernel"][3, 1, 1] = 3e38
        if kind == "no state":
            hats["kernel"][:, 0, 0] = 3e38
        made.append((hats, squares, weights))
    return made


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("hyper", HYPERS[::3], ids=str)
def test_rounds_that_leave_something_out_are_those_of_the_cpu(hyper, x64, rng):
    def learned():
        found = []
        for given in all_rounds:
            state = aj.init(phi, learning_rate=0.5, **hyper)
            for (hats, squares, weights), step in zip(given, (None, 0.25, None, 4.0), strict=True):
                part = aj.statistics(state, hats, squares, weights)
                at_once = aj.update(state, hats, squares, weights, step)
                state = aj.apply(state, part, step)
                found.append((part, at_once, state))
        return jax.tree.map(without_subnormals, jax.device_get(found))

    with jax.enable_x64(True) if x64 else contextlib.nullcontext():
        phi = {k: jnp.asarray(rng.standard_normal(s), np.float32) for k, s in SHAPES.items()}
        all_rounds = [
            [(*both, jnp.asarray(weights)) for *both, weights in rounds(rng, phi, kind)]
            for kind in ("no task", "no weight", "no room", "no state")
        ]
        got = learned()
        with kernels_of({"cpu": None}):
            expected = learned()
    assert_same(got, expected)
    counts = {(int(part.n_tasks), int(state.n_tasks)) for part, _, state in got}
    assert len(counts) > 3  # of rounds that are learned from, and of others


def without_subnormals(leaf):
    """XLA's threads take them for zero, a device does not."""
    leaf = np.asarray(leaf)
    if leaf.dtype.kind != "f":
        return leaf
    return np.where(np.abs(leaf) < np.finfo(leaf.dtype).tiny, 0, leaf)


def test_what_is_donated_is_written_in_place(rng):
    hats, squares = rng.random((2, 4, 4096)).astype(np.float32)
    state = aj.apply(aj.init(jnp.zeros(4096)), aj.statistics(jnp.zeros(4096), hats, squares))
    part = aj.statistics(state, hats, squares)
    places = {v.unsafe_buffer_pointer() for v in jax.tree.leaves(state.masters)}
    learned = jax.jit(lambda s, part: aj.apply(s, part), donate_argnums=0)(state, part)
    assert {v.unsafe_buffer_pointer() for v in jax.tree.leaves(learned.masters)} == places


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_round_does_not_depend_on_the_order_of_threads(machine, order, rng):  # noqa: F811
    hats, squares = rng.random((2, 150, 700)).astype(np.float32)
    start = aj.init(jnp.zeros(700))
    expected = aj.update(start, hats, squares)
    jax.block_until_ready(expected)
    machine.set_order(order)
    try:
        got = jax.block_until_ready(aj.update(start, hats, squares))
    finally:
        machine.set_order(0)
    assert_same(got, expected)


def test_an_error_of_the_driver_is_one_of_xla(machine):  # noqa: F811
    for call in ("cudaLaunchKernelEx", "cudaMemsetAsync"):
        machine.fail_next(call, 719)
        with pytest.raises(jax.errors.JaxRuntimeError, match=f"{call} failed"):
            jax.block_until_ready(aj.statistics(jnp.zeros(3), jnp.ones((2, 3)), jnp.ones((2, 3))))
