"""What the theory says of these algorithms: closed forms, regret, bounds and what is learned."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import LOSSES, RULES, n_parameters, pack, smoothed, task_data
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.stats import binom

import aruba_fast as af

# ---- quadratics and linear losses, through `step` ------------------------------------------------


@given(
    st.floats(0.05, 20.0),
    st.floats(0.01, 1.9),
    st.floats(-5.0, 5.0, allow_subnormal=False),
    st.floats(-5.0, 5.0, allow_subnormal=False),
    st.integers(1, 60),
)
def test_quadratics_in_closed_form(h, eta_h, c, phi, m):
    """1/2 h (theta - c)^2 with q = 1 - eta h: distance, sum of squares and regret after m steps."""
    eta = eta_h / h
    theta, squares, losses = np.array([phi]), np.zeros(1), []
    for _ in range(m):
        losses.append(0.5 * h * (theta[0] - c) ** 2)
        af.step(theta, h * (theta - c), eta, grad_sq=squares)
    q, delta = 1.0 - eta * h, c - phi
    # (1 - q^2m)/(1 - q^2) is a geometric series, summed as such where q is near one.
    series = sum(q ** (2 * i) for i in range(m))
    small = 1e-12 * (abs(c) + abs(phi))
    assert theta[0] - phi == pytest.approx((1 - q**m) * delta, rel=1e-9, abs=small)
    assert squares[0] == pytest.approx(h**2 * delta**2 * series, rel=1e-9, abs=h**2 * small)
    assert sum(losses) == pytest.approx(0.5 * h * delta**2 * series, rel=1e-9, abs=h * small)


def regret_of_random_signs(v, m, n_tasks, rng):
    """Mean regret against the ball of radius v around phi = 0, linear losses of random sign."""
    signs = rng.choice([-1.0, 1.0], (m, n_tasks, 1))
    theta = np.zeros((n_tasks, 1))
    paid = np.zeros(n_tasks)
    for grad in signs:
        paid += (grad * theta)[:, 0]
        af.step(theta, grad, v / np.sqrt(m))
    return np.mean(paid + v * np.abs(signs.sum(axis=0))[:, 0])


def test_regret_grows_like_v_and_like_the_root_of_m(rng):
    """With eta = V/(G sqrt m): R/(V sqrt m) -> E|sum of signs|/sqrt m, the same for every V.

    <sum g_i, theta_i> has mean zero, so the mean regret is V E|sum of signs| whatever eta is.
    """
    n_tasks = 20_000
    for m in (4, 16, 64):
        exact = sum(abs(2 * k - m) * binom.pmf(k, m, 0.5) for k in range(m + 1)) / np.sqrt(m)
        for v in (0.01, 1.0, 100.0):
            found = regret_of_random_signs(v, m, n_tasks, rng) / (v * np.sqrt(m))
            # Standard error: the regret has a variance below (1 + 1) V^2 m.
            assert found == pytest.approx(exact, abs=4 * np.sqrt(2.0 / n_tasks))
    fixed = [regret_of_random_signs(1.0, m, n_tasks, rng) for m in (16, 64, 256)]
    slopes = np.diff(np.log(fixed)) / np.log(4.0)
    np.testing.assert_allclose(slopes, 0.5, atol=0.03)
    scales = [regret_of_random_signs(v, 16, n_tasks, np.random.default_rng(0)) for v in (0.1, 10.0)]
    assert scales[1] / scales[0] == pytest.approx(100.0, rel=1e-9)  # slope 1 in log V


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_identity_of_preconditioned_steps_on_linear_losses(m, d, seed):
    """sum <g, theta_i-u> = 1/2 (|phi-u|^2 - |theta_end-u|^2 in 1/eta) + 1/2 sum |g|^2 in eta."""
    rng = np.random.default_rng(seed)
    grads, eta, phi, u = rng.standard_normal((m, d)), 0.05 + rng.random(d), *rng.normal(size=(2, d))
    theta, squares, left = phi.copy(), np.zeros(d), 0.0
    for grad in grads:
        left += grad @ (theta - u)
        af.step(theta, grad, eta, grad_sq=squares)
    right = 0.5 * np.sum(((phi - u) ** 2 - (theta - u) ** 2) / eta) + 0.5 * np.sum(eta * squares)
    assert left == pytest.approx(right, rel=1e-10, abs=1e-10 * m)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_aruba_plus_plus_is_adagrad_with_the_accumulator_one_step_late(m, d, seed):
    """b = eta0^2, g = delta, c = 1: the rate of a step is AdaGrad's of the step before."""
    rng = np.random.default_rng(seed)
    grads, eta0, delta = 0.1 + rng.random((m, d)), 0.3, 0.7
    g, squares, rates = np.full(d, delta), np.zeros(d), ([], [])
    for grad in grads:
        late, adagrad = np.zeros(d), np.zeros(d)  # from zero: the step taken is seen exactly
        af.aruba_step(late, grad, np.full(d, eta0**2), g, coef=1.0)
        af.adagrad_step(adagrad, grad, squares, learning_rate=eta0, delta=delta)
        rates[0].append(-late / grad)
        rates[1].append(-adagrad / grad)
    np.testing.assert_allclose(rates[0][0], eta0 / np.sqrt(delta), rtol=1e-14)
    np.testing.assert_allclose(rates[0][1:], rates[1][:-1], rtol=1e-13)
    np.testing.assert_allclose(g, delta + squares, rtol=1e-13)


