"""The job of `aruba-fast sine`: one training on sines, and its tests on new ones."""

from dataclasses import dataclass

import torch

from ..adaptation import AdaptationJob
from .sines import LONG, SHORT, Sines


@dataclass(frozen=True)
class SineJob(AdaptationJob):
    """Trains on sines, and tests on new ones after as many steps as in training and after more."""

    kinds = (SHORT, LONG)

    def problem(self) -> Sines:
        """The sines of its seed."""
        return Sines(self.settings, self.seed, torch.device(self.device))

    @property
    def looks(self) -> dict[str, str]:
        """New sines by the way of whoever trained so: phi itself is no sine, and hardly changes."""
        return {SHORT: self.method.own_way}
