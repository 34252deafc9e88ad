"""The sums of a round and the meta-update in JAX, against NumPy's learner: the same bits."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from jax_models import aj, jax, jnp, lax

import aruba_fast as af
from aruba_fast.jax import _native, meta
from aruba_fast.jax._pairs import Pair

pytestmark = pytest.mark.skipif(not _native.IS_BUILT, reason="built without jaxlib")
SHAPES = {"kernel": (4, 5), "scale": (), "table": (700, 2)}
N = 1421
HYPERS = (
    {},
    {"bound": "blog", "decay": 0.25},
    {"decay": 1e-20, "max_learning_rate": 0.4},
    {"train": "scalar"},
    {"isotropic": True, "decay": 0.5},
    {"isotropic": "tensor"},
    {"isotropic": "tensor", "train": "scalar", "max_learning_rate": 0.5},
    {"zeta": 2.0, "p": 0.4, "decay": 0.1},
    {"zeta": 1.0, "isotropic": True, "max_learning_rate": 0.1001},
    {"zeta": 1.0, "train": "scalar"},
)


def joined(tree, n_lead=0):
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(*leaf.shape[:n_lead], -1) for leaf in leaves], n_lead)


def a_round(rng, phi, n_tasks, number):
    """Tasks of which one goes too far in the second round, and one is not finite in the third."""
    hats, squares = {}, {}
    for k, leaf in phi.items():
        away = rng.standard_normal((n_tasks, *leaf.shape))
        away[-1] *= 1e3 if number == 1 else 1.0
        hats[k] = (np.asarray(leaf) + away).astype(leaf.dtype)
        squares[k] = (0.1 + rng.random((n_tasks, *leaf.shape))).astype(leaf.dtype)
    if number == 2:
        hats["table"][0, 3, 1] = np.nan
    return hats, squares, rng.integers(1, 20, n_tasks).astype(np.float64)


def assert_state(state, learner):
    """All that both have, to the bit."""
    for name in ("phi", "b", "g"):
        found = joined(getattr(state, name))
        assert found.dtype == getattr(learner, name).dtype
        np.testing.assert_array_equal(found, getattr(learner, name), name)
    rates = jax.tree.map(lambda r, p: np.broadcast_to(r, p.shape), state.learning_rate, state.phi)
    np.testing.assert_array_equal(joined(rates), learner.learning_rate)
    np.testing.assert_array_equal(joined(state.rho), learner.rho)
    assert (int(state.n_tasks), int(state.n_skipped)) == (learner.n_tasks, learner.n_skipped)


# Of one chunk of tasks and of two, of few tasks and of many.
ROUNDS = [(hyper, np.float32, 4) for hyper in HYPERS] + [
    ({}, np.float32, 1),
    ({}, np.float32, 150),
    ({}, np.float64, 4),
    (HYPERS[7], np.float64, 20),
]


@pytest.mark.parametrize(("hyper", "dtype", "n_tasks"), ROUNDS, ids=str)
def test_with_float64_every_round_leaves_the_bits_of_numpy(hyper, dtype, n_tasks, rng):
    with jax.enable_x64(True):
        phi = {k: jnp.asarray(rng.standard_normal(s), dtype) for k, s in SHAPES.items()}
        state = aj.init(phi, learning_rate=0.5, **hyper)
        (learner,) = aj.to_learners(state)
        for number, meta_step in enumerate((None, 0.25, None, 1.0)):
            hats, squares, weights = a_round(rng, state.phi, n_tasks, number)
            weights = weights if number % 2 else None
            part = aj.statistics(state, hats, squares, weights)
            run = af.TaskRun(joined(hats, 1), joined(squares, 1))
            sums = learner.statistics(run, weights)
            pairs = (part.distance, part.grad_sq, part.theta_sum)
            np.testing.assert_array_equal(np.array(pairs), sums.sums)
            np.testing.assert_array_equal(part.weight, sums.weight_sum)
            at_once = aj.update(state, hats, squares, weights, meta_step)
            state = aj.apply(state, part, meta_step)
            learner.update(run, weights=weights, meta_step=meta_step)
            assert_state(state, learner)
            assert_same(at_once, state)


@pytest.mark.parametrize("hyper", HYPERS[::3], ids=str)
def test_without_float64_a_round_is_numpys_from_the_numbers_of_the_state(hyper, rng):
    """Sums are NumPy's, rounded to pairs of float32; phi and rates are what it makes of them."""
    phi = {k: jnp.asarray(rng.standard_normal(s), np.float32) for k, s in SHAPES.items()}
    state = aj.init(phi, learning_rate=0.5, **hyper)
    for number, meta_step in enumerate((None, 0.25, None, 1.0)):
        (learner,) = aj.to_learners(state)
        hats, squares, weights = a_round(rng, state.phi, 4, number)
        part = aj.statistics(state, hats, squares, weights)
        run = af.TaskRun(joined(hats, 1), joined(squares, 1))
        exact = learner.statistics(run, weights).sums
        pairs = [np.float64(pair) for pair in (part.distance, part.grad_sq, part.theta_sum)]
        for pair, (high, _) in zip(pairs, exact, strict=True):
            np.testing.assert_array_equal(pair[0], np.float32(high))
            np.testing.assert_array_equal(pair[1], np.float32(high - pair[0]))
        sums = np.array([[high + low, np.zeros(N)] for high, low in pairs])
        weight = np.float64(part.weight)
        told = af.TaskStatistics(sums, weight, int(part.n_tasks), int(part.n_skipped))
        learner.apply(told, meta_step)
        (twin,) = aj.to_learners(state)
        twin.update(run, weights=weights, meta_step=meta_step)
        at_once = aj.update(state, hats, squares, weights, meta_step)
        assert_nearly(at_once, twin)
        state = aj.apply(state, part, meta_step)
        assert_nearly(state, learner)


