"""`aruba_fast.jax` against NumPy's learner and against the equations in float64."""

from __future__ import annotations

import numpy as np
import pytest
import reference_meta
from cases import smoothed
from jax_models import (
    SHAPES,
    Twin,
    aj,
    assert_learned,
    batch,
    flat,
    gradient,
    jax,
    jnp,
    lax,
    parameters,
    rates_of,
    scanned,
    smoothed_state,
    train,
    ulps,
)

import aruba_fast as af
from aruba_fast.jax._native import IS_BUILT


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def arrays_of(state):
    """Arrays of a state, for comparison of bits."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def assert_same_bits(one, other):
    for a, b in zip(arrays_of(one), arrays_of(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", SHAPES)
def test_every_model_equals_numpy(name, rng):
    hyper = {"learning_rate": 0.25, "zeta": 0.5, "p": 0.4, "decay": 0.1}
    phi = parameters(name, rng)
    state, _ = train(smoothed_state(phi, **hyper), name, rng, twin=Twin(phi, **hyper))
    assert jax.tree.map(jnp.shape, state.learning_rate) == jax.tree.map(jnp.shape, phi)
    if name == "tied":
        assert (state.learning_rate["unused"] == np.float32(0.25)).all()
        assert (state.learning_rate["characters"] != np.float32(0.25)).any()


@pytest.mark.parametrize("isotropic", [True, "tensor"])
def test_isotropic_rates_equal_numpy(isotropic, rng):
    hyper = {"learning_rate": 0.1, "max_learning_rate": 0.1001}
    phi = parameters("mlp", rng)
    twin = Twin(phi, isotropic == "tensor", isotropic=True, **hyper)
    state, _ = train(smoothed_state(phi, isotropic=isotropic, **hyper), "mlp", rng, twin=twin)
    assert {rate.shape for rate in jax.tree.leaves(state.learning_rate)} == {()}
    assert len(set(rates_of(state).tolist())) == (1 if isotropic is True else 4)


@pytest.mark.usefixtures("x64")
def test_float64_equals_numpy_and_follows_the_equations(rng):
    """Accumulators of real float64: their bits, and the reference's formulas to 1e-12."""
    hyper = {"learning_rate": 0.1, "zeta": 2.0, "p": 0.4}
    phi = parameters("mlp", rng, np.float64)
    state = smoothed_state(phi, **hyper)
    assert state.masters["b"].low is None
    oracle = reference_meta.MetaLearner(flat(phi), learning_rate0=0.1, zeta=2.0, p=0.4)
    twin = Twin(phi, **hyper)
    for _ in range(2):
        inner, runs = aj.ogd(state.learning_rate), []
        for _ in range(2):
            theta, at = state.phi, inner.init(state.phi)
            exact, squares = oracle.phi.copy(), np.zeros_like(oracle.phi)
            twin.start()
            for _ in range(3):
                grad = gradient("mlp")(theta, *batch("vector", rng, np.float64))
                updates, at = inner.update(grad, at, theta)
                theta = jax.tree.map(jnp.add, theta, updates)
                exact = exact - oracle.learning_rate * flat(grad)
                squares = squares + flat(grad) ** 2
                twin.step(grad)
            twin.end()
            runs.append((theta, at.grad_sq, exact, squares))
        stacked = [jax.tree.map(lambda *v: jnp.stack(v), *(run[k] for run in runs)) for k in (0, 1)]
        state = aj.apply(state, aj.statistics(state.phi, *stacked), 0.5)
        twin.update(None, 0.5)
        oracle.update(*(np.stack([run[k] for run in runs]) for k in (2, 3)), meta_step=0.5)
        assert_learned(state, twin.learners, 0.0 if IS_BUILT else 2.0)
    got = {"phi": flat(state.phi), "b": flat(state.b), "g": flat(state.g), "eta": rates_of(state)}
    expected = {"phi": oracle.phi, "b": oracle.b, "g": oracle.g, "eta": oracle.learning_rate}
    for key, value in got.items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, expected[key], rtol=1e-12, atol=1e-12, err_msg=key)


@pytest.mark.usefixtures("x64")
def test_float32_parameters_have_float64_masters(rng):
    phi = rng.standard_normal(50).astype(np.float32)
    state, learner = smoothed_state(jnp.asarray(phi)), smoothed(phi)
    for _ in range(3):
        hat, squares = (rng.standard_normal((4, 50)).astype(np.float32) for _ in range(2))
        state = aj.apply(state, aj.statistics(state.phi, hat, squares**2))
        learner.update(af.TaskRun(hat, squares**2))
    assert state.phi.dtype == np.float32
    np.testing.assert_array_equal(state.phi, learner.phi)
    np.testing.assert_array_equal(state.learning_rate, learner.learning_rate)
    assert ulps(np.asarray(state.b), learner.b) <= (0 if IS_BUILT else 2)


