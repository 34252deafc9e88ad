"""The meta-learner against the equations: schedule, decay, cap, isotropy, the mean, its laws."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import reference_meta
from cases import DTYPES, LOSSES, dtypes, n_parameters, pack, single, smoothed, task_data
from hypothesis import given
from hypothesis import strategies as st
from same_learner import assert_same_bits

import aruba_fast as af


def fake_run(rng, n_tasks, d, dtype=np.float64):
    theta_hat = single(rng.standard_normal((n_tasks, d)))
    return af.TaskRun(theta_hat.astype(dtype), single(0.1 + rng.random((n_tasks, d))).astype(dtype))


HYPERPARAMETERS = (
    {},
    {"learning_rate": 0.25, "zeta": 3.0},
    {"p": 0.4},
    {"p": 0.0, "learning_rate": 2.0},
    {"decay": 0.25, "p": 2.5},
    {"isotropic": True, "learning_rate": 0.5},
    {"isotropic": True, "decay": 0.125, "zeta": 0.5},
    {"max_learning_rate": 0.75},
    {"isotropic": True, "max_learning_rate": 0.5},
)
UPDATES = (
    {},
    {"meta_step": 0.25},
    {"meta_step": lambda n_tasks: 1.0 / (1 + n_tasks)},
    {"weights": "random"},
    {"weights": "random", "meta_step": 1.0},
)


@dtypes
@pytest.mark.parametrize("hyper", HYPERPARAMETERS, ids=str)
@pytest.mark.parametrize("how", range(len(UPDATES)))
def test_many_rounds_follow_the_equations(hyper, how, dtype, rng):
    """Rounds of 1, 5, 2, ... tasks; b, g and rates in float64 whatever the parameters are."""
    d = 19
    phi = single(rng.standard_normal(d))
    learner = smoothed(phi.astype(dtype), **hyper)
    renamed = {"learning_rate0" if k == "learning_rate" else k: v for k, v in hyper.items()}
    oracle = reference_meta.MetaLearner(phi, **renamed)
    for n_tasks in (1, 5, 2, 1, 16, 3):
        run = fake_run(rng, n_tasks, d, dtype)
        options = dict(UPDATES[how])
        if options.get("weights"):
            options["weights"] = rng.integers(1, 20, n_tasks).astype(np.float64)
        start = learner.phi.copy()
        learner.update(run, **options)
        oracle.update(run.theta_hat, run.grad_sq, start=start, **options)
        np.testing.assert_allclose(learner.b, oracle.b, rtol=1e-13)
        np.testing.assert_allclose(learner.g, oracle.g, rtol=1e-13)
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(learner.rho, oracle.rho, rtol=4 * eps)  # of the rounded rate
        np.testing.assert_allclose(learner.learning_rate, oracle.learning_rate, rtol=2 * eps)
        np.testing.assert_allclose(learner.phi, oracle.phi, rtol=2 * eps, atol=1e-15)
        assert (learner.n_tasks, learner.n_skipped) == (oracle.n_tasks, 0)
    assert np.isscalar(learner.learning_rate) == bool(hyper.get("isotropic"))


@pytest.mark.parametrize("n_tasks", [0, 1, 2, 3, 5, 16, 17, 130])
@pytest.mark.parametrize("d", [1, 7, 513, 40_001])
@pytest.mark.parametrize("how", ["plain", "weighted", "isotropic", "not finite", "float64"])
def test_update_is_apply_of_statistics_bit_for_bit(n_tasks, d, how, rng):
    """However few tasks, with which the sums never reach memory."""
    dtype = np.float64 if how == "float64" else np.float32
    start = rng.standard_normal(d).astype(dtype)
    hyper = {"learning_rate": 0.3, "isotropic": how == "isotropic", "decay": 0.01}
    both = [smoothed(start, **hyper) for _ in range(2)]
    for _ in range(2):
        run = fake_run(rng, n_tasks, d, dtype)
        if how == "not finite" and n_tasks:
            run.grad_sq[n_tasks // 2, d // 2] = np.inf
        weights = rng.random(n_tasks) * 1e3 if how == "weighted" else None
        both[0].update(run, weights=weights, meta_step=0.5)
        both[1].apply(both[1].statistics(run, weights), 0.5)
    assert_same_bits(*both)
    assert both[0].n_skipped == (2 if how == "not finite" and n_tasks else 0)


def test_update_refuses_what_statistics_and_apply_refuse(rng):
    learner, run = smoothed(np.zeros(3)), fake_run(rng, 2, 3, np.float64)
    for call, words in [
        (lambda: learner.update(run.theta_hat), "`run` must be a TaskRun"),
        (lambda: learner.update(run, weights=[1, -1]), "`weights` must be finite and >= 0"),
        (lambda: learner.update(run, meta_step=-1.0), "`meta_step` must"),
        # In the order of the signature.
        (lambda: learner.update(run, weights=[1.0], meta_step=-1.0), "`weights` must have a value"),
    ]:
        with pytest.raises((TypeError, ValueError), match=words):
            call()
    assert learner.n_tasks == 0


def test_the_half_belongs_to_the_distances_only():
    learner = smoothed(np.zeros(1), learning_rate=1.0, zeta=1e-3)
    learner.update(af.TaskRun(np.full((1000, 1), 2.0), np.full((1000, 1), 2.0)))
    assert learner.learning_rate[0] == pytest.approx(1.0, rel=1e-6)  # sqrt(1/2 4 / 2), not sqrt(2)


@dtypes
@pytest.mark.parametrize("round_size", [1, 4, 32])
def test_the_running_mean_is_the_mean_of_all_tasks(dtype, round_size, rng):
    """Whatever phi was first: the first task replaces it."""
    run = fake_run(rng, 96, 11, dtype)
    learner = smoothed(np.full(11, 1e3, dtype))
    for first in range(0, 96, round_size):
        part = slice(first, first + round_size)
        learner.update(af.TaskRun(run.theta_hat[part], run.grad_sq[part]))
    mean = run.theta_hat.astype(np.float64).mean(axis=0)
    # phi is kept in float64 and rounded once to the type of the parameters
    np.testing.assert_allclose(learner.phi, mean, rtol=np.finfo(dtype).eps, atol=1e-15)


def test_weighted_running_mean(rng):
    run, weights = fake_run(rng, 40, 5), rng.integers(1, 100, 40).astype(np.float64)
    learner = smoothed(np.ones(5))
    for first in range(0, 40, 8):
        part = slice(first, first + 8)
        learner.update(af.TaskRun(run.theta_hat[part], run.grad_sq[part]), weights=weights[part])
    mean = np.average(run.theta_hat, axis=0, weights=weights)
    np.testing.assert_allclose(learner.phi, mean, rtol=1e-13, atol=1e-14)


@dtypes
def test_fedavg_with_equal_sizes_is_reptile_with_step_one(dtype, rng):
    tasks = pack([task_data("squared", rng, 8, 6) for _ in range(12)], dtype)
    learners = [smoothed(np.zeros(6, dtype), learning_rate=0.5) for _ in range(2)]
    for part in tasks.rounds(4, n_passes=2, seed=1):
        for learner, weighted in zip(learners, (True, False), strict=True):
            run = af.run_tasks(part, learner.phi, learner.rule(coef=None), loss="squared")
            learner.update(run, weights=run.weight if weighted else None, meta_step=1.0)
    np.testing.assert_allclose(
        learners[0].phi, learners[1].phi, rtol=2 * np.finfo(dtype).eps, atol=1e-9
    )
    assert (learners[0].phi != 0).all()


@given(
    st.floats(1e-6, 1e6),
    st.floats(1e-3, 1e3),
    st.floats(0, 3),
    st.floats(0, 0.9),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.sampled_from(DTYPES),
)
def test_an_unseen_coordinate_keeps_its_rate_exactly(rate, zeta, p, decay, rounds, dtype):
    """Whatever the smoothing, the decay and the rounding: not approximately."""
    learner = smoothed(np.zeros(3, dtype), learning_rate=rate, zeta=zeta, p=p, decay=decay)
    for n_tasks in rounds:
        moved = np.zeros((n_tasks, 3), dtype)
        moved[:, 1] = 0.5
        learner.update(af.TaskRun(moved, moved))
    assert learner.learning_rate[0] == learner.learning_rate[2] == dtype(rate)
    assert learner.phi[0] == 0
    assert np.isnan(learner.rho[[0, 2]]).all()
    assert np.isfinite(learner.rho[1])


@pytest.mark.parametrize(("loss", "factor"), [("squared", 2.0), ("absolute", 4.0)])
def test_scaling_the_loss_scales_the_rate_inversely(loss, factor, rng):
    """Loss x 4 with zeta x 4: same iterates, rate / 4. The data carry it: 1/2 (2z - 2y)^2."""
    pieces = [task_data(loss, rng, 12, 3) for _ in range(10)]
    scaled = [(factor * x, factor * y) for x, y in pieces]
    a = smoothed(np.zeros(3), learning_rate=0.5, zeta=1.0)
    b = smoothed(np.zeros(3), learning_rate=0.5 / 4, zeta=4.0)
    for learner, data in ((a, pieces), (b, scaled)):
        af.meta_train(pack(data, np.float64), learner, loss=loss, round_size=2, n_passes=2)
    np.testing.assert_allclose(b.phi, a.phi, rtol=1e-12)
    np.testing.assert_allclose(4 * b.learning_rate, a.learning_rate, rtol=1e-12)
    assert (np.abs(a.learning_rate - 0.5) > 1e-3).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_units_of_a_coordinate(loss, rng):
    """theta in units eight times smaller (x divided by 8): phi and rates follow.

    eps and zeta are one number each, so all coordinates change their unit together.
    """
    unit = 8.0
    pieces = [task_data(loss, rng, 12, 3) for _ in range(10)]
    size = n_parameters(loss, 3)
    a = smoothed(np.zeros(size), learning_rate=0.5, zeta=1.0)
    b = smoothed(np.zeros(size), learning_rate=0.5 * unit**2, zeta=1.0 / unit)
    for learner, factor in ((a, 1.0), (b, 1.0 / unit)):
        data = [(factor * x, y) for x, y in pieces]
        af.meta_train(pack(data, np.float64), learner, loss=loss, round_size=2, n_passes=2)
    np.testing.assert_allclose(b.phi, unit * a.phi, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(b.learning_rate, unit**2 * a.learning_rate, rtol=1e-12)


@dtypes
@pytest.mark.parametrize(
    "hyper", [{}, {"decay": 0.2, "p": 0.4}, {"max_learning_rate": 0.3}], ids=str
)
def test_in_one_dimension_isotropic_is_per_coordinate(hyper, dtype, rng):
    learners = [smoothed(np.zeros(1, dtype), isotropic=i, **hyper) for i in (True, False)]
    for n_tasks in (3, 1, 8):
        run = fake_run(rng, n_tasks, 1, dtype)
        for learner in learners:
            learner.update(run)
    assert learners[0].learning_rate == learners[1].learning_rate[0]
    np.testing.assert_array_equal(learners[0].phi, learners[1].phi)


def test_rho_of_one_round_and_of_constant_gradients():
    """rho = 1 after one round; m after m gradients of one sign (d = 1, slope always 1)."""
    for m in (1, 3, 10):
        tasks = af.Tasks(np.ones((4, m, 1)), np.full((4, m), 1e6))
        learner = smoothed(np.zeros(1), learning_rate=0.1)
        learner.update(af.run_tasks(tasks, learner.phi, learner.rule(coef=None), loss="absolute"))
        assert learner.rho[0] == pytest.approx(m, rel=1e-12)


def test_one_round_a_task_only_lowers_the_rate_and_two_never_raise_it(rng):
    """Lowered as t^(-1/4): rho = 1 then, and the rate rests at rho = 2."""
    for m in (1, 2):
        x, y = np.ones((2048, m, 1)), 1e3 * rng.choice([-1.0, 1.0], (2048, 1)) * np.ones((1, m))
        learner, rates = smoothed(np.zeros(1), learning_rate=1.0, zeta=0.1), []
        for part in af.Tasks(x, y).rounds(1):
            learner.update(
                af.run_tasks(part, np.zeros(1), learner.rule(coef=None), loss="absolute"),
                meta_step=0.0,
            )
            rates.append(learner.learning_rate[0])
        assert (np.diff(rates) <= 1e-15).all()
        if m == 1:
            slope = np.log(rates[-1] / rates[255]) / np.log(2048 / 256)
            assert slope == pytest.approx(-0.25, abs=0.01)


def test_the_rate_never_overflows_the_type_of_the_parameters():
    """b holds (3e38)^2 in float64, but its rate is beyond float32: the next tasks need a number."""
    learner = smoothed(np.zeros(2, np.float32), zeta=0.01)
    far = np.array([[3e38, 1.0]], np.float32)
    learner.update(af.TaskRun(far, np.full((1, 2), 1e-30, np.float32)))
    assert (learner.n_tasks, learner.n_skipped) == (1, 0)
    assert np.isfinite(learner.learning_rate).all()
    assert np.isfinite(learner.b).all()
    af.run_tasks(
        af.Tasks(far[None], [[0.0]]), learner.phi, learner.rule(coef=None), loss="absolute"
    )


def test_copies_and_pickles_go_their_own_way(rng):
    learner = smoothed(np.zeros(4), learning_rate=0.5)
    learner.update(fake_run(rng, 3, 4))
    twins = [copy.copy(learner), copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))]
    before = learner.phi.copy()
    for twin in twins:
        assert_same_bits(twin, learner)
    run = fake_run(rng, 5, 4)
    for twin in twins:
        twin.update(run)
    np.testing.assert_array_equal(learner.phi, before)
    learner.update(run)
    for twin in twins:
        assert_same_bits(twin, learner)


def test_rule_is_a_snapshot_and_aruba_starts_at_the_learned_rate(rng):
    tasks = pack([task_data("squared", rng, 9, 4) for _ in range(20)], np.float64)
    for isotropic in (False, True):
        learner = smoothed(np.zeros(4), learning_rate=0.5, isotropic=isotropic)
        af.meta_train(tasks, learner, loss="squared", round_size=5)
        plain, adaptive = learner.rule(coef=None), learner.rule(coef=0.3)
        first = tasks.shots(1)[0]
        once = [af.run_tasks(first, learner.phi, r, loss="squared") for r in (plain, adaptive)]
        np.testing.assert_allclose(once[0].theta_hat, once[1].theta_hat, rtol=1e-14, atol=1e-15)
        whole = [af.run_tasks(tasks, learner.phi, r, loss="squared") for r in (plain, adaptive)]
        assert (whole[0].theta_hat != whole[1].theta_hat).any()
        before = np.copy(learner.learning_rate)
        learner.update(whole[0])
        assert (np.asarray(learner.learning_rate) != before).any()
        np.testing.assert_array_equal(plain.learning_rate, before)
