"""The methods that are compared: what moves the weights within a task."""

from dataclasses import asdict
from typing import Any

import torch

from aruba_fast.torch import MetaOptimizer

from ..methods import NamedMethod
from ..networks import adam
from .settings import Settings

ADAM, SGD, ISOTROPIC, ARUBA, ARUBA_PLUS = "adam", "sgd", "isotropic", "aruba", "aruba++"
# Rates of Reptile with SGD, half a decade apart: the best one is within.
RATES = (0.03, 0.1, 0.3)
_TITLES = {
    ADAM: "Reptile, Adam",
    SGD: "Reptile, SGD",
    ISOTROPIC: "isotropic ARUBA",
    ARUBA: "ARUBA",
    ARUBA_PLUS: "ARUBA++",
}


class Method(NamedMethod):
    """One way to train."""

    command, kinds, fixed = "omniglot", (ADAM, ISOTROPIC, ARUBA), (SGD,)

    @property
    def title(self) -> str:
        """The name for people."""
        return _TITLES[self.kind] + ("" if self.rate is None else f" {self.rate:g}")

    def described(self, settings: Settings, seed: int) -> dict[str, Any]:
        """All that a training by this method depends on, and nothing that it does not."""
        chosen = asdict(settings)
        if self.kind != ADAM:
            del chosen["adam_rate"]
        return {"method": self.name, "seed": seed, **chosen}

    def meta(self, parameters: Any) -> MetaOptimizer:
        """The meta-learner; where rates are not learned, it moves the initialization alone."""
        if self.kind not in (ISOTROPIC, ARUBA):
            return MetaOptimizer(parameters, learning_rate=1.0, zeta=1.0)
        return MetaOptimizer(parameters, isotropic=self.kind == ISOTROPIC)

    def inner(
        self, parameters: list[torch.Tensor], settings: Settings
    ) -> torch.optim.Optimizer | None:
        """The optimizer within a task; None for learned rates."""
        if self.kind == ADAM:
            return adam(parameters, settings.adam_rate)
        if self.kind == SGD:
            assert self.rate is not None
            return torch.optim.SGD(parameters, lr=self.rate)
        return None
