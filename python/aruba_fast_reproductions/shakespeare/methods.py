"""What is compared: how a round's roles move, and how a role moves when it is personalized."""

from typing import Any

import torch

from aruba_fast.torch import MetaOptimizer

from ..methods import NamedMethod

FEDAVG, ISOTROPIC, ARUBA = "fedavg", "isotropic", "aruba"
# The fixed rates of FedAvg: the best one is within, and the next ones above it are too large.
RATES = (0.01, 0.1, 1.0, 2.0, 4.0, 8.0)
# Those of personalization.
PERSONAL_RATES = (1.0, 0.3, 0.1, 0.03, 0.01)
LEARNED, PLUS = "learned", "aruba++"
DEFAULT_METHODS = (*(f"{FEDAVG}-{rate:g}" for rate in RATES), ARUBA)


class Method(NamedMethod):
    """One way to train."""

    command, kinds, fixed = "shakespeare", (ARUBA, ISOTROPIC), FEDAVG

    @property
    def title(self) -> str:
        """The name for people."""
        if self.rate is not None:
            return f"FedAvg, rate {self.rate:g}"
        return "FedAvg + isotropic ARUBA" if self.kind == ISOTROPIC else "FedAvg + ARUBA"

    def meta(self, parameters: Any) -> MetaOptimizer:
        """The meta-learner; where rates are not learned, it moves the initialization alone."""
        if self.rate is not None:
            return MetaOptimizer(parameters, learning_rate=self.rate, zeta=1.0)
        return MetaOptimizer(parameters, isotropic=self.kind == ISOTROPIC)

    def inner(self, parameters: list[torch.Tensor]) -> torch.optim.Optimizer | None:
        """The optimizer within a role of a round; None for learned rates."""
        return None if self.rate is None else torch.optim.SGD(parameters, lr=self.rate)

    @property
    def personalizations(self) -> tuple[str, ...]:
        """The names of all ways to personalize what it has trained."""
        fixed = tuple(f"{rate:g}" for rate in PERSONAL_RATES)
        return fixed if self.kind == FEDAVG else (*fixed, LEARNED, PLUS)


def personal_optimizer(meta: MetaOptimizer, how: str) -> torch.optim.Optimizer:
    """Loads phi, and returns what moves a role away from it.

    Args:
        meta: Has learned phi and the rates.
        how: A fixed rate as text, "learned" or "aruba++".
    """
    if how == LEARNED:
        return meta.rule(coef=None)
    if how == PLUS:
        return meta.rule()
    meta.restore()
    return torch.optim.SGD(meta.parameters, lr=float(how))
