"""What a method of the league sees of a table, and how its predictions are judged.

A split holds out 40 % of the people. A method is fitted on the others, once. The rows of a
held-out person are put in an order that the seed draws; the first half is to adapt on (its first 1
row, its first 3, all of it), the second half is to be predicted: the same rows for every number of
shots. Whatever is scaled is scaled by the rows of the training people alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aruba_fast.datasets import Table
from aruba_fast.datasets._scale import standardized, varying

TRAIN_SHARE = 0.6
# Rows that a held-out person adapts on; who has fewer adapts on those.
SHOTS = ("1", "3", "half")
# A probability of 0 or 1 that turns out wrong would cost infinitely much.
LEAST_PROBABILITY = 1e-7

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows of some people, sorted by person.

    Attributes:
        x: Features of variance 1 and, as the last column, ones; [n_rows, n_features].
        y: Targets, of mean 0 and variance 1, or 0 and 1 where the answer is yes or no; [n_rows].
        person: Number of every row's person, rising from 0 without a gap; int64 [n_rows].
        yes_no: Whether the answer is yes or no.
    """

    x: Floats
    y: Floats
    person: NDArray[np.int64]
    yes_no: bool

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where every person's rows begin, and the number of rows; [n_people + 1]."""
        return np.append(0, np.cumsum(np.bincount(self.person)))

    def of_people(self, chosen: NDArray[np.bool_]) -> Rows:
        """The rows of the people chosen, numbered anew."""
        return _rows(self.x, self.y, self.person, chosen[self.person], self.yes_no)


@dataclass(frozen=True)
class Split:
    """What one seed makes of a table.

    Attributes:
        train: All rows of the people to train on.
        seen: The rows that held-out people adapt on, for every number of shots.
        x: Features of the rows to be predicted.
        person: Whose rows these are, numbered as those of `seen`.
        y: Their answers, which no method is given.
    """

    train: Rows
    seen: dict[str, Rows]
    x: Floats
    person: NDArray[np.int64]
    y: Floats


class NotConvergedError(Exception):
    """A rival's own optimizer says that it did not find what it looks for."""


class Method(Protocol):
    """A rival: fitted once on the training people, then asked for each number of shots."""

    def fit(self, train: Rows, seed: int) -> None:
        """Learns from the rows of the training people."""

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        """Predicts unseen rows of the people in `seen`.

        Returns:
            Targets, or probabilities of a yes; [n_rows], or of an oracle, which is judged by the
            best of its candidates, [n_candidates, n_rows].
        """


def _rows(
    x: Floats, y: Floats, person: NDArray[np.int64], chosen: NDArray[np.bool_], yes_no: bool
) -> Rows:
    _, numbers = np.unique(person[chosen], return_inverse=True)
    return Rows(x[chosen], y[chosen], numbers.astype(np.int64), yes_no)


def split(table: Table, seed: int, yes_no: bool) -> Split:
    """Splits the people of a table; those of fewer than two rows are left out."""
    rng = np.random.default_rng(seed)
    kept = table.sizes[table.task] >= 2
    _, person = np.unique(table.task[kept], return_inverse=True)
    order = np.lexsort((rng.random(len(person)), person))
    person = person[order].astype(np.int64)
    x, y = (values[kept][order].astype(np.float64) for values in (table.x, table.y))

    sizes = np.bincount(person)
    trains = np.zeros(len(sizes), bool)
    trains[rng.permutation(len(sizes))[: round(TRAIN_SHARE * len(sizes))]] = True
    train = trains[person]
    x = standardized(x[:, varying(x[train])], train)
    x = np.column_stack([x, np.ones(len(x))])
    if not yes_no:
        y = standardized(y[:, None], train)[:, 0]

    rank = np.arange(len(person)) - (np.cumsum(sizes) - sizes)[person]
    half = (sizes // 2)[person]
    unseen = _rows(x, y, person, ~train & (rank >= half), yes_no)
    limits = [half if shots == "half" else np.minimum(half, int(shots)) for shots in SHOTS]
    seen = [_rows(x, y, person, ~train & (rank < limit), yes_no) for limit in limits]
    return Split(
        _rows(x, y, person, train, yes_no),
        dict(zip(SHOTS, seen, strict=True)),
        unseen.x,
        unseen.person,
        unseen.y,
    )


def thinned(data: Split, most: int, seed: int) -> Split:
    """The same split with no more than so many people to train on, drawn by the seed."""
    n_people = len(data.train.offsets) - 1
    chosen = np.zeros(n_people, bool)
    chosen[np.random.default_rng(seed).permutation(n_people)[:most]] = True
    return replace(data, train=data.train.of_people(chosen))


def judge(predicted: Floats, data: Split) -> dict[str, float]:
    """The errors of a method's predictions, of the best candidate where there are several.

    Returns:
        "people", the mean over people of the mean over their rows, and "rows", the mean over rows,
        of the squared error in units of the target's variance or of the log loss; for yes and no
        also "wrong", the mean over people of the share of wrong answers. Infinite where a
        prediction is not finite.
    """
    scores = [_score(candidate, data) for candidate in np.atleast_2d(predicted)]
    return min(scores, key=lambda score: score["people"])


def log_loss(probability: Floats, y: Floats) -> Floats:
    """Minus the logarithm of the probability that was given to what happened."""
    p = np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return -np.where(y == 1, np.log(p), np.log1p(-p))


def _score(predicted: Floats, data: Split) -> dict[str, float]:
    sizes = np.bincount(data.person)

    def over_people(values: Floats) -> float:
        return float((np.bincount(data.person, values) / sizes).mean())

    if not np.isfinite(predicted).all():
        names: Sequence[str] = ("people", "rows") + ("wrong",) * data.train.yes_no
        return dict.fromkeys(names, np.inf)
    with np.errstate(over="ignore"):
        if not data.train.yes_no:
            error = (predicted - data.y) ** 2
            return {"people": over_people(error), "rows": float(error.mean())}
    error = log_loss(predicted, data.y)
    wrong = ((predicted > 0.5) != (data.y == 1)).astype(np.float64)
    return {
        "people": over_people(error),
        "rows": float(error.mean()),
        "wrong": over_people(wrong),
    }
