"""How an experiment is told: its words, what it measures, and which way is better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .methods import Method


@dataclass(frozen=True)
class Measure:
    """What the tests count.

    Attributes:
        name: For people, with its unit.
        factor: What a score is multiplied by for it.
        digits: Digits after the point.
        sign: 1 where more is better, -1 where less is.
    """

    name: str
    factor: float
    digits: int
    sign: int


ACCURACY = Measure("accuracy, %", 100.0, 2, 1)
ERROR = Measure("mean squared error", 1.0, 3, -1)


@dataclass(frozen=True)
class Study:
    """An experiment for its table and its figure.

    Attributes:
        method: Its methods.
        measure: What its tests count.
        titles: Titles of its tables, by the kind of tests, in their order; the figure's curve is of
            the first.
        curve: What the curve shows.
        adapted: What a test has been when it has taken its steps.
        legend: What is said below the tables, of the runs and the name of their scale.
        layer: The name of a parameter for people; None for those that are left out.
        trivial: The entry of a run that has the score of no learning at all, and its name; or None.
    """

    method: type[Method]
    measure: Measure
    titles: dict[str, str]
    curve: str
    adapted: str
    legend: Callable[[list[dict[str, Any]], str], str]
    layer: Callable[[str], str | None]
    trivial: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """The name of its command, and of its files."""
        return self.method.command


def layer(name: str) -> str:
    """What people call a parameter: "conv 1.weight" is "conv 1: weights"."""
    where, _, what = name.rpartition(".")
    return f"{where}: {'biases' if what == 'bias' else 'weights'}"
