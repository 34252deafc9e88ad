"""Writes cases for settings.cpp, and prints what that must print, computed in Python."""

import sys
from pathlib import Path

import numpy as np

import aruba_fast as af

CASES = [
    {},
    {"dtype": np.float64, "loss": "huber", "learner": {"bound": "tight"}},
    {"loss": "logistic", "learner": {"isotropic": True}, "train": {"round_size": 4}},
    {"loss": "hinge", "learner": {"decay": 0.01, "max_learning_rate": 0.02}},
    {"loss": "softmax", "train": {"n_passes": 3, "seed": 1}},
    {"loss": "absolute", "learner": {"learning_rate": 0.05, "zeta": 2.0, "p": 0.5}},
    {"loss": "absolute", "dtype": np.float64},
    {"loss": "poisson", "train": {"weights": "rows", "round_size": 3}},
    {"learner": {"tensors": [2, 3]}, "train": {"batch_size": 3, "n_epochs": 2}},
    {"dtype": np.float64, "train": {"radius": 0.75, "meta_step": 0.25}},
    {"train": {"rule": "proximal"}, "row_weights": True},
    {"learner": {"bound": "tight"}, "train": {"rule": "proximal", "n_passes": 2}},
    {"loss": "logistic", "row_weights": True, "learner": {"zeta": 1.0}},
    {"far": True, "learner": {"learning_rate": 0.05}, "train": {"round_size": 2, "n_passes": 2}},
]


def table(loss, dtype, far, row_weights):
    """Ragged tasks of five features."""
    rng = np.random.default_rng(7)
    sizes = rng.integers(1, 12, 30)
    x = rng.normal(size=(sizes.sum(), 5)).astype(dtype)
    if far:
        x[0] *= 20
        x[sizes[0]] = 1e30
    score = x @ np.linspace(-1, 1, 5) + rng.normal(size=len(x))
    labels = {"logistic": score > 0, "hinge": np.where(score > 0, 1, -1)}
    labels["poisson"] = np.floor(np.exp(np.minimum(score, 6) / 3))
    labels["softmax"] = (score > -1).astype(int) + (score > 1)
    weights = rng.uniform(0.5, 2.0, len(x)) if row_weights else None
    return x, labels.get(loss, score).astype(dtype), np.r_[0, sizes.cumsum()], weights


def text(values):
    return [f"{float(value):.17g}" for value in values]


def write(file, values):
    """A number of values, and the values."""
    print(len(values), *text(values), file=file)


def given(options, name, default=-1):
    """An option as a number: none is less than nothing."""
    return options.get(name) if options.get(name) is not None else default


def run(file, case):
    """Writes a case, and prints what is learned of it."""
    loss, dtype = case.get("loss", "squared"), case.get("dtype", np.float32)
    learner, train = case.get("learner", {}), case.get("train", {})
    x, y, offsets, weights = table(loss, dtype, case.get("far"), case.get("row_weights"))
    phi = np.full(15 if loss == "softmax" else 5, 0.125, dtype)
    passes, seed = train.get("n_passes", 1), train.get("seed")
    rng = np.random.default_rng(seed)
    n_tasks = len(offsets) - 1
    order = [] if seed is None else [rng.permutation(n_tasks) for _ in range(passes)]

    print(np.dtype(dtype).name, loss, file=file)
    print(
        *(given(learner, "learning_rate"), given(learner, "zeta")),
        *(learner.get("p", 1.0), learner.get("decay", 0.0), int(learner.get("isotropic", False))),
        *(given(learner, "max_learning_rate"), int(learner.get("bound") == "tight")),
        *(train.get("round_size", 1), passes, train.get("batch_size", 1)),
        *(train.get("n_epochs", 1), given(train, "radius")),
        *(int(train.get("rule") == "proximal"), int("weights" in train)),
        given(train, "meta_step"),
        file=file,
    )
    order = np.concatenate(order) if order else []
    for values in (learner.get("tensors", []), order, offsets, x.ravel(), y, phi):
        write(file, values)
    write(file, [] if weights is None else weights)

    tasks = af.Tasks(x, y, offsets=offsets, row_weights=weights)
    made = af.MetaLearner(phi, **learner)
    history = af.meta_train(tasks, made, loss=loss, **train)
    rates = np.broadcast_to(made.learning_rate, phi.shape)
    found = {"phi": made.phi, "rate": rates, "b": made.b, "g": made.g, "loss": history.loss}
    found["tasks"] = [made.n_tasks, made.n_skipped]
    ran = af.run_tasks(tasks, made.phi, made.rule(), loss=loss)
    found["theta_hat"] = ran.theta_hat.ravel()
    made.update(ran)
    found["updated"] = made.phi
    for name, values in found.items():
        print(name, *text(values))


with Path(sys.argv[1]).open("w") as out:
    for case in CASES:
        run(out, case)
