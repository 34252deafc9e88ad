"""`aruba_fast.jax` with nothing given: the prior by leaf, tasks that weigh too much, the rule."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import reference_meta
from cases import single
from jax_models import aj, flat, jax, jnp, lax, rates_of

import aruba_fast as af

# The last leaf never moves, and has no gradient.
TREE = {"kernel": (4, 5), "scale": (), "table": (700, 2), "unused": (3,)}
SIZES = (20, 1, 1400, 3)
CASES = (
    ({}, np.float32),
    ({}, np.float64),
    ({"bound": "blog", "decay": 0.25}, np.float32),
    ({"decay": 1e-20, "max_learning_rate": 0.4}, np.float32),
    ({"train": "scalar"}, np.float32),
    ({"isotropic": True, "decay": 0.5}, np.float32),
    ({"isotropic": "tensor"}, np.float32),
    ({"isotropic": "tensor", "bound": "blog", "decay": 0.1}, np.float64),
    ({"isotropic": "tensor", "train": "scalar", "max_learning_rate": 0.5}, np.float32),
)
UPDATES = ((None, None), (0.25, "weights"), (None, "weights"))


def parameters(rng, dtype=np.float32):
    return {k: jnp.asarray(rng.standard_normal(shape), dtype) for k, shape in TREE.items()}


def fake_round(rng, phi, n_tasks, reach=1.0):
    """theta_hat and grad_sq of tasks that know nothing of each other."""
    hats, squares = {}, {}
    for k, leaf in phi.items():
        away = reach * rng.standard_normal((n_tasks, *leaf.shape)) * (k != "unused")
        hats[k] = (np.asarray(leaf) + single(away)).astype(leaf.dtype)
        values = (0.1 + rng.random((n_tasks, *leaf.shape))) * (k != "unused")
        squares[k] = single(values).astype(leaf.dtype)
    return hats, squares


def rows(tree):
    """Tasks as rows."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def twin(phi, **hyper):
    """The reference with the leaves as its tensors."""
    isotropic = hyper.pop("isotropic", False)
    return reference_meta.MetaLearner(
        flat(phi),
        zeta=None,
        learning_rate0=hyper.pop("learning_rate", 0.5),
        isotropic=bool(isotropic),
        tensors=None if isotropic is True else SIZES,
        **({"bound": "tight"} | hyper),
    )


def assert_same(got, expected, rtol):
    expected = np.broadcast_to(expected, got.shape)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * 1e-3)


@pytest.mark.parametrize(("hyper", "dtype"), CASES, ids=str)
def test_many_rounds_follow_the_equations(hyper, dtype, rng):
    """With a leaf that never moves, a task that is shortened, one and a whole round left out."""
    with jax.enable_x64(True) if dtype == np.float64 else contextlib.nullcontext():
        phi = parameters(rng, dtype)
        state, oracle = aj.init(phi, learning_rate=0.5, **hyper), twin(phi, **hyper)
        eps = np.finfo(dtype).eps
        for number in range(6):
            n_tasks = 5 if number % 2 else 3
            hats, squares = fake_round(rng, state.phi, n_tasks)
            if number == 4:
                hats = {
                    k: np.asarray(state.phi[k] + 1e3 * (v - state.phi[k])) for k, v in hats.items()
                }
            if number in (3, 5):
                squares["kernel"][4 if number == 3 else slice(None), 1, 1] = np.nan
            meta_step, weighted = UPDATES[number % 3]
            weights = rng.integers(1, 20, n_tasks).astype(np.float64) if weighted else None
            oracle.update(rows(hats), rows(squares), weights, meta_step, flat(state.phi))
            part = aj.statistics(state, hats, squares, weights)
            state = aj.apply(state, part, meta_step)
            assert_same(flat(state.b), oracle.b, 20 * eps)
            assert_same(flat(state.g), oracle.g, 20 * eps)
            assert_same(flat(state.rho), oracle.rho, 40 * eps)
            assert_same(rates_of(state), oracle.learning_rate, 20 * eps)
            np.testing.assert_allclose(flat(state.phi), oracle.phi, rtol=1e3 * eps, atol=1e3 * eps)
            assert (int(state.n_tasks), int(state.n_skipped)) == (oracle.n_tasks, oracle.n_skipped)
            assert_rule(state, oracle, 20 * eps)


def assert_rule(state, oracle, rtol):
    """ARUBA++ from b' and g', which are means where they have one rate."""
    b, g = oracle.with_prior()
    if oracle.isotropic:
        b, g = (mean * (1 + 1 / oracle.n_held) for mean in oracle.means())
    b = oracle.restraint**2 * b
    if cap := oracle.max_learning_rate:
        b = np.minimum(b, cap**2 * g)
    inner = aj.rule(state)
    at = inner.init(state.phi)
    assert_same(flat(at.g), g, rtol)
    ones = jax.tree.map(jnp.ones_like, state.phi)
    updates, at = inner.update(ones, at, state.phi)
    assert_same(-flat(updates), np.sqrt(b / g), 50 * rtol)  # the sum with phi is rounded
    weight = 4 if oracle.bound == "tight" else 1
    assert_same(flat(at.g), g + weight * oracle.n_held, rtol)


