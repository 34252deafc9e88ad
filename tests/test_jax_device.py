"""JAX by the device kernels: the tables of its tests on the CPU, with the kernels of the device."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from jax_device import (  # noqa: F401
    captured,
    machine,
    nothing_waits,
    registered,
    table_of_kernels,
)
from jax_models import aj, jax, jnp
from test_jax_native import (  # noqa: F401
    leaf,
    numpys,
    ours,
    pytestmark,
    test_a_step_is_that_of_numpy,
    test_a_tree_without_leaves_is_stepped,
    test_batches_are_those_of_numpy,
    test_batches_of_batches_share_what_they_share,
    test_scan_and_any_number_of_threads_are_those_of_numpy,
    test_updates_of_a_long_task_lead_where_numpy_is,
)

from aruba_fast.jax import _native


def test_a_step_of_many_leaves_is_a_launch_for_every_128_of_a_type(machine, rng):  # noqa: F811
    """And all else of every leaf is found, whatever its size, its type and who shares its rate."""
    kinds = [(np.float32, "float32"), (np.float32, "bfloat16"), (np.float32, "float16")]
    tree = [leaf(rng, *kinds[k % 3], k % 37) for k in range(3 * 140)]
    theta, grad, rate, sums = map(list, zip(*tree, strict=True))
    rate = [np.float32(0.25) if k % 5 == 0 else one for k, one in enumerate(rate)]
    machine.reset()
    got = ours(theta, grad, rate, sums, "ogd")
    assert machine.counts()["launches"] == 3 * 2
    for k, one in enumerate(tree):
        expected = numpys(one[0], one[1], rate[k], one[3], "ogd")
        for part, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(part[k], other)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_step_does_not_depend_on_the_order_of_threads(machine, order, rng):  # noqa: F811
    theta, grad, rate, sums = leaf(rng, np.float32, "float32", 5001)
    machine.set_order(order)
    try:
        got = ours(theta, grad, rate, sums, "aruba++")
    finally:
        machine.set_order(0)
    for one, other in zip(got, numpys(theta, grad, rate, sums, "aruba++"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_donated_is_written_in_place(rng):
    theta, grad, rate, sums = (jnp.array(v) + 0 for v in leaf(rng, np.float32, "float32", 4096))
    step = jax.jit(lambda t, s, g, r: ours(t, g, r, s, "ogd"), donate_argnums=(0, 1))
    assert step.lower(theta, sums, grad, rate).compile().memory_analysis().temp_size_in_bytes == 0
    places = [v.unsafe_buffer_pointer() for v in (theta, sums)]
    assert [v.unsafe_buffer_pointer() for v in step(theta, sums, grad, rate)] == places


def test_derivatives_are_those_of_the_formula():
    grad, rate = jnp.array([1.0, -2.0]), jnp.array([0.5, 0.25])
    by_rate = jax.jacobian(lambda r: aj.step(jnp.ones(2), grad, r, grad_sq=jnp.zeros(2))[0])(rate)
    np.testing.assert_array_equal(by_rate, np.diag([-1.0, 2.0]))


def learned(rng):
    """What runs every function: a step, an update, the sums of a round, and learning from them."""
    theta, grad, rate, g = leaf(rng, np.float32, "float32", 700)
    hats, squares = rng.random((2, 150, 700)).astype(np.float32)
    state = aj.init(theta)
    part = aj.statistics(state, hats, squares)
    made = [ours(theta, grad, rate, g, "aruba++"), aj.ogd(rate).update(grad, *zeros(theta))]
    return jax.device_get([made, part, aj.apply(state, part), aj.update(state, hats, squares)])


def zeros(theta):
    return aj.OGDState(jnp.zeros_like(theta), jnp.zeros_like(theta)), jnp.asarray(theta)


@pytest.mark.parametrize("schedule", ["late", "others first", "seed 3"])
def test_work_may_be_done_later_than_it_is_asked_for(machine, schedule):  # noqa: F811
    expected = learned(np.random.default_rng(1))
    with machine.schedule(schedule):
        got = learned(np.random.default_rng(1))
    for one, other in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_calls_can_be_captured_in_graphs(machine):  # noqa: F811
    """Nothing is done while they are, and the graph holds all of it."""
    expected = learned(np.random.default_rng(1))
    with captured():
        got = learned(np.random.default_rng(1))
    assert not machine.take_fault()
    for one, other in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_device_of_a_mesh_runs_them_on_its_shard(rng):
    theta, grad, rate, g = (jnp.asarray(v) for v in leaf(rng, np.float32, "float32", 700))
    hats, squares = (jnp.asarray(v) for v in rng.random((2, 6, 700)).astype(np.float32))
    state = aj.init(theta)

    def run(theta, grad, rate, g, state, hats, squares):
        moved = ours(theta, grad, rate, g, "aruba++")
        part = aj.merge(jax.lax.all_gather(aj.statistics(state, hats, squares), "d"))
        return jax.tree.map(lambda v: v[None], (moved, aj.apply(state, part)))

    mesh = jax.make_mesh((1,), ("d",))
    spec = jax.sharding.PartitionSpec("d")
    specs = (spec, spec, spec, spec, jax.sharding.PartitionSpec(), spec, spec)
    sharded = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=spec))
    given = [theta, grad, rate, g, state, hats, squares]
    there = [
        jax.device_put(one, jax.sharding.NamedSharding(mesh, own))
        for one, own in zip(given, specs, strict=True)
    ]
    got = jax.tree.map(lambda v: np.asarray(v)[0], sharded(*there))
    part = aj.statistics(state, hats, squares)
    expected = ours(theta, grad, rate, g, "aruba++"), aj.apply(state, part)
    for one, other in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_error_of_the_driver_is_one_of_xla(machine):  # noqa: F811
    machine.fail_next("cudaLaunchKernelEx", 719)
    with pytest.raises(jax.errors.JaxRuntimeError, match="cudaLaunchKernelEx failed"):
        jax.block_until_ready(ours(*[jnp.ones(3)] * 4, "ogd"))
    assert jnp.allclose(ours(*[jnp.ones(3)] * 4, "ogd")[0], 0)


def test_cuda_is_told_of_the_functions_that_are_tested(monkeypatch):
    """Those of the package, by a table of the same form; the CPU and others keep what they have."""
    ours_for_cuda = importlib.import_module("aruba_fast._jax")
    assert set(ours_for_cuda.cuda_targets(table_of_kernels())) == set(registered)
    emulated_one = _native.PLATFORMS["cpu"]
    assert ours_for_cuda.sum_bytes(3, 4) == emulated_one.sum_bytes(3, 4) > 0
    monkeypatch.setattr(_native, "PLATFORMS", {"cpu": None, "cuda": ours_for_cuda})
    jax.clear_caches()

    def run(theta, state):
        theta, grad_sq = aj.step(theta, theta, 0.1, grad_sq=theta)
        return aj.update(aj.apply(state, aj.statistics(state, theta, grad_sq)), theta, grad_sq)

    given = jnp.ones(3), aj.init(jnp.ones(3))
    words = {
        platform: jax.jit(run).trace(*given).lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "tpu", "cuda")
    }
    jax.clear_caches()
    for name in ("step", "statistics", "learn"):
        calls = [f"@aruba_fast_{name}(", f"@aruba_fast_cuda_{name}("]
        found = {platform: [call in text for call in calls] for platform, text in words.items()}
        assert found == {"cpu": [True, False], "tpu": [False, False], "cuda": [False, True]}
