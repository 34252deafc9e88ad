"""What is compared: how a round's roles move, and how a role moves when it is personalized."""

import torch

from aruba_fast.torch import MetaOptimizer

from ..methods import NamedMethod

FEDAVG, ISOTROPIC, ARUBA = "fedavg", "isotropic", "aruba"
# The fixed rates, of FedAvg and of personalization.
RATES = (0.1, 0.01, 0.001)
LEARNED, PLUS = "learned", "aruba++"
# Beside the rates of the grid, the one that ARUBA starts with.
DEFAULT_METHODS = ("fedavg-1", *(f"{FEDAVG}-{rate:g}" for rate in RATES), ISOTROPIC, ARUBA)


class Method(NamedMethod):
    """One way to train."""

    command, kinds, fixed = "shakespeare", (ARUBA, ISOTROPIC), FEDAVG

    @property
    def title(self) -> str:
        """The name for people."""
        if self.rate is not None:
            return f"FedAvg, rate {self.rate:g}"
        return "FedAvg + isotropic ARUBA" if self.kind == ISOTROPIC else "FedAvg + ARUBA"

    def inner(self, parameters: list[torch.Tensor]) -> torch.optim.Optimizer | None:
        """The optimizer within a role of a round; None for learned rates."""
        return None if self.rate is None else torch.optim.SGD(parameters, lr=self.rate)

    @property
    def personalizations(self) -> tuple[str, ...]:
        """The names of all ways to personalize what it has trained."""
        fixed = tuple(f"{rate:g}" for rate in RATES)
        return fixed if self.kind == FEDAVG else (*fixed, LEARNED, PLUS)


def personal_optimizer(meta: MetaOptimizer, how: str) -> torch.optim.Optimizer:
    """Loads phi, and returns what moves a role away from it.

    ARUBA++ lowers the learned rates by the role's own gradients, which count as much as those of
    an average task of training: g holds the sum over all tasks, so that its coefficient is their
    number. Nothing is chosen.

    Args:
        meta: Has learned phi and the rates.
        how: A fixed rate as text, "learned" or "aruba++".
    """
    if how == LEARNED:
        return meta.rule()
    if how == PLUS:
        return meta.rule(coef=float(meta.n_tasks))
    meta.restore()
    return torch.optim.SGD(meta.parameters, lr=float(how))