def test_a_round_that_is_not_shortened_has_the_bits_of_one_without_a_limit(rng):
    phi = parameters(rng)
    state = aj.init(phi, learning_rate=0.5)
    for _ in range(2):
        hats, squares = fake_round(rng, state.phi, 4)
        limited, free = aj.statistics(state, hats, squares), aj.statistics(state.phi, hats, squares)
        for one, other in zip(jax.tree.leaves(limited), jax.tree.leaves(free), strict=True):
            np.testing.assert_array_equal(one, other)
        state = aj.apply(state, limited)


@pytest.mark.parametrize("x64", [False, True])
def test_a_task_weighs_no_more_than_ten_average_ones(x64, rng):
    """However far it went, if its spread is a number; and what is within that is not touched."""
    with jax.enable_x64(x64):
        state = aj.init(jnp.zeros(40, np.float64 if x64 else np.float32))
        dtype, rtol = state.layout.dtype, 1e-9 if x64 else 1e-4
        state = aj.apply(state, aj.statistics(state, *uniform(rng, (60, 40), 0.1, dtype)), 0.0)
        rate, b, g = (np.asarray(v, np.float64) for v in (state.learning_rate, state.b, state.g))
        mean = (b / rate + rate * g).sum() / 60
        assert float(state.limit) == pytest.approx(10 * mean, rel=rtol)
        for length in (1e-3, 1.0, 1e5, 1e15):
            hat, square = uniform(rng, (1, 40), length, dtype)
            spread = (np.float64(hat) ** 2 / rate + rate * np.float64(square)).sum()
            own = aj.apply(state, aj.statistics(state, hat, square), 1.0)
            added = (np.asarray(own.b) - b) / rate + rate * (np.asarray(own.g) - g)
            assert added.sum() == pytest.approx(min(spread, 10 * mean), rel=rtol, abs=rtol * mean)
            by = np.sqrt(min(1.0, 10 * mean / spread))
            np.testing.assert_allclose(own.phi, by * np.float64(hat[0]), rtol=rtol)
        hat, square = uniform(rng, (2, 40), 1.0, dtype)
        hat[1, 3] = np.inf if dtype == np.float32 else 1e160
        assert int(aj.statistics(state, hat, square).n_skipped) == 1


def uniform(rng, shape, length, dtype):
    return (length * rng.standard_normal(shape)).astype(dtype), rng.random(shape).astype(dtype)


def test_compiled_batched_and_in_parts_it_is_the_same(rng):
    """And under scan, which wants the state to keep its types."""
    phi = parameters(rng)
    stacks = [fake_round(rng, phi, 4) for _ in range(3)]
    for hats, _ in stacks[1:]:
        for leaf in hats.values():
            leaf[1] *= 300.0

    def learn(state, part):
        return aj.apply(state, aj.statistics(state, *part))

    def by_task(state, part):
        each = jax.vmap(aj.statistics, (None, 0, 0))(state, *part)
        return aj.apply(state, aj.merge(each))

    def in_groups(state, part):
        groups = [jax.tree.map(lambda leaf, k=k: leaf[k : k + 2], part) for k in (0, 2)]
        return aj.apply(state, sum(aj.statistics(state, *group) for group in groups))

    start = aj.init(phi, learning_rate=0.5)
    plain = start
    for part in stacks:
        plain = learn(plain, part)
    assert (rates_of(plain) != 0.5).all()
    scanned = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacks)
    others = [lax.scan(lambda s, part: (learn(s, part), None), start, scanned)[0]]
    for way in (jax.jit(learn), by_task, in_groups):
        state = start
        for part in stacks:
            state = way(state, part)
        others.append(state)
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), start)
    for part in stacks:
        two = jax.vmap(learn, (0, None))(two, part)
    others.append(jax.tree.map(lambda leaf: leaf[1], two))
    for other in others:
        for key in ("phi", "learning_rate", "b", "g"):
            np.testing.assert_allclose(
                flat(getattr(other, key)), flat(getattr(plain, key)), rtol=2e-6, atol=1e-6
            )
        assert float(other.limit) == pytest.approx(float(plain.limit), rel=1e-5)


