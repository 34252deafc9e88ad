"""What data the methods of the demo see: the split of the people, the scaling, the examples."""

from dataclasses import dataclass

import numpy as np

from .. import _check
from .._check import Float64Array
from ..datasets import Table
from ..tasks import Tasks

# The regression of the demo; `squared` is 1/2 (z - y)^2, errors are reported without the half.
LOSS = "squared"


@dataclass(frozen=True)
class Settings:
    """The protocol, the same for every table: chosen once, with four tables in view.

    Attributes:
        n_seeds: Repetitions: splits of the people, and orders of the meta-training people.
        first_seed: Seeds are `first_seed`, `first_seed + 1`, ...
        shots: Examples that a held-out person adapts on; None for all rows that the table does not
            set aside for testing, or else half the rows of the person who has fewest.
        train_share: Share of the people that is for meta-training.
        n_passes: Passes over the meta-training people, each person's rows once a visit.
        n_epochs: Passes over a held-out person's few examples.
        radius: The parameters of all methods are kept in this ball, the bounded domain of the
            theory: all columns having variance 1, it is wide. Without it one outlier among the
            first people can spoil the initialization for good (6 of 120 splits of Parkinson's
            patients).
    """

    n_seeds: int = 5
    first_seed: int = 0
    shots: int | None = None
    train_share: float = 0.6
    n_passes: int = 10
    n_epochs: int = 5
    radius: float = 10.0

    def __post_init__(self) -> None:
        _check.integer("demo", "n_seeds", self.n_seeds, 1)
        _check.integer("demo", "first_seed", self.first_seed, 0)
        if self.shots is not None:
            _check.integer("demo", "shots", self.shots, 1)
        _check.fraction("demo", "train_share", self.train_share)
        _check.integer("demo", "n_passes", self.n_passes, 1)
        _check.integer("demo", "n_epochs", self.n_epochs, 1)
        _check.positive("demo", "radius", self.radius)


@dataclass(frozen=True)
class Split:
    """One seed's data, scaled by the meta-training people alone; the last column is 1.

    Attributes:
        train: All rows of the meta-training people.
        train_support: Their first `shots` rows, where they have more.
        train_query: Their other rows.
        supports: Pairs (k, first k rows of every held-out person), k rising to `shots`.
        query: The rows of the held-out people that every method is tested on, after the first
            `shots`.
        n_too_short: Held-out people left out because they have no row to be tested on.
        first_rate: 1 / max |x|^2 over the rows of the meta-training people.
    """

    train: Tasks
    train_support: Tasks
    train_query: Tasks
    supports: tuple[tuple[int, Tasks], ...]
    query: Tasks
    n_too_short: int
    first_rate: float


def varying(table: Table) -> list[int]:
    """The columns that are not the same number everywhere; the demo adds its own intercept."""
    return [j for j in range(table.x.shape[1]) if np.ptp(table.x[:, j]) > 0]


def feature_names(table: Table) -> list[str]:
    """Names of the coordinates that the demo learns rates for."""
    return [table.feature_names[j] for j in varying(table)] + ["intercept"]


def choose_shots(table: Table, settings: Settings) -> int:
    """The number of examples to adapt on."""
    sizes = table.sizes
    if settings.shots is None and table.test is not None:
        ordinary = np.bincount(table.task[~table.test], minlength=len(sizes))
        if (ordinary == ordinary[0]).all() and 0 < ordinary[0] < sizes.min():
            return int(ordinary[0])
    shots = max(int(sizes.min()) // 2, 1) if settings.shots is None else settings.shots
    if shots >= sizes.max():
        raise ValueError(
            f"demo: `shots` must leave a row to be tested on: got {shots}, "
            f"expected at most {sizes.max() - 1}"
        )
    return shots


def prepare(table: Table, settings: Settings, seed: int) -> Split:
    """Splits the people and scales the rows, as one seed has it."""
    shots = choose_shots(table, settings)
    if len(table.sizes) < 2:
        raise ValueError("demo: `table` must have people to hold out: got 1 task, expected >= 2")
    offsets = np.concatenate(([0], np.cumsum(table.sizes)))
    people = Tasks(table.x, table.y, offsets).split(settings.train_share, seed)[0]
    train_rows = np.zeros(len(table.y), dtype=bool)
    for start, stop in zip(people.starts, people.stops, strict=True):
        train_rows[start:stop] = True
    x = _scaled(table.x[:, varying(table)], train_rows)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float32)
    if np.ptp(table.y[train_rows]) == 0:
        raise ValueError("demo: `table` must have a target that varies: got a constant `y`")
    y = _scaled(table.y[:, None], train_rows)[:, 0].astype(np.float32)
    train, test = Tasks(x, y, offsets).split(settings.train_share, seed)
    long_train, long_test = (tasks.sizes > shots for tasks in (train, test))
    if not (long_train.any() and long_test.any()):
        raise ValueError(
            f"demo: `shots` must leave people to be tested: got {shots}, of which no "
            f"{'held-out' if long_train.any() else 'meta-training'} person has more, expected fewer"
        )
    support, query = test[long_test].shots(shots)
    return Split(
        train,
        *train[long_train].shots(shots),
        tuple((k, support if k == shots else support.shots(k)[0]) for k in _counts(shots)),
        query,
        int((~long_test).sum()),
        1.0 / float(np.square(x[train_rows].astype(np.float64)).sum(axis=1).max()),
    )


def _scaled(columns: Float64Array, rows: Float64Array) -> Float64Array:
    """Columns with mean 0 and variance 1 over the chosen rows; one without variance is centred."""
    chosen = columns[rows]
    scale = np.where(np.ptp(chosen, axis=0) > 0, chosen.std(axis=0), 1.0)
    result: Float64Array = (columns - chosen.mean(axis=0)) / scale
    return result


def _counts(shots: int) -> list[int]:
    """Numbers of examples for the learning curve: all if few, else about ten, ever wider apart."""
    return sorted({round(k) for k in np.geomspace(1, shots, min(shots, 10))} | {shots})
