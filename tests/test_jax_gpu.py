"""JAX on a CUDA device: compiled steps, sums and rounds have NumPy's bits.

`make gpu` runs these on the device that JAX sees. Elsewhere XLA calls the same functions for a CPU,
by the kernels that the emulated machine runs.
"""

from __future__ import annotations

import device
import numpy as np
import pytest
from jax_device import emulated, kernels_of
from jax_models import aj, jax, jnp, lax
from test_jax_native import (  # noqa: F401
    KINDS,
    assert_equal,
    leaf,
    numpys,
    ours,
    test_a_step_is_that_of_numpy,
    test_batches_are_those_of_numpy,
    test_updates_of_a_long_task_lead_where_numpy_is,
    x64,
)
from test_jax_native_meta import (  # noqa: F401
    HYPERS,
    SHAPES,
    a_round,
    assert_state,
    joined,
    test_with_float64_every_round_leaves_the_bits_of_numpy,
    test_without_float64_a_round_is_numpys_from_the_numbers_of_the_state,
)

import aruba_fast as af
from aruba_fast.jax import _native


def cuda_device():
    """The first device that JAX sees; skips where there is none."""
    try:
        found = jax.devices("cuda")[0]
    except RuntimeError:
        pytest.skip("JAX sees no CUDA device: pip install 'jax[cuda13]' where there is one")
    if "cuda" not in _native.PLATFORMS:
        pytest.fail("the package was built without jaxlib or without CUDA, so JAX has no kernels")
    return found


@pytest.fixture(scope="module")
def there():
    """Where JAX computes, by the device kernels."""
    if device.REAL:
        found = cuda_device()
        with jax.default_device(found):
            yield found
    else:
        with kernels_of({"cpu": emulated()[0]}):
            yield jax.devices("cpu")[0]


pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("there")]
rules = pytest.mark.parametrize("rule", ["ogd", "aruba++"])


def compiled(function, *given, calls, donated=()):
    """`function` as XLA has compiled it, with so many calls of each kernel by its name."""
    lowered = jax.jit(function, donate_argnums=donated).lower(*given)
    text = lowered.as_text()
    found = {name: text.count(f"@aruba_fast_cuda_{name}(") for name in calls}
    assert found == calls
    return lowered.compile()


def put(tree, there):
    """In JAX's own memory there: that of NumPy cannot be donated."""
    return jax.tree.map(lambda leaf: jax.device_put(jnp.array(leaf), there) + 0, tree)


def places(tree):
    return {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(tree)}


def is_there(tree, there):
    return all(leaf.devices() == {there} for leaf in jax.tree.leaves(tree))


@rules
@pytest.mark.parametrize("kind", KINDS)
def test_a_donated_step_is_numpys_and_in_place(kind, rule, there, rng):
    dtype, grad_type = KINDS[kind]
    with x64(dtype):
        given = leaf(rng, dtype, grad_type, 5001)
        expected = numpys(*given, rule)
        theta, grad, rate, sums = put(given, there)
        step = compiled(
            lambda theta, sums, grad, rate: ours(theta, grad, rate, sums, rule),
            *(theta, sums, grad, rate), calls={"step": 1}, donated=(0, 1),
        )  # fmt: skip
        before = places((theta, sums))
        got = step(theta, sums, grad, rate)
        assert is_there(got, there)
        assert places(got) == before
        assert theta.is_deleted()
        assert sums.is_deleted()
        assert_equal(map(np.asarray, got), expected)


@rules
def test_a_task_in_a_scan_is_numpys(rule, there, rng):
    theta, _, rate, sums = leaf(rng, np.float32, "float32", 5001)
    grads = rng.standard_normal((7, 5001)).astype(np.float32)
    expected = theta, sums
    for grad in grads:
        expected = numpys(expected[0], grad, rate, expected[1], rule)

    def task(at, grads, rate):
        return lax.scan(lambda at, g: (ours(at[0], g, rate, at[1], rule), None), at, grads)[0]

    given = put(((theta, sums), grads, rate), there)
    got = compiled(task, *given, calls={"step": 1}, donated=0)(*given)
    assert is_there(got, there)
    assert_equal(map(np.asarray, got), expected)


@pytest.mark.parametrize("n_tasks", [4, 150])
@pytest.mark.parametrize("hyper", HYPERS[::3], ids=str)
def test_a_donated_round_is_numpys(hyper, n_tasks, there, rng):
    """Its sums, and what is learned from them, from a state that is written in place."""
    with jax.enable_x64(True):
        phi = {k: rng.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}
        state = put(aj.init(put(phi, there), learning_rate=0.5, **hyper), there)
        (learner,) = aj.to_learners(state)
        sum_up = apply = None
        for number in range(3):
            hats, squares, weights = a_round(rng, state.phi, n_tasks, number)
            given = put((hats, squares, weights), there)
            sum_up = sum_up or compiled(aj.statistics, state, *given, calls={"statistics": 1})
            part = sum_up(state, *given)
            apply = apply or compiled(aj.apply, state, part, calls={"learn": 1}, donated=0)
            before = places(state.masters)
            state = apply(state, part)
            assert places(state.masters) == before
            assert is_there((part, state), there)
            run = af.TaskRun(joined(hats, 1), joined(squares, 1))
            sums = learner.statistics(run, weights)
            pairs = (part.distance, part.grad_sq, part.theta_sum)
            np.testing.assert_array_equal(np.array(pairs), sums.sums)
            learner.update(run, weights=weights)
            assert_state(state, learner)


@pytest.mark.parametrize("hyper", HYPERS[::3], ids=str)
def test_rounds_in_a_scan_are_numpys(hyper, there, rng):
    with jax.enable_x64(True):
        phi = {k: rng.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}
        state = put(aj.init(put(phi, there), learning_rate=0.5, **hyper), there)
        (learner,) = aj.to_learners(state)
        made = [a_round(rng, phi, 5, number) for number in range(4)]
        given = put(jax.tree.map(lambda *rounds: np.stack(rounds), *made), there)

        def learn(state, given):
            return lax.scan(lambda state, each: (aj.update(state, *each), None), state, given)[0]

        state = compiled(learn, state, given, calls={"learn": 1}, donated=0)(state, given)
        assert is_there(state, there)
        for hats, squares, weights in made:
            learner.update(af.TaskRun(joined(hats, 1), joined(squares, 1)), weights=weights)
        assert_state(state, learner)
