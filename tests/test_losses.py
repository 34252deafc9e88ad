"""Losses and their slopes as the engine computes them: values, gradients, extremes, mini-batches.

With one feature that is 1, one row a task and phi = z, a run of OGD with rate 1 shows the loss at
z, the slope squared (`grad_sq`) and its sign (`theta_hat` = z - slope): thousands of z a call.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
import reference
from cases import LOSSES, N_CLASSES, dtypes, n_parameters, pack, task_data

import aruba_fast as af

LABELS = {"logistic": (0.0, 1.0), "hinge": (-1.0, 1.0)}


def loss_and_slope(loss, z, y, dtype):
    """Loss [n], |slope| and slope's sign at the scores `z` ([n] or [n, n_classes])."""
    phi = np.asarray(z, dtype).reshape(len(z), -1)
    tasks = af.Tasks(np.ones((len(z), 1), dtype), np.asarray(y, dtype), np.arange(len(z) + 1))
    run = af.run_tasks(tasks, phi, af.OGD(1.0), loss=loss)
    size = np.sqrt(run.grad_sq.astype(np.float64))
    shape = np.shape(z)
    return run.loss, size.reshape(shape), np.sign(phi - run.theta_hat).reshape(shape)


def exact_logistic(z, y):
    """log(1 + e^z) - y z and the size of its slope to 330 digits, rounded once."""
    with localcontext() as context:
        context.prec = 330
        e = (-abs(Decimal(z))).exp()
        towards_zero = (z > 0) == (y == 1)
        loss = (1 + e).ln() + (0 if towards_zero else abs(Decimal(z)))
        slope = (e if towards_zero else Decimal(1)) / (1 + e)
    return float(loss), float(slope)


@dtypes
@pytest.mark.parametrize("y", LABELS["logistic"])
def test_logistic_to_the_last_digits(dtype, y, rng):
    """No cancellation in the loss: near zero it is as accurate, relatively, as near one.

    The slope is p - y: for y = 1 it is accurate to an ulp of 1, for y = 0 to an ulp of itself.
    """
    lowest = -80.0 if dtype == np.float32 else -700.0
    z = np.concatenate([rng.uniform(-5, 5, 300), rng.uniform(lowest, -lowest, 100), [0.0, 1e-30]])
    z = z.astype(dtype).astype(np.float64)
    loss, slope, sign = loss_and_slope("logistic", z, np.full(len(z), y), dtype)
    exact = np.array([exact_logistic(at, y) for at in z])
    np.testing.assert_allclose(loss, exact[:, 0], rtol=4 * np.finfo(dtype).eps, atol=0)
    normal = exact[:, 1] ** 2 > np.finfo(dtype).tiny  # only there is the root of the square exact
    np.testing.assert_allclose(
        slope[normal], exact[normal, 1], rtol=4 * np.finfo(dtype).eps, atol=y * np.finfo(dtype).eps
    )
    moved = exact[:, 1] > np.spacing(np.abs(z).astype(dtype))
    assert moved.sum() > 200
    assert (sign[moved] == (1 if y == 0 else -1)).all()


@dtypes
@pytest.mark.parametrize("loss", ["squared", "absolute", "huber", "hinge"])
def test_piecewise_losses(loss, dtype, rng):
    z = np.concatenate([rng.uniform(-3, 3, 500), rng.uniform(-1e4, 1e4, 100)]).astype(dtype)
    y = rng.choice(LABELS["hinge"], len(z)) if loss == "hinge" else rng.uniform(-3, 3, len(z))
    y = y.astype(dtype).astype(np.float64)
    value, slope = reference.LOSSES[loss](z.astype(np.float64), y)
    got, got_slope, got_sign = loss_and_slope(loss, z, y, dtype)
    # z - y (or 1 - y z) is rounded once, by an ulp of its operands.
    rounding = 2 * np.finfo(dtype).eps * (1 + np.abs(z.astype(np.float64)) + np.abs(y))
    assert (np.abs(got - value) <= rounding * (1 + np.abs(slope))).all()
    assert (np.abs(got_slope - np.abs(slope)) <= rounding).all()
    moved = np.abs(slope) > 1e-3
    np.testing.assert_array_equal(got_sign[moved], np.sign(slope[moved]))


@dtypes
def test_subgradients_at_the_kinks(dtype):
    """Zero where the loss has a corner: a row that is met exactly moves nothing."""
    at = np.array([-1.5, 0.0, 2.0])
    for loss, z, y in (("absolute", at, at), ("hinge", [1.0, -1.0, 1.0], [1.0, -1.0, 1.0])):
        value, slope, _ = loss_and_slope(loss, np.array(z), y, dtype)
        assert not value.any()
        assert not slope.any()
    value, slope, _ = loss_and_slope("huber", np.array([1.0, -1.0]), [0.0, 0.0], dtype)
    assert (value == 0.5).all()
    assert (slope == 1.0).all()