@pytest.mark.parametrize("hyper", [{}, {"isotropic": "tensor"}, {"train": "scalar"}], ids=str)
def test_the_rule_without_a_task_is_gradient_descent(hyper, rng):
    """To the bit, also where nobody knows whether there was a task: under jit."""
    phi = parameters(rng)
    state = aj.init(phi, learning_rate=0.3, **hyper)
    still = aj.apply(state, aj.statistics(state, phi, jax.tree.map(jnp.ones_like, phi)))
    assert int(still.n_tasks) == 1
    grad = jax.tree.map(lambda leaf: leaf - 1, phi)

    def move(state, coef="auto"):
        inner = aj.rule(state, coef)
        at, theta = inner.init(phi), phi
        for _ in range(2):
            updates, at = inner.update(grad, at, theta)
            theta = jax.tree.map(jnp.add, theta, updates)
        return theta

    for found in (move(state), move(state, 2.0), move(still)):
        np.testing.assert_array_equal(flat(found), flat(move(state, None)))
    traced = [jax.jit(lambda s, coef=coef: move(s, coef))(state) for coef in ("auto", None)]
    np.testing.assert_array_equal(*map(flat, traced))


def test_a_state_without_a_first_rate():
    """Rates are zero, and a rule is refused; tasks at other rates tell them."""
    state = aj.init(jnp.zeros(2))
    assert (np.asarray(state.learning_rate) == 0).all()
    for coef in ("auto", None, 1.0):
        with pytest.raises(ValueError, match=r"^rule: the first learning rate must be known: got"):
            aj.rule(state, coef)
    assert int(jax.jit(lambda s: aj.rule(s).init(s.phi).g.size)(state)) == 2
    part = aj.statistics(state, jnp.array([[1.0, 2.0]]), jnp.array([[4.0, 4.0]]))
    state = aj.apply(state, part)
    aj.rule(state)
    learner = af.MetaLearner(np.zeros(2, np.float32), bound="tight")
    learner.update(af.TaskRun(np.float32([[1.0, 2.0]]), np.float32([[4.0, 4.0]])))
    np.testing.assert_array_equal(state.learning_rate, learner.learning_rate)


def test_bounds_that_are_not_given_are_those_of_the_smoothing():
    for zeta, bound in (("auto", "tight"), (1.0, "blog")):
        plain, given = (
            aj.init(jnp.zeros(1), learning_rate=1.0, zeta=zeta, **more)
            for more in ({}, {"bound": bound})
        )
        assert plain.hyper == given.hyper


@pytest.mark.parametrize("hyper", [{}, {"bound": "tight"}, {"train": "scalar"}], ids=str)
def test_with_a_smoothing_too(hyper, rng):
    """Both bounds and one rate in training, with a number for zeta, as NumPy's learner."""
    phi, hyper = (
        rng.standard_normal(9).astype(np.float32),
        {"zeta": 2.0, "learning_rate": 0.3} | hyper,
    )
    state, learner = aj.init(phi, **hyper), af.MetaLearner(phi, **hyper)
    for _ in range(3):
        hat, square = uniform(rng, (4, 9), 1.0, np.float32)
        state = aj.apply(state, aj.statistics(state, hat, square), 0.5)
        learner.update(af.TaskRun(hat, square), meta_step=0.5)
        np.testing.assert_allclose(state.learning_rate, learner.learning_rate, rtol=2e-7)
        rule, inner = learner.rule(), aj.rule(state)
        np.testing.assert_allclose(inner.init(phi).g, rule.g, rtol=2e-7)
        move = np.asarray(inner.update(np.ones(9, np.float32), inner.init(phi))[0])
        np.testing.assert_allclose(-move, np.sqrt(rule.b / rule.g), rtol=4e-7)


@pytest.mark.parametrize("hyper", [hyper for hyper, dtype in CASES if dtype == np.float32], ids=str)
def test_a_learner_of_numpy_goes_on_with_it(hyper, rng, tmp_path):
    """From a file, and back to the bit; its leaves are `tensors`."""
    phi = parameters(rng)
    state = aj.init(phi, learning_rate=0.5, **hyper)
    for _ in range(2):
        state = aj.apply(state, aj.statistics(state, *fake_round(rng, state.phi, 3)))
    aj.to_learners(state)[0].save(tmp_path / "learner")
    learner = af.MetaLearner.load(tmp_path / "learner")
    assert ("tensors=(20, 1, 1400, 3)" in repr(learner)) == (hyper.get("isotropic") is not True)
    again = aj.from_learners([learner], phi)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    for one, other in zip(*map(jax.tree.leaves, (again, state)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    hats, squares = fake_round(rng, state.phi, 5)
    hats["table"][2] += 1e3
    state = aj.apply(state, aj.statistics(state, hats, squares))
    learner.update(af.TaskRun(rows(hats), rows(squares)))
    assert_same(rates_of(state), learner.learning_rate, 1e-6)
    np.testing.assert_allclose(flat(state.phi), learner.phi, rtol=1e-5, atol=1e-5)
    assert aj.from_learners(aj.to_learners(aj.init(phi)), phi).limit == aj.init(phi).limit
