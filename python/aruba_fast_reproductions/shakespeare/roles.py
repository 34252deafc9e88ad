"""What the roles say as tensors, and the random choices of federated training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aruba_fast._check import Int64Array
from aruba_fast.datasets import Sequences, Shakespeare, _draw, sequences

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


class Roles:
    """The roles of one seed: who is seen and who is not, who takes part in which round.

    Args:
        plays: What they say.
        settings: Fractions, sizes.
        seed: Of the split and of all that is drawn.
        device: Where the windows go.

    Attributes:
        seen: Roles of federated training, rising.
        unseen: The others, rising.
    """

    def __init__(
        self, plays: Shakespeare, settings: Settings, seed: int, device: torch.device
    ) -> None:
        self._plays, self._settings, self._seed, self._device = plays, settings, seed, device
        self.seen, self.unseen = plays.split_roles(settings.role_fraction, seed=seed)
        if len(self.seen) < settings.n_clients:
            raise ValueError(
                f"shakespeare: `data` must have roles for a round: got {len(self.seen)} to train "
                f"on, expected at least {settings.n_clients}"
            )

    def part(self, role: int, *, test: bool) -> Part:
        """The lines of a role to train on, or those to test on."""
        chosen = self._settings
        lines = self._plays.lines(role, chosen.line_fraction)[test]
        return Part.of(sequences(lines, chosen.length, chosen.stride), self._device)

    def of_round(self, number: int) -> Int64Array:
        """The distinct roles that take part in a round."""
        order = _draw.shuffled(len(self.seen), self._seed, _draw.CLIENTS, number)
        return self.seen[order[: self._settings.n_clients]]

    def order(self, number: int, slot: int, n: int) -> Int64Array:
        """The order of the n windows of the role in this slot of a round."""
        task = number * self._settings.n_clients + slot
        return _draw.shuffled(n, self._seed, _draw.WINDOWS, task)

    def evaluated(self) -> dict[str, list[int]]:
        """The roles of each of `KINDS` whose accuracy is measured, drawn by the seed."""
        most, found = self._settings.n_evaluated, {}
        for number, (kind, roles) in enumerate(zip(KINDS, (self.seen, self.unseen), strict=True)):
            order = _draw.shuffled(len(roles), self._seed, _draw.EVALUATED, number)
            found[kind] = np.sort(roles[order[:most]]).tolist()
        return found
