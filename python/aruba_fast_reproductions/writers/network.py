"""The small convolutional network that reads digits of 14 x 14 pixels."""

from collections import OrderedDict

from torch import nn

from ..networks import first_weights


def seeded_network(seed: int) -> nn.Module:
    """Two convolutions 3 x 3 with max-pooling, then two dense layers: 23 946 weights.

    Args:
        seed: Seed of the weights.

    Returns:
        A model from [n, 1, 14, 14] to the scores of ten digits.
    """
    with first_weights(seed):
        layers: dict[str, nn.Module] = {
            "conv 1": nn.Conv2d(1, 16, 3, padding=1),
            "relu 1": nn.ReLU(),
            "pool 1": nn.MaxPool2d(2),
            "conv 2": nn.Conv2d(16, 32, 3, padding=1),
            "relu 2": nn.ReLU(),
            "pool 2": nn.MaxPool2d(2),
            "flat": nn.Flatten(),
            # 14 pixels are 7 and 3 after the poolings.
            "dense": nn.Linear(32 * 3 * 3, 64),
            "relu 3": nn.ReLU(),
            "head": nn.Linear(64, 10),
        }
    return nn.Sequential(OrderedDict(layers))
