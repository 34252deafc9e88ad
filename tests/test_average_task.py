"""Nothing to tune: the prior of one average task, tasks that weigh too much, both bounds."""

from __future__ import annotations

import copy
import time
import warnings

import numpy as np
import pytest
import reference_meta
from cases import HYPERPARAMETERS, dtypes, fake_run, single
from real_data import people

import aruba_fast as af
from aruba_fast_reproductions.demo.protocol import Settings, prepare

UPDATES = ({}, {"meta_step": 0.25}, {"weights": "random"}, {"weights": "random", "meta_step": 1.0})


@dtypes
@pytest.mark.parametrize("hyper", HYPERPARAMETERS, ids=str)
@pytest.mark.parametrize("how", range(len(UPDATES)))
def test_many_rounds_follow_the_equations(hyper, how, dtype, rng):
    """With a task among the last that is shortened, and one that is left out."""
    d, eps = 19, np.finfo(dtype).eps
    phi = single(rng.standard_normal(d))
    learner = af.MetaLearner(phi.astype(dtype), **({"learning_rate": 0.5} | hyper))
    renamed = {"learning_rate0" if k == "learning_rate" else k: v for k, v in hyper.items()}
    oracle = reference_meta.MetaLearner(phi, **({"learning_rate0": 0.5, "zeta": None} | renamed))
    for n_tasks in (1, 5, 2, 1, 17, 3):
        run = fake_run(rng, n_tasks, d, dtype)
        run.theta_hat[-1] *= 1e3 if n_tasks == 3 else 1.0
        if n_tasks == 17:
            run.grad_sq[4, 11] = np.nan
        options = dict(UPDATES[how])
        if options.get("weights"):
            options["weights"] = rng.integers(1, 20, n_tasks).astype(np.float64)
        start = learner.phi.astype(np.float64)
        learner.update(run, **options)
        oracle.update(run.theta_hat, run.grad_sq, start=start, **options)
        np.testing.assert_allclose(learner.b, oracle.b, rtol=20 * eps)  # by rounded rates
        np.testing.assert_allclose(learner.g, oracle.g, rtol=20 * eps)
        np.testing.assert_allclose(learner.rho, oracle.rho, rtol=40 * eps)
        np.testing.assert_allclose(learner.learning_rate, oracle.learning_rate, rtol=20 * eps)
        np.testing.assert_allclose(learner.phi, oracle.phi, rtol=1e3 * eps, atol=1e3 * eps)
        assert (learner.n_tasks, learner.n_skipped) == (oracle.n_tasks, oracle.n_skipped)
        rule = learner.rule()
        b, g = oracle.with_prior()
        if hyper.get("isotropic"):
            b, g = (mean * (1 + 1 / oracle.n_held) for mean in oracle.means())
        b = oracle.restraint**2 * b
        if cap := hyper.get("max_learning_rate"):
            b = np.minimum(b, cap**2 * g)
        np.testing.assert_allclose(rule.b, b, rtol=20 * eps)
        np.testing.assert_allclose(rule.g, g, rtol=20 * eps)
        weight = 4 if hyper.get("bound") == "tight" else 1
        assert rule.coef == pytest.approx(weight * oracle.n_held, rel=1e-14)
    one_tensor = len(hyper.get("tensors", [d])) == 1
    one_rate = (hyper.get("isotropic") and one_tensor) or hyper.get("train") == "scalar"
    assert np.isscalar(learner.learning_rate) == one_rate


