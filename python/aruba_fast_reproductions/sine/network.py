"""The network of MAML's regression: two hidden layers of 40."""

from collections import OrderedDict

from torch import nn

from ..networks import first_weights


def seeded_network(seed: int) -> nn.Module:
    """A model from [n, 1] to [n, 1].

    Args:
        seed: Seed of the weights.

    Source: Finn, Abbeel and Levine, "Model-agnostic meta-learning" (2017).
    """
    with first_weights(seed):
        layers: dict[str, nn.Module] = {
            "hidden 1": nn.Linear(1, 40),
            "relu 1": nn.ReLU(),
            "hidden 2": nn.Linear(40, 40),
            "relu 2": nn.ReLU(),
            "output": nn.Linear(40, 1),
        }
    return nn.Sequential(OrderedDict(layers))
