"""Regret stays below its bounds, on every task of every table and for every algorithm."""

from __future__ import annotations

import numpy as np
import pytest
from cases import LOSSES, N_CLASSES, labels_of, n_parameters, pack, task_data
from real_data import TABLES, standardized
from scipy.optimize import minimize

import aruba_fast as af
from aruba_fast import theory


def rules(size, steepest):
    """Every rule, at rates that are stable for rows of that largest squared norm."""
    rate = 0.3 / steepest
    each = rate * np.linspace(0.2, 1.0, size)
    return {
        "ogd": af.OGD(rate),
        "ogd_vector": af.OGD(each),
        "adagrad": af.AdaGrad(0.1, 1e-3),
        "aruba++": af.ArubaPlusPlus(each**2, 1.0, 0.3),
    }


def by_hand(name, rule, phi, theta_star, grad_sq, m):
    """U in plain float64, from the page of equations and not from the kernel."""
    a = np.abs(phi - theta_star)
    if name in ("ogd", "ogd_vector"):
        eta = np.broadcast_to(rule.learning_rate, phi.shape)
        return (a**2 / (2 * eta) + eta * grad_sq / 2).sum()
    if name == "adagrad":
        root = np.sqrt(grad_sq + rule.delta)
        far = a + rule.learning_rate * np.sqrt(m * np.log1p(grad_sq / rule.delta))
        noise = rule.learning_rate * (root - np.sqrt(rule.delta))
        return (far**2 * root / (2 * rule.learning_rate) + noise).sum()
    eta = np.sqrt(rule.b / rule.g)
    far = a + eta * np.sqrt(m * grad_sq)
    last = np.sqrt(rule.b / (rule.g + rule.coef * grad_sq))
    return (far**2 / (2 * last) + eta * grad_sq / 2).sum()


def classes(loss):
    return N_CLASSES if loss == "softmax" else None


# ---- R <= U ------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("loss", LOSSES)
def test_regret_is_below_its_bound_on_every_real_task(table, loss):
    """Wages, Lenk, School, Parkinson: all tasks, all rules, with and without batches and a ball."""
    tasks = standardized(table, lambda y: labels_of(loss, y))
    size = n_parameters(loss, tasks.n_features)
    steepest = float((tasks.x**2).sum(axis=1).max())
    phi = 0.1 * np.random.default_rng(0).standard_normal(size) / np.sqrt(size)
    for options, repeats in (
        ({"radius": 2.0}, 1),
        ({"radius": 0.5, "batch_size": 4, "n_epochs": 3}, 3),
    ):
        best = theory.best_in_hindsight(tasks, loss=loss, n_classes=classes(loss), **options)
        steps = repeats * np.ceil(tasks.sizes / options.get("batch_size", 1))
        for name, rule in rules(size, steepest).items():
            run = af.run_tasks(tasks, phi, rule, loss=loss, **options)
            regret = theory.regret(run, best)
            bound = theory.regret_upper_bound(run, best, phi, rule, n_steps=steps, diameter=None)
            assert np.isfinite(regret).all()
            assert (regret <= bound * (1 + 1e-9)).all(), name


@pytest.mark.parametrize("loss", LOSSES)
def test_regret_is_below_its_bound_without_a_ball(loss, rng):
    pieces = [task_data(loss, rng, int(rng.integers(8, 60)), 2) for _ in range(300)]
    pieces = [(x, y) for x, y in pieces if _has_minimizer(loss, x, y)]
    tasks, size = pack(pieces, np.float64), n_parameters(loss, 2)
    best = theory.best_in_hindsight(tasks, loss=loss, n_classes=classes(loss))
    phi = 0.1 * rng.standard_normal(size)
    assert len(tasks) > 20
    for name, rule in rules(size, 1.0).items():
        run = af.run_tasks(tasks, phi, rule, loss=loss)
        bound = theory.regret_upper_bound(run, best, phi, rule, n_steps=tasks.sizes)
        assert (theory.regret(run, best) <= bound * (1 + 1e-9)).all(), name


def _has_minimizer(loss, x, y):
    try:
        theory.best_in_hindsight(pack([(x, y)], np.float64), loss=loss, n_classes=classes(loss))
    except ValueError:
        return False
    return True


def test_a_bound_that_is_too_small_would_be_seen():
    """The worst case is nearly attained: linear losses of one direction against OGD."""
    m, eta = 64, 1.0 / 8.0
    tasks = af.Tasks(np.ones((1, m, 1)), -1e6 * np.ones((1, m)))  # |z - y| is linear here
    run = af.run_tasks(tasks, np.zeros(1), af.OGD(eta), loss="absolute", radius=4.0)
    best = theory.best_in_hindsight(tasks, loss="absolute", radius=4.0)
    regret = theory.regret(run, best)
    bound = theory.regret_upper_bound(run, best, np.zeros(1), af.OGD(eta))
    assert 0.9 * bound[0] < regret[0] <= bound[0]


