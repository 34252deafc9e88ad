"""What the roles say as tensors, who of them takes part, and what they are tested on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aruba_fast._check import Int64Array
from aruba_fast.datasets import Sequences, Shakespeare, _draw, sequences

from ..adaptation.problem import Clients, Group, Task
from ..files import fingerprint
from .network import mean_loss, n_correct, seeded_network
from .settings import Settings

KINDS = ("seen", "unseen")


@dataclass(frozen=True)
class Part:
    """The windows of some lines.

    Attributes:
        x: Numbers of symbols, uint8 [n, length].
        y: The symbols that follow, 0 where nothing is predicted, uint8 [n, length].
        n_predictions: How many those are: the weight of these lines.
    """

    x: Tensor
    y: Tensor
    n_predictions: int

    @classmethod
    def of(cls, windows: Sequences, device: torch.device) -> "Part":
        """The windows on a device, a byte a symbol."""
        x, y = (torch.from_numpy(array).to(device) for array in (windows.x, windows.y))
        return cls(x, y, windows.n_predictions)

    @classmethod
    def joined(cls, parts: Sequence["Part"]) -> "Part":
        """The windows of some parts, one after the other."""
        x, y = (torch.cat([getattr(part, name) for part in parts]) for name in "xy")
        return cls(x, y, sum(part.n_predictions for part in parts))

    def __len__(self) -> int:
        return len(self.x)

    def batches(
        self, size: int, order: Int64Array | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields x and y, int64, of `size` windows at a time, as they are or in an order."""
        x, y = self.x, self.y
        if order is not None:
            index = torch.from_numpy(order).to(x.device)
            x, y = x[index], y[index]
        for start in range(0, len(x), size):
            yield x[start : start + size].long(), y[start : start + size].long()


# Windows that are predicted at once: more are no faster on one core.
_AT_ONCE = 50


@dataclass(frozen=True)
class Lines:
    """Lines to test on.

    Attributes:
        test: Their windows.
    """

    test: Part

    def score(self, network: nn.Module) -> float:
        """Returns how many characters are predicted rightly."""
        return float(sum(int(n_correct(network, x, y)) for x, y in self.test.batches(_AT_ONCE)))


@dataclass(frozen=True)
class Role(Lines):
    """A role to personalize: an epoch, a step a batch, in the order of the play.

    Attributes:
        own: Windows of the lines to train on.
        batch_size: Windows of a step.
    """

    own: Part
    batch_size: int

    def losses(self, network: nn.Module, order: Int64Array | None = None) -> Iterator[Tensor]:
        """Yields the loss of every batch, in the order of the play or in another."""
        for x, y in self.own.batches(self.batch_size, order):
            yield mean_loss(network, x, y)


class Roles(Clients):
    """The roles of one seed: who is seen and who is not, who takes part in which round.

    Args:
        plays: What they say.
        settings: Fractions, sizes.
        seed: Of the split, the network, and all that is drawn.
        device: Where the windows and the network go.

    Attributes:
        seen: Roles of federated training, rising.
        unseen: The others, rising.
        network: The LSTM.
        about: What tells these plays from others.
    """

    def __init__(
        self, plays: Shakespeare, settings: Settings, seed: int, device: torch.device
    ) -> None:
        self._plays, self._settings, self._device = plays, settings, device
        self.seen, self.unseen = plays.split_roles(settings.role_fraction, seed=seed)
        super().__init__("shakespeare", "roles", self.seen, settings.n_clients, seed)
        self.network: nn.Module = seeded_network(settings, seed).to(device)
        self.about = {"data": fingerprint(plays.text, plays.offsets)}

    def part(self, role: int, *, test: bool) -> Part:
        """The lines of a role to train on, or those to test on."""
        chosen = self._settings
        lines = self._plays.lines(role, chosen.line_fraction)[test]
        return Part.of(sequences(lines, chosen.length, chosen.stride), self._device)

    def tasks(self, number: int) -> Iterator[Task]:
        """An epoch of each role of a round, weighted by the characters that it predicts."""
        for slot, role in enumerate(self.of_round(number).tolist()):
            own = self.part(role, test=False)
            order = self.order(number, slot, len(own))
            lesson = Role(own, own, self._settings.batch_size)
            yield Task(own.n_predictions, partial(lesson.losses, order=order))

    def meta_step(self, _number: int, /) -> float:
        """FedAvg: phi becomes the mean."""
        return 1.0

    def group(self, which: list[int]) -> Group:
        """The tests of some roles, weighted by characters."""
        own, test = ([self.part(role, test=t) for role in which] for t in (False, True))
        size, everything = self._settings.batch_size, Part.joined(test)
        roles = [Role(*parts, size) for parts in zip(test, own, strict=True)]
        return Group(roles, Lines(everything), everything.n_predictions)

    def groups(self) -> dict[str, Group]:
        """The tests of each of `KINDS`."""
        return {kind: self.group(which) for kind, which in self.evaluated().items()}

    def facts(self, groups: dict[str, Group]) -> dict[str, Any]:
        """How many roles and characters, and the accuracy of always saying the most frequent."""
        return {
            "n_roles": {kind: len(group.tests) for kind, group in groups.items()},
            "n_predictions": {kind: group.total for kind, group in groups.items()},
            "most_frequent": {kind: most_frequent(group) for kind, group in groups.items()},
        }

    def evaluated(self) -> dict[str, list[int]]:
        """The roles of each of `KINDS` whose accuracy is measured, drawn by the seed."""
        most, found = self._settings.n_evaluated, {}
        for number, (kind, roles) in enumerate(zip(KINDS, (self.seen, self.unseen), strict=True)):
            order = _draw.shuffled(len(roles), self._seed, _draw.EVALUATED, number)
            found[kind] = np.sort(roles[order[:most]]).tolist()
        return found


def most_frequent(group: Group) -> float:
    """The accuracy of always saying the character that is most frequent there."""
    assert isinstance(group.everything, Lines)
    counts = group.everything.test.y.flatten().bincount()
    return int(counts[1:].max()) / group.total
