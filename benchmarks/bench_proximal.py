"""How fast is the proximal rule on people of few rows, beside NumPy's LAPACK and scikit-learn?"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from bench_hindsight import by_newton, drawn
from race import Arrays, Entrant, Work, cases, measure, need

import aruba_fast as af

N_TASKS, M, D = 2000, 7, 13


class Inputs(NamedTuple):
    """Dense tasks, the same ones for the engine, and a rate for every coordinate."""

    x: np.ndarray
    y: np.ndarray
    tasks: af.Tasks
    phi: np.ndarray
    rates: np.ndarray
    loss: str


def inputs(loss: str) -> Inputs:
    rng = np.random.default_rng(0)
    x, y = drawn(rng, loss, (N_TASKS, M, D))
    phi, rates = 0.1 * rng.standard_normal(D), 0.1 + rng.random(D)
    return Inputs(x, y, af.Tasks(x, y), phi, rates, loss)


def ours(i: Inputs) -> Entrant:
    last = []
    rule = af.Proximal(i.rates)

    def run() -> None:
        last[:] = [af.run_tasks(i.tasks, i.phi, rule, loss=i.loss)]

    return Entrant(run, lambda: {"theta_hat": last[0].theta_hat})


def with_scikit_learn(i: Inputs) -> Entrant:
    """What a user would write: columns in units of the rates, what the start leaves of the target.

    Only for squared losses: its logistic regression has no start to be held near.
    """
    model = need("sklearn.linear_model").Ridge(alpha=1.0, fit_intercept=False, solver="cholesky")
    root = np.sqrt(i.rates)
    theta = np.empty((N_TASKS, D))

    def run() -> None:
        x, left = i.x * root, i.y - i.x @ i.phi
        for t in range(N_TASKS):
            theta[t] = i.phi + root * model.fit(x[t], left[t]).coef_

    return Entrant(run, lambda: {"theta_hat": theta})


def with_numpy(i: Inputs) -> Entrant:
    """Batched LAPACK by rows, which are fewer than the features; eight Newton steps if logistic."""
    out: Arrays = {}
    root = np.sqrt(i.rates)

    def run() -> None:
        a = i.x * root
        at = a.transpose(0, 2, 1)
        start = i.x @ i.phi
        if i.loss == "squared":
            gram = a @ at + np.eye(M)
            v = at @ np.linalg.solve(gram, (i.y - start)[..., None])
        else:
            v = np.zeros((N_TASKS, D, 1))
            for _ in range(8):
                p = 1.0 / (1.0 + np.exp(-(start[..., None] + a @ v)))
                w = p * (1.0 - p)
                gram = np.eye(M) + w * (a @ at)
                pulled = w * (a @ v) - (p - i.y[..., None])
                v = at @ np.linalg.solve(gram, pulled)
        out["theta_hat"] = i.phi + root * v[..., 0]

    return Entrant(run, lambda: out)


def expected(i: Inputs) -> Arrays:
    return {"theta_hat": by_newton(i.x, i.y, i.loss, i.phi, 1 / i.rates)}


# Online: every task from phi, phi a tenth of the way after it; so large a `zeta` holds the rates.
RATE, STEP = 0.3, 0.1
LEARNER = {"learning_rate": RATE, "zeta": 1e6, "bound": "tight"}


def online(i: Inputs) -> Entrant:
    learner = []

    def run() -> None:
        learner[:] = [af.MetaLearner(i.phi, **LEARNER)]
        af.meta_train(i.tasks, learner[0], loss=i.loss, rule="proximal", meta_step=STEP)

    return Entrant(run, lambda: {"phi": learner[0].phi})


def online_with_numpy(i: Inputs) -> Entrant:
    """A task after the other, by its rows."""
    phi = np.empty(D)
    unit = np.eye(M)

    def run() -> None:
        phi[:] = i.phi
        for x, y in zip(i.x, i.y, strict=True):
            gone = RATE * x.T @ np.linalg.solve(unit + RATE * x @ x.T, y - x @ phi)
            phi[:] += STEP * gone

    return Entrant(run, lambda: {"phi": phi})


def online_with_scikit_learn(i: Inputs) -> Entrant:
    model = need("sklearn.linear_model").Ridge(alpha=1 / RATE, fit_intercept=False)
    phi = np.empty(D)

    def run() -> None:
        phi[:] = i.phi
        for x, y in zip(i.x, i.y, strict=True):
            phi[:] += STEP * model.fit(x, y - x @ phi).coef_

    return Entrant(run, lambda: {"phi": phi})


def expected_online(i: Inputs) -> Arrays:
    phi = i.phi
    for t in range(N_TASKS):
        theta = by_newton(i.x[t : t + 1], i.y[t : t + 1], i.loss, phi, np.full(D, 1 / RATE))[0]
        phi = phi + STEP * (theta - phi)
    return {"phi": phi}


WORKS = [
    Work(
        f"proximal rule, {loss}, {N_TASKS} tasks of {M} x {D}",
        partial(inputs, loss),
        expected,
        {"ours": ours, "NumPy, batched LAPACK": with_numpy} | rivals,
        n_bytes=8 * N_TASKS * M * (D + 1),
        at_least={"NumPy, batched LAPACK": 1.0} | dict.fromkeys(rivals, 20.0),
        tolerance=1e-9,
        n_units=N_TASKS,
        unit="task",
    )
    for loss, rivals in (
        ("squared", {"scikit-learn, task by task": with_scikit_learn}),
        ("logistic", {}),
    )
]
WORKS.append(
    Work(
        f"proximal rule, online, squared, {N_TASKS} tasks of {M} x {D}",
        partial(inputs, "squared"),
        expected_online,
        {
            "ours": online,
            "NumPy, task by task": online_with_numpy,
            "scikit-learn, task by task": online_with_scikit_learn,
        },
        n_bytes=8 * N_TASKS * M * (D + 1),
        at_least={"NumPy, task by task": 3.0, "scikit-learn, task by task": 20.0},
        tolerance=1e-7,
        n_units=N_TASKS,
        unit="task",
    )
)


@cases(*WORKS)
def test_proximal(benchmark, work, name):
    measure(benchmark, work, name)
