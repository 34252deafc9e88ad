"""How fast are tasks of hashed features, a million of them, against a loop over the libraries?

The work is Reptile: every task from phi, phi a tenth of the way after it. A rate with so large a
`zeta` stays what it was, so that all compute the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need
from scipy.sparse import csr_array

import aruba_fast as af

D, N_TASKS, M, ENTRIES = 10**6, 2000, 20, 30
RATE, STEP = 0.05, 0.1
LEARNER = {"learning_rate": RATE, "zeta": 1e6}


class Inputs(NamedTuple):
    """Rows, labels, the columns that each task touches, and the tasks for the engine."""

    x: csr_array
    y: np.ndarray
    touched: list[np.ndarray]
    tasks: af.Tasks


def inputs() -> Inputs:
    """Words that occur as often as those of a language, hashed."""
    rng = np.random.default_rng(0)
    n = N_TASKS * M
    word = np.minimum(rng.zipf(1.2, (n, 8 * ENTRIES)), 2**30) * 2654435761 % D
    firsts = (np.sort(np.unique(row, return_index=True)[1])[:ENTRIES] for row in word)
    columns = np.array([np.sort(row[kept]) for row, kept in zip(word, firsts, strict=True)])
    values = 0.2 * rng.standard_normal(columns.size)
    pointers = np.arange(0, columns.size + 1, ENTRIES, dtype=np.int32)
    x = csr_array((values.astype(np.float32), columns.ravel().astype(np.int32), pointers), (n, D))
    y = (x @ rng.standard_normal(D)).astype(np.float32)
    touched = [np.unique(columns[t * M : (t + 1) * M]) for t in range(N_TASKS)]
    return Inputs(x, y, touched, af.Tasks(x, y, np.arange(0, n + 1, M)))


def ours(i: Inputs) -> Entrant:
    learner = []

    def run() -> None:
        learner[:] = [af.MetaLearner(np.zeros(D, np.float32), **LEARNER)]
        af.meta_train(i.tasks, learner[0], loss="squared", meta_step=STEP)

    return Entrant(run, lambda: {"phi": learner[0].phi})


def with_scikit_learn(i: Inputs) -> Entrant:
    """`partial_fit` of a task's rows; only what it touches goes back and forth."""
    model = need("sklearn.linear_model").SGDRegressor(
        loss="squared_error",
        penalty=None,
        fit_intercept=False,
        shuffle=False,
        learning_rate="constant",
        eta0=RATE,
    )
    phi = np.zeros(D)
    rows = [i.x[t * M : (t + 1) * M] for t in range(N_TASKS)]
    labels = i.y.reshape(N_TASKS, M)
    model.partial_fit(rows[0], labels[0])

    def run() -> None:
        phi[:] = 0.0
        model.coef_[:] = 0.0
        for x, y, own in zip(rows, labels, i.touched, strict=True):
            model.partial_fit(x, y)
            phi[own] += STEP * (model.coef_[own] - phi[own])
            model.coef_[own] = phi[own]

    return Entrant(run, lambda: {"phi": phi})


def with_river(i: Inputs) -> Entrant:
    """`learn_one` of a row as a dict, which is what it takes."""
    river = need("river.linear_model"), need("river.optim"), need("river.utils")
    linear_model, optim, utils = river
    rows = [
        dict(zip(i.x.indices[a:b].tolist(), i.x.data[a:b].tolist(), strict=True))
        for a, b in zip(i.x.indptr[:-1], i.x.indptr[1:], strict=True)
    ]
    labels = i.y.tolist()
    touched = [own.tolist() for own in i.touched]
    phi: dict[int, float] = {}

    def run() -> None:
        phi.clear()
        for t, own in enumerate(touched):
            # Its loss is the square, not half of it.
            model = linear_model.LinearRegression(optim.SGD(RATE / 2), intercept_lr=0.0)
            model._weights = utils.VectorDict({j: phi.get(j, 0.0) for j in own})
            for row in range(t * M, (t + 1) * M):
                model.learn_one(rows[row], labels[row])
            for j, weight in model._weights.items():
                start = phi.get(j, 0.0)
                phi[j] = start + STEP * (weight - start)

    def answer() -> Arrays:
        dense = np.zeros(D)
        dense[list(phi)] = list(phi.values())
        return {"phi": dense}

    return Entrant(run, answer)


def expected(i: Inputs) -> Arrays:
    phi = np.zeros(D)
    for t, own in enumerate(i.touched):
        x = i.x[t * M : (t + 1) * M][:, own].toarray().astype(np.float64)
        theta = phi[own]
        for row, y in zip(x, i.y[t * M : (t + 1) * M], strict=True):
            theta = theta - RATE * (row @ theta - y) * row
        phi[own] += STEP * (theta - phi[own])
    return {"phi": phi}


def evaluation(i: Inputs) -> Entrant:
    phi, found = np.full(D, 0.1, np.float32), []

    def run() -> None:
        found[:] = [af.evaluate(i.tasks, phi, loss="squared")]

    return Entrant(run, lambda: {"loss": found[0]})


def with_scipy(i: Inputs) -> Entrant:
    phi, found = np.full(D, 0.1, np.float32), []

    def run() -> None:
        rest = i.x @ phi - i.y
        found[:] = [0.5 * np.square(rest, dtype=np.float64).reshape(N_TASKS, M).mean(axis=1)]

    return Entrant(run, lambda: {"loss": found[0]})


def expected_losses(i: Inputs) -> Arrays:
    rest = i.x.astype(np.float64) @ np.full(D, 0.1) - i.y
    return {"loss": 0.5 * np.square(rest).reshape(N_TASKS, M).mean(axis=1)}


N_BYTES = 8 * N_TASKS * M * ENTRIES
WORKS = [
    Work(
        "hashed features, d = 10⁶, training, 2000 tasks of 20 rows of 30",
        inputs,
        expected,
        {
            "ours": ours,
            "scikit-learn, partial_fit of a task": with_scikit_learn,
            "river, learn_one of a row": with_river,
        },
        n_bytes=N_BYTES,
        bandwidth="read",
        at_least={"scikit-learn, partial_fit of a task": 5.0, "river, learn_one of a row": 5.0},
        tolerance=1e-4,
        n_units=N_TASKS * M,
        unit="row",
    ),
    Work(
        "hashed features, d = 10⁶, evaluation",
        inputs,
        expected_losses,
        {"ours": evaluation, "SciPy, x @ phi": with_scipy},
        n_bytes=N_BYTES,
        bandwidth="read",
        tolerance=1e-5,
        n_units=N_TASKS * M,
        unit="row",
    ),
]


@cases(*WORKS)
def test_sparse(benchmark, work, name):
    measure(benchmark, work, name)
