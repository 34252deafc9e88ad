"""Logistic mixed models: people's coefficients are Gaussian, their answers yes or no.

Where only the intercept differs, its distribution is summed over at the nodes of a quadrature, and
the likelihood is exact. Where all coefficients do, EM by Laplace's approximation (Breslow and
Clayton's penalized quasi-likelihood, JASA 88, 1993): at everybody's mode the model is a linear
mixed one, whose iteration is `mixed.iterate`. Where people have a handful of answers that
underestimates the covariance: muscatine's children with their three are for the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from aruba_fast_reproductions.mixed import Model, independent, iterate, posterior

from .protocol import Floats, Rows
from .yes_no import expected, modes, penalized, scores, sigmoid, working

MAX_ITERATIONS, TOLERANCE = 500, 1e-6
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
LOG_WEIGHTS = np.log(WEIGHTS / WEIGHTS.sum())


class MixedIntercept:
    """Log-odds x beta + deviation * u, u ~ N(0, 1) for every person: greatest likelihood."""

    def fit(self, train: Rows, seed: int) -> None:  # noqa: ARG002
        self.used = independent(train.x.T @ train.x)
        x, offsets = train.x[:, self.used], train.offsets[:-1]

        def loss(free: Floats) -> tuple[float, Floats]:
            score = x @ free[:-1, None] + free[-1] * NODES
            log_joint = _log_joint(score, train)
            total = np.logaddexp.reduce(log_joint, axis=1)
            share = np.exp(log_joint - total[:, None])[train.person]
            slope = share * (train.y[:, None] - sigmoid(score))
            gradient = np.append(x.T @ slope.sum(axis=1), (slope @ NODES).sum())
            return -float(total.sum()) / len(offsets), -gradient / len(offsets)

        start = np.append(np.zeros(x.shape[1]), 1.0)
        self.free = minimize(loss, start, jac=True, method="L-BFGS-B").x

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        *beta, deviation = self.free
        of_seen, of_unseen = (rows[:, self.used] @ np.array(beta) for rows in (seen.x, x))
        log_joint = _log_joint(of_seen[:, None] + deviation * NODES, seen)
        share = np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True))
        return (share[person] * sigmoid(of_unseen[:, None] + deviation * NODES)).sum(axis=1)


def _log_joint(score: Floats, rows: Rows) -> Floats:
    """Log of a person's likelihood at a node times its weight; [n_people, n_nodes]."""
    likelihood = rows.y[:, None] * score - np.logaddexp(0, score)
    result: Floats = np.add.reduceat(likelihood, rows.offsets[:-1]) + LOG_WEIGHTS
    return result


@dataclass
class MixedSlopes:
    """All coefficients differ between people; each on its own, or with a covariance."""

    diagonal: bool

    def fit(self, train: Rows, seed: int) -> None:  # noqa: ARG002
        self.used = independent(train.x.T @ train.x)
        rows = replace(train, x=train.x[:, self.used])
        self.model, self.likelihoods = fit(rows, self.diagonal)

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        rows, x = replace(seen, x=seen.x[:, self.used]), x[:, self.used]
        b = modes(rows, self.model, np.zeros((len(rows.offsets) - 1, x.shape[1])))
        _, v = posterior(working(rows, self.model, b), self.model)
        unseen = Rows(x, np.zeros(len(x)), person, True)
        variance = ((v[person] @ x[:, :, None])[:, :, 0] * x).sum(axis=1)
        return expected(scores(unseen, self.model, b), variance)


def fit(rows: Rows, diagonal: bool) -> tuple[Model, list[float]]:
    """The model, and Laplace's approximations of the likelihood that were passed."""
    d, people = rows.x.shape[1], len(rows.offsets) - 1
    model = Model(np.zeros(d), np.eye(d) / d, 1.0, np.arange(d))
    b, likelihoods = np.zeros((people, d)), [-np.inf]
    for _ in range(MAX_ITERATIONS):
        b = modes(rows, model, b)
        data = working(rows, model, b)
        likelihoods.append(_laplace(rows, model, b, data.xx))
        if abs(likelihoods[-1] - likelihoods[-2]) <= TOLERANCE * abs(likelihoods[-1]):
            break
        model = replace(iterate(data, model, diagonal)[0], noise=1.0)
    return model, likelihoods[1:]


def _laplace(rows: Rows, model: Model, b: Floats, curvature: Floats) -> float:
    log_det = np.linalg.slogdet(np.eye(len(model.cov)) + curvature @ model.cov)[1]
    return float((penalized(rows, model, b) - 0.5 * log_det).sum())
