"""A fixed workload of everything that computes; its hashes must not depend on the machine.

Run as a script it prints {"info": ..., "hashes": {what: hash}} as JSON; `test_same_bits.py` runs it
under every instruction set and number of threads. Sizes are large enough to be split among threads.
"""

from __future__ import annotations

import json
import sys

import ml_dtypes
import numpy as np
from workload_fits import (
    hindsight,
    proximal,
    proximal_online,
    row_weights,
    simplex_and_bounds,
    sparse_rows,
)
from workload_tools import DTYPES, LOSSES, N_CLASSES, fingerprint, tasks_for

import aruba_fast as af

OPTIONS = (
    {},
    {"batch_size": 4, "average": True},
    {"n_epochs": 2, "radius": 0.5},
    {"batch_size": 7, "n_epochs": 2, "radius": 0.8, "average": True},
)


def as_is(values):
    """Leaves arrays and tasks where they are, in host memory; other tests put them on a device."""
    return values


def kernels(rng, put=as_is):
    """Flat, matrix and list forms; half-precision gradients; not aligned to any register."""
    for dtype in DTYPES:
        name = np.dtype(dtype).name
        grads = [np.dtype(dtype)] + [ml_dtypes.bfloat16, np.float16] * (dtype == np.float32)
        for grad_type in grads:
            flat = rng.standard_normal((5, 100_004)).astype(dtype)[:, 1:]
            theta, grad, rate, b, g = (row.copy() for row in flat)
            grad, rate, b, g = grad.astype(grad_type), rate**2, b**2, g**2 + dtype(0.1)
            for form, cut in (
                ("flat", lambda a: a),
                ("matrix", lambda a: a[:99_766].reshape(166, 601)),
                ("list", lambda a: [a[:7], a[7:4104], a[4104:90_001].copy()]),
            ):
                out = [cut(put(a.copy())) for a in (theta, g, theta, g, theta, g)]
                vector = (lambda a: a[:601]) if form == "matrix" else cut
                gradient = cut(put(grad))
                af.step(out[0], gradient, vector(put(rate)), grad_sq=out[1])
                af.aruba_step(out[2], gradient, vector(put(b)), out[3], coef=0.3)
                af.adagrad_step(out[4], gradient, out[5], learning_rate=0.3, delta=0.1)
                parts = [p for o in out for p in (o if form == "list" else [o])]
                yield f"kernels {name} {np.dtype(grad_type).name} {form}", fingerprint(*parts)


def engine(rng, put=as_is, n_tasks=40):
    for dtype in DTYPES:
        for loss in LOSSES:
            for d in (1, 3, 8, 12, 17, 30, 64, 300, 1100):
                tasks = put(tasks_for(loss, rng, d, dtype, n_tasks))
                size = d * N_CLASSES if loss == "softmax" else d
                phi = put((0.4 * rng.uniform(-1, 1, size) / np.sqrt(size)).astype(dtype))
                rates = put((0.1 + 0.4 * rng.random(size)).astype(dtype))
                b, g = put(0.1 + rng.random(size)), put(2 + rng.random(size))
                rules = {
                    "ogd": af.OGD(0.3),
                    "ogd_vector": af.OGD(rates),
                    "adagrad": af.AdaGrad(0.3, 0.5),
                    "aruba++": af.ArubaPlusPlus(b, g, 0.5),
                }
                for rule_name, rule in rules.items():
                    results = []
                    for options in OPTIONS:
                        run = af.run_tasks(tasks, phi, rule, loss=loss, **options)
                        bar = () if run.theta_bar is None else (run.theta_bar,)
                        results += [run.theta_hat, run.grad_sq, run.loss, *bar]
                    name = f"engine {np.dtype(dtype).name} {loss} {rule_name} d={d}"
                    yield name, fingerprint(*results)


