"""What data the methods of the demo see: the split of the people, the scaling, the examples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aruba_fast import _check
from aruba_fast._check import Float64Array, Int64Array
from aruba_fast.datasets import Table
from aruba_fast.datasets._scale import standardized, told_apart, varying
from aruba_fast.tasks import Tasks

# The regression of the demo; `squared` is 1/2 (z - y)^2, errors are reported without the half.
LOSS = "squared"


@dataclass(frozen=True)
class Settings:
    """The protocol, the same for every table: chosen once, with four tables in view.

    Attributes:
        n_seeds: Repetitions: splits of the people, and orders of the meta-training people.
        first_seed: Seeds are `first_seed`, `first_seed + 1`, ...
        shots: Examples that a held-out person adapts on, of the rows that the table does not set
            aside for testing; None for all of these, or where it sets none aside, half the rows of
            the person who has fewest.
        train_share: Share of the people that is for meta-training.
        n_passes: Passes over the meta-training people, each person's rows once a visit.
        n_epochs: Passes over a held-out person's few examples.
        radius: The parameters of ARUBA's rivals are kept in this ball, the bounded domain of the
            theory: all columns having variance 1, it is wide. Without it one outlier among the
            first people can spoil their initialization for good.
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
        supports: Pairs (k, the first k rows that a held-out person adapts on, or all if there are
            fewer), k rising to `shots`.
        query: The rows of the held-out people that every method is tested on: those that the table
            sets aside, or where it sets none aside, those after the first `shots`.
        n_too_short: Held-out people left out for want of rows to adapt on or to be tested on.
        n_few: Held-out people who adapt on less than `shots` rows.
    """

    train: Tasks
    supports: tuple[tuple[int, Tasks], ...]
    query: Tasks
    n_too_short: int
    n_few: int


def columns_used(table: Table) -> list[int]:
    """The columns that are not the same number everywhere; the demo adds its own intercept."""
    chosen: list[int] = np.flatnonzero(varying(table.x)).tolist()
    return chosen


def feature_names(table: Table) -> list[str]:
    """Names of the coordinates that the demo learns rates for."""
    return [table.feature_names[j] for j in columns_used(table)] + ["intercept"]


def _set_aside(table: Table) -> NDArray[np.bool_]:
    return np.zeros(len(table.y), bool) if table.test is None else table.test.astype(bool)


def choose_shots(table: Table, settings: Settings) -> int:
    """The number of examples to adapt on; where the table sets rows aside, the largest."""
    aside, sizes = _set_aside(table), table.sizes
    if aside.any():
        most = int(np.bincount(table.task[~aside], minlength=1).max())
        if settings.shots is None and most:
            return most
        expected = f"at most {most}, for the other rows are set aside for testing"
        if settings.shots is None or settings.shots > most:
            got = most if settings.shots is None else settings.shots
            raise ValueError(
                f"demo: `shots` must be rows that a person has: got {got}, expected {expected}"
            )
        return settings.shots
    shots = max(int(sizes.min()) // 2, 1) if settings.shots is None else settings.shots
    if shots >= sizes.max():
        raise ValueError(
            f"demo: `shots` must leave a row to be tested on: got {shots}, "
            f"expected at most {sizes.max() - 1}"
        )
    return shots


def _examples(table: Table, shots: int) -> tuple[Int64Array, NDArray[np.bool_]]:
    """Number of every row among those that its person may adapt on, `shots` if none; the tested."""
    aside = _set_aside(table)
    counted = np.cumsum(~aside)
    firsts = np.searchsorted(table.task, np.arange(len(table.sizes)))
    rank = counted - 1 - (counted - ~aside)[firsts][table.task]
    tested = aside if aside.any() else rank >= shots
    return np.where(aside, shots, rank), tested


def prepare(table: Table, settings: Settings, seed: int) -> Split:
    """Splits the people and scales the rows, as one seed has it."""
    shots, n_people = choose_shots(table, settings), len(table.sizes)
    if n_people < 2:
        raise ValueError("demo: `table` must have people to hold out: got 1 task, expected >= 2")
    numbers = Tasks(np.zeros((n_people, 1)), np.arange(n_people), np.arange(n_people + 1))
    seen, held_out = (
        np.isin(table.task, part.y) for part in numbers.split(settings.train_share, seed)
    )
    if not varying(table.y[seen, None])[0]:
        raise ValueError("demo: `table` must have a target that varies: got a constant `y`")
    used = columns_used(table)
    x = _scaled(table.x[:, used], seen, [f"`x`, {table.feature_names[j]!r}" for j in used])
    x = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
    y = _scaled(table.y[:, None], seen, ["`y`"])[:, 0]

    rank, tested = _examples(table, shots)
    adapts = rank < shots
    n_adapts, n_tested = (
        np.bincount(table.task[rows], minlength=n_people) for rows in (adapts, tested)
    )
    whole = ((n_adapts > 0) & (n_tested > 0))[table.task]
    for people, name in ((seen, "meta-training"), (held_out, "held-out")):
        if not (people & whole).any():
            raise ValueError(
                f"demo: `shots` must leave people to be tested: got {shots}, of which no {name} "
                "person has more, expected fewer"
            )

    def tasks(rows: NDArray[np.bool_]) -> Tasks:
        return Tasks.from_groups(x[rows], y[rows], table.task[rows])

    of_held_out = np.unique(table.task[held_out & whole])
    return Split(
        tasks(seen),
        tuple((k, tasks(held_out & whole & (rank < k))) for k in _counts(shots)),
        tasks(held_out & whole & tested),
        len(np.unique(table.task[held_out & ~whole])),
        int((n_adapts[of_held_out] < shots).sum()),
    )


def _scaled(
    columns: Float64Array, rows: NDArray[np.bool_], names: list[str]
) -> NDArray[np.float32]:
    """Columns with mean 0 and variance 1 over the chosen rows, in float32."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = standardized(columns, rows).astype(np.float32)
    bad = np.flatnonzero(~(told_apart(columns) & np.isfinite(narrow).all(axis=0)))
    if len(bad):
        largest = float(np.abs(columns[:, bad[0]]).max())
        raise ValueError(
            f"demo: `table` must have numbers of one scale: got {largest:g} in {names[bad[0]]}, "
            "beside which the others are one number in float32, expected none so large"
        )
    return narrow


def _counts(shots: int) -> list[int]:
    """Numbers of examples for the learning curve: all if few, else about ten, ever wider apart."""
    return sorted({round(k) for k in np.geomspace(1, shots, min(shots, 10))} | {shots})