@dtypes
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("n_classes", [2, 3, 10, 33])
def test_softmax_loss_and_slopes(dtype, scale, n_classes, rng):
    z = (scale * rng.standard_normal((200, n_classes))).astype(dtype).astype(np.float64)
    y = rng.integers(0, n_classes, 200).astype(np.float64)
    value, slope = reference.softmax_cross_entropy(z, y)
    got, got_slope, _ = loss_and_slope("softmax", z, y, dtype)
    eps = np.finfo(dtype).eps
    spread = np.ptp(z, axis=1)  # z - max z is rounded by an ulp of it, before exp and after
    np.testing.assert_array_less(np.abs(got - value), 8 * eps * (1 + spread))
    relative = 8 * eps * (1 + np.minimum(spread, -np.log(np.finfo(dtype).tiny)))[:, None]
    size = np.abs(slope)
    size[np.arange(200), y.astype(int)] = 1.0  # p - 1 is accurate to an ulp of 1
    seen = np.sqrt(np.finfo(dtype).tiny) * 4  # below it the square of the slope is not normal
    assert (np.abs(got_slope - np.abs(slope)) <= relative * size + seen).all()


@dtypes
@pytest.mark.parametrize("loss", LOSSES)
def test_huge_scores_do_not_overflow(loss, dtype):
    """What is representable comes out: exp of a huge score must never be taken."""
    huge = 1e30 if dtype == np.float32 else 1e300
    if loss == "squared":
        huge = np.sqrt(huge)
    if loss == "poisson":  # e^30 times it is a number
        huge *= 1e-20
    if loss == "softmax":
        z = np.array([[huge, -huge, 0.0], [-huge, -huge, huge], [-huge, huge, 1.0]])
        y = np.array([0.0, 0.0, 0.0])
    else:
        z = np.array([huge, -huge, huge, -huge])
        y = np.repeat(LABELS.get(loss, (0.0, 1.0)), 2)
    z = z.astype(dtype).astype(np.float64)
    value, slope = reference.LOSSES[loss](z, y)
    got, got_slope, _ = loss_and_slope(loss, z, y, dtype)
    np.testing.assert_allclose(got, value, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(got_slope, np.abs(slope), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("d", [1, 3, 8, 33])
def test_gradients_are_finite_differences_of_the_loss(loss, d, rng):
    """Mean gradient of a mini-batch, from one step, against `evaluate` on both sides."""
    x, y = task_data(loss, rng, 6, d)
    theta = rng.standard_normal(n_parameters(loss, d))
    z = reference.scores(theta, x, loss)
    assert reference.kink_distance(loss, z, y) > 1e-4
    tasks = pack([(x, y)], np.float64)
    run = af.run_tasks(tasks, theta, af.OGD(1.0), loss=loss, batch_size=6)
    grad = theta - run.theta_hat[0]
    for j, unit in enumerate(np.eye(len(theta)) * 1e-5):
        above, below = (af.evaluate(tasks, theta + s * unit, loss=loss)[0] for s in (1, -1))
        assert (above - below) / 2e-5 == pytest.approx(grad[j], rel=1e-5, abs=1e-8)
    np.testing.assert_allclose(run.grad_sq[0], grad**2, rtol=1e-9, atol=1e-15)


@dtypes
@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_copies_is_one_row(loss, dtype, rng):
    """The gradient is the MEAN over the batch: eight equal rows step like one."""
    d = 5
    x, y = task_data(loss, rng, 1, d)
    phi = rng.standard_normal(n_parameters(loss, d)).astype(dtype)
    one = af.run_tasks(pack([(x, y)], dtype), phi, af.OGD(0.5), loss=loss)
    copies = [(np.repeat(x, 8, axis=0), np.repeat(y, 8))]
    many = af.run_tasks(pack(copies, dtype), phi, af.OGD(0.5), loss=loss, batch_size=8)
    tolerance = {"rtol": 4 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
    np.testing.assert_allclose(many.theta_hat, one.theta_hat, **tolerance)
    np.testing.assert_allclose(many.grad_sq, one.grad_sq, **tolerance)
    np.testing.assert_allclose(many.loss, one.loss, rtol=8 * np.finfo(dtype).eps)


@dtypes
def test_softmax_of_two_classes_is_logistic_of_the_difference(dtype, rng):
    """Classes (1, 0) with the scores (z, 0): the same loss as logistic at z."""
    z = rng.uniform(-6, 6, 300).astype(dtype)
    y = rng.integers(0, 2, 300).astype(np.float64)
    logistic, *_ = loss_and_slope("logistic", z, y, dtype)
    softmax, *_ = loss_and_slope("softmax", np.stack([np.zeros_like(z), z], axis=1), y, dtype)
    np.testing.assert_allclose(softmax, logistic, rtol=1e-13 if dtype == np.float64 else 2e-4)


def test_parameters_of_softmax_are_class_by_class():
    """`theta.reshape(n_classes, n_features)`: the first d numbers are the first class's."""
    x, y = np.array([[1.0, 10.0]]), np.array([2.0])
    phi = np.zeros(2 * N_CLASSES)
    run = af.run_tasks(pack([(x, y)], np.float64), phi, af.OGD(1.0), loss="softmax")
    np.testing.assert_allclose(
        run.theta_hat.reshape(N_CLASSES, 2), np.outer([-1 / 3, -1 / 3, 2 / 3], x[0]), rtol=1e-15
    )