# ---- the identity and the forms ----------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 5])
def test_the_regret_identity_of_linear_losses(d, rng):
    """sum <g, theta_i - u> = (|phi - u|^2 - |theta_{m+1} - u|^2 + sum |g|^2) / 2, all weighted."""
    for _ in range(20):
        m, eta = 30, 0.1 + rng.random(d)
        phi, u, grads = rng.standard_normal(d), rng.standard_normal(d), rng.standard_normal((m, d))
        theta, squares, regret = phi.copy(), np.zeros(d), 0.0
        for grad in grads:
            regret += grad @ (theta - u)
            af.step(theta, grad.copy(), eta, grad_sq=squares)
        expected = (phi - u) ** 2 / eta - (theta - u) ** 2 / eta + eta * squares
        assert regret == pytest.approx(0.5 * expected.sum(), rel=1e-12, abs=1e-12)
        run = af.TaskRun(theta[None], squares[None])
        bound = theory.regret_upper_bound(run, u[None], phi, af.OGD(eta))
        left = 0.5 * ((theta - u) ** 2 / eta).sum()
        assert bound[0] - left == pytest.approx(regret, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("d", [1, 3, 7, 8, 9, 16, 37])
def test_the_kernel_against_the_equations(d, rng):
    for name, rule in rules(d, 1.0).items():
        n_tasks, m = 5, 12.0
        star, phi = rng.standard_normal((n_tasks, d)), rng.standard_normal(d)
        squares = rng.random((n_tasks, d))
        run = af.TaskRun(star + 1.0, squares)
        bound = theory.regret_upper_bound(run, star, phi, rule, n_steps=m)
        for t in range(n_tasks):
            expected = by_hand(name, rule, phi, star[t], squares[t], m)
            assert bound[t] == pytest.approx(expected, rel=1e-13)
        own = theory.regret_upper_bound(run, star, np.tile(phi, (n_tasks, 1)), rule, n_steps=m)
        np.testing.assert_array_equal(own, bound)
        if "ogd" not in name:
            given = theory.regret_upper_bound(run, star, phi, rule, diameter=3.0)
            assert given.shape == (n_tasks,)
            assert given[0] == pytest.approx(_with_diameter(name, rule, squares[0], 3.0), rel=1e-13)


def _with_diameter(name, rule, grad_sq, far):
    if name == "adagrad":
        root = np.sqrt(grad_sq + rule.delta)
        noise = rule.learning_rate * (root - np.sqrt(rule.delta))
        return (far**2 * root / (2 * rule.learning_rate) + noise).sum()
    eta, last = np.sqrt(rule.b / rule.g), np.sqrt(rule.b / (rule.g + rule.coef * grad_sq))
    return (far**2 / (2 * last) + eta * grad_sq / 2).sum()


def test_the_forms_of_the_blog(rng):
    star, phi, squares = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.random((4, 3))
    run, eta = af.TaskRun(star, squares), np.array([0.1, 0.2, 0.3])
    distance = ((phi - star) ** 2 / (2 * eta)).sum(axis=1)
    found = theory.regret_upper_bound(run, star, phi, af.OGD(eta), form="blog")
    np.testing.assert_allclose(found, distance + (eta * squares).sum(axis=1), rtol=1e-13)
    found = theory.regret_upper_bound(
        run, star, phi, af.OGD(0.1), form="blog", n_steps=[5, 6, 7, 8], lipschitz=2.0
    )
    expected = ((phi - star) ** 2).sum(axis=1) / 0.2 + 0.1 * 4.0 * np.array([5, 6, 7, 8])
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_a_coordinate_that_cannot_move_costs_what_it_lacks():
    run = af.TaskRun(np.zeros((1, 2)), np.ones((1, 2)))
    bound = theory.regret_upper_bound(run, [[0.0, 1.0]], np.zeros(2), af.OGD([0.0, 0.5]))
    assert bound[0] == 1.25
    assert (
        theory.regret_upper_bound(run, [[1.0, 0.0]], np.zeros(2), af.OGD([0.0, 0.5]))[0] == np.inf
    )


# ---- derivatives -------------------------------------------------------------------------------


def test_derivatives_against_differences(rng):
    d, n_tasks = 5, 3
    star, phi = rng.standard_normal((n_tasks, d)), rng.standard_normal(d)
    squares = rng.random((n_tasks, d))
    run = af.TaskRun(star, squares)
    h = 1e-6
    for name, rule in rules(d, 1.0).items():
        for width in (None, 2.5):
            options = {"n_steps": 9.0, "diameter": width}

            def bound(start, one, options=options):
                return theory.regret_upper_bound(run, star, start, one, **options)

            value, d_phi, d_rate = theory.regret_upper_bound(
                run, star, phi, rule, gradient=True, **options
            )
            np.testing.assert_array_equal(value, bound(phi, rule))
            for j in range(d):
                away = h * np.eye(d)[j]
                slope = (bound(phi + away, rule) - bound(phi - away, rule)) / (2 * h)
                np.testing.assert_allclose(d_phi[:, j], slope, rtol=1e-6, atol=1e-6)
                if name == "ogd_vector":
                    up, down = (af.OGD(rule.learning_rate + s * 1e-3 * away) for s in (1, -1))
                    slope = (bound(phi, up) - bound(phi, down)) / (2e-3 * h)
                    np.testing.assert_allclose(d_rate[:, j], slope, rtol=1e-4, atol=1e-6)
            if name in ("ogd", "adagrad"):
                more = {"ogd": af.OGD, "adagrad": lambda r: af.AdaGrad(r, 1e-3)}[name]
                rate = rule.learning_rate
                slope = bound(phi, more(rate * (1 + h))) - bound(phi, more(rate * (1 - h)))
                np.testing.assert_allclose(d_rate, slope / (2 * h * rate), rtol=1e-5)


def test_minimizing_the_bound_finds_what_aruba_learns(rng):
    """Mean of theta* and sqrt(B/G) minimize the tasks' total bound over phi and eta."""
    d, n_tasks = 4, 50
    star = rng.standard_normal((n_tasks, d)) * [0.1, 1.0, 2.0, 0.5] + 1.0
    squares = rng.random((n_tasks, d)) * [1.0, 2.0, 0.1, 4.0]
    run = af.TaskRun(star, squares)

    def total(x):
        eta = np.exp(x[d:])
        value, d_phi, d_rate = theory.regret_upper_bound(
            run, star, x[:d], af.OGD(eta), gradient=True
        )
        return value.sum(), np.concatenate([d_phi.sum(axis=0), d_rate.sum(axis=0) * eta])

    found = minimize(total, np.zeros(2 * d), jac=True, method="BFGS", options={"gtol": 1e-9})
    phi, eta = star.mean(axis=0), np.sqrt(((star - star.mean(axis=0)) ** 2 / 2).sum(axis=0))
    eta = eta / np.sqrt(squares.sum(axis=0) / 2)
    np.testing.assert_allclose(found.x[:d], phi, atol=1e-6)
    np.testing.assert_allclose(np.exp(found.x[d:]), eta, rtol=1e-6)
    value, d_phi, d_rate = theory.regret_upper_bound(run, star, phi, af.OGD(eta), gradient=True)
    assert np.abs(d_phi.sum(axis=0)).max() < 1e-11 * value.sum()
    assert np.abs((eta * d_rate).sum(axis=0)).max() < 1e-11 * value.sum()


def test_the_bound_is_jointly_convex(rng):
    star, squares = rng.standard_normal((1, 3)), rng.random((1, 3))
    run = af.TaskRun(star, squares)
    for _ in range(200):
        (p, q), (a, b) = rng.standard_normal((2, 3)), 0.05 + rng.random((2, 3))
        s = rng.random()
        middle = theory.regret_upper_bound(
            run, star, s * p + (1 - s) * q, af.OGD(s * a + (1 - s) * b)
        )
        ends = [theory.regret_upper_bound(run, star, x, af.OGD(e))[0] for x, e in ((p, a), (q, b))]
        assert middle[0] <= (s * ends[0] + (1 - s) * ends[1]) * (1 + 1e-12)


# ---- similarity --------------------------------------------------------------------------------


def test_similarity_is_the_least_mean_divergence(rng):
    star = rng.standard_normal((40, 3)) * [1.0, 2.0, 0.1]
    v2 = minimize(lambda p: ((star - p) ** 2).sum(axis=1).mean(), np.zeros(3)).fun
    assert theory.task_similarity(star) == pytest.approx(v2, rel=1e-6)
    each = theory.task_similarity(star, kind="coordinate")
    np.testing.assert_allclose(each, star.var(axis=0), rtol=1e-12)
    weights = rng.random(40)
    mean = np.average(star, axis=0, weights=weights)
    expected = np.average(((star - mean) ** 2).sum(axis=1), weights=weights)
    assert theory.task_similarity(star, weights=weights) == pytest.approx(expected, rel=1e-12)
    assert theory.task_similarity(star, phi=mean + 1.0) > theory.task_similarity(star)


def test_kl_similarity(rng):
    star = rng.dirichlet([0.3, 0.5, 1.0], size=30)
    mean = star.mean(axis=0)
    expected = (star * np.log(star / mean)).sum(axis=1).mean()
    assert theory.task_similarity(star, kind="kl") == pytest.approx(expected, rel=1e-12)
    other = rng.dirichlet([1.0, 1.0, 1.0])
    assert theory.task_similarity(star, kind="kl", phi=other) > expected
    one_hot = np.eye(5)[rng.integers(0, 5, 100)]
    share = one_hot.mean(axis=0)
    entropy = -(share * np.log(share)).sum()
    assert theory.task_similarity(one_hot, kind="kl") == pytest.approx(entropy, rel=1e-12)
    assert theory.task_similarity(np.eye(2), kind="kl", phi=[1.0, 0.0]) == np.inf


def test_best_in_hindsight_is_taken_as_it_is(rng):
    tasks = pack([task_data("squared", rng, 12, 3) for _ in range(7)], np.float64)
    best = theory.best_in_hindsight(tasks, loss="squared")
    assert theory.task_similarity(best) == theory.task_similarity(best.theta_star)
