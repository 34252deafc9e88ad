"""The job of `aruba-fast shakespeare`: one training on the roles, and their personalization."""

from dataclasses import dataclass

import torch

from aruba_fast.datasets import load_shakespeare

from ..adaptation import AdaptationJob
from .roles import KINDS, Roles


@dataclass(frozen=True)
class ShakespeareJob(AdaptationJob):
    """Trains on the seen roles, and personalizes seen and unseen ones."""

    kinds = KINDS

    def problem(self) -> Roles:
        """The roles of its seed."""
        plays, device = load_shakespeare(self.data), torch.device(self.device)
        return Roles(plays, self.settings, self.seed, device)
