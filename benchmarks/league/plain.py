"""Ridge regression, one for all people and one for each alone; its strength by cross-validation.

Sums over rows are all that a ridge needs, so that no fold and no strength looks at a row twice. The
strength of `Alone` is the one with which, on the training people, half of a person's rows predict
the other half best: the task that it will be given.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aruba_fast_reproductions.mixed import Moments, moments

from .protocol import Floats, Rows

N_FOLDS = 5
# In rows: how many of them the prior on a coefficient weighs. A quarter of a decade apart.
STRENGTHS = tuple(10.0 ** (k / 4) for k in range(-24, 25))


class Pooled:
    """One ridge for all people, its strength by cross-validation over them; none adapts."""

    def fit(self, train: Rows, seed: int) -> None:
        data = moments(train.x, train.y, train.offsets)
        folds = np.random.default_rng(seed).permutation(len(data.n)) % N_FOLDS
        parts = [_total(data, folds == k) for k in range(min(N_FOLDS, len(data.n)))]
        whole = _total(data, np.ones(len(data.n), bool))
        penalty = np.ones(train.x.shape[1])
        penalty[-1] = 0.0  # there are rows enough for the intercept

        def error(strength: float) -> float:
            return sum(
                _squares(
                    part,
                    np.linalg.lstsq(
                        whole.xx - part.xx + strength * np.diag(penalty), whole.xy - part.xy
                    )[0],
                )
                for part in parts
            )

        best = min(STRENGTHS, key=error)
        self.w = np.linalg.lstsq(whole.xx + best * np.diag(penalty), whole.xy)[0]

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:  # noqa: ARG002
        return x @ self.w


class Alone:
    """A ridge for each person, around zero, the intercept too; one strength for all."""

    def fit(self, train: Rows, seed: int) -> None:
        given, asked = (moments(part.x, part.y, part.offsets) for part in halves(train, seed))

        def error(strength: float) -> float:
            w = _ridge(given, strength)
            squares = asked.yy - 2 * (w * asked.xy).sum(axis=1)
            squares += ((asked.xx @ w[:, :, None])[:, :, 0] * w).sum(axis=1)
            return float((squares / asked.n).mean())

        self.strength = min(STRENGTHS, key=error)

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        w = _ridge(moments(seen.x, seen.y, seen.offsets), self.strength)
        return (x * w[person]).sum(axis=1)


def halves(train: Rows, seed: int) -> tuple[Rows, Rows]:
    """Half of everybody's rows to learn from, and the others to be tested on."""
    order = np.lexsort((np.random.default_rng(seed).random(len(train.y)), train.person))
    rank = np.arange(len(train.y)) - train.offsets[train.person]
    first = rank < (np.diff(train.offsets) // 2)[train.person]
    parts = (order[first], order[~first])
    given, asked = (
        replace(train, x=train.x[p], y=train.y[p], person=train.person[p]) for p in parts
    )
    return given, asked


def _ridge(data: Moments, strength: float) -> Floats:
    a = data.xx + strength * np.eye(data.xy.shape[1])
    return np.linalg.solve(a, data.xy[:, :, None])[:, :, 0]


def _total(data: Moments, people: NDArray[np.bool_]) -> Moments:
    return Moments(*(part[people].sum(axis=0) for part in (data.xx, data.xy, data.yy, data.n)))


def _squares(data: Moments, w: Floats) -> float:
    return float(data.yy - 2 * w @ data.xy + w @ data.xx @ w)
