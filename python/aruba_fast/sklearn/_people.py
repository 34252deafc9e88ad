"""Who was seen: labels of people, their rows, and their parameters; who adapts and who stays."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _arrays, _check
from .._check import Float64Array, Int64Array
from .._ids import grouped
from .._rows import stacked
from ..tasks import Tasks
from ._population import Population


class Rows(NamedTuple):
    """Rows as the engine sees them.

    Attributes:
        x: Dense rows or a `csr_array`.
        y: Their targets.
        weights: How much each counts; None: once.
    """

    x: Any
    y: NDArray[Any]
    weights: Float64Array | None

    def chosen(self, rows: Int64Array) -> "Rows":
        """Some of them, in this order."""
        weights = None if self.weights is None else self.weights[rows]
        return Rows(self.x[rows], self.y[rows], weights)

    def tasks(self, offsets: ArrayLike) -> Tasks:
        """Tasks of them."""
        return Tasks(self.x, self.y, offsets, row_weights=self.weights)


def key_of(label: Any) -> Any:
    """The same object of Python for every form of a label, so that a dict finds it."""
    if isinstance(label, (np.datetime64, np.timedelta64)):
        return label.astype(f"{label.dtype.kind}8[us]").item()
    return label.item() if isinstance(label, np.generic) else label


class Division:
    """Rows divided by person.

    Attributes:
        order: Rows of one person after those of another, in the order of their labels.
        offsets: Where each person's begin in it, and where the last one's end.
        labels: Of each person.
    """

    order: Int64Array
    offsets: Int64Array
    labels: NDArray[Any]

    def __init__(self, function: str, groups: Any, n_rows: int) -> None:
        try:
            order, self.offsets, *_ = grouped(function, groups, n_rows)
        except (TypeError, ValueError) as error:  # scikit-learn's name of the argument
            raise type(error)(str(error).replace("`group`", "`groups`")) from error.__cause__
        self.order = np.arange(n_rows) if order is None else order
        first = self.order[self.offsets[:-1]]
        if isinstance(groups, (list, tuple)):
            self.labels = _labels([groups[row] for row in first])
        else:
            self.labels = _arrays.host(_check.array(function, "groups", groups))[first]

    def tasks(self, rows: Rows) -> Tasks:
        """A task for each person."""
        return rows.chosen(self.order).tasks(self.offsets)

    @cached_property
    def keys(self) -> list[Any]:
        """What finds each person in a dict."""
        return [key_of(label) for label in self.labels]


class People:
    """Parameters and rows of everybody who was seen.

    All rows are kept, in float64: a person whose rows come later is fitted to all of them. Those of
    `fit` stay one table, to which what comes later is not added, so that an update costs what the
    people cost whom it is about.
    """

    def __init__(self, population: Population, division: Division | None, tasks: Tasks) -> None:
        self._population = population
        self._tasks = tasks
        self._later: dict[int, Rows] = {}
        self._table = population.start(sparse=tasks._csr is not None)
        self._index: dict[Any, int] = {}
        self.labels: NDArray[Any] = np.empty(0, object)
        if division is not None:
            self.labels = division.labels
            self._index = {key: t for t, key in enumerate(division.keys)}
            numbers = 1 + np.arange(len(self._index))
            self._table = self._table.changed(numbers, population.adapted(tasks))
        self._n_first = len(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def theta(self, label: Any) -> Float64Array | None:
        """The parameters of a person, None of one who was never seen."""
        try:
            found = self._index.get(key_of(label))
        except TypeError:  # not hashable
            found = None
        return None if found is None else self._table.theta(found + 1)

    def places(self, division: Division) -> Int64Array:
        """Where each row's person stands, 0 for those who were never seen."""
        known = np.array([self._index.get(key, -1) for key in division.keys]) + 1
        chosen = np.empty(len(division.order), np.int64)
        chosen[division.order] = np.repeat(known, np.diff(division.offsets))
        return chosen

    def scores(self, rows: Any, places: Int64Array | None) -> Float64Array:
        """The scores of rows, [n_rows, n_outputs], by each person's own parameters or the start."""
        if places is not None:
            return self._table.scores(rows, places)
        shared: Float64Array = rows @ self._table.theta(0).reshape(-1, rows.shape[1]).T
        return shared

    def adapt(self, division: Division, rows: Rows) -> None:
        """Fits people anew to all their rows, those before and these; nobody else moves."""
        keys, n_before = division.keys, len(self)
        is_new = np.array([key not in self._index for key in keys])
        numbers = n_before - 1 + np.cumsum(is_new)
        numbers[~is_new] = [self._index[key] for key in keys if key in self._index]
        later = {}
        for t, person in enumerate(numbers.tolist()):
            own = division.order[division.offsets[t] : division.offsets[t + 1]]
            before = [self._later[person]] if person in self._later else []
            later[person] = _stacked([*before, rows.chosen(own)])
        every = [_stacked([*self._first(person), part]) for person, part in later.items()]
        offsets = np.cumsum([0, *(len(part.y) for part in every)])
        theta = self._population.adapted(_stacked(every).tasks(offsets))
        table = self._table.changed(numbers + 1, theta)
        labels = _joined(self.labels, division.labels[is_new]) if n_before else division.labels
        # Nothing fails from here on: where something did, all is as it was.
        self._later |= later
        self._index |= dict(zip(keys, numbers.tolist(), strict=True))
        self._table, self.labels = table, labels

    def with_pooled(self, rows: Rows) -> Rows:
        """All rows of a fit that knew nobody, and these."""
        return _stacked([_rows_of(self._tasks), rows])

    def _first(self, person: int) -> list[Rows]:
        """A person's rows in `fit`, if there were any."""
        if person >= self._n_first:
            return []
        return [_rows_of(self._tasks[person])]


def _rows_of(tasks: Tasks) -> Rows:
    return Rows(tasks.x, tasks.y, tasks.row_weights)


def _stacked(parts: list[Rows]) -> Rows:
    """Rows below each other."""
    return Rows(*stacked(parts))


def _labels(values: list[Any]) -> NDArray[Any]:
    """An array of labels, of their own type where they have one."""
    if len({type(value) for value in values}) == 1 and not isinstance(values[0], tuple):
        return np.asarray(values)
    labels = np.empty(len(values), object)
    labels[:] = values
    return labels


def _joined(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Both, as they are: NumPy would make strings of numbers beside strings."""
    if one.dtype.kind != other.dtype.kind:
        one, other = one.astype(object), other.astype(object)
    return np.concatenate([one, other])
