"""The mathematics across tasks a second time, as `reference` has that within them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum

import numpy as np
from reference import OGD, run_tasks


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
