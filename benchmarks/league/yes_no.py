"""Logistic regression for yes and no: one for all people, and one for each person alone.

`modes` is what the mixed models stand on, too: everybody's most likely coefficients under a
Gaussian prior, by Newton's method on all people at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aruba_fast_reproductions.mixed import Model, Moments, moments, posterior

from .plain import halves
from .protocol import Floats, Rows, log_loss

N_FOLDS = 5
STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-6, 7))
NEWTON_STEPS, HALVINGS = 50, 8
# A mode is found when no person's penalized likelihood rises by more.
TOLERANCE = 1e-8
# Of the normal distribution, to average a probability over coefficients that are not known.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def sigmoid(score: Floats) -> Floats:
    """Probability of a yes."""
    return 0.5 + 0.5 * np.tanh(0.5 * score)


class Pooled:
    """One logistic regression for all people, its strength by cross-validation over them."""

    def fit(self, train: Rows, seed: int) -> None:
        from sklearn.linear_model import LogisticRegressionCV
        from sklearn.model_selection import GroupKFold

        folds = GroupKFold(N_FOLDS, shuffle=True, random_state=seed)
        self.model = LogisticRegressionCV(
            Cs=[1 / strength for strength in STRENGTHS],
            cv=list(folds.split(train.x, groups=train.person)),
            scoring="neg_log_loss",
            l1_ratios=(0,),
            use_legacy_attributes=False,
            max_iter=1000,
        ).fit(train.x[:, :-1], train.y)

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:  # noqa: ARG002
        probability: Floats = self.model.predict_proba(x[:, :-1])[:, 1]
        return probability


class Alone:
    """A penalized logistic regression for each person, around zero; one strength for all."""

    def fit(self, train: Rows, seed: int) -> None:
        given, asked = halves(train, seed)
        sizes = np.bincount(asked.person)

        def error(strength: float) -> float:
            p = sigmoid(_score(_alone(given, strength), asked.x, asked.person))
            return float(
                np.bincount(asked.person, log_loss(p, asked.y) / sizes[asked.person]).sum()
            )

        self.strength = min(STRENGTHS, key=error)

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        return sigmoid(_score(_alone(seen, self.strength), x, person))


def _alone(rows: Rows, strength: float) -> Floats:
    d = rows.x.shape[1]
    prior = Model(np.zeros(d), np.eye(d) / strength, 1.0, np.arange(d))
    return modes(rows, prior, np.zeros((len(rows.offsets) - 1, d)))


def _score(b: Floats, x: Floats, person: NDArray[np.int64]) -> Floats:
    return (x * b[person]).sum(axis=1)


def scores(rows: Rows, model: Model, b: Floats) -> Floats:
    """Log-odds of the rows of people who differ by b from the average."""
    return rows.x @ model.beta + _score(b, rows.x[:, model.columns], rows.person)


def working(rows: Rows, model: Model, b: Floats) -> Moments:
    """Moments of the linear model whose likelihood osculates the logistic one at b."""
    score = scores(rows, model, b)
    p = sigmoid(score)
    weight = np.maximum(p * (1 - p), 1e-10)
    return moments(rows.x, score + (rows.y - p) / weight, rows.offsets, weight)


def penalized(rows: Rows, model: Model, b: Floats) -> Floats:
    """Everybody's log-likelihood less half of b^T cov^-1 b; [n_people]."""
    score = scores(rows, model, b)
    likelihood = np.add.reduceat(rows.y * score - np.logaddexp(0, score), rows.offsets[:-1])
    inverse = np.linalg.pinv(model.cov, hermitian=True)
    result: Floats = likelihood - 0.5 * ((b @ inverse) * b).sum(axis=1)
    return result


def modes(rows: Rows, model: Model, b: Floats) -> Floats:
    """The b of greatest penalized likelihood, from a start; a step that overshoots is halved."""
    value = penalized(rows, model, b)
    for _ in range(NEWTON_STEPS):
        step = posterior(working(rows, model, b), model)[0] - b
        for _ in range(HALVINGS):
            reached = penalized(rows, model, b + step)
            fell = reached < value
            if not fell.any():
                break
            step[fell] /= 2
        step[fell] = 0.0
        b, before, value = b + step, value, np.maximum(value, reached)
        if (value - before).max() <= TOLERANCE:
            break
    return b


def expected(score: Floats, variance: Floats) -> Floats:
    """Mean probability of a yes where the log-odds are Gaussian."""
    return sigmoid(score[:, None] + np.sqrt(variance)[:, None] * NODES) @ WEIGHTS