@pytest.mark.parametrize("n_tasks", [0, 1, 3, 16, 17, 130])
@pytest.mark.parametrize("d", [1, 7, 33, 513, 40_001])
@pytest.mark.parametrize(
    "how", ["plain", "weighted", "scalar", "shortened", "nan", "float64", "tensors"]
)
def test_update_is_apply_of_statistics_bit_for_bit(n_tasks, d, how, rng):
    dtype = np.float64 if how == "float64" else np.float32
    start = rng.standard_normal(d).astype(dtype)
    hyper = {"train": "scalar" if how == "scalar" else "learned", "decay": 0.01}
    if how == "tensors":
        hyper["tensors"] = [n for n in (d // 3, d // 9, 0, d - d // 3 - d // 9) if n]
    both = [af.MetaLearner(start, **hyper) for _ in range(2)]
    for _ in range(3):
        run = fake_run(rng, n_tasks, d, dtype)
        if n_tasks and how in ("shortened", "float64"):
            run.theta_hat[n_tasks // 2] *= 1e6
        if n_tasks and how == "nan":
            run.grad_sq[n_tasks // 2, d // 2] = np.nan
        weights = rng.random(n_tasks) * 1e3 if how == "weighted" else None
        both[0].update(run, weights=weights, meta_step=0.5)
        both[1].apply(both[1].statistics(run, weights), 0.5)
        for name in ("phi", "learning_rate", "b", "g", "rho", "n_tasks", "n_skipped"):
            np.testing.assert_array_equal(*(getattr(one, name) for one in both), err_msg=name)
    assert both[0].n_skipped == (3 if how == "nan" and n_tasks else 0)


@pytest.mark.parametrize("d", [1, 40, 600])
def test_a_task_weighs_no_more_than_ten_average_ones(d, rng):
    """However far it went; and what is within that is not touched."""
    learner = af.MetaLearner(np.zeros(d))
    for _ in range(20):
        learner.update(fake_run(rng, 3, d, reach=0.1), meta_step=0.0)
    rate, b, g = learner.learning_rate, learner.b, learner.g
    mean = (2 * b / rate + rate * g).sum() / learner.n_tasks
    for length in (1e-3, 1.0, 1e5, 1e100):
        own = copy.deepcopy(learner)
        theta_hat, grad_sq = length * rng.standard_normal((1, d)), length * rng.random((1, d))
        spread = (theta_hat**2 / rate + rate * grad_sq).sum()
        own.update(af.TaskRun(theta_hat, grad_sq), meta_step=1.0)
        added = (2 * (own.b - b) / rate + rate * (own.g - g)).sum()
        assert added == pytest.approx(min(spread, 10 * mean), rel=1e-9, abs=1e-9 * mean)
        by = np.sqrt(min(1.0, 10 * mean / spread))
        np.testing.assert_allclose(own.phi, by * theta_hat[0], rtol=1e-12)


def test_parts_of_a_round_are_shortened_alike(rng):
    """The limit is that of the learner, whoever sums the round."""
    learner = af.MetaLearner(np.zeros(5))
    learner.update(fake_run(rng, 4, 5))
    run = fake_run(rng, 9, 5)
    run.theta_hat[[2, 7]] *= 1e4
    whole = learner.statistics(run)
    parts = [af.TaskRun(run.theta_hat[k : k + 3], run.grad_sq[k : k + 3]) for k in (0, 3, 6)]
    merged = sum(learner.statistics(part) for part in parts)
    for name in ("distance", "grad_sq", "theta_sum"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=4e-16)
    assert whole.distance.max() < 1e4  # ten average tasks, not (1e4)^2 / 2


def test_a_learner_without_a_gradient_or_a_way_keeps_its_rate():
    for theta_hat, grad_sq in (([[0.0, 0.0]], [[1.0, 2.0]]), ([[1.0, 1.0]], [[0.0, 0.0]])):
        learner = af.MetaLearner(np.zeros(2), learning_rate=0.25)
        learner.update(af.TaskRun(theta_hat, grad_sq))
        assert learner.learning_rate.tolist() == [0.25, 0.25]
        assert learner.rule() == af.OGD([0.25, 0.25])
        learner.update(af.TaskRun([[1.0, 3.0]], [[1.0, 2.0]]))
        assert (learner.learning_rate != 0.25).all()


def test_a_round_that_stands_for_billions_of_tasks_is_learned_at_once():
    """Its smoothing, a term a task, is of no interest: it took six seconds."""
    learner, started = af.MetaLearner(np.zeros(3)), time.thread_time()
    learner.apply(af.TaskStatistics(np.ones((3, 2, 3)), [2.0**31, 0.0], 2**31, 0))
    assert learner.n_tasks == 2**31
    assert time.thread_time() - started < 0.5


def test_a_coordinate_without_a_gradient_gets_the_rate_of_the_average_one():
    learner = af.MetaLearner(np.zeros(3))
    learner.update(af.TaskRun([[0.0, 2.0, 4.0]], [[0.0, 1.0, 5.0]]))
    assert learner.learning_rate[0] == pytest.approx(np.sqrt((10 / 3) / (6 / 3)), rel=1e-15)


@pytest.mark.parametrize("hyper", [{}, {"bound": "tight"}, {"isotropic": True}], ids=str)
@pytest.mark.parametrize("n_passes", [1, 3])
@pytest.mark.parametrize("round_size", [1, 7, 100])
@dtypes
def test_meta_train_is_the_loop(hyper, n_passes, round_size, dtype, rng):
    """With the steps of the initialization that fall to nothing."""
    x = rng.standard_normal((30, 6, 4)).astype(dtype)
    y = np.einsum("tmd,td->tm", x, rng.standard_normal((30, 4)))
    y[3] *= 30.0
    tasks = af.Tasks(x, y)
    learner, loop = (af.MetaLearner(np.zeros(4, dtype), **hyper) for _ in range(2))
    af.meta_train(tasks, learner, loss="squared", round_size=round_size, n_passes=n_passes, seed=5)
    loop.first_rate(tasks, loss="squared")
    visited, total = 0, n_passes * len(tasks)
    for part in tasks.rounds(round_size, n_passes, seed=5):
        run = af.run_tasks(part, loop.phi, loop.rule(coef=None), loss="squared")
        loop.update(run, meta_step=1.0 - visited / total)
        visited += len(part)
    for name in ("phi", "learning_rate", "b", "g", "rho", "n_tasks"):
        np.testing.assert_array_equal(getattr(learner, name), getattr(loop, name), err_msg=name)


# ---- no unit is left to choose -------------------------------------------------------------------


def trained(scale_x, scale_y, *, loss="squared", dtype=np.float64, **hyper):
    """A learner, and what its rule makes of new tasks, on data in these units."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((40, 8, 3)).astype(dtype)
    y = np.einsum("tmd,td->tm", x, 1.0 + rng.standard_normal((40, 3)) * [0.1, 1.0, 2.0])
    tasks, new = af.Tasks(x * dtype(scale_x), (y * scale_y).astype(dtype)).split(0.75)
    learner = af.MetaLearner(np.zeros(3, dtype), **hyper)
    af.meta_train(tasks, learner, loss=loss, n_passes=4, seed=0)
    return learner, af.run_tasks(new, learner.phi, learner.rule(), loss=loss).theta_hat


@pytest.mark.parametrize("hyper", [{}, {"bound": "tight"}, {"train": "scalar"}], ids=str)
@pytest.mark.parametrize("loss", ["squared", "absolute"])
@pytest.mark.parametrize(("scale_x", "scale_y"), [(2.0**-12, 1.0), (1.0, 2.0**13), (2.0**9,) * 2])
def test_powers_of_two_change_no_bit(scale_x, scale_y, loss, hyper):
    plain, theta = trained(1.0, 1.0, loss=loss, **hyper)
    scaled, other = trained(scale_x, scale_y, loss=loss, **hyper)
    unit = scale_y / scale_x
    np.testing.assert_array_equal(scaled.phi, unit * plain.phi)
    np.testing.assert_array_equal(other, unit * theta)


@pytest.mark.parametrize("scale_x", [1e-4, 1e4])
@pytest.mark.parametrize("scale_y", [1e-4, 1e4])
def test_other_units_learn_the_same(scale_x, scale_y):
    _, theta = trained(1.0, 1.0)
    _, other = trained(scale_x, scale_y)
    np.testing.assert_allclose(other * (scale_x / scale_y), theta, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factor", [1e-4, 0.3, 1e4])
@pytest.mark.parametrize("hyper", [{}, {"bound": "tight"}, {"train": "scalar"}], ids=str)
def test_a_loss_times_a_factor_has_the_same_iterates(factor, hyper, rng):
    """Tasks that bring their own gradients, as a network's do."""
    centers = rng.standard_normal((60, 4)) * [0.1, 0.5, 1.0, 3.0]
    noise = rng.standard_normal((60, 5, 4))
    paths = []
    for k in (1.0, factor):
        learner = af.MetaLearner(np.ones(4), learning_rate=0.1 / k, **hyper)
        path = []
        for center, errors in zip(centers, noise, strict=True):
            theta, grad_sq = learner.phi.copy(), np.zeros(4)
            for error in errors:
                rate = np.broadcast_to(learner.learning_rate, 4).copy()
                af.step(theta, k * (theta - center + error), rate, grad_sq=grad_sq)
            learner.update(af.TaskRun(theta[None], grad_sq[None]))
            path.append(theta)
        paths.append(np.array(path))
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-8, atol=1e-9)


# ---- the constant of the bound -------------------------------------------------------------------


def test_the_tight_bound_falls_along_the_rate_as_the_loss_of_the_task_does(rng):
    """d(1/2 D^2/eta + 1/2 eta G) / d log eta is that of the task's own online loss.

    To first order in the rate: with D = -eta sum g, both are -eta sum_{i<l} g_i g_l.
    """
    x = rng.standard_normal((12, 1, 5))
    tasks = af.Tasks(x.reshape(1, 12, 5), rng.standard_normal((1, 12)))
    phi = rng.standard_normal(5)
    eta = 1e-6

    def online_loss(rate):
        return af.run_tasks(tasks, phi, af.OGD(rate), loss="squared").loss[0]

    run = af.run_tasks(tasks, phi, af.OGD(eta), loss="squared")
    distance_sq = ((run.theta_hat[0] - phi) ** 2).sum()
    of_bound = -0.5 * distance_sq / eta + 0.5 * eta * run.grad_sq[0].sum()
    h = 1e-2
    of_loss = (online_loss(eta * np.exp(h)) - online_loss(eta * np.exp(-h))) / (2 * h)
    assert of_bound == pytest.approx(of_loss, rel=1e-3)
    grads = tasks.x * (tasks.x @ phi - tasks.y)[:, None]  # at phi, as for a vanishing rate
    pairs = (grads.sum(axis=0) ** 2 - (grads**2).sum(axis=0)).sum() / 2
    assert of_bound == pytest.approx(-eta * pairs, rel=1e-3)


@pytest.mark.parametrize("bound", ["tight", "blog"])
def test_noise_moves_only_the_rates_of_the_blogs_bound(bound):
    """Gradients of random signs say nothing, and the tight rate stays where it was."""
    logs = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        learner = af.MetaLearner(np.zeros(1), learning_rate=1.0, bound=bound)
        for _ in range(100):
            # As many as make the mean of the logarithm that of the square: one alone has -.6.
            signs = rng.choice([-1.0, 1.0], (64, 16)).sum(axis=1)[:, None]
            run = af.TaskRun(-learner.learning_rate * signs, np.full((64, 1), 16.0))
            learner.update(run, meta_step=0.0)
        logs.append(np.log(learner.learning_rate[0]))
    mean, error = np.mean(logs), np.std(logs, ddof=1) / np.sqrt(len(logs))
    if bound == "tight":
        assert abs(mean) < 3 * error
        assert error < 0.05
    else:
        assert mean < -1.0


def test_the_coefficient_of_a_smoothed_learner_is_the_number_of_its_tasks():
    learner = af.MetaLearner(np.zeros(2), learning_rate=0.5, zeta=1.0)
    assert learner.rule() == af.OGD([0.5, 0.5])
    learner.update(af.TaskRun([[1.0, 3.0]] * 3, [[4.0, 4.0]] * 3))
    assert learner.rule() == learner.rule(3.0)


@pytest.mark.parametrize("name", ["wages", "lenk", "school", "parkinson", "fitbit", "restaurants"])
def test_defaults_on_real_tables(name):
    """Nothing given: no person's run diverges, and adapting helps."""
    split = prepare(people(name), Settings(), 3)
    learner = af.MetaLearner(np.zeros(split.train.n_features, np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        af.meta_train(split.train, learner, loss="squared", n_passes=10, seed=3)
    _, support = split.supports[-1]
    run = af.run_tasks(support, learner.phi, learner.rule(), loss="squared")
    adapted = af.evaluate(split.query, run.theta_hat, loss="squared")
    before = af.evaluate(split.query, learner.phi, loss="squared")
    assert learner.n_skipped <= 1  # an outlier of Parkinson's patients
    assert np.isfinite(adapted).all()
    assert adapted.mean() < before.mean()
