"""Sines of random amplitude and phase, ten points of each to learn from, and what is tested."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from aruba_fast._check import Float64Array
from aruba_fast.datasets import _draw

from ..adaptation.problem import Group, Task
from ..batches import mini_batches
from .network import seeded_network
from .settings import Settings

SHORT, LONG = "short", "long"
# Sines and their batches from here on are those of the tests: no training comes so far.
_FIRST_TEST = 1 << 40


class Sine(NamedTuple):
    """a sin(x + phi) at the points that are known.

    Attributes:
        amplitude: Uniform between 0.1 and 5.
        phase: Uniform between 0 and pi.
        x: Uniform between -5 and 5, float64 [shots].
    """

    amplitude: float
    phase: float
    x: Float64Array

    def at(self, x: Float64Array) -> Float64Array:
        """The sine at other points."""
        return np.asarray(self.amplitude * np.sin(x + self.phase))


def drawn(seed: int, first: int, n: int, shots: int) -> list[Sine]:
    """Draws the sines `first` to `first + n`, each the same as drawn alone.

    Source: the tasks of Finn, Abbeel and Levine (2017).
    """
    n_words = 2 + shots
    words = _draw.words(seed, _draw.EPISODES, first, n, n_words + -n_words % 4)
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return [
        Sine(0.1 + 4.9 * float(row[0]), np.pi * float(row[1]), 10.0 * row[2:n_words] - 5.0)
        for row in uniform
    ]


@dataclass(frozen=True)
class Points:
    """Points of one or several sines.

    Attributes:
        x: float32 [n, 1].
        y: float32 [n, 1].
        n_each: Points of a sine that its error is the mean over.
    """

    x: Tensor
    y: Tensor
    n_each: int

    @classmethod
    def of(cls, x: Float64Array, y: Float64Array, device: torch.device) -> "Points":
        """The points of a sine, or of several [n_sines, n]."""
        columns = [torch.from_numpy(v.reshape(-1, 1).astype(np.float32)) for v in (x, y)]
        return cls(columns[0].to(device), columns[1].to(device), x.shape[-1])

    def losses(self, network: nn.Module, batches: Tensor) -> Iterator[Tensor]:
        """Yields the mean squared error of one batch of rows after the other."""
        for rows in batches:
            yield nn.functional.mse_loss(network(self.x[rows]), self.y[rows])

    def score(self, network: nn.Module) -> float:
        """Returns the mean squared error, summed over sines."""
        with torch.no_grad():
            return float((network(self.x) - self.y).double().square().sum()) / self.n_each


@dataclass(frozen=True)
class NewSine:
    """A sine of the test.

    Attributes:
        known: The points to learn from.
        batches: Rows of them for every step.
        grid: Where the error is counted.
    """

    known: Points
    batches: Tensor
    grid: Points

    def losses(self, network: nn.Module) -> Iterator[Tensor]:
        """Yields the loss of every step."""
        return self.known.losses(network, self.batches)

    def score(self, network: nn.Module) -> float:
        """Returns the mean squared error on the grid."""
        return self.grid.score(network)


class Sines:
    """Training and tests of one seed.

    Args:
        settings: Sizes.
        seed: Of the network, and of all that is drawn.
        device: Where the points and the network go.

    Attributes:
        network: The network.
        about: Nothing: the seed tells all sines.
    """

    def __init__(self, settings: Settings, seed: int, device: torch.device) -> None:
        self._settings, self._seed, self._device = settings, seed, device
        self.network: nn.Module = seeded_network(seed).to(device)
        self.about: dict[str, str] = {}

    def tasks(self, number: int) -> Iterator[Task]:
        """The sines of a round."""
        n = self._settings.meta_batch
        for points, batches, _ in self._drawn(number * n, n, self._settings.n_steps):
            yield Task(1.0, partial(points.losses, batches=batches))

    def meta_step(self, number: int, /) -> float:
        """Reptile's: from 1 to 0."""
        return 1.0 - number / self._settings.n_rounds

    def groups(self) -> dict[str, Group]:
        """The same sines, after as many steps as in training and after more."""
        own = self._settings
        x = np.linspace(-5.0, 5.0, own.n_grid)
        found = self._drawn(_FIRST_TEST, own.n_tests, own.n_longer * own.n_steps)
        curves = np.array([sine.at(x) for _, _, sine in found])
        everything = Points.of(np.broadcast_to(x, curves.shape), curves, self._device)
        groups = {}
        for kind, n_steps in ((SHORT, own.n_steps), (LONG, own.n_longer * own.n_steps)):
            tests = [
                NewSine(points, batches[:n_steps], Points.of(x, curve, self._device))
                for (points, batches, _), curve in zip(found, curves, strict=True)
            ]
            groups[kind] = Group(tests, everything, own.n_tests)
        return groups

    def facts(self, _groups: dict[str, Group], /) -> dict[str, Any]:
        """Nothing that the settings do not say."""
        return {}

    def _drawn(self, first: int, n: int, n_steps: int) -> list[tuple[Points, Tensor, Sine]]:
        """Points to learn from, batches of them, and the sines."""
        own = self._settings
        sines = drawn(self._seed, first, n, own.shots)
        rows = mini_batches(
            *(self._seed, first, n), n_samples=own.shots, batch=own.batch_size, steps=n_steps
        )
        batches = torch.from_numpy(rows).to(self._device)
        points = [Points.of(sine.x, sine.at(sine.x), self._device) for sine in sines]
        return list(zip(points, batches, sines, strict=True))
