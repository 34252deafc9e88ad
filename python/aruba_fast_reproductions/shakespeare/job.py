"""The job of `aruba-fast shakespeare`: one training on the roles, and their personalization."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from aruba_fast.datasets import load_shakespeare

from ..adaptation import AdaptationJob
from ..adaptation.job import TrainingOf
from ..adaptation.training import Training
from ..runs import Progress, Stop
from .roles import KINDS, Roles


@dataclass(frozen=True)
class ShakespeareJob(AdaptationJob):
    """Trains on the seen roles, and personalizes seen and unseen ones.

    Attributes:
        nodes: Nodes of Flower's simulation that train, each with a shard of the roles; None for
            this process.
    """

    nodes: int | None = None
    kinds = KINDS

    def __post_init__(self) -> None:
        if self.nodes is not None and self.method.rate is not None:
            raise ValueError(
                "shakespeare: `methods` must learn their rates where `nodes` train: got "
                f"{self.method.name}, expected aruba or isotropic"
            )

    def problem(self) -> Roles:
        """The roles of its seed."""
        plays, device = load_shakespeare(self.data), torch.device(self.device)
        roles = Roles(plays, self.settings, self.seed, device)
        if self.nodes is not None:
            roles.about["nodes"] = str(self.nodes)
        return roles

    def __call__(
        self, progress: Progress, stop: Stop, training_of: TrainingOf = Training
    ) -> dict[str, Any]:
        """Does what is left of it; returns what its JSON file holds."""
        run = partial(super().__call__, progress, stop)
        if self.nodes is None:
            return run(training_of)
        from .flower import simulated

        return simulated(self, self.nodes, run)
