"""`meta_fit` a second time: float64 NumPy in the parameters themselves, one task after the other.

Unlike the implementation it knows no coordinates in which the rates are one: it inverts covariances
of rows, and finds a task's parameters by scipy where the loss is not squared.
"""

from __future__ import annotations

import numpy as np
import reference
from scipy.optimize import minimize

GROWTH, HELD = 1e-3, 1 / 16


def curvature(loss, z, y):
    """The matrix of second derivatives of every row's loss, [m, q, q], and its slopes [m, q]."""
    slope = reference.LOSSES[loss](z, y)[1]
    if loss == "softmax":
        p = slope + np.eye(z.shape[1])[y.astype(int)]
        return np.einsum("ic,ck->ick", p, np.eye(p.shape[1])) - np.einsum("ic,ik->ick", p, p), slope
    second = {
        "squared": np.ones_like(z),
        "huber": (np.abs(z - y) < 1) * 1.0,
        "logistic": (slope + y) * (1 - slope - y),
        "poisson": slope + y,
    }[loss]
    return second[:, None, None], slope[:, None]


def lifted(x, q):
    """Rows of features as [m, q, n]: what a row's scores are linear in."""
    return np.einsum("cd,ij->icdj", np.eye(q), x).reshape(len(x), q, -1)


def proximal(x, y, phi, h, loss):
    """The minimizer by scipy, in the units of the root of h; v too, with theta = phi + root v."""
    values, vectors = np.linalg.eigh(h)
    root = vectors * np.sqrt(np.maximum(values, 0))

    def objective(v):
        z = reference.scores(phi + root @ v, x, loss)
        value, slope = reference.LOSSES[loss](z, y)
        gradient = (slope.T @ x).reshape(-1) if loss == "softmax" else slope @ x
        return value.sum() + 0.5 * v @ v, root.T @ gradient + v

    v = np.zeros(len(phi))
    for _ in range(3):  # again from where rounding of the search left it
        v = minimize(objective, v, jac=True, method="BFGS", options={"gtol": 1e-12}).x
    return phi + root @ v, v


class Pass:
    """All tasks at phi and h: the sums that the next ones are made of."""

    def __init__(self, pieces, phi, h, loss, q):
        n, self.n_tasks = len(phi), len(pieces)
        self.distance, self.g, self.score = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
        self.residual = self.weight = self.evidence = 0.0
        for x, y in pieces:
            if loss == "squared":
                covariance = np.eye(len(x)) + x @ h @ x.T
                theta = phi + h @ x.T @ np.linalg.solve(covariance, y - x @ phi)
            else:
                theta, _ = proximal(x, y, phi, h, loss)
            z = reference.scores(theta, x, loss)
            second, slope = curvature(loss, z, y)
            rows = lifted(x, q)
            s = np.einsum("icn,ick,ikm->nm", rows, second, rows)
            step = theta - phi
            gradient = np.einsum("ic,icn->n", slope, rows)
            self.distance += np.outer(step, step)
            self.g += s @ np.linalg.inv(np.eye(n) + h @ s)
            self.score -= gradient
            penalty = -step @ gradient  # h^-1 step is minus the gradient
            self.residual += (slope**2).sum() + penalty
            self.weight += second.sum()
            self.evidence -= 0.5 * np.linalg.slogdet(np.eye(n) + h @ s)[1]
            if loss not in ("squared", "huber"):
                self.evidence -= reference.LOSSES[loss](z, y)[0].sum() + 0.5 * penalty
        self.scale = 1.0
        if loss in ("squared", "huber"):
            self.scale = self.residual / self.weight
            count = sum(len(y) for _, y in pieces)
            self.evidence -= 0.5 * (count * np.log(self.scale) + self.weight - count)

    def step(self, phi, h, ridge):
        """How far phi goes, held at zero by `ridge`; `ridge` becomes the next."""
        if not ridge.any():
            ridge[:] = 2.0**-10 * np.diag(self.g)
        held = self.g + np.diag(ridge)
        inverse = np.linalg.inv(held + 2.0**-26 * np.diag(np.diag(held)))
        step = inverse @ (self.score - ridge * phi)
        unsure = self.scale * np.diag(inverse)
        most = 2.0**20 * self.n_tasks / np.diag(h)
        ridge[:] = np.minimum(self.scale / ((phi + step) ** 2 + unsure), most)
        return step


def meta_fit(pieces, loss, q=1, covariance="full"):
    """The learned phi, rates, scale and evidence, and the number of passes."""
    d = pieces[0][0].shape[1]
    phi, ridge, n_passes = np.zeros(q * d), np.zeros(q * d), 2  # of the squares, and the last
    squares = np.tile(sum((x**2).sum(axis=0) for x, _ in pieces) / len(pieces), q)
    h = np.diag(1 / squares)
    for _ in range(12):
        now = Pass(pieces, phi, h, loss, q)
        n_passes += 1
        step = now.step(phi, h, ridge)
        phi = phi + step
        if loss == "squared" or np.sqrt(step @ np.linalg.solve(h, step)) < 1e-2:
            break
    held = None
    for full in (False, True)[: 1 + (covariance == "full")]:
        if full:
            held, n = h, len(phi)
        before = -np.inf
        for _ in range(200 if full else 100):
            now = Pass(pieces, phi, h, loss, q)
            n_passes += 1
            if not now.evidence - before > GROWTH * len(pieces):
                break
            before = now.evidence
            phi = phi + now.step(phi, h, ridge)
            if full:
                total = len(pieces)
                grown = now.distance / now.scale + total * h - h @ now.g @ h
                weight = HELD * n * (n - 1) / 2
                h = (grown + weight * held) / (total + weight)
            else:
                eta = np.diag(h)
                grown = np.diag(now.distance) / now.scale / (eta * np.diag(now.g))
                h = np.diag(np.clip(grown, 2.0**-20 / squares, 2.0**30 / squares))
    now = Pass(pieces, phi, h, loss, q)
    return phi + now.step(phi, h, ridge), h, now.scale, now.evidence, n_passes
