"""What tasks and features are called: `Names` of a table, and tasks that are found by them."""

import difflib
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _check
from ._check import Int64Array
from ._rows import Rows

# Names that a misspelt one is compared with: difflib takes 2 us for each.
_COMPARED = 2000
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Names:
    """What the rows and the columns of a table are called.

    Attributes:
        keys: The label of every group of rows; None where they have none.
        begins: Where the rows of each begin in the table.
        features: The names of the columns; None where they are not known.
    """

    keys: NDArray[Any] | None
    begins: Int64Array
    features: tuple[Any, ...] | None


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Labelled(Rows):
    """Rows whose tasks may have labels, and whose columns names.

    The names belong to the table, as its rows do: a choice of tasks has nothing of its own to carry
    along, and finds its labels by its rows when they are asked for.
    """

    _names: Names | None = None

    def _name(self, names: Names | None) -> None:
        object.__setattr__(self, "_names", names)

    def _own_names(self) -> Names | None:
        """The names of these tasks alone, for a table that holds their rows alone."""
        if self._names is None:
            return None
        return Names(self.keys, self.starts, self._names.features)

    def __getstate__(self) -> tuple[Any, ...]:
        *rows, more = super().__getstate__()
        if self._names is not None:
            more |= {"keys": self.keys, "features": self._names.features}
        return (*rows, more)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        super().__setstate__(state)
        more = state[-1]
        if isinstance(more, dict) and "keys" in more:
            self._name(Names(more["keys"], self.starts, more["features"]))

    @property
    def feature_names(self) -> tuple[Any, ...] | None:
        """Names of the columns of `x`, of `from_frame`; None where they are not known."""
        return None if self._names is None else self._names.features

    @property
    def keys(self) -> NDArray[Any] | None:
        """The label of every task, [n_tasks], read-only; None where tasks are numbered only."""
        return self._own_keys

    @cached_property
    def _own_keys(self) -> NDArray[Any] | None:
        if self._names is None or self._names.keys is None:
            return None
        groups = np.searchsorted(self._names.begins, self._starts, side="right") - 1
        return _arrays.frozen(self._names.keys[groups])

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        """The number of the first task of every label."""
        assert self.keys is not None
        # NumPy makes plain numbers of dates with nanoseconds.
        values = list(self.keys) if self.keys.dtype.kind in "mM" else self.keys.tolist()
        return dict(zip(reversed(values), reversed(range(len(values))), strict=True))

    def number(self, key: Hashable) -> int:
        """Finds the task of a label, of whatever type labels are.

        Args:
            key: One of `keys`. Where they are strings, `tasks[key]` is the task itself.

        Returns:
            The number of the task among these, which is also its row in what `run_tasks` returns;
            of the first one, where a choice holds a task more than once.

        Raises:
            TypeError: `key` cannot be hashed.
            ValueError: The tasks have no labels.
            KeyError: No task has the label; the message has labels that look like it.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> tasks = af.Tasks.from_groups(np.ones((3, 2)), [1, 2, 3], [2019, 2017, 2019])
            >>> tasks.number(2019), tasks[tasks.number(2019)].y
            (1, array([1., 3.]))
        """
        if self.keys is None:
            raise ValueError(
                "Tasks.number: `self` must have labels: got tasks that are numbered only, "
                "expected those of af.Tasks.from_groups or af.Tasks.from_frame"
            )
        return self._numbered("Tasks.number", "key", key)

    def _numbered(self, function: str, name: str, key: Hashable) -> int:
        """The number of a label, where tasks have them."""
        assert self.keys is not None
        try:
            number = self._numbers.get(_of_type(key, self.keys.dtype))
        except Exception as error:  # __hash__ and __eq__ are the object's own
            raise TypeError(
                f"{function}: `{name}` must be hashable: got {_check.shown(key)} ({error}), "
                "expected the label of a task"
            ) from None
        if number is None:
            raise KeyError(
                f"{function}: `{name}` must be the label of a task: got {_check.shown(key)}, "
                f"expected {like(key, self.keys.tolist())}"
            )
        return number


def _of_type(key: Any, dtype: np.dtype[Any]) -> Any:
    """A date or a duration as NumPy's own of that unit, or None if there is none; else `key`."""
    if dtype.kind not in "mM":
        return key.item() if isinstance(key, np.void) else key
    try:
        given = dtype.type(key)
    except (TypeError, ValueError):
        return None
    own = given.astype(dtype)
    return own if own == given else None


def like(name: object, known: Sequence[Any]) -> str:
    """What a message says of the names that there are: those like `name`, or else the first."""
    near: list[Any] = []
    try:
        some = known
        if len(known) > _COMPARED:
            middle = bisect_left(known, name)  # labels are sorted
            some = known[max(0, middle - _COMPARED // 2) :][:_COMPARED]
        texts = {str(value): value for value in some}
        near = [texts[text] for text in difflib.get_close_matches(str(name), texts, _SHOWN)]
    except Exception:  # of the objects' own code, or labels of another type than `name`
        near = []
    shown = [repr(value) for value in near or known[:_SHOWN]]
    rest = len(known) - len(shown)
    return f"{', '.join(shown)} or one of {rest} more" if rest else " or ".join(shown)
