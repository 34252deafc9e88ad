"""What an experiment must have to be trained and tested: tasks by rounds, and tests by groups."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from aruba_fast._check import Int64Array
from aruba_fast.datasets import _draw

Losses = Iterator[Tensor]


class Task(NamedTuple):
    """A task of a round.

    Attributes:
        weight: What it counts in the mean that phi becomes.
        losses: Yields the loss of one step after the other, each at the weights of that moment.
    """

    weight: float
    losses: Callable[[nn.Module], Losses]


class Scored(Protocol):
    """What a network is tested on."""

    def score(self, network: nn.Module) -> float:
        """Returns what is counted, summed over all examples: those that are right, or errors."""


class Test(Scored, Protocol):
    """A task to adapt to, with other examples to test on."""

    def losses(self, network: nn.Module) -> Losses:
        """Yields the loss of one step after the other, as a `Task` does."""


@dataclass(frozen=True)
class Group:
    """Tests that are told as one number.

    Attributes:
        tests: The tests.
        everything: All their examples together, for a network that they share.
        total: What the sum of all scores is divided by.
    """

    tests: Sequence[Test]
    everything: Scored
    total: float


class Problem(Protocol):
    """An experiment of one seed.

    Attributes:
        network: Its network, with the first weights.
        about: What tells its data from others, by name.
    """

    network: nn.Module
    about: dict[str, str]

    def tasks(self, number: int) -> Iterator[Task]:
        """The tasks of a round, by its number from 0."""

    def meta_step(self, number: int, /) -> float:
        """The step of phi after that round."""

    def groups(self) -> dict[str, Group]:
        """The tests by their kind."""

    def facts(self, groups: dict[str, Group]) -> dict[str, Any]:
        """What else is told of these tests, for JSON."""


class Clients:
    """Whose turn it is in federated training, and in which order they see what is theirs.

    Args:
        command: Whose data are to blame where there are too few.
        who: What they are called.
        seen: Those that are trained on.
        n_clients: How many take part in a round.
        seed: Of all that is drawn.
    """

    def __init__(self, command: str, who: str, seen: Int64Array, n_clients: int, seed: int) -> None:
        if len(seen) < n_clients:
            raise ValueError(
                f"{command}: `data` must have {who} for a round: got {len(seen)} to train on, "
                f"expected at least {n_clients}"
            )
        self._seen, self._n_clients, self._seed = seen, n_clients, seed

    def of_round(self, number: int) -> Int64Array:
        """The distinct ones that take part in a round."""
        order = _draw.shuffled(len(self._seen), self._seed, _draw.CLIENTS, number)
        return self._seen[order[: self._n_clients]]

    def order(self, number: int, slot: int, n: int) -> Int64Array:
        """The order of the n examples of whoever has this slot of a round."""
        task = number * self._n_clients + slot
        return _draw.shuffled(n, self._seed, _draw.WINDOWS, task)
