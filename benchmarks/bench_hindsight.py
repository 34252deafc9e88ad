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


def drawn(
    rng: np.random.Generator, loss: str, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Features [n_tasks, m, d] and labels of linear tasks, each with parameters of its own."""
    n_tasks, _, d = shape
    x = rng.standard_normal(shape)
    z = np.einsum("tmd,td->tm", x, rng.standard_normal((n_tasks, d)))
    z += rng.logistic(size=z.shape)
    return x, (z > 0) * 1.0 if loss == "logistic" else z


def inputs(loss: str) -> Inputs:
    x, y = drawn(np.random.default_rng(0), loss, (N_TASKS, M, D))
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


def by_newton(
    x: np.ndarray, y: np.ndarray, loss: str, center: np.ndarray, penalty: np.ndarray
) -> np.ndarray:
    """The least of losses and penalty/2 (theta - center)^2: all tasks at once, many more steps."""
    theta = np.tile(center, (len(x), 1))
    for _ in range(20):
        z = np.einsum("tmd,td->tm", x, theta)
        p = 1.0 / (1.0 + np.exp(-z)) if loss == "logistic" else z
        weight = p * (1.0 - p) if loss == "logistic" else np.ones_like(z)
        gradient = np.einsum("tmd,tm->td", x, p - y) + penalty * (theta - center)
        hessian = np.einsum("tmd,tm,tme->tde", x, weight, x) + np.diag(penalty)
        theta -= np.linalg.solve(hessian, gradient[..., None])[..., 0]
    return theta


def expected(i: Inputs) -> Arrays:
    return {"theta_star": by_newton(i.x, i.y, i.loss, np.zeros(D), np.full(D, PENALTY))}


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
