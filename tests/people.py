"""Simulated people in a table, and what a mixed model says of them, in float64 NumPy and SciPy."""

from dataclasses import dataclass

import numpy as np
from optional import need
from scipy.optimize import minimize

VERSION = tuple(int(part) for part in need("sklearn").__version__.split(".")[:2])


@dataclass
class Simulated:
    X: np.ndarray
    y: np.ndarray
    person: np.ndarray
    beta: np.ndarray  # of each person: coefficients, and the intercept last


def simulated(n_people=150, m=6, noise=0.5, seed=0):
    """Two features of odd units; people differ in the second's coefficient and in their level."""
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [rng.normal(5.0, 2.0, n_people * m), rng.normal(-300.0, 100.0, n_people * m)]
    )
    root = np.array([[0.0, 0.0, 0.0], [0.0, 0.01, 0.0], [0.0, 0.6, 1.5]])
    beta = np.array([0.7, 0.005, 4.0]) + rng.normal(size=(n_people, 3)) @ root.T
    person = np.repeat(np.arange(n_people), m)
    order = rng.permutation(len(person))
    own = np.column_stack([X, np.ones(len(X))])
    y = np.einsum("nd,nd->n", own, beta[person]) + noise * rng.normal(size=len(X))
    return Simulated(X[order], y[order], person[order], beta)


def with_ones(X):
    return np.column_stack([X, np.ones(len(X))])


def best_prediction(X, y, start, covariance, variance):
    """A person's coefficients and intercept: the posterior mean, by its textbook formula."""
    Z = with_ones(X)
    marginal = Z @ covariance @ Z.T + variance * np.eye(len(Z))
    return start + covariance @ Z.T @ np.linalg.solve(marginal, y - Z @ start)


def mixed_model(X, y, person):
    """Start, covariance and variance of the largest likelihood, all coefficients being random.

    Everybody has the same number of rows.
    """
    Z = with_ones((X - X.mean(axis=0)) / X.std(axis=0))
    rows = np.array([np.flatnonzero(person == p) for p in np.unique(person)])
    Z, y, d = Z[rows], y[rows, None], Z.shape[1]
    lower = np.tril_indices(d)

    def parts(v):
        root = np.zeros((d, d))
        root[lower] = v[:-1]
        return root @ root.T, np.exp(2 * v[-1])

    def fitted(v):
        covariance, variance = parts(v)
        marginal = Z @ covariance @ Z.transpose(0, 2, 1) + variance * np.eye(rows.shape[1])
        left = np.linalg.solve(marginal, Z).transpose(0, 2, 1)
        start = np.linalg.solve((left @ Z).sum(axis=0), (left @ y).sum(axis=0))
        r = y - Z @ start
        squares = (r * np.linalg.solve(marginal, r)).sum()
        return np.linalg.slogdet(marginal)[1].sum() + squares, start[:, 0]

    v = np.concatenate([(0.5 * np.eye(d))[lower], [np.log(y.std() / 2)]])
    found = minimize(lambda v: fitted(v)[0], v, method="L-BFGS-B")
    # From standardized features to those that were given.
    back = units(X, np.array([-1.0, 1.0]))
    covariance, variance = parts(found.x)
    return back @ fitted(found.x)[1], back @ covariance @ back.T, variance


def units(X, y):
    """What makes the user's parameters of those of standardized features and target."""
    back = np.diag([*(1 / X.std(axis=0)), 1.0])
    back[-1, :-1] = -X.mean(axis=0) / X.std(axis=0)
    return y.std() * back
