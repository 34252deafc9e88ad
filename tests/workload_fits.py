"""The parts of the workload that live in host memory: optima, bounds, fits, sparse rows."""

from __future__ import annotations

import warnings

import numpy as np
from workload_tools import DTYPES, LOSSES, N_CLASSES, fingerprint, tasks_for

import aruba_fast as af


def hindsight(rng):
    for dtype in DTYPES:
        for loss in LOSSES:
            for d, bound in ((3, {"radius": 0.5}), (17, {"regularization": 0.2})):
                tasks = tasks_for(loss, rng, d, dtype)
                found = af.theory.best_in_hindsight(tasks, loss=loss, **bound)
                name = f"hindsight {np.dtype(dtype).name} {loss} d={d}"
                yield name, fingerprint(found.theta_star, found.loss, found.gap)
    for loss in LOSSES:
        easy = tasks_for(loss, rng, 5, np.float64)
        x = easy.x * np.array([0.0, 1.0, 1.0, 1e-9, 1e-6]) + np.array([1.0, 1e10, 0, 0, 0])
        x[:, 3] += x[:, 2]  # far from zero, nearly collinear, of small scale
        tasks = af.Tasks(x, easy.y, np.append(easy.starts, len(x)))
        bounds = [{"radius": 1e6}]
        if loss in ("squared", "absolute", "huber"):
            bounds.append({})
        for bound in bounds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found = af.theory.best_in_hindsight(tasks, loss=loss, **bound)
            yield (
                f"hindsight hard {loss} {bound}",
                fingerprint(found.theta_star, found.loss, found.gap),
            )


def simplex_and_bounds(rng):
    for dtype in DTYPES:
        for d in (3, 17, 40):
            tasks, phi = tasks_for("logistic", rng, d, dtype), np.full(d, 1 / d)
            name = f"{np.dtype(dtype).name} d={d}"
            for options in ({}, {"batch_size": 4, "n_epochs": 2, "average": True}):
                run = af.run_tasks(tasks, phi.astype(dtype), af.EG(0.5), loss="logistic", **options)
                yield (
                    f"eg {name} {sorted(options)}",
                    fingerprint(run.theta_hat, run.grad_sq, run.loss),
                )
            star, rates = rng.dirichlet(np.ones(d), len(tasks)), 0.1 + rng.random(d)
            for rule in (
                af.OGD(0.3),
                af.OGD(rates),
                af.AdaGrad(0.3, 0.5),
                af.ArubaPlusPlus(rates, 2.0, 0.5),
                af.EG(0.5),
            ):
                parts = af.theory.regret_upper_bound(
                    run, star, phi, rule, n_steps=tasks.sizes, gradient=True
                )
                yield f"bound {name} {rule}", fingerprint(*parts)


def proximal(rng):
    for dtype in DTYPES:
        for loss in LOSSES:
            for d in (3, 17):
                tasks = tasks_for(loss, rng, d, dtype)
                fitted = {"absolute": "huber", "hinge": "logistic"}.get(loss, loss)
                of_fit = tasks_for(fitted, rng, d, dtype)
                for covariance in ("full", "diagonal"):
                    fit = af.meta_fit(of_fit, loss=fitted, covariance=covariance)
                    run = af.run_tasks(tasks, fit.phi, fit.rule(), loss=loss)
                    yield (
                        f"proximal {np.dtype(dtype).name} {loss} d={d} {covariance}",
                        fingerprint(
                            fit.phi,
                            fit.learning_rate,
                            np.array([fit.scale, fit.evidence]),
                            run.theta_hat,
                            run.grad_sq,
                            run.loss,
                        ),
                    )


def proximal_online(rng):
    for dtype in DTYPES:
        for loss in LOSSES:
            tasks = tasks_for(loss, rng, 9, dtype)
            phi = np.zeros(9 * (N_CLASSES if loss == "softmax" else 1), dtype)
            for round_size in (1, 7):
                learner = af.MetaLearner(phi)
                history = af.meta_train(
                    tasks, learner, loss=loss, rule="proximal", round_size=round_size, seed=0
                )
                yield (
                    f"proximal {np.dtype(dtype).name} {loss} meta {round_size}",
                    fingerprint(history.loss, learner.phi, learner.b, learner.g, learner.rho),
                )


