"""`Privacy`: what a server and its machines ask of a privacy; `aruba_fast.privacy` has them."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import _check
from .._check import Float64Array
from .._value import Value
from ..learner import MetaLearner
from ..statistics import TaskRun, TaskStatistics
from ..tasks import Tasks
from ._reply import Reply

if TYPE_CHECKING:
    from typing_extensions import Self

KINDS: dict[str, type["Privacy"]] = {}


class Ledger(Protocol):
    """Makes of what the machines of a round have sent what a server may learn from.

    Attributes:
        known: What it knows of the rounds before.
    """

    known: Float64Array

    def reply(self, privacy: Any, round: Any, total: Reply | None) -> Reply | None:
        """One reply in place of the sum of all; None where there is nothing to learn."""


class Privacy(Value):
    """The base of `TaskPrivacy` and `RecordPrivacy`.

    A server sends it along with each round, and machines answer as it asks.
    """

    # The field that is an array; and those that are no machine's business, nor any file's.
    _ARRAY: ClassVar[str]
    _SECRET: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        KINDS[cls.__name__] = cls

    @property
    def n_parameters(self) -> int:
        """Number of coordinates."""
        return int(getattr(self, self._ARRAY).shape[-1])

    @abstractmethod
    def ledger(self) -> Ledger:
        """What the server adds replies with."""

    @abstractmethod
    def _answer(self, round: Any, tasks: Tasks, loss: str, steps: Mapping[str, Any]) -> Reply:
        """As `Round.answer`."""

    @abstractmethod
    def _sums(self, round: Any, run: TaskRun | TaskStatistics) -> Reply:
        """As `Round.reply`."""

    def _drawn(self, n_tasks: int) -> NDArray[np.bool_]:
        """Which tasks of a machine take part."""
        return np.ones(n_tasks, bool)

    def _unfit(self, reply: Reply) -> str | None:
        """Why nothing is learned from a reply that no machine can have sent."""
        del reply
        return None

    def _after(self, learner: MetaLearner) -> "Self":
        """The privacy of the next round, from what was learned of private sums."""
        del learner
        return self

    # ---- arrays and values ----

    def _stored(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        array = values.pop(self._ARRAY)
        plain = {name: value for name, value in values.items() if name not in self._SECRET}
        return {self._ARRAY: array}, {"kind": type(self).__name__, **plain}


def restored(arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> Privacy:
    """What `_stored` returned, checked as its user's own."""
    import_module("aruba_fast.privacy")  # whose classes are the kinds
    own = dict(values)
    kind = KINDS[_check.one_of("kind", "kind", own.pop("kind"), tuple(KINDS))]
    return kind(**{kind._ARRAY: arrays[kind._ARRAY]}, **own)


# How tasks are hidden, and the sums of the rounds before.
Hidden: TypeAlias = tuple[Privacy, Ledger]
