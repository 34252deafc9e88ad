"""How this library enters the league: one call to learn, one to adapt, nothing chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import aruba_fast as af

from .protocol import Floats, Rows

PASSES = 3


class Ours:
    """Where people start and how they differ, and everybody's best parameters near the start."""

    def fit(self, train: Rows, seed: int) -> None:  # noqa: ARG002
        self.learned = af.meta_fit(tasks(train), loss=loss(train))

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        learned = self.learned
        run = af.run_tasks(tasks(seen), learned.phi, learned.rule(), loss=loss(seen))
        return predicted(run.theta_hat, seen, x, person)


class Streamed:
    """The same learned online: people come one after the other, three times in all."""

    training = "proximal"

    def fit(self, train: Rows, seed: int) -> None:
        people = tasks(train)
        self.learner = af.MetaLearner(np.zeros(people.n_features))
        af.meta_train(
            people,
            self.learner,
            loss=loss(train),
            rule=self.training,
            n_passes=PASSES,
            seed=seed,
        )

    def rule(self) -> af.Rule:
        return self.learner.proximal()

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        run = af.run_tasks(tasks(seen), self.learner.phi, self.rule(), loss=loss(seen))
        return predicted(run.theta_hat, seen, x, person)


class Descended(Streamed):
    """Online by gradient steps, and ARUBA++ for who is new."""

    training = "descent"

    def rule(self) -> af.Rule:
        return self.learner.rule()


def tasks(rows: Rows) -> af.Tasks:
    """The rows as the engine takes them."""
    return af.Tasks(rows.x, rows.y, rows.offsets)


def loss(rows: Rows) -> str:
    """The loss that the answers ask for."""
    return "logistic" if rows.yes_no else "squared"


def predicted(theta: Floats, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
    """Predictions of everybody's linear model; probabilities where the answer is yes or no."""
    scores: Floats = (x * theta[person]).sum(axis=1)
    return 0.5 + 0.5 * np.tanh(0.5 * scores) if seen.yes_no else scores