# ---- across tasks -------------------------------------------------------------------------------


def round_of(rng, n=20, n_tasks=6):
    phi = rng.standard_normal(n).astype(np.float32)
    hat = (phi + rng.standard_normal((n_tasks, n))).astype(np.float32)
    return jnp.asarray(phi), hat, np.square(rng.standard_normal((n_tasks, n))).astype(np.float32)


@pytest.mark.parametrize("meta_step", [None, 0.0, 0.3, lambda n: 1.0 / n])
def test_the_step_of_the_initialization(meta_step, rng):
    phi, hat, squares = round_of(rng)
    state, learner = smoothed_state(phi, p=0.0), smoothed(np.asarray(phi), p=0.0)
    weights = rng.random(len(hat)).astype(np.float32)
    for _ in range(2):
        state = aj.apply(state, aj.statistics(state.phi, hat, squares, weights), meta_step)
        learner.update(af.TaskRun(hat, squares), weights=weights, meta_step=meta_step)
    assert_learned(state, [learner])


def test_parts_agree_with_the_whole(rng):
    """Single tasks, stacks of them, sums by +, gathered from an axis of devices; unequal groups."""
    phi, hat, squares = round_of(rng)
    weights = jnp.asarray(rng.random(len(hat)).astype(np.float32))
    whole = aj.statistics(phi, hat, squares, weights)
    alone = [aj.statistics(phi, hat[k], squares[k], weights[k]) for k in range(len(hat))]
    stacked = jax.vmap(aj.statistics, (None, 0, 0, 0))(phi, hat, squares, weights)

    def device(*part):
        mine = aj.statistics(phi, *part)
        return aj.merge(lax.all_gather(mine, "devices"))

    gathered = jax.vmap(device, axis_name="devices")(hat, squares, weights)
    groups = [sum(alone[:1]), sum(alone[1:3]), sum(alone[3:])]
    unequal = jax.tree.map(lambda *leaves: jnp.stack(leaves), *groups)
    parts = [sum(alone), sum(alone[::-1]), aj.merge(stacked), aj.merge(unequal)]
    parts.append(jax.tree.map(lambda leaf: leaf[3], gathered))
    for part in parts:
        assert (int(part.n_tasks), int(part.n_skipped)) == (6, 0)
        for name in ("distance", "grad_sq", "theta_sum", "weight"):
            got, expected = getattr(part, name), getattr(whole, name)
            np.testing.assert_allclose(wide(got), wide(expected), rtol=2.0**-43, atol=2.0**-43)


def wide(pair):
    return np.asarray(pair.high, np.float64) + np.asarray(pair.low, np.float64)


def test_many_small_tasks_are_summed_side_by_side(rng):
    """More tasks than one row of the sums holds, against exact sums."""
    hat = rng.standard_normal((70_001, 1)).astype(np.float32)
    found = aj.statistics(jnp.zeros(1), hat, hat * hat)
    distance, squares, thetas, weight, n, _ = reference_meta.statistics(hat, hat * hat, np.zeros(1))
    assert (float(found.weight.high), int(found.n_tasks)) == (weight, n)
    np.testing.assert_allclose(wide(found.distance), distance, rtol=2.0**-44)
    np.testing.assert_allclose(wide(found.grad_sq), squares, rtol=2.0**-44)
    size = np.abs(hat).sum()
    np.testing.assert_allclose(wide(found.theta_sum), thetas, rtol=0, atol=2.0**-44 * size)


def test_a_task_that_is_not_finite_is_left_out_whole_and_counted(rng):
    phi, hat, squares = round_of(rng)
    hat[1, 3], squares[2, 0], hat[4, 0] = np.nan, np.inf, 3e38  # a square beyond float32
    kept = [0, 3, 5]
    some = aj.statistics(phi, hat, squares)
    assert (int(some.n_tasks), int(some.n_skipped)) == (3, 3)
    assert_same_bits(some.distance, aj.statistics(phi, hat[kept], squares[kept]).distance)
    state = smoothed_state(phi)
    none = aj.apply(state, aj.statistics(phi, hat[[1, 2]], squares[[1, 2]]), 1.0)
    assert (int(none.n_tasks), int(none.n_skipped)) == (0, 2)
    assert_same_bits(none.masters, state.masters)
    assert_same_bits(none.rates, state.rates)


def test_where_all_weights_are_zero_phi_stays(rng):
    phi, hat, squares = round_of(rng)
    state = aj.apply(smoothed_state(phi), aj.statistics(phi, hat, squares, np.zeros(6)))
    np.testing.assert_array_equal(state.phi, phi)
    assert int(state.n_tasks) == 6
    assert (state.b > 1).all()


