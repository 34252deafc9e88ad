"""The steps of `aruba_fast.jax` on a CPU: NumPy's bits, within every transformation."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from jax_models import aj, jax, jnp, lax

import aruba_fast as af
from aruba_fast.jax import _native

pytestmark = pytest.mark.skipif(
    not _native.IS_BUILT and not os.environ.get("CI"), reason="built without jaxlib"
)
SIZES = (0, 1, 33, 100_001)
KINDS = {
    "float32": (np.float32, "float32"),
    "float64": (np.float64, "float64"),
    "bfloat16": (np.float32, "bfloat16"),
    "float16": (np.float32, "float16"),
}


def x64(dtype):
    return jax.enable_x64(True) if dtype == np.float64 else contextlib.nullcontext()


def leaf(rng, dtype, grad_type, shape):
    """Parameters, a gradient as JAX has it, positive rates and sums."""
    theta, rate, sums = (rng.random(shape).astype(dtype) + dtype(0.1) for _ in range(3))
    return theta - dtype(0.5), jnp.asarray(rng.standard_normal(shape), grad_type), rate, sums


def ours(theta, grad, rate, sums, rule, number=3.0):
    """A step of JAX; the rate is b for ARUBA++."""
    if rule == "ogd":
        return aj.step(theta, grad, rate, grad_sq=sums)
    return aj.aruba_step(theta, grad, rate, sums, coef=number)


def numpys(theta, grad, rate, sums, rule, number=3.0):
    theta, sums = np.array(theta), np.array(sums)
    rate = np.ascontiguousarray(np.broadcast_to(rate, theta.shape), theta.dtype)
    if rule == "ogd":
        af.step(theta, np.asarray(grad), rate, grad_sq=sums)
    else:
        af.aruba_step(theta, np.asarray(grad), rate, sums, coef=number)
    return theta, sums


def assert_equal(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rule", ["ogd", "aruba++"])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_that_of_numpy(kind, n, rule, rng):
    dtype, grad_type = KINDS[kind]
    with x64(dtype):
        theta, grad, rate, sums = leaf(rng, dtype, grad_type, n)
        expected = numpys(theta, grad, rate, sums, rule)
        assert_equal(ours(theta, grad, rate, sums, rule), expected)


@pytest.mark.parametrize("rule", ["ogd", "aruba++"])
@pytest.mark.parametrize("kind", KINDS)
def test_updates_of_a_long_task_lead_where_numpy_is(kind, rule, rng):
    """Through zero, where an update alone cannot say all digits: the rest of the sum has them."""
    dtype, grad_type = KINDS[kind]
    with x64(dtype):
        theta, _, rate, g = leaf(rng, dtype, grad_type, 1000)
        inner = aj.ogd(rate) if rule == "ogd" else aj.aruba_plus_plus(rate, g, 3.0)
        sums = np.zeros_like(g) if rule == "ogd" else g
        at, state = jnp.asarray(theta), inner.init(theta)
        for _ in range(20):
            grad = jnp.asarray(rng.standard_normal(1000), grad_type)
            theta, sums = numpys(theta, grad, rate, sums, rule)
            update, state = inner.update(grad, state, at)
            at = at + update
            assert_equal((at + state.rest, state[0]), (theta, sums))


def test_leaves_of_any_shape_are_one_call(rng):
    shapes = {"a": (3, 4), "b": (), "c": (0, 2), "d": (70_000,), "e": (1, 1)}
    parts = {k: leaf(rng, np.float32, "float32", shape) for k, shape in shapes.items()}
    theta, grad, rate, sums = ({k: part[i] for k, part in parts.items()} for i in range(4))
    rate["d"] = 0.25
    after = jax.jit(lambda t, g, s: aj.step(t, g, rate, grad_sq=s))
    assert after.lower(theta, grad, sums).as_text().count("@aruba_fast_step(") == 1
    got = after(theta, grad, sums)
    for k in shapes:
        one = [np.atleast_1d(v[k]) for v in (theta, grad, rate, sums)]
        expected = numpys(*one, "ogd")
        assert_equal([np.atleast_1d(v[k]) for v in got], expected)


def test_a_tree_without_leaves_is_stepped():
    assert aj.step({}, {}, 0.1, grad_sq={}) == ({}, {})
    assert aj.aruba_step([], [], 1.0, [], coef=1.0) == ([], [])


def test_a_function_can_be_exported():
    run = jax.jit(lambda t: ours(t, t, t, t, "ogd"))
    known = [jax.export.DisabledSafetyCheck.custom_call("aruba_fast_step")]
    for platforms in (["cpu"], ["cpu", "tpu"]):
        exported = jax.export.export(run, platforms=platforms, disabled_checks=known)(jnp.ones(3))
        assert_equal(exported.call(jnp.ones(3)), run(jnp.ones(3)))


# What is batched, by axes of theta, grad, rate, sums and coefficient; shapes of these.
BATCHES = {
    "shared rates": ((0, 0, None, 0, None), ((5, 7), (5, 7), (7,), (5, 7), ())),
    "own rates": ((0, 0, 0, 0, None), ((5, 7), (5, 7), (5, 7), (5, 7), ())),
    "a number a task": ((0, 0, 0, 0, 0), ((5, 7), (5, 7), (5,), (5, 7), (5,))),
    "one coordinate": ((0, 0, None, 0, None), ((5, 1), (5, 1), (1,), (5, 1), ())),
    "a first step": ((None, 0, None, None, None), ((7,), (5, 7), (7,), (7,), ())),
    "another axis": ((1, 1, None, 1, None), ((7, 5), (7, 5), (7,), (7, 5), ())),
}


@pytest.mark.parametrize("rule", ["ogd", "aruba++"])
@pytest.mark.parametrize("name", BATCHES)
def test_batches_are_those_of_numpy(name, rule, rng):
    axes, shapes = BATCHES[name]
    given = [(rng.random(shape) + 0.1).astype(np.float32) for shape in shapes]
    run = jax.vmap(lambda *at: ours(*at[:4], rule, at[4]), axes)
    got = jax.jit(run)(*given)
    for k in range(5):
        one = [v if a is None else np.take(v, k, a) for v, a in zip(given, axes, strict=True)]
        expected = numpys(*one[:4], rule, float(one[4]))
        assert_equal([v[k] for v in got], expected)


def test_batches_of_batches_share_what_they_share(rng):
    """Rates by the outer axis, gradients by both, sums by the inner one."""
    theta, grad, rate, sums = (
        (rng.random(shape) + 0.1).astype(np.float32) for shape in ((6,), (3, 4, 6), (3, 6), (4, 6))
    )
    inner = jax.vmap(lambda *at: ours(*at, "ogd"), (None, 0, None, 0))
    got = jax.vmap(inner, (None, 0, 0, None))(theta, grad, rate, sums)
    for i, j in np.ndindex(3, 4):
        assert_equal([v[i, j] for v in got], numpys(theta, grad[i, j], rate[i], sums[j], "ogd"))


def test_scan_and_any_number_of_threads_are_those_of_numpy(rng):
    n = 200_000
    theta, _, rate, sums = leaf(rng, np.float32, "float32", n)
    grads = rng.standard_normal((3, n)).astype(np.float32)
    run = jax.jit(
        lambda at, grads: lax.scan(
            lambda at, g: (ours(at[0], g, rate, at[1], "ogd"), None), at, grads
        )
    )
    expected = theta, sums
    for grad in grads:
        expected = numpys(expected[0], grad, rate, expected[1], "ogd")
    for n_threads in (1, 2, 7):
        af.set_num_threads(n_threads)
        assert_equal(run((theta, sums), grads)[0], expected)
    af.set_num_threads(None)


def test_what_is_donated_is_written_in_place(rng):
    """And nothing is allocated beside it; a state likewise."""
    # In JAX's own memory: that of NumPy cannot be donated.
    theta, grad, rate, sums = (jnp.array(v) + 0 for v in leaf(rng, np.float32, "float32", 4096))
    step = jax.jit(lambda t, s, g, r: ours(t, g, r, s, "ogd"), donate_argnums=(0, 1))
    made = step.lower(theta, sums, grad, rate).compile().memory_analysis()
    assert made.temp_size_in_bytes == 0
    places = [v.unsafe_buffer_pointer() for v in (theta, sums)]
    assert [v.unsafe_buffer_pointer() for v in step(theta, sums, grad, rate)] == places
    state = aj.apply(aj.init(jnp.zeros(4096)), aj.statistics(jnp.zeros(4096), grad, rate))
    learn = jax.jit(lambda s, part: aj.apply(s, part), donate_argnums=0)
    part = aj.statistics(state, grad, rate)
    places = {v.unsafe_buffer_pointer() for v in jax.tree.leaves(state.masters)}
    assert {
        v.unsafe_buffer_pointer() for v in jax.tree.leaves(learn(state, part).masters)
    } == places


def test_other_platforms_get_the_operations_of_jax():
    run = jax.jit(lambda t: ours(t, t, t, t, "ogd"))
    words = [
        run.trace(jnp.ones(3)).lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "tpu", "cuda")
    ]
    assert ["aruba_fast_step" in text for text in words] == [True, False, False]


def test_on_two_devices_a_shard_is_stepped_where_it_is():
    """And a round is learned from whose tasks are on both; a process that has forked runs on."""
    program = """
        import os, numpy as np, jax, jax.numpy as jnp, aruba_fast as af, aruba_fast.jax as aj
        from jax.sharding import PartitionSpec as P
        mesh = jax.make_mesh((2,), ("d",))
        theta = np.linspace(-1, 1, 200_000, dtype=np.float32)
        step = lambda t, s: aj.step(t, t, t + 1, grad_sq=s)
        run = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P("d"), P("d")), out_specs=P("d")))
        there = jax.device_put(theta, jax.sharding.NamedSharding(mesh, P("d")))
        assert "all-gather" not in run.lower(there, there).compile().as_text()
        got = [np.array(part) for part in run(there, there)]
        at, sums = theta.copy(), theta.copy()
        af.step(at, theta, theta + 1, grad_sq=sums)
        np.testing.assert_array_equal(got[0], at)
        np.testing.assert_array_equal(got[1], sums)
        state, rows = aj.init(jnp.zeros(9)), np.arange(36, dtype=np.float32).reshape(4, 9)
        def learn(state, hats):
            part = aj.merge(jax.lax.all_gather(aj.statistics(state, hats, hats), "d"))
            return jax.tree.map(lambda leaf: leaf[None], aj.apply(state, part))
        shards = jax.device_put(rows, jax.sharding.NamedSharding(mesh, P("d")))
        run = jax.jit(jax.shard_map(learn, mesh=mesh, in_specs=(P(), P("d")), out_specs=P("d")))
        learned = run(state, shards)
        alone = aj.apply(state, aj.statistics(state, rows, rows))
        for device in range(2):
            here = jax.tree.map(lambda leaf: np.array(leaf)[device], learned)
            np.testing.assert_array_equal(here.rates, alone.rates)
            assert here.n_tasks == 4
        if (child := os.fork()) == 0:
            at, sums = theta.copy(), theta.copy()
            af.step(at, theta, theta + 1, grad_sq=sums)
            os._exit(int((at != got[0]).any()))
        assert os.waitpid(child, 0)[1] == 0
    """
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    subprocess.run(command, env=environment, check=True, timeout=120)