def assert_nearly(state, learner):
    """phi, rates and rho to the bit, in float32; b and g to the digits of a pair."""
    np.testing.assert_array_equal(joined(state.phi), learner.phi)
    rates = jax.tree.map(lambda r, p: jnp.broadcast_to(r, p.shape), state.learning_rate, state.phi)
    np.testing.assert_array_equal(joined(rates), learner.learning_rate)
    np.testing.assert_array_equal(joined(state.rho), np.float32(learner.rho))
    (again,) = aj.to_learners(state)
    for name in ("b", "g"):
        got, expected = getattr(again, name), getattr(learner, name)
        np.testing.assert_allclose(got, expected, rtol=2.0**-47, err_msg=name)


def test_parts_are_merged_as_numpy_merges_them(rng):
    with jax.enable_x64(True):
        phi = rng.standard_normal(50)
        learner = af.MetaLearner(phi)
        hats, squares = rng.standard_normal((2, 3, 4, 50)) ** 2
        parts = [aj.statistics(phi, *both) for both in zip(hats, squares, strict=True)]
        own = [learner.statistics(af.TaskRun(*both)) for both in zip(hats, squares, strict=True)]
        got, expected = sum(parts), sum(own)
        pairs = (got.distance, got.grad_sq, got.theta_sum)
        np.testing.assert_array_equal(np.array(pairs), expected.sums)
        np.testing.assert_array_equal(got.weight, expected.weight_sum)


def learn(state, hat, square):
    return aj.apply(state, aj.statistics(state, hat, square))


def test_vmap_scan_and_threads_leave_the_bits(rng):
    """Learners side by side, of one state or of many; rounds in a row."""
    n = 40_000
    hats, squares = rng.random((2, 3, 4, n)).astype(np.float32)
    start = aj.init(jnp.zeros(n))
    alone = [learn(start, *both) for both in zip(hats, squares, strict=True)]
    side_by_side = jax.jit(jax.vmap(learn, (None, 0, 0)))(start, hats, squares)
    again = jax.vmap(learn)(side_by_side, hats, squares)
    in_a_row, _ = lax.scan(lambda s, both: (learn(s, *both), None), start, (hats, squares))
    expected = start
    for k, state in enumerate(alone):
        second = learn(state, hats[k], squares[k])
        expected = learn(expected, hats[k], squares[k])
        for whole, one in ((side_by_side, state), (again, second)):
            assert_same(jax.tree.map(lambda leaf, k=k: leaf[k], whole), one)
    assert_same(in_a_row, expected)
    # Pairs that NumPy's float64 holds, and that come back.
    assert_same(aj.from_learners(aj.to_learners(expected), jnp.zeros(n)), expected)
    for n_threads in (1, 7):
        af.set_num_threads(n_threads)
        assert_same(learn(start, hats[0], squares[0]), alone[0])
    af.set_num_threads(None)


def assert_same(state, other):
    for one, two in zip(*map(jax.tree.leaves, (state, other)), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("x64", [False, True])
def test_derivatives_go_through_a_round(x64):
    """phi' = phi + alpha (sum w theta / W - phi), b' grows by the distance of each."""
    with jax.enable_x64(x64) if x64 else contextlib.nullcontext():
        dtype = np.float64 if x64 else np.float32
        weights = jnp.array([1.0, 3.0], dtype)
        hats = jnp.array([[1.0, 2.0], [3.0, 5.0]], dtype)

        def after(phi, hats):
            state = aj.init(phi, learning_rate=0.5, zeta=1.0)
            state = aj.apply(state, aj.statistics(state, hats, hats, weights), 0.25)
            return state.phi, state.b

        phi = jnp.zeros(2, dtype)
        by_phi, by_hats = jax.jacobian(after, (0, 1))(phi, hats)[0]
        np.testing.assert_allclose(by_phi, 0.75 * np.eye(2), rtol=1e-6)
        shares = 0.25 * np.array([0.25, 0.75])
        expected = np.einsum("k,ij->ikj", shares, np.eye(2))
        np.testing.assert_allclose(by_hats, expected, rtol=1e-6, atol=1e-12)
        of_b = jax.grad(lambda hats: after(phi, hats)[1].sum())(hats)
        np.testing.assert_allclose(of_b, hats, rtol=1e-6)


def test_the_operations_of_other_platforms_agree(rng):
    """Within 2 ulp, on the CPU."""
    phi = {k: jnp.asarray(rng.standard_normal(s), np.float32) for k, s in SHAPES.items()}
    state = aj.init(phi, learning_rate=0.5)
    pure = jax.jit(meta._pure_learned)
    for number in range(2):
        hats, squares, weights = a_round(rng, state.phi, 4, number)
        part = aj.statistics(state, hats, squares, weights)
        one, other = aj.apply(state, part, 0.5), pure(state, part, Pair(*np.float32([0.5, 0.0])))
        for name in ("phi", "learning_rate"):
            got, expected = (joined(getattr(s, name)) for s in (one, other))
            np.testing.assert_allclose(got, expected, rtol=3e-7, atol=1e-7)
        state = one
