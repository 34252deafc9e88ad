"""Scale, initialization, full matrix and transfer, each against its equations and its guarantee."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import LOSSES, n_parameters, pack, task_data
from real_data import TABLES, standardized
from scipy import integrate, special, stats

import aruba_fast as af
from aruba_fast.theory.full_matrix import matrix_rate
from aruba_fast.theory.scale import ewoo_mean
from aruba_fast.theory.transfer import student_quantile

# ---- the scale ---------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [1e-6, 0.3, 20.0, 1e6])
@pytest.mark.parametrize("c", [1e-3, 1.0, 500.0])
def test_the_mean_of_ewoo_on_the_half_line(a, c):
    """On (0, inf): sqrt(a/c) K_2(z) / K_1(z) with z = 2 sqrt(a c)."""
    z = 2.0 * np.sqrt(a * c)
    expected = np.sqrt(a / c) * special.kve(2, z) / special.kve(1, z)
    assert ewoo_mean(a, c, 1e-12, 1e12) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0.1, 1.0), (0.5, 0.9), (2.0, 3.0), (0.01, 0.02)])
def test_the_mean_of_ewoo_on_an_interval(low, high):
    for a, c in ((0.0, 0.0), (0.3, 1.2), (50.0, 80.0), (2000.0, 1000.0)):
        peak = min(max(np.sqrt(a / c), low), high) if c else low
        least = a / peak + c * peak

        def weight(v, a=a, c=c, least=least):
            return np.exp(least - a / v - c * v)

        # Break points close to the peak, which may be as narrow as 1e-5 of its place.
        near = [peak * (1 + s * 10.0**-k) for k in range(1, 7) for s in (-1, 1)]
        points = [v for v in [peak, *near] if low < v < high]
        total, first = (
            integrate.quad(f, low, high, points=points or None, limit=500)[0]
            for f in (weight, lambda v, w=weight: v * w(v))
        )
        assert ewoo_mean(a, c, low, high) == pytest.approx(first / total, rel=1e-5)


def test_the_mean_of_ewoo_is_its_peak_where_the_exponent_leaves_float64():
    assert ewoo_mean(1e308, 1e308, 0.5, 2.0) == 1.0
    assert ewoo_mean(1e308, 1e300, 0.5, 2.0) == 2.0


@pytest.mark.parametrize("method", ["ftl", "ewoo"])
@pytest.mark.parametrize("most", [None, 9, 64])
def test_the_scale_against_its_equations(method, most, rng):
    learner = af.ScaleLearner(diameter=2.0, eps=0.2, method=method, lipschitz=3.0, max_rounds=most)
    phi, sigma, moved, longest = rng.standard_normal(3) / 4, 0.0, 0.0, most or 0
    for m in (4, 16, 64, 9):
        theta = rng.standard_normal((2, 3)) / 4
        learner.update(theta, phi, m)
        sigma += 2 * 3.0 * np.sqrt(m)
        moved += 3.0 * np.sqrt(m) * ((theta - phi) ** 2).sum()
        if method == "ftl":
            expected = np.sqrt(0.04 + moved / sigma)
        else:
            longest = max(longest, m)
            gamma = 2.0 / (2.0 * 3.0 * np.sqrt(longest)) * 0.2**2 / 2.0**2
            a, c = gamma * (moved + 0.04 * sigma), gamma * sigma
            grid = np.linspace(0.2, np.hypot(2.0, 0.2), 400_001)
            weight = np.exp(-a / grid - c * grid)
            expected = (grid * weight).sum() / weight.sum()
        assert learner.scale == pytest.approx(expected, rel=1e-5)
        assert learner.rule(25).learning_rate == pytest.approx(learner.scale / 15.0, rel=1e-14)
    assert learner.n_tasks == 8


@pytest.mark.parametrize("method", ["ftl", "ewoo"])
@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0])
def test_the_scale_is_learned_without_knowing_it(method, spread, rng):
    """Average loss (B^2/v + v) comes near the least of any fixed v, 2 V."""
    n_tasks = 4000
    b_sq = spread**2 * rng.uniform(0.5, 1.5, n_tasks)
    learner = af.ScaleLearner(diameter=1.5, n_tasks=n_tasks, method=method, max_rounds=1)
    total = 0.0
    for each in b_sq:
        v = learner.scale
        total += each / v + v
        learner.update([[np.sqrt(each)]], [0.0], 1)
    eps, least = 1.5 * n_tasks**-0.25, 2.0 * np.sqrt(b_sq.mean())
    # The price of the smoothing: at most eps in v, and the regret of the method.
    allowed = {"ftl": least + eps, "ewoo": least + 3 * eps}[method]
    assert total / n_tasks <= allowed
    assert total / n_tasks >= least


# ---- the initialization ------------------------------------------------------------------------


def test_running_mean_is_the_last_expert_and_constant_steps_the_others(rng):
    theta = rng.standard_normal((40, 3))
    experts = af.InitializationExperts(np.ones(3), n_tasks=40, alphas=[0.1, 0.7])
    paths = [np.ones(3), np.ones(3)]
    for t, end in enumerate(theta):
        experts.update(end)
        paths = [p + a * (end - p) for p, a in zip(paths, (0.1, 0.7), strict=True)]
        np.testing.assert_allclose(experts.experts[:2], paths, rtol=1e-12)
        np.testing.assert_allclose(experts.experts[2], theta[: t + 1].mean(axis=0), atol=1e-12)
    together = af.InitializationExperts(np.ones(3), n_tasks=40, alphas=[0.1, 0.7])
    together.update(theta)
    np.testing.assert_array_equal(together.phi, experts.phi)


@pytest.mark.parametrize("speed", [0.0, 0.01, 0.1, 1.0])
def test_experts_lose_a_logarithm_to_the_best_step(speed, rng):
    n_tasks, diameter = 500, 0.0
    center = np.cumsum(speed * rng.standard_normal((n_tasks, 2)), axis=0)
    theta = center + 0.3 * rng.standard_normal((n_tasks, 2))
    experts = af.InitializationExperts(np.zeros(2), n_tasks=n_tasks)
    for end in theta:
        diameter = max(diameter, np.linalg.norm(experts.experts - end, axis=1).max())
        experts.update(end)
    known = af.InitializationExperts(np.zeros(2), n_tasks=n_tasks, diameter=diameter)
    mixed = 0.0
    for end in theta:
        mixed += 0.5 * ((known.phi - end) ** 2).sum()
        known.update(end)
    assert mixed <= known.losses.min() + diameter**2 * np.log(len(known.alphas)) + 1e-9


def test_the_grid_has_a_step_near_every_good_one():
    for n_tasks in (1, 7, 100, 10_000):
        alphas = af.InitializationExperts(np.zeros(1), n_tasks=n_tasks).alphas[:-1]
        assert alphas[-1] == 1.0
        assert alphas[0] <= 2.0 / np.sqrt(n_tasks)
        np.testing.assert_allclose(alphas[1:] / alphas[:-1], 2.0)


@pytest.mark.parametrize("alpha", [0.05, 0.3, 1.0])
def test_dynamic_regret_is_below_its_bound(alpha, rng):
    for _ in range(50):
        theta = rng.uniform(-1, 1, (80, 2)) / np.sqrt(2)
        phi = np.zeros((80, 2))
        for t in range(79):
            phi[t + 1] = phi[t] + alpha * (theta[t] - phi[t])
        for path in (theta, np.zeros(2), np.cumsum(0.01 * rng.standard_normal((80, 2)), axis=0)):
            regret = af.dynamic_regret(phi, theta, path)
            whole = np.broadcast_to(path, (80, 2))
            width = np.linalg.norm(whole[:, None] - phi[None], axis=2).max()
            bound = af.dynamic_regret_bound(phi, theta, path, alpha=alpha, diameter=width)
            assert regret <= bound + 1e-12


def test_the_running_mean_identity(rng):
    """sum |phi_t - theta_t|^2/2 - min = sum |phi_t - theta_t|^2 / (2 t), exactly."""
    theta = rng.standard_normal((60, 4))
    learner = af.MetaLearner(rng.standard_normal(4))
    phi = []
    for end in theta:
        phi.append(learner.phi.copy())
        learner.update(af.TaskRun(end[None], np.ones((1, 4))))
    squares = ((np.array(phi) - theta) ** 2).sum(axis=1)
    regret = af.dynamic_regret(phi, theta, theta.mean(axis=0))
    assert regret == pytest.approx((squares / (2.0 * np.arange(1, 61))).sum(), rel=1e-12)


# ---- the full matrix ---------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 7, 40])
def test_the_matrix_of_rates_solves_its_equation(d, rng):
    b, g = (m @ m.T + 0.01 * np.eye(d) for m in rng.standard_normal((2, d, d + 2)))
    h = matrix_rate(b, g)
    assert np.linalg.norm(h @ g @ h - b) <= 1e-11 * np.linalg.norm(b) * np.linalg.cond(g)
    np.testing.assert_array_equal(h, h.T)
    assert np.linalg.eigvalsh(h).min() > 0
    for scale in (1.0, 1e-8):  # diagonal: the rates of each coordinate
        diagonal = matrix_rate(np.diag(np.diag(b)) * scale, np.diag(np.diag(g)))
        np.testing.assert_allclose(
            diagonal, np.diag(np.sqrt(scale * np.diag(b) / np.diag(g))), atol=1e-12
        )


def matrix_task(x, y, phi, h, *, loss, batch_size=1, n_epochs=1):
    theta, iterates, total, norms = phi.copy(), [], 0.0, 0.0
    outer = np.zeros((len(phi), len(phi)))
    for _ in range(n_epochs):
        for first in range(0, len(y), batch_size):
            rows = slice(first, first + batch_size)
            value, grad = reference.loss_and_grad(theta, x[rows], y[rows], loss)
            iterates.append(theta)
            total += value
            norms += grad @ h @ grad
            outer += np.outer(grad, grad)
            theta = theta - h @ grad
    return theta, np.mean(iterates, axis=0), total, norms, outer


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("options", [{}, {"batch_size": 4, "n_epochs": 2}])
def test_tasks_with_a_matrix_of_rates(loss, options, rng):
    pieces = [task_data(loss, rng, m, 3) for m in (1, 5, 17, 8, 30)]
    size = n_parameters(loss, 3)
    learner = af.FullMatrixLearner(0.1 * rng.standard_normal(size), learning_rate=0.2)
    b, g = np.eye(size) * learner.B[0, 0], np.eye(size)
    for repeat in range(2):
        phi, h = learner.phi, learner.H
        run = learner.run(pack(pieces, np.float64), loss=loss, **options)
        expected = [matrix_task(x, y, phi, h, loss=loss, **options) for x, y in pieces]
        for k, (hat, bar, total, norms, _) in enumerate(expected):
            np.testing.assert_allclose(run.theta_hat[k], hat, rtol=0, atol=1e-11)
            np.testing.assert_allclose(run.theta_bar[k], bar, rtol=0, atol=1e-11)
            assert run.loss[k] == pytest.approx(total, rel=1e-11)
            assert run.grad_norm_sq[k] == pytest.approx(norms, rel=1e-9)
        learner.update(run)
        away = np.array([e[0] for e in expected]) - phi
        schedule = sum(1.0 / (5 * repeat + k + 2.0) for k in range(5))
        b = b + 0.5 * away.T @ away + 0.2**2 * schedule * np.eye(size)
        g = g + sum(e[4] for e in expected) + schedule * np.eye(size)
        np.testing.assert_allclose(learner.B, b, atol=1e-9)
        np.testing.assert_allclose(learner.G, g, atol=1e-9)
        np.testing.assert_allclose(learner.H @ g @ learner.H, b, atol=1e-9)


def test_a_matrix_of_rates_is_ogd_in_other_coordinates(rng):
    """With the features multiplied by H^(1/2), H is the identity: the native engine as oracle."""
    pieces = [task_data("logistic", rng, m, 4) for m in (9, 20)]
    learner = af.FullMatrixLearner(np.zeros(4), learning_rate=0.3)
    for _ in range(3):
        learner.update(learner.run(pack(pieces, np.float64), loss="logistic"))
    values, vectors = np.linalg.eigh(learner.H)
    root = (vectors * np.sqrt(values)) @ vectors.T
    turned = pack([(x @ root, y) for x, y in pieces], np.float64)
    start = np.linalg.solve(root, learner.phi)
    native = af.run_tasks(turned, start, af.OGD(1.0), loss="logistic")
    run = learner.run(pack(pieces, np.float64), loss="logistic")
    np.testing.assert_allclose(run.theta_hat, native.theta_hat @ root, atol=1e-11)
    np.testing.assert_allclose(run.grad_norm_sq, native.grad_sq.sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("table", TABLES)
def test_regret_with_a_matrix_of_rates_is_below_its_bound(table):
    tasks = standardized(table)
    tasks = tasks[: min(len(tasks), 60)]
    steepest = float((tasks.x**2).sum(axis=1).max())
    best = af.best_in_hindsight(tasks, "huber")
    learner = af.FullMatrixLearner(np.zeros(tasks.n_features), learning_rate=0.3 / steepest)
    for first in range(0, len(tasks), 10):
        part = slice(first, first + 10)
        run = learner.run(tasks[part], loss="huber")
        bound = learner.regret_upper_bound(run, best.theta_star[part])
        regret = run.loss - best.loss[part]
        assert run.finite.all()
        assert (regret <= bound * (1 + 1e-9)).all()
        learner.update(run)


def test_a_matrix_sees_correlations_that_rates_do_not(rng):
    """Tasks that differ along one diagonal direction only."""
    d, direction = 6, np.ones(6) / np.sqrt(6)
    x = rng.standard_normal((600, 30, d)) / np.sqrt(d)
    theta = 2.0 * rng.standard_normal((600, 1)) * direction
    y = np.einsum("tmd,td->tm", x, theta) + rng.standard_normal((600, 30))
    tasks = af.Tasks(x, y)
    matrix = af.FullMatrixLearner(np.zeros(d), learning_rate=0.3)
    rates = af.MetaLearner(np.zeros(d), learning_rate=0.3)
    best, lost = af.best_in_hindsight(tasks, "squared"), np.zeros(2)
    for first in range(0, 600, 10):
        part = slice(first, first + 10)
        run = matrix.run(tasks[part], loss="squared")
        other = af.run_tasks(tasks[part], rates.phi, rates.rule(), loss="squared")
        if first >= 300:
            lost += [(r.loss - best.loss[part]).sum() for r in (run, other)]
        matrix.update(run)
        rates.update(other)
    assert lost[0] < 0.85 * lost[1]
    values, vectors = np.linalg.eigh(matrix.H)
    assert abs(vectors[:, -1] @ direction) > 0.99
    assert values[-1] > 3 * values[-2]


def test_a_task_that_diverges_is_left_out(rng):
    x, y = rng.standard_normal((3, 40, 2)), rng.standard_normal((3, 40))
    x[1] *= 1e3
    learner = af.FullMatrixLearner(np.zeros(2), learning_rate=1.0)
    run = learner.run(af.Tasks(1e-2 * x, y), loss="squared")
    run_far = learner.run(af.Tasks(np.where(x > 1e2, 1e200, x), y), loss="squared")
    assert run.finite.sum() >= 2
    learner.update(run_far)
    assert learner.n_skipped == int((~run_far.finite).sum()) > 0
    assert np.isfinite(learner.H).all()


# ---- online to batch ---------------------------------------------------------------------------


def test_averages_of_starts_and_rates(rng):
    learner, average = af.MetaLearner(np.zeros(3)), af.MetaAverage()
    starts, rates = [], []
    for size in (1, 4, 2):
        average.add(learner, size)
        starts += [learner.phi.copy()] * size
        rates += [learner.learning_rate.copy()] * size
        learner.update(af.TaskRun(rng.standard_normal((size, 3)), rng.random((size, 3))))
    np.testing.assert_allclose(average.phi, np.mean(starts, axis=0), atol=1e-14)
    np.testing.assert_allclose(average.learning_rate, np.mean(rates, axis=0), rtol=1e-13)


def test_the_average_pair_is_no_worse_than_the_average_of_pairs(rng):
    """Jensen, on the bounds of any one task."""
    learner, average = af.MetaLearner(np.zeros(3)), af.MetaAverage()
    star, squares = rng.standard_normal((1, 3)), rng.random((1, 3))
    run, bounds = af.TaskRun(star, squares), []
    for _ in range(50):
        average.add(learner)
        bounds.append(af.regret_upper_bound(run, star, learner.phi, learner.rule())[0])
        learner.update(af.TaskRun(rng.standard_normal((1, 3)), rng.random((1, 3))))
    both = af.regret_upper_bound(run, star, average.phi, af.OGD(average.learning_rate))
    assert both[0] <= np.mean(bounds)


@pytest.mark.parametrize("freedom", [4, 5, 9, 30, 1000])
@pytest.mark.parametrize("probability", [0.75, 0.95, 0.975, 0.995])
def test_quantiles_of_student(freedom, probability):
    expected = stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(expected, rel=2e-2 / freedom)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """500 experiments of 20 tasks each; 95 % intervals of the mean risk over all tasks."""
    rng, covered = np.random.default_rng(0), 0
    x = rng.standard_normal((500 * 20, 6, 2))
    theta = rng.standard_normal((500 * 20, 2))
    support, query = af.Tasks(x, np.einsum("tmd,td->tm", x, theta)).shots(4)
    risks = []
    for k in range(500):
        part = slice(20 * k, 20 * k + 20)
        risks.append(
            af.transfer_risk(support[part], query[part], np.zeros(2), af.OGD(0.05), loss="huber")
        )
    truth = np.mean([r.mean for r in risks])
    covered = np.mean([r.low <= truth <= r.high for r in risks])
    assert 0.92 <= covered <= 0.98


def test_risk_of_average_and_last_iterate(rng):
    x = rng.standard_normal((30, 9, 2))
    support, query = af.Tasks(x, x.sum(axis=2)).shots(6)
    run = af.run_tasks(support, np.zeros(2), af.OGD(0.1), loss="squared", average=True)
    for last, theta in ((False, run.theta_bar), (True, run.theta_hat)):
        found = af.transfer_risk(
            support, query, np.zeros(2), af.OGD(0.1), loss="squared", last=last
        )
        np.testing.assert_array_equal(found.risk, af.evaluate(query, theta, loss="squared"))
        low, high = stats.t.interval(0.95, 29, found.risk.mean(), stats.sem(found.risk))
        assert (found.low, found.high) == (
            pytest.approx(low, rel=1e-4),
            pytest.approx(high, rel=1e-4),
        )


def test_average_excess_risk_is_below_average_regret_over_m(rng):
    """The expectation of online to batch, averaged over many tasks."""
    m = 20
    x = rng.standard_normal((3000, m + 30, 2))
    theta = rng.standard_normal((3000, 2))
    y = np.einsum("tmd,td->tm", x, theta) + rng.standard_normal((3000, m + 30))
    support, query = af.Tasks(x, y).shots(m)
    rule = af.OGD(0.1)
    risk = af.transfer_risk(support, query, np.zeros(2), rule, loss="squared")
    least = af.evaluate(query, theta, loss="squared").mean()
    run = af.run_tasks(support, np.zeros(2), rule, loss="squared")
    regret = af.regret(run, af.best_in_hindsight(support, "squared")).mean()
    assert 0 < risk.mean - least <= regret / m
