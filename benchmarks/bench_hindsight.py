"""How much faster than a loop over scikit-learn is the best in hindsight of many small tasks?"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need

import aruba_fast as af

N_TASKS, M, D = 1000, 50, 10
PENALTY = 1.0


class Inputs(NamedTuple):
    """Dense tasks, and the same ones for the engine."""

    x: np.ndarray
    y: np.ndarray
    tasks: af.Tasks
    loss: str


def inputs(loss: str) -> Inputs:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_TASKS, M, D))
    z = np.einsum("tmd,td->tm", x, rng.standard_normal((N_TASKS, D)))
    z += rng.logistic(size=z.shape)
    y = (z > 0) * 1.0 if loss == "logistic" else z
    return Inputs(x, y, af.Tasks(x, y), loss)


def ours(i: Inputs) -> Entrant:
    last = []

    def run() -> None:
        last[:] = [af.theory.best_in_hindsight(i.tasks, loss=i.loss, regularization=PENALTY)]

    return Entrant(run, lambda: {"theta_star": last[0].theta_star})


def with_scikit_learn(i: Inputs) -> Entrant:
    """What a user would write; its solver for small dense problems, our accuracy."""
    linear_model = need("sklearn.linear_model")
    if i.loss == "logistic":
        model = linear_model.LogisticRegression(
            C=1.0 / PENALTY, fit_intercept=False, solver="newton-cholesky", tol=1e-8
        )
    else:
        model = linear_model.Ridge(alpha=PENALTY, fit_intercept=False, solver="cholesky")
    theta = np.empty((N_TASKS, D))

    def run() -> None:
        for t in range(N_TASKS):
            theta[t] = model.fit(i.x[t], i.y[t]).coef_.ravel()

    return Entrant(run, lambda: {"theta_star": theta})


def with_numpy(i: Inputs) -> Entrant:
    """Batched LAPACK: one call for all tasks, the squared loss only."""
    out: Arrays = {}

    def run() -> None:
        gram = i.x.transpose(0, 2, 1) @ i.x + PENALTY * np.eye(D)
        out["theta_star"] = np.linalg.solve(gram, i.x.transpose(0, 2, 1) @ i.y[..., None])[..., 0]

    return Entrant(run, lambda: out)


def expected(i: Inputs) -> Arrays:
    """Newton's method on all tasks at once, far more steps than needed."""
    theta = np.zeros((N_TASKS, D))
    for _ in range(20):
        z = np.einsum("tmd,td->tm", i.x, theta)
        p = 1.0 / (1.0 + np.exp(-z)) if i.loss == "logistic" else z
        weight = p * (1.0 - p) if i.loss == "logistic" else np.ones_like(z)
        gradient = np.einsum("tmd,tm->td", i.x, p - i.y) + PENALTY * theta
        hessian = np.einsum("tmd,tm,tme->tde", i.x, weight, i.x) + PENALTY * np.eye(D)
        theta -= np.linalg.solve(hessian, gradient[..., None])[..., 0]
    return {"theta_star": theta}


WORKS = [
    Work(
        f"best in hindsight, {loss}, 1000 tasks of 50 x 10",
        partial(inputs, loss),
        expected,
        {"ours": ours, "scikit-learn, task by task": with_scikit_learn} | rivals,
        n_bytes=8 * N_TASKS * M * (D + 1),
        at_least={"scikit-learn, task by task": 20.0},
        tolerance=1e-6,
        n_units=N_TASKS,
        unit="task",
    )
    for loss, rivals in (("logistic", {}), ("squared", {"NumPy, batched LAPACK": with_numpy}))
]


@cases(*WORKS)
def test_hindsight(benchmark, work, name):
    measure(benchmark, work, name)
