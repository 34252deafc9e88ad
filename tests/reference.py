"""The mathematics a second time: float64 NumPy, textbook formulas, no regard for speed.

Nothing here imports or imitates the implementation: the tests compare two independent readings of
the same equations (Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods",
NeurIPS 2019). Rules are written as "the rate, given the task's sum of squared gradients before and
after this round", which is how the paper states them and not how the kernels compute them.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from math import fsum

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

# ---- losses: value and derivative with respect to the score z = <theta, x> -----------------------


def squared(z, y):
    return 0.5 * (z - y) ** 2, z - y


def absolute(z, y):
    return np.abs(z - y), np.sign(z - y)


def huber(z, y):
    r = z - y
    slope = np.clip(r, -1.0, 1.0)
    return np.where(np.abs(r) <= 1.0, 0.5 * slope**2, np.abs(r) - 0.5), slope


def logistic(z, y):
    # log(1 + exp(z)) - y z for a label in {0, 1}; never by subtracting two large numbers.
    return np.logaddexp(0.0, np.where(y == 1, -z, z)), expit(z) - y


def hinge(z, y):
    return np.maximum(0.0, 1.0 - y * z), np.where(y * z < 1.0, -y, 0.0)


def poisson(z, y):
    # Half the deviance; beyond 30 the exponential goes on along its tangent. Near its minimum the
    # sum loses digits that only longer numbers have.
    z, y = np.asarray(z, np.longdouble), np.asarray(y, np.longdouble)
    mean = np.exp(np.minimum(z, 30))
    value = mean * (1 + np.maximum(z - 30, 0)) - y * z + y * np.log(np.where(y > 0, y, 1)) - y
    return value.astype(np.float64), (mean - y).astype(np.float64)


def softmax_cross_entropy(z, y):
    """`z` [n_rows, n_classes], `y` [n_rows] class numbers."""
    rows, label = np.arange(len(y)), y.astype(int)
    below = z - z.max(axis=1, keepdims=True)
    power = np.exp(below)
    total = power.sum(axis=1, keepdims=True)
    one_hot = np.zeros_like(z)
    one_hot[rows, label] = 1.0
    return np.log(total[:, 0]) - below[rows, label], power / total - one_hot


LOSSES = {
    "squared": squared,
    "absolute": absolute,
    "huber": huber,
    "logistic": logistic,
    "hinge": hinge,
    "poisson": poisson,
    "softmax": softmax_cross_entropy,
}


def kink_distance(loss, z, y):
    """How far the nearest row is from a jump of the gradient (infinite for smooth losses)."""
    if loss == "absolute":
        return np.abs(z - y).min()
    if loss == "hinge":
        return np.abs(1.0 - y * z).min()
    return np.inf


def scores(theta, x, loss):
    """`x` @ `theta`, for softmax with `theta` read as [n_classes, n_features]."""
    return x @ theta if loss != "softmax" else x @ theta.reshape(-1, x.shape[1]).T


def loss_and_grad(theta, x, y, loss, weights=1.0):
    """Mean loss over the rows of a mini-batch and its gradient with respect to `theta`."""
    value, dz = LOSSES[loss](scores(theta, x, loss), y)
    value, dz = weights * value, (dz.T * weights).T
    grad = dz.T @ x / len(y) if loss != "softmax" else (dz.T @ x / len(y)).ravel()
    return value.mean(), grad


# ---- rules of the step within a task -------------------------------------------------------------


@dataclass(frozen=True)
class OGD:
    learning_rate: float | np.ndarray

    def rate(self, before, _after):
        return np.broadcast_to(np.float64(self.learning_rate), before.shape)


@dataclass(frozen=True)
class AdaGrad:
    learning_rate: float
    delta: float

    def rate(self, _before, after):
        return self.learning_rate / np.sqrt(after + self.delta)


@dataclass
class Adam:
    """With beta1 = 0; a task's own copy keeps the running mean and the number of its steps."""

    learning_rate: float
    beta2: float
    eps: float
    mean: float | np.ndarray = 0.0
    t: int = 0

    def rate(self, before, after):
        self.t += 1
        self.mean = self.beta2 * self.mean + (1.0 - self.beta2) * (after - before)
        return self.learning_rate / (np.sqrt(self.mean / (1.0 - self.beta2**self.t)) + self.eps)


@dataclass(frozen=True)
class ArubaPlusPlus:
    b: np.ndarray
    g: np.ndarray
    coef: float

    def rate(self, before, _after):
        return np.sqrt(self.b) / np.sqrt(self.g + self.coef * before)


def project(theta, rate, radius):
    """The point of the L2 ball nearest to `theta` in the norm with weights 1/rate.

    Minimize sum_j (v_j - theta_j)^2 / rate_j subject to |v| <= radius: v_j = theta_j/(1 + l rate_j)
    with the multiplier l >= 0 that puts v on the sphere.
    """
    theta = np.asarray(theta, np.float64)
    if radius is None or np.linalg.norm(theta) <= radius:
        return theta
    rate = np.broadcast_to(np.float64(rate), theta.shape)
    if np.all(rate == rate[0]):
        return theta * (radius / np.linalg.norm(theta))

    def excess(multiplier):
        return np.linalg.norm(theta / (1.0 + multiplier * rate)) - radius

    high = 1.0 / rate.max()
    while excess(high) > 0.0:
        high *= 2.0
    multiplier = brentq(excess, 0.0, high, xtol=1e-300, rtol=4 * np.finfo(float).eps)
    return theta / (1.0 + multiplier * rate)


# ---- a task, and many ----------------------------------------------------------------------------


@dataclass
class Run:
    """What a round of tasks leaves behind; `kink` is the smallest distance from a jump."""

    theta_hat: np.ndarray
    grad_sq: np.ndarray
    theta_bar: np.ndarray
    loss: np.ndarray
    kink: float = np.inf


def run_task(x, y, phi, rule, *, loss, weights=None, batch_size=1, n_epochs=1, radius=None):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    weights = np.ones(len(y)) if weights is None else weights
    theta = np.array(phi, np.float64)
    grad_sq, iterates, losses, kink = np.zeros_like(theta), [], [], np.inf
    rule = copy(rule)
    for _ in range(n_epochs):
        for first in range(0, len(y), batch_size):
            rows = slice(first, first + batch_size)
            kink = min(kink, kink_distance(loss, scores(theta, x[rows], loss), y[rows]))
            value, grad = loss_and_grad(theta, x[rows], y[rows], loss, weights[rows])
            iterates.append(theta)
            losses.append(value)
            rate = rule.rate(grad_sq, grad_sq + grad**2)
            grad_sq = grad_sq + grad**2
            theta = project(theta - rate * grad, rate, radius)
    return Run(theta, grad_sq, np.mean(iterates, axis=0), fsum(losses), kink)


def run_tasks(pieces, phi, rule, **options):
    """`pieces` is a list of (x, y) or (x, y, weights), a task each; `phi` [P] or [n_tasks, P]."""
    phi = np.asarray(phi, np.float64)
    start = phi if phi.ndim == 2 else np.broadcast_to(phi, (len(pieces), len(phi)))
    runs = [
        run_task(x, y, start[k], rule, weights=weights[0] if weights else None, **options)
        for k, (x, y, *weights) in enumerate(pieces)
    ]
    names = ("theta_hat", "grad_sq", "theta_bar", "loss")
    columns = (np.array([getattr(run, name) for run in runs]) for name in names)
    return Run(*columns, min(run.kink for run in runs))
