"""The writers of one seed: who is trained on, and what the others adapt to and are tested on."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aruba_fast._check import Int64Array
from aruba_fast.datasets import Writers, _draw

from ..adaptation.problem import Clients, Group, Task
from ..files import fingerprint
from .network import seeded_network
from .settings import Settings

UNSEEN = "unseen"
# Images that are read at once: about as fast as more, in little memory.
_AT_ONCE = 1000


@dataclass(frozen=True)
class Images:
    """Images with their digits.

    Attributes:
        x: float32 [n, 1, 14, 14], from 0 for paper to 1 for ink.
        y: int64 [n].
    """

    x: Tensor
    y: Tensor

    def of(self, rows: Int64Array) -> "Images":
        """Some of them, in that order."""
        index = torch.from_numpy(rows).to(self.y.device)
        return Images(self.x[index], self.y[index])

    def losses(self, network: nn.Module, size: int) -> Iterator[Tensor]:
        """Yields the mean cross-entropy of `size` images at a time."""
        for x, y in self._batches(size):
            yield nn.functional.cross_entropy(network(x), y)

    def score(self, network: nn.Module) -> float:
        """Returns how many are read rightly."""
        with torch.no_grad():
            right = [(network(x).argmax(1) == y).sum() for x, y in self._batches(_AT_ONCE)]
        return float(torch.stack(right).sum())

    def _batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x.split(size), self.y.split(size), strict=True)


@dataclass(frozen=True)
class Writer:
    """An unseen writer.

    Attributes:
        epochs: The images to adapt to, in the order of every epoch.
        others: Those to be tested on.
        batch_size: Images of a step.
    """

    epochs: list[Images]
    others: Images
    batch_size: int

    def losses(self, network: nn.Module) -> Iterator[Tensor]:
        """Yields the loss of every step, an epoch after the other."""
        for epoch in self.epochs:
            yield from epoch.losses(network, self.batch_size)

    def score(self, network: nn.Module) -> float:
        """Returns how many of its other images are read rightly."""
        return self.others.score(network)


class People(Clients):
    """The writers of one seed.

    Args:
        writers: The data.
        settings: Fractions, sizes.
        seed: Of the split, the network, and all that is drawn.
        device: Where the images and the network go.

    Attributes:
        seen: Writers of federated training, rising.
        unseen: Those to be tested: of the others, who wrote more than what they adapt to.
        network: The network.
        about: What tells these data from others.
    """

    def __init__(
        self, writers: Writers, settings: Settings, seed: int, device: torch.device
    ) -> None:
        self._settings, self._offsets = settings, writers.offsets
        self.seen, others = writers.split_writers(settings.writer_fraction, seed=seed)
        super().__init__("writers", "writers", self.seen, settings.n_clients, seed)
        self.unseen = others[writers.sizes[others] > settings.shots]
        if not len(self.unseen):
            raise ValueError(
                f"writers: `shots` must leave images to test on: got {settings.shots}, expected "
                f"less than {writers.sizes[others].max()}, the most of an unseen writer"
            )
        x = torch.from_numpy(writers.images / np.float32(15)).unsqueeze(1)
        self._images = Images(x.to(device), torch.from_numpy(writers.digits).to(device))
        self.network: nn.Module = seeded_network(seed).to(device)
        self.about = {"data": fingerprint(writers.images, writers.digits, writers.offsets)}

    def tasks(self, number: int) -> Iterator[Task]:
        """An epoch of each writer of a round, weighted by its images."""
        for slot, writer in enumerate(self.of_round(number).tolist()):
            rows = self._rows(writer)
            images = self._images.of(rows[self.order(number, slot, len(rows))])
            yield Task(len(rows), partial(images.losses, size=self._settings.batch_size))

    def meta_step(self, _number: int, /) -> float:
        """FedAvg: phi becomes the mean."""
        return 1.0

    def groups(self) -> dict[str, Group]:
        """The unseen writers, weighted by their images."""
        parts = [self._parts(writer) for writer in self.unseen.tolist()]
        everything = self._images.of(np.concatenate([others for _, others in parts]))
        tests = [
            Writer(
                [self._images.of(epoch) for epoch in epochs],
                self._images.of(others),
                self._settings.batch_size,
            )
            for epochs, others in parts
        ]
        return {UNSEEN: Group(tests, everything, len(everything.y))}

    def facts(self, groups: dict[str, Group]) -> dict[str, Any]:
        """How many writers and images."""
        return {
            "n_writers": {kind: len(group.tests) for kind, group in groups.items()},
            "n_images": {kind: group.total for kind, group in groups.items()},
        }

    def _rows(self, writer: int) -> Int64Array:
        return np.arange(self._offsets[writer], self._offsets[writer + 1])

    def _parts(self, writer: int) -> tuple[list[Int64Array], Int64Array]:
        """Rows of the shots, shuffled for every epoch, and of the other images."""
        own, rows = self._settings, self._rows(writer)
        first = writer * (1 + own.n_epochs)
        chosen = rows[_draw.shuffled(len(rows), self._seed, _draw.EVALUATED, first)]
        orders = [
            _draw.shuffled(own.shots, self._seed, _draw.EVALUATED, first + 1 + epoch)
            for epoch in range(own.n_epochs)
        ]
        return [chosen[order] for order in orders], chosen[own.shots :]
