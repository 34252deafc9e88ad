"""How this library enters the league."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

import aruba_fast as af

from .protocol import Floats, Rows

N_PASSES, N_EPOCHS = 10, 5


class Ours:
    """ARUBA with nothing chosen, and its rule for new tasks."""

    def fit(self, train: Rows, seed: int) -> None:
        self.learner = af.MetaLearner(np.zeros(train.x.shape[1], np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", af.DivergenceWarning)  # the errors tell
            af.meta_train(
                tasks(train), self.learner, loss=loss(train), n_passes=N_PASSES, seed=seed
            )

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        rule = self.learner.rule()
        run = af.run_tasks(tasks(seen), self.learner.phi, rule, loss=loss(seen), n_epochs=N_EPOCHS)
        return predicted(run.theta_hat, seen, x, person)


def tasks(rows: Rows) -> af.Tasks:
    """The rows as the engine takes them."""
    return af.Tasks(rows.x.astype(np.float32), rows.y, rows.offsets)


def loss(rows: Rows) -> str:
    """The loss that the answers ask for."""
    return "logistic" if rows.yes_no else "squared"


def predicted(
    theta: NDArray[np.float32], seen: Rows, x: Floats, person: NDArray[np.int64]
) -> Floats:
    """Predictions of everybody's linear model; probabilities where the answer is yes or no."""
    scores: Floats = (x * theta.astype(np.float64)[person]).sum(axis=1)
    return 0.5 + 0.5 * np.tanh(0.5 * scores) if seen.yes_no else scores
