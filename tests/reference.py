"""The mathematics a second time: float64 NumPy, textbook formulas, no regard for speed.

Nothing here imports or imitates the implementation: the tests compare two independent readings of
the same equations (Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods",
NeurIPS 2019). Rules are written as "the rate, given the task's sum of squared gradients before and
after this round", which is how the paper states them and not how the kernels compute them.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
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


def loss_and_grad(theta, x, y, loss):
    """Mean loss over the rows of a mini-batch and its gradient with respect to `theta`."""
    value, dz = LOSSES[loss](scores(theta, x, loss), y)
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


def run_task(x, y, phi, rule, *, loss, batch_size=1, n_epochs=1, radius=None):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    theta = np.array(phi, np.float64)
    grad_sq, iterates, losses, kink = np.zeros_like(theta), [], [], np.inf
    rule = copy(rule)
    for _ in range(n_epochs):
        for first in range(0, len(y), batch_size):
            rows = slice(first, first + batch_size)
            kink = min(kink, kink_distance(loss, scores(theta, x[rows], loss), y[rows]))
            value, grad = loss_and_grad(theta, x[rows], y[rows], loss)
            iterates.append(theta)
            losses.append(value)
            rate = rule.rate(grad_sq, grad_sq + grad**2)
            grad_sq = grad_sq + grad**2
            theta = project(theta - rate * grad, rate, radius)
    return Run(theta, grad_sq, np.mean(iterates, axis=0), fsum(losses), kink)


def run_tasks(pieces, phi, rule, **options):
    """`pieces` is a list of (x, y), one per task; `phi` [P] or [n_tasks, P]."""
    phi = np.asarray(phi, np.float64)
    start = phi if phi.ndim == 2 else np.broadcast_to(phi, (len(pieces), len(phi)))
    runs = [run_task(x, y, start[k], rule, **options) for k, (x, y) in enumerate(pieces)]
    names = ("theta_hat", "grad_sq", "theta_bar", "loss")
    columns = (np.array([getattr(run, name) for run in runs]) for name in names)
    return Run(*columns, min(run.kink for run in runs))


# ---- across tasks --------------------------------------------------------------------------------


def statistics(theta_hat, grad_sq, phi, weights=None):
    """Exact sums over finite tasks: distances, gradients, w theta, w; numbers kept and skipped."""
    theta_hat, grad_sq = np.asarray(theta_hat, np.float64), np.asarray(grad_sq, np.float64)
    phi = np.asarray(phi, np.float64)
    weights = np.ones(len(theta_hat)) if weights is None else np.asarray(weights, np.float64)
    # A task of these would leave sums, or a phi, that nobody can go on from.
    with np.errstate(over="ignore", invalid="ignore"):
        kept = (0.5 * (theta_hat - phi) ** 2 <= 2.0**900).all(axis=1)
        kept &= ((grad_sq >= 0) & (grad_sq <= 2.0**960)).all(axis=1)
    theta_hat, grad_sq, weights = theta_hat[kept], grad_sq[kept], weights[kept]

    def sum_over_tasks(terms):
        return np.array([fsum(column) for column in terms.T])

    return (
        sum_over_tasks(0.5 * (theta_hat - phi) ** 2),
        sum_over_tasks(grad_sq),
        sum_over_tasks(weights[:, None] * theta_hat),
        fsum(weights),
        int(kept.sum()),
        int((~kept).sum()),
    )


@dataclass
class MetaLearner:
    """ARUBA with b and g as the paper has them: they start at eps^2 and zeta^2.

    Where `zeta` is None, they start at nothing, and the prior is one average task.
    """

    phi: np.ndarray
    learning_rate0: float = 1.0
    zeta: float | None = 1.0
    p: float = 1.0
    decay: float = 0.0
    isotropic: bool = False
    max_learning_rate: float | None = None
    bound: str = "blog"
    train: str = "learned"
    tensors: tuple[int, ...] | None = None
    n_tasks: int = 0
    n_skipped: int = 0
    total_weight: float = 0.0
    b: np.ndarray = field(init=False)
    g: np.ndarray = field(init=False)
    rho: np.ndarray = field(init=False)

    def __post_init__(self):
        self.phi = np.array(self.phi, np.float64)
        self.eps = self.learning_rate0 * (self.zeta or 0.0)
        self.b = np.full(self.phi.shape, self.eps**2)
        self.g = np.full(self.phi.shape, (self.zeta or 0.0) ** 2)
        self.rho = np.full(self.phi.shape, np.nan)

    @property
    def n_held(self):
        return sum((1.0 - self.decay) ** k for k in range(self.n_tasks))

    def with_prior(self):
        """b and g of the rates, of which there are none without a task that moved."""
        if self.zeta is not None:
            return self.b, self.g
        if self.b.sum() == 0.0 or self.g.sum() == 0.0:
            return np.full_like(self.b, self.learning_rate0**2), np.ones_like(self.g)
        b, g = self.means()
        return self.b + b / self.n_held, self.g + g / self.n_held

    def means(self):
        """b and g of an average coordinate of the tensor; of all, where it has none."""
        b, g = np.full_like(self.b, self.b.mean()), np.full_like(self.g, self.g.mean())
        sizes = self.tensors or (len(self.b),)
        for part in np.split(np.arange(len(self.b)), np.cumsum(sizes)[:-1]):
            if self.b[part].sum() > 0.0 and self.g[part].sum() > 0.0:
                b[part], g[part] = self.b[part].mean(), self.g[part].mean()
        return b, g

    @property
    def restraint(self):
        """A task that was left out counts as ten whose gradients moved nothing."""
        if self.zeta is not None or not self.n_tasks:
            return 1.0
        return max(np.exp(-5.0 * self.n_skipped / self.n_tasks), 2.0**-20)

    @property
    def learning_rate(self):
        b, g = self.with_prior()
        if self.train == "scalar" or (self.isotropic and self.zeta is not None):
            rate = np.full(self.phi.shape, np.sqrt(b.sum() / g.sum()))
        elif self.isotropic and self.n_tasks:
            rate = np.sqrt(np.divide(*self.means()))
        else:
            rate = np.sqrt(b) / np.sqrt(g)
        if self.b.any() and self.g.any():
            rate = self.restraint * rate
        return rate if self.max_learning_rate is None else np.minimum(rate, self.max_learning_rate)

    def shortened(self, theta_hat, grad_sq, start):
        """No task spreads more than ten average ones."""
        theta_hat, grad_sq = np.asarray(theta_hat, np.float64), np.asarray(grad_sq, np.float64)
        if self.zeta is not None or not self.b.any() or not self.g.any():
            return theta_hat, grad_sq
        rate, distance = self.learning_rate, theta_hat - start
        of_all = (2 / (1 + (self.bound == "tight")) * self.b / rate + rate * self.g).sum()
        spread = (distance**2 / rate + rate * grad_sq).sum(axis=1)
        with np.errstate(divide="ignore"):  # a task without a step spreads nothing
            share = np.minimum(1.0, 10.0 * of_all / self.n_held / spread)[:, None]
        return start + np.sqrt(share) * distance, share * grad_sq

    def update(self, theta_hat, grad_sq, weights=None, meta_step=None, start=None):
        """`start` is where the tasks did start from, where that is phi rounded to float32."""
        start = self.phi if start is None else start
        theta_hat, grad_sq = self.shortened(theta_hat, grad_sq, start)
        half, squares, weighted, weight, n, skipped = statistics(theta_hat, grad_sq, start, weights)
        rate, self.n_skipped = self.learning_rate, self.n_skipped + skipped
        if n == 0:
            return
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = 2.0 * half / (rate**2 * squares)
        self.rho = np.where(squares > 0, rho, np.nan)
        discount = (1.0 - self.decay) ** n
        # The first task has t = 1, so the task after n_tasks others has t + 1 = n_tasks + 2.
        schedule = fsum((self.n_tasks + k + 2.0) ** -self.p for k in range(n))
        counted = 2.0 if self.bound == "tight" else 1.0
        self.b = discount * self.b + counted * half + self.eps**2 * schedule
        self.g = discount * self.g + squares + (self.zeta or 0.0) ** 2 * schedule
        self.n_tasks += n
        self.total_weight += weight
        alpha = weight / self.total_weight if meta_step is None else meta_step
        if meta_step is None and self.zeta is None:
            alpha = min(1.0, 10.0 * weight / (self.total_weight + 9.0 * weight / n))
        alpha = alpha(self.n_tasks) if callable(alpha) else alpha
        self.phi = self.phi + alpha * (weighted / weight - self.phi)


def meta_train(pieces, learner, *, order, round_size=1, weights=None, meta_step=None, **options):
    """The online loop: rounds of `round_size` tasks in the given order; returns the losses."""
    losses = []
    for first in range(0, len(order), round_size):
        chosen = [pieces[k] for k in order[first : first + round_size]]
        run = run_tasks(chosen, learner.phi, OGD(learner.learning_rate), **options)
        rows = [float(len(y)) for _, y in chosen] if weights == "rows" else None
        learner.update(run.theta_hat, run.grad_sq, rows, meta_step)
        losses.extend(run.loss)
    return np.array(losses)