def extremes(rng, put=as_is):
    """Losses over the whole range of scores: overflow, underflow, both halves of every select."""
    for dtype in DTYPES:
        z = np.concatenate([rng.uniform(-c, c, 2000) for c in (1.0, 100.0, 1000.0)]).astype(dtype)
        for loss in ("squared", "absolute", "huber", "logistic", "hinge"):
            y = (z > 0) * 1.0 if loss == "logistic" else np.where(z > 0, -1.0, 1.0)
            x = np.ones((len(z), 1), dtype)
            tasks = put(af.Tasks(x, y.astype(dtype), np.arange(len(z) + 1)))
            run = af.run_tasks(tasks, put(z[:, None]), af.OGD(0.5), loss=loss)
            yield f"extremes {loss} {np.dtype(dtype).name}", fingerprint(run.theta_hat, run.loss)


def reductions(rng, put=as_is):
    for dtype in DTYPES:
        for n_tasks, d in ((300, 5003), (5000, 17), (3, 40_000)):
            theta_hat = rng.standard_normal((n_tasks, d)).astype(dtype)
            grad_sq = rng.random((n_tasks, d)).astype(dtype)
            weights = 1.0 + rng.integers(0, 100, n_tasks)
            for poisoned in (False, True):
                if poisoned:
                    theta_hat[n_tasks // 2, d // 3] = np.nan
                run = af.TaskRun(put(theta_hat), put(grad_sq))
                phi = put(rng.standard_normal(d).astype(dtype))
                learner = af.MetaLearner(phi, learning_rate=0.3)
                sums = learner.statistics(run, weights)
                merged = sums + sums + sums
                learner.apply(merged)
                theta_hat[0] *= 1e3  # now there is a limit
                limited = learner.statistics(af.TaskRun(put(theta_hat), put(grad_sq)), weights)
                yield (
                    f"reduction {np.dtype(dtype).name} {n_tasks}x{d} poisoned={poisoned}",
                    fingerprint(
                        sums.sums,
                        sums.weight_sum,
                        merged.sums,
                        limited.sums,
                        learner.phi,
                        learner.b,
                        learner.g,
                        learner.learning_rate,
                    ),
                )


LEARNERS = (
    {},
    {"isotropic": True, "learning_rate": 0.2},
    {"decay": 0.1, "p": 0.4, "zeta": 2.0, "learning_rate": 1.0},
    {"max_learning_rate": 0.25, "learning_rate": 0.5, "zeta": 1.0},
    {"bound": "tight", "decay": 0.1},
    {"train": "scalar"},
    {"tensors": (2, 530, 1, 67)},
    {"tensors": (3, 4), "isotropic": True},
)
TRAINING = (
    {"round_size": 1, "n_passes": 2, "seed": 3},
    {"round_size": 7, "weights": "rows", "meta_step": 0.5, "batch_size": 3},
    {"round_size": 16, "n_epochs": 2, "radius": 0.7},
)


def online(rng, put=as_is):
    for dtype in DTYPES:
        for loss in LOSSES:
            for d, hyper, how in zip(
                (1, 8, 33, 100, 600, 5, 600, 7),
                LEARNERS,
                (*TRAINING, *TRAINING, *TRAINING[:2]),
                strict=True,
            ):
                tasks = put(tasks_for(loss, rng, d, dtype, 60))
                size = d * N_CLASSES if loss == "softmax" else d
                if "tensors" in hyper:  # of every class
                    hyper = hyper | {"tensors": hyper["tensors"] * (size // d)}
                learner = af.MetaLearner(put(np.zeros(size, dtype)), **hyper)
                history = af.meta_train(tasks, learner, loss=loss, **how)
                yield (
                    f"online {np.dtype(dtype).name} {loss} d={d} {sorted(hyper)}",
                    fingerprint(
                        learner.phi,
                        learner.b,
                        learner.g,
                        learner.rho,
                        learner.learning_rate,
                        history.loss,
                        history.skipped,
                    ),
                )


def main():
    hashes = {}
    parts = (
        kernels,
        engine,
        extremes,
        reductions,
        online,
        hindsight,
        simplex_and_bounds,
        proximal,
        proximal_online,
        sparse_rows,
        row_weights,
    )
    for seed, part in enumerate(parts):
        with np.errstate(all="ignore"):
            for what, value in part(np.random.default_rng(seed)):
                assert what not in hashes, what
                hashes[what] = value
    json.dump({"info": af.info(), "hashes": hashes}, sys.stdout)


if __name__ == "__main__":
    main()