def test_aruba_plus_plus_without_coefficient_is_ogd(rng):
    tasks = pack([task_data("squared", rng, 20, 5) for _ in range(6)], np.float64)
    b, g = 0.1 + rng.random(5), 1.0 + rng.random(5)
    runs = [
        af.run_tasks(tasks, np.zeros(5), rule, loss="squared")
        for rule in (af.ArubaPlusPlus(b, g, 0.0), af.OGD(np.sqrt(b) / np.sqrt(g)))
    ]
    np.testing.assert_allclose(runs[0].theta_hat, runs[1].theta_hat, rtol=1e-12)


# ---- regret and its bounds, through the engine ---------------------------------------------------


def best_in_hindsight(x, y, loss, start, radius=None):
    """Smallest total loss found by a general solver; for kinked losses as a smooth program."""
    d = len(start)
    if loss in ("absolute", "hinge"):  # min sum s with s >= the pieces of every row
        n = len(y)
        pieces = [(x, -y), (-x, y)] if loss == "absolute" else [(-y[:, None] * x, np.ones(n)), None]
        rows = [
            {"type": "ineq", "fun": lambda v, p=p: v[d:] - (p[0] @ v[:d] + p[1])}
            for p in pieces
            if p is not None
        ]
        if loss == "hinge":
            rows.append({"type": "ineq", "fun": lambda v: v[d:]})
        if radius:
            rows.append({"type": "ineq", "fun": lambda v: radius**2 - v[:d] @ v[:d]})
        slack = reference.LOSSES[loss](x @ start, y)[0] + 0.1
        found = minimize(
            lambda v: v[d:].sum(),
            np.concatenate([start, slack]),
            constraints=rows,
            method="SLSQP",
            options={"maxiter": 300},
        )
        theta = found.x[:d]
    else:
        bounded = {"type": "ineq", "fun": lambda v: radius**2 - v @ v} if radius else ()
        found = minimize(
            lambda v: len(y) * reference.loss_and_grad(v, x, y, loss)[0],
            start,
            jac=lambda v: len(y) * reference.loss_and_grad(v, x, y, loss)[1],
            constraints=bounded,
            method="SLSQP" if radius else "BFGS",
        )
        theta = found.x
    if radius:
        theta = theta * min(1.0, radius / np.linalg.norm(theta))
    return theta, len(y) * reference.loss_and_grad(theta, x, y, loss)[0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", ["ogd", "ogd_vector"])
@pytest.mark.parametrize("radius", [None, 0.8])
def test_regret_is_below_its_bound_for_every_task(loss, rule, radius, rng):
    """R <= 1/2 |theta* - phi|^2 in 1/eta + 1/2 sum |grad|^2 in eta, for every task."""
    d = 3
    size = n_parameters(loss, d)
    pieces = [task_data(loss, rng, n, d) for n in (5, 12, 20, 30)]
    oracle, subject = RULES[rule](rng, size)
    phi, eta = np.zeros(size), np.broadcast_to(oracle.learning_rate, size)
    run = af.run_tasks(pack(pieces, np.float64), phi, subject(np.float64), loss=loss, radius=radius)
    for k, (x, y) in enumerate(pieces):
        theta_star, best = best_in_hindsight(x, y, loss, run.theta_hat[k], radius)
        regret = run.loss[k] - best
        # A comparator that is not optimal must satisfy the inequality as well: nothing to tune.
        bound = 0.5 * np.sum((theta_star - phi) ** 2 / eta) + 0.5 * np.sum(eta * run.grad_sq[k])
        assert regret <= bound * (1 + 1e-9)
        assert best <= len(y) * reference.loss_and_grad(phi, x, y, loss)[0] + 1e-9
        if radius:
            assert np.linalg.norm(run.theta_hat[k]) <= radius * (1 + 1e-12)


@pytest.mark.parametrize("loss", ["squared", "logistic", "huber"])
def test_average_iterate_is_as_good_as_the_average_round(loss, rng):
    """Online to batch, on repeated rows: mean loss at theta_bar <= mean loss paid (convexity)."""
    x, y = task_data(loss, rng, 1, 4)
    tasks = pack([(np.repeat(x, 50, axis=0), np.repeat(y, 50))], np.float64)
    run = af.run_tasks(tasks, np.ones(4), af.OGD(0.2), loss=loss, average=True)
    assert af.evaluate(tasks, run.theta_bar, loss=loss)[0] <= run.loss[0] / 50
    assert af.evaluate(tasks, run.theta_hat, loss=loss)[0] <= run.loss[0] / 50


# ---- what ARUBA learns ---------------------------------------------------------------------------


def quadratic_tasks(curvatures, n_tasks, n_copies, spread, rng):
    """Noiseless diagonal quadratics 1/2 h_j (theta_j - c_tj)^2, as batches of one row a coordinate.

    Row j is sqrt(d h_j) e_j with the label sqrt(d h_j) c_tj; a batch of d rows is the quadratic.
    """
    d = len(curvatures)
    centers = 1.0 + spread * rng.standard_normal((n_tasks, d))
    root = np.sqrt(d * curvatures)
    x = np.broadcast_to(np.diag(root), (n_tasks, n_copies, d, d)).reshape(n_tasks, -1, d)
    y = np.broadcast_to((root * centers)[:, None], (n_tasks, n_copies, d)).reshape(n_tasks, -1)
    return af.Tasks(np.ascontiguousarray(x), np.ascontiguousarray(y)), centers


def resting_product(m):
    """The eta h at which rho = 2, so that the rate is at rest: 2/3 for many rounds."""

    def rho(a):
        q = 1.0 - a
        return (1 - q**m) ** 2 * (1 - q**2) / ((1 - q) ** 2 * (1 - q ** (2 * m)))

    return brentq(lambda a: rho(a) - 2.0, 1e-6, 1.0 - 1e-9)


@pytest.mark.parametrize("m", [5, 10, 20])
def test_aruba_learns_the_inverse_curvature(m, rng):
    """On noiseless diagonal quadratics eta_j h_j tends to one constant, over three decades of h.

    The rate of the softest coordinate starts 600 times too low. All of the past has a vote, so it
    comes closer as a power of time; with a decay it arrives, at the constant where rho = 2.
    """
    curvatures = np.array([0.1, 1.0, 10.0, 100.0])
    tasks, _ = quadratic_tasks(curvatures, 4000, m, 0.5, rng)
    how = {"loss": "squared", "batch_size": 4}
    learner, spread = smoothed(np.zeros(4), learning_rate=0.01, zeta=1e-3), []
    for _ in range(3):
        af.meta_train(tasks, learner, **how)
        products = learner.learning_rate * curvatures
        spread.append(products.max() / products.min())
    assert spread[0] > spread[1] > spread[2]
    assert spread[2] < {5: 3.5, 10: 1.4, 20: 1.1}[m]
    drifting = smoothed(np.zeros(4), learning_rate=0.01, zeta=1e-3, decay=0.01)
    af.meta_train(tasks, drifting, **how)
    np.testing.assert_allclose(drifting.learning_rate * curvatures, resting_product(m), rtol=1e-5)
    np.testing.assert_allclose(drifting.rho, 2.0, rtol=1e-4)


def test_the_running_mean_finds_the_center_of_the_tasks(rng):
    """phi tends to the mean optimum, and the mean loss of a new task falls with it."""
    tasks, centers = quadratic_tasks(np.ones(3), 400, 6, 0.1, rng)
    learner = smoothed(np.zeros(3), learning_rate=0.3)
    before = af.evaluate(tasks, learner.phi, loss="squared").mean()
    af.meta_train(tasks, learner, loss="squared", batch_size=3)
    after = af.evaluate(tasks, learner.phi, loss="squared").mean()
    np.testing.assert_allclose(learner.phi, centers.mean(axis=0), atol=0.05)
    assert after < 0.02 * before


def test_similar_tasks_are_learned_with_smaller_rates(rng):
    """The distance of the tasks from phi is what b measures: more similar tasks, lower rates."""
    rates = []
    for spread in (0.01, 0.1, 1.0):
        signs = rng.choice([-1.0, 1.0], (500, 20, 1))
        centers = spread * rng.standard_normal((500, 1, 1))
        y = centers + 0.5 * signs  # noise of 1/2 around the task's own center
        learner = smoothed(np.zeros(1), learning_rate=0.1, zeta=0.1)
        tasks = af.Tasks(np.ones((500, 20, 1)), y[..., 0])
        af.meta_train(tasks, learner, loss="squared", n_passes=4, seed=0)
        rates.append(learner.learning_rate[0])
    assert rates[0] < rates[1] < rates[2]


def test_running_mean_regret_identity(rng):
    """sum 1/2 |phi_t-theta_t|^2 - min_phi sum 1/2 |phi-theta_t|^2 = sum |phi_t-theta_t|^2/(2t)."""
    theta = rng.standard_normal((60, 4))
    learner, distances = smoothed(rng.standard_normal(4)), []
    for row in theta:
        distances.append(0.5 * np.sum((learner.phi - row) ** 2))
        learner.update(af.TaskRun(row[None], np.ones((1, 4))))
    hindsight = 0.5 * np.sum((theta - theta.mean(axis=0)) ** 2)
    expected = sum(distance / (t + 1) for t, distance in enumerate(distances))
    assert sum(distances) - hindsight == pytest.approx(expected, rel=1e-12)
