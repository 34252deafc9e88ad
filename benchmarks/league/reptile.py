"""Reptile at every rate of a grid: an oracle, for the league takes the best of them on the test."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

import aruba_fast as af
from aruba_fast_reproductions.demo.methods import HEAVY, RATES
from aruba_fast_reproductions.demo.protocol import Settings

from .ours import loss, predicted, tasks
from .protocol import Floats, Rows

# The ball that the rivals of the demo are kept in, without which one outlier can spoil a rate.
RADIUS = Settings.radius
N_PASSES, N_EPOCHS = Settings.n_passes, Settings.n_epochs


class Reptile:
    """One rate within a task; eleven learners, each with a rate of the demo's grid."""

    def fit(self, train: Rows, seed: int) -> None:
        start = np.zeros(train.x.shape[1])
        self.learners = [af.MetaLearner(start, learning_rate=r, zeta=HEAVY) for r in RATES]
        n_visits = N_PASSES * (len(train.offsets) - 1)
        people = tasks(train)
        for learner in self.learners:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", af.DivergenceWarning)
                af.meta_train(
                    people,
                    learner,
                    loss=loss(train),
                    n_passes=N_PASSES,
                    seed=seed,
                    radius=RADIUS,
                    meta_step=lambda n: 1.0 - (n - 1) / n_visits,  # Reptile's own schedule
                )

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        people, candidates = tasks(seen), []
        for learner, rate in zip(self.learners, RATES, strict=True):
            run = af.run_tasks(
                people,
                learner.phi,
                af.OGD(rate),
                loss=loss(seen),
                n_epochs=N_EPOCHS,
                radius=RADIUS,
            )
            candidates.append(predicted(run.theta_hat, seen, x, person))
        return np.stack(candidates)
