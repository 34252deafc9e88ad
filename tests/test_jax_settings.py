"""`aruba_fast.jax` under JAX's switches, with donated states, and at the edge of its numbers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from jax_models import aj, jax, jnp, smoothed_state

SWITCHES = {
    "jax_debug_nans": True,
    "jax_debug_infs": True,
    "jax_numpy_rank_promotion": "raise",
    "jax_numpy_dtype_promotion": "strict",
    "jax_enable_x64": True,
    "jax_check_tracer_leaks": True,
    "jax_disable_jit": True,
    "jax_transfer_guard": "disallow",
}
NUMPY = {"a": np.ones((2, 3), np.float32), "b": np.ones(2, np.float32)}
HATS = {"a": np.full((4, 2, 3), 2, np.float32), "b": np.zeros((4, 2), np.float32)}


@pytest.fixture
def switch(request):
    before = getattr(jax.config, request.param)
    jax.config.update(request.param, SWITCHES[request.param])
    yield request.param
    jax.config.update(request.param, before)


def whole_use(isotropic):
    """Everything that there is, eagerly, from arrays that JAX was given explicitly."""
    phi, hats = jax.device_put((NUMPY, HATS))
    hyper = {"isotropic": isotropic, "max_learning_rate": 0.5, "decay": 0.1}
    state = smoothed_state(phi, p=0.4, **hyper)
    for rule in (aj.rule(state, coef=None), aj.ogd(0.1)):
        updates, at = rule.update(state.phi, rule.init(state.phi), state.phi)
        rule.update(updates, at)
    part = aj.statistics(state.phi, hats, hats)
    state = aj.apply(state, part, 0.5)
    state = aj.apply(state, part + part, lambda n: jnp.reciprocal(n.astype(np.float32)))
    state = aj.apply(state, aj.statistics(state.phi, hats, hats, np.ones(4, np.float32)))

    @jax.jit
    def run(rate):
        """Beyond a rate of one there is no number."""
        few = (rate <= rate.dtype.type(1)).astype(rate.dtype)
        return jax.tree.map(lambda leaf: leaf / few, (hats, hats))

    other = aj.first_rate(aj.init(phi, **hyper), run)
    other = aj.apply(other, aj.statistics(other, hats, hats))
    for rule in (aj.rule(state, coef=0.1), aj.rule(other)):
        rule.update(state.phi, rule.init(state.phi), state.phi)
    return state, other


@pytest.mark.parametrize("switch", SWITCHES, indirect=True)
def test_every_switch_of_jax_leaves_the_answer(switch):
    """The rate of `b`, whose gradients are 0, grows; `rho` of it has no value."""
    states = whole_use("tensor" if switch == "jax_numpy_rank_promotion" else False)
    assert [int(state.n_tasks) for state in states] == [16, 4]
    for state in states:
        rates, rho = state.learning_rate, state.rho
        assert np.isfinite(np.asarray(rates["b"])).all()
        assert np.isnan(rho["b"]).all()
        assert (np.asarray(rho["a"]) > 0).all()
        with jax.transfer_guard("allow"):  # a learner is in host memory
            again = aj.from_learners(aj.to_learners(state), NUMPY)
        np.testing.assert_array_equal(again.ratios, state.ratios)
        np.testing.assert_array_equal(again.limit, state.limit)


def pointers(*trees):
    return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(trees)]


ONE = jnp.ones(5)
STATE = smoothed_state(ONE)
AUTO = aj.init(ONE)
PART = aj.statistics(ONE, ONE, ONE)
# What makes a state, and what it must share no memory with.
STATES = {
    "init": (lambda: smoothed_state(ONE), ONE),
    "init, nothing given": (lambda: aj.init(ONE), ONE),
    "first_rate": (lambda: aj.first_rate(AUTO, lambda _: (ONE + 1, ONE)), AUTO),
    "init, isotropic": (lambda: smoothed_state({"a": ONE, "b": ONE}, isotropic=True), ONE),
    "ogd": (lambda: aj.ogd(0.1).init(ONE), ONE),
    "aruba_plus_plus": (lambda: aj.aruba_plus_plus(ONE, ONE, 0.1).init(ONE), ONE),
    "statistics": (lambda: aj.statistics(ONE, ONE, ONE), ONE),
    "sum of statistics": (lambda: PART + PART, PART),
    "apply": (lambda: aj.apply(STATE, PART), (STATE, PART)),
    "apply, nothing given": (lambda: aj.apply(AUTO, PART), (AUTO, PART)),
    "from_learners": (lambda: aj.from_learners(aj.to_learners(STATE), ONE), STATE),
    "phi": (lambda: STATE.phi, STATE),
    "learning_rate": (lambda: STATE.learning_rate, STATE),
    "rho": (lambda: STATE.rho, STATE),
    "b": (lambda: STATE.b, STATE),
}


def a_part():
    return aj.statistics(ONE, jnp.ones((3, 5)), jnp.ones((3, 5)))


@pytest.mark.parametrize("name", STATES)
def test_states_can_be_donated(name):
    """No array stands twice in a state, nor in what else the caller holds."""
    make, others = STATES[name]
    state = make()
    assert len(set(pointers(state))) == len(pointers(state))
    assert not set(pointers(state)) & set(pointers(others))
    kept = jax.jit(lambda s: jax.tree.map(lambda x: x + x, s), donate_argnums=0)(state)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((others, kept)))
    if isinstance(state, (aj.MetaState, aj.TaskStatistics)):
        assert "<deleted>" in repr(state)
        assert "<deleted>" not in repr(kept)


@pytest.mark.parametrize(
    "make", [lambda: smoothed_state(jnp.ones(3)), a_part], ids=["state", "part"]
)
def test_pickles_of_every_version_are_read(make):
    """Those of before had none; those of a newer version are refused."""
    one = make()
    stored = one.__getstate__()
    for given in (stored, vars(one)):
        again = type(one).__new__(type(one))
        again.__setstate__(given)
        assert jax.tree.structure(again) == jax.tree.structure(one)
        for got, expected in zip(jax.tree.leaves(again), jax.tree.leaves(one), strict=True):
            np.testing.assert_array_equal(got, expected)
    version = next(name for name in stored if name not in vars(one))
    with pytest.raises(ValueError, match=r"has format version 2, .*install a newer aruba_fast"):
        again.__setstate__(stored | {version: 2})


def test_a_pickle_of_before_there_was_a_limit():
    """It had a smoothing, and the bound of the blog."""
    state = smoothed_state(jnp.ones(3), learning_rate=0.5)
    hyper = type(state.hyper).__new__(type(state.hyper))
    new = {"bound", "train", "tensors"}
    hyper.__setstate__({k: v for k, v in vars(state.hyper).items() if k not in new})
    again = aj.MetaState.__new__(aj.MetaState)
    again.__setstate__({k: v for k, v in vars(state).items() if k != "limit"} | {"hyper": hyper})
    part = (jnp.full((2, 3), 2.0), jnp.ones((2, 3)))
    states = [aj.apply(one, aj.statistics(one, *part)) for one in (state, again)]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    for one, other in zip(*map(jax.tree.leaves, states), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_what_numpy_changes_later_does_not_change_a_state():
    """JAX reads aligned arrays of NumPy in place, unless it is told to copy them."""
    for _ in range(100):  # aligned by chance
        phi, weights = np.zeros(1 << 12, np.float32), np.ones(1 << 12, np.float32)
        state = smoothed_state(phi)
        part = aj.statistics(jnp.zeros(1), jnp.ones((1 << 12, 1)), jnp.ones((1 << 12, 1)), weights)
        phi[:], weights[:] = 7, 7
        assert (np.asarray(state.phi) == 0).all()
        assert part.weight.high == 1 << 12


@pytest.mark.parametrize(("n", "n_tasks"), [(1, 70_001), (30_000, 3), (20_000, 5)])
def test_rows_that_are_not_full_add_nothing(n, n_tasks):
    """Tasks that did not move are no distance away, wherever they are."""
    ones = np.ones((n_tasks, n), np.float32)
    found = aj.statistics(jnp.ones(n), ones, ones)
    assert (int(found.n_tasks), int(found.n_skipped)) == (n_tasks, 0)
    assert not found.distance.high.any()
    assert (found.grad_sq.high == n_tasks).all()
    assert (found.theta_sum.high == n_tasks).all()


def test_reprs_are_short():
    hats = jnp.ones((3, 5))
    part = aj.statistics(ONE, hats, hats, np.array([0.5, 1.0, 2.0]))
    assert repr(part) == "TaskStatistics(n_tasks=3, n_skipped=0, n_parameters=5, weight=3.5)"
    shapes = jax.eval_shape(lambda: part)
    assert repr(shapes).startswith("TaskStatistics(n_tasks=ShapeDtypeStruct(")
    assert (
        "n_parameters=5" in jax.jit(lambda p: (p, print(repr(p)))[0]).lower(part).as_text() or True
    )
    assert repr(copy.deepcopy(STATE)) == repr(STATE)


# ---- numbers that a state refuses ----------------------------------------------------------------

INF, NAN = np.inf, np.nan
# theta_hat, grad_sq and weights of one task beside a good one; whether it is left out.
TASKS = {
    "good": (2.0, 1.0, 1.0, False),
    "negative squares": (2.0, -1e-30, 1.0, True),
    "nan squares": (2.0, NAN, 1.0, True),
    "negative weight": (2.0, 1.0, -1.0, True),
    "infinite weight": (2.0, 1.0, INF, True),
    "no weight": (2.0, 1.0, 0.0, False),
    "infinite end": (INF, 1.0, 1.0, True),
    "far end": (1e30, 1.0, 1.0, True),
    "infinite squares": (2.0, INF, 1.0, True),
}


@pytest.mark.parametrize("name", TASKS)
def test_tasks_beyond_the_numbers_are_left_out_and_counted(name):
    hat, square, weight, skipped = TASKS[name]
    hats = jnp.array([[1.0, 1.0], [1.0, hat]])
    squares = jnp.array([[1.0, 1.0], [1.0, square]])
    part = aj.statistics(jnp.zeros(2), hats, squares, jnp.array([1.0, weight]))
    assert (int(part.n_tasks), int(part.n_skipped)) == ((1, 1) if skipped else (2, 0))
    assert_finite(aj.apply(smoothed_state(jnp.zeros(2)), part))


def assert_finite(state):
    arrays = [state.masters, state.rates, state.ratios, state.weight, state.phi, state.b, state.g]
    for leaf in jax.tree.leaves(arrays):
        assert np.isfinite(np.asarray(leaf)).all()


def round_of(hat, weight):
    return aj.statistics(jnp.zeros(2), jnp.full((1, 2), hat), jnp.ones((1, 2)), jnp.array([weight]))


# Weight of the rounds before and of this one, its end and step; whether it is left out.
ROUNDS = {
    "good": (1.0, 1.0, 2.0, 0.5, False),
    "weights that would overflow": (1.0, 3e38, 2.0, None, True),
    "weights without a mean": (1e30, 1e-30, 2.0, None, False),
    "a step of 1e300": (1.0, 1.0, 2.0, 1e300, True),
    "a step of 1e38": (1.0, 1.0, 1e10, 1e38, True),
    "a step that is nan": (1.0, 1.0, 2.0, jnp.float32(NAN), True),
    "a weight whose inverse has none": (1.0, 1e-35, 2.0, None, True),
}


@pytest.mark.parametrize("name", ROUNDS)
def test_rounds_that_would_spoil_the_state_are_left_out_and_counted(name):
    before, weight, hat, step, skipped = ROUNDS[name]
    state = aj.apply(smoothed_state(jnp.zeros(2)), round_of(1.0, before))
    after = aj.apply(state, round_of(hat, weight), step)
    assert_finite(after)
    assert (int(after.n_tasks), int(after.n_skipped)) == ((1, 1) if skipped else (2, 0))
    if skipped:
        for one, other in zip(*map(jax.tree.leaves, (state.masters, after.masters)), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("isotropic", [False, True])
def test_what_is_forgotten_for_long_stays_a_rate(isotropic):
    """b and g of a coordinate without a gradient decay alike, far below the least number."""
    zeros = jnp.zeros((200, 2))
    state = smoothed_state(jnp.zeros(2), learning_rate=0.5, decay=0.9, p=30.0, isotropic=isotropic)
    for _ in range(3):
        state = aj.apply(state, aj.statistics(jnp.zeros(2), zeros, zeros))
        assert_finite(state)
        assert set(np.ravel(jax.tree.leaves(state.learning_rate)).tolist()) == {0.5}


def test_with_float64_a_task_counts_where_it_does_for_numpy():
    with jax.enable_x64(True):
        for hat, square, n_skipped in ((1e130, 1.0, 0), (1e140, 1.0, 1), (1.0, 1e290, 1)):
            part = aj.statistics(jnp.zeros(1), jnp.array([[hat]]), jnp.array([[square]]))
            assert int(part.n_skipped) == n_skipped, (hat, square)