def sparse_rows(rng):
    """Rows whose zeros are left out: runs and training."""
    for dtype in DTYPES:
        for loss in LOSSES:
            dense = tasks_for(loss, rng, 700, dtype)
            x = np.where(rng.random(dense.x.shape) < 0.05, dense.x, 0.0).astype(dtype)
            tasks = af.Tasks(Csr(x), dense.y, np.append(dense.starts, len(x)))
            phi = np.zeros(700 * (N_CLASSES if loss == "softmax" else 1), dtype)
            name = f"{np.dtype(dtype).name} {loss}"
            for rule in (af.OGD(0.1), af.AdaGrad(0.1, 0.5), af.Adam(0.1, 0.1, 0.25)):
                run = af.run_tasks(tasks, phi, rule, loss=loss, batch_size=2, average=True)
                yield (
                    f"sparse {name} {type(rule).__name__}",
                    fingerprint(run.theta_hat, run.grad_sq, run.theta_bar, run.loss),
                )
            for round_size in (1, 5):
                for zeta in ("auto", 1.0):
                    learner = af.MetaLearner(phi, zeta=zeta)
                    history = af.meta_train(
                        tasks, learner, loss=loss, round_size=round_size, n_passes=2, seed=0
                    )
                    yield (
                        f"sparse {name} meta {round_size} {zeta}",
                        fingerprint(history.loss, learner.phi, learner.b, learner.g, learner.rho),
                    )
        # Columns in two piles.
        x = np.zeros((400, 5000), dtype)
        np.put_along_axis(x, rng.integers(0, 5000, (400, 40)), rng.normal(size=(400, 40)), axis=1)
        tasks = af.Tasks(Csr(x), rng.normal(size=400), np.arange(0, 401, 8))
        learner = af.MetaLearner(np.zeros(5000, dtype))
        af.meta_train(tasks, learner, loss="squared", round_size=20, n_passes=2)
        yield (
            f"sparse {np.dtype(dtype).name} of many columns",
            fingerprint(learner.phi, learner.b, learner.g, learner.rho),
        )


def row_weights(rng):
    """Rows that count more than once, or less."""
    for dtype in DTYPES:
        for loss in LOSSES:
            plain = tasks_for(loss, rng, 17, dtype)
            weights, offsets = 0.25 + rng.random(plain.n_rows), np.append(0, plain.stops)
            tasks, sparse = (
                af.Tasks(x, plain.y, offsets, row_weights=weights) for x in (plain.x, Csr(plain.x))
            )
            phi = np.zeros(17 * (N_CLASSES if loss == "softmax" else 1), dtype)
            for rule in (af.OGD(0.1), af.AdaGrad(0.1, 0.5), af.Proximal(0.3)):
                run = af.run_tasks(tasks, phi, rule, loss=loss)
                name = f"row weights {np.dtype(dtype).name} {loss} {type(rule).__name__}"
                yield name, fingerprint(run.theta_hat, run.grad_sq, run.loss, run.weight)
            for some in (tasks, sparse):
                learner = af.MetaLearner(phi)
                af.meta_train(some, learner, loss=loss, round_size=5, weights="rows")
                name = f"row weights {np.dtype(dtype).name} {loss} meta {some is sparse}"
                yield name, fingerprint(learner.phi, learner.b, learner.g, learner.rho)


class Csr:
    """A CSR matrix as scipy.sparse has it, which a machine under emulation may not have."""

    format = "csr"

    def __init__(self, x):
        row, self.indices = (part.astype(np.int32) for part in np.nonzero(x))
        self.data, self.shape = x[np.nonzero(x)], x.shape
        self.indptr = np.searchsorted(row, np.arange(len(x) + 1)).astype(np.int32)