def test_what_overflows_stays_a_number():
    """Of a task that went far the rate is the largest number, not a nan."""
    state = smoothed_state(jnp.zeros(2), learning_rate=1e-6, max_learning_rate=0.5)
    hat = jnp.array([1e17, 0.0])
    state = aj.apply(state, aj.statistics(state.phi, hat, jnp.array([1.0, 0.0])), 0.0)
    state = aj.apply(state, aj.statistics(state.phi, hat, jnp.array([1.0, 0.0])), 0.0)
    np.testing.assert_array_equal(state.learning_rate, np.array([0.5, 1e-6], np.float32))


def test_rounds_run_under_scan(rng):
    """The whole of meta-training is one compiled function; the state keeps its types."""
    phi, _, _ = round_of(rng)
    data = rng.standard_normal((4, 3, 5, 20)).astype(np.float32)

    def task(phi, rate, gradients):
        inner = aj.ogd(rate)
        theta, state = scanned(inner)(phi, gradients)
        return theta, state.grad_sq

    def round(state, gradients):
        runs = jax.vmap(task, (None, None, 0))(state.phi, state.learning_rate, gradients)
        return aj.apply(state, aj.statistics(state.phi, *runs), meta_step=0.5), state.n_tasks

    start = smoothed_state(phi, learning_rate=0.1, decay=0.05)
    scanned_state, counts = jax.jit(lambda s: lax.scan(round, s, data))(start)
    assert counts.tolist() == [0, 3, 6, 9]
    twin = Twin(phi, learning_rate=0.1, decay=0.05)
    for gradients in data:
        for steps in gradients:
            twin.start()
            for grad in steps:
                twin.step(grad)
            twin.end()
        twin.update(None, 0.5)
    assert_learned(scanned_state, twin.learners)


# ---- the rule at meta-test, and NumPy's learners ------------------------------------------------


@pytest.mark.parametrize("isotropic", [False, True, "tensor"])
def test_the_rule_is_that_of_numpy(isotropic, rng, tmp_path):
    phi = {"a": jnp.asarray(rng.standard_normal((4, 5)).astype(np.float32)), "z": jnp.ones(3)}
    state = smoothed_state(phi, isotropic=isotropic, learning_rate=0.5, max_learning_rate=0.6)
    hat, squares = (
        {name: jnp.asarray(draw((3, *leaf.shape)), np.float32) for name, leaf in phi.items()}
        for draw in (rng.standard_normal, rng.random)
    )
    state = aj.apply(state, aj.statistics(state.phi, hat, squares))
    learners = aj.to_learners(state)
    assert len(learners) == (2 if isotropic == "tensor" else 1)
    assert_learned(state, learners)
    inner = aj.rule(state, coef=0.1)
    got = [flat(jax.tree.map(lambda p, v: jnp.broadcast_to(v, p.shape), phi, inner.init(phi).g))]
    rules = [learner.rule(0.1) for learner in learners]
    assert ulps(got[0], np.concatenate([rule.g for rule in rules])) <= 1
    grad = jax.tree.map(jnp.ones_like, phi)
    updates, _ = inner.update(grad, inner.init(phi), phi)
    rate = np.concatenate([np.sqrt(rule.b) / np.sqrt(rule.g) for rule in rules])
    np.testing.assert_allclose(-flat(updates), rate, rtol=1e-6)
    plain = aj.rule(state, coef=None)
    updates, _ = plain.update(grad, plain.init(phi))
    np.testing.assert_array_equal(-flat(updates), rates_of(state))
    # What is saved goes on bit for bit.
    for k, learner in enumerate(learners):
        learner.save(tmp_path / str(k))
    loaded = [af.MetaLearner.load(tmp_path / str(k)) for k in range(len(learners))]
    again = aj.from_learners(loaded, phi)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert_same_bits(again, state)


def test_a_learner_of_numpy_goes_on_in_jax(rng):
    phi, hat, squares = round_of(rng)
    learner = smoothed(np.asarray(phi), decay=0.1, p=0.4)
    for _ in range(3):
        learner.update(af.TaskRun(hat, squares))
    state = aj.from_learners([learner], jnp.zeros(20))
    assert_learned(state, [learner])
    learner.update(af.TaskRun(hat, squares))
    state = aj.apply(state, aj.statistics(state.phi, hat, squares))
    assert_learned(state, [learner])


def test_leaves_without_a_coordinate_are_kept():
    phi = {"a": jnp.ones((0, 3)), "b": jnp.ones(2)}
    for isotropic in (False, True, "tensor"):
        state = smoothed_state(phi, isotropic=isotropic, learning_rate=0.5)
        state = aj.apply(state, aj.statistics(state.phi, phi, phi))
        assert jax.tree.map(jnp.shape, state.phi) == jax.tree.map(jnp.shape, phi)
        again = aj.from_learners(aj.to_learners(state), phi)
        assert_same_bits(again.masters, state.masters)
