"""The job of `aruba-fast writers`: one training on the writers, and the tests of the others."""

from dataclasses import dataclass

import torch

from aruba_fast.datasets import load_mnist_writers

from ..adaptation import AdaptationJob
from .people import UNSEEN, People


@dataclass(frozen=True)
class WritersJob(AdaptationJob):
    """Trains on the seen writers, and tests the unseen ones on what few of their images teach."""

    kinds = (UNSEEN,)

    def problem(self) -> People:
        """The writers of its seed."""
        device = torch.device(self.device)
        return People(load_mnist_writers(self.data), self.settings, self.seed, device)
