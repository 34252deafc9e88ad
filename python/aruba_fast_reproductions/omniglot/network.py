"""The network that few-shot papers use for Omniglot: four convolutions and a dense head."""

import torch

from ..networks import first_weights

# Layers of the network in their order, the last the head.
LAYERS = ("conv 1", "conv 2", "conv 3", "conv 4", "head")
FILTERS = 64
# TensorFlow's default, with which Reptile was run; PyTorch's is 1e-5.
_EPS = 1e-3


def network(n_way: int, seed: int) -> torch.nn.Sequential:
    """Builds it: 4 x [conv 64, 3 x 3, stride 2, batch normalization, ReLU], then a dense layer.

    Normalization uses the statistics of the batch, also at test, so that nothing but parameters is
    learned. Convolutions have no bias, which the normalization after them would cancel. Weights are
    drawn as Reptile's are (Glorot's uniform), biases are zero.

    Args:
        n_way: Number of classes.
        seed: Seed of the weights.

    Returns:
        A model from [n, 1, 28, 28] to [n, n_way].

    Source: Vinyals et al. (2016); with strides and their sizes as Nichol et al. (2018).
    """
    with first_weights(seed):
        layers: list[torch.nn.Module] = []
        for n_in in (1, FILTERS, FILTERS, FILTERS):
            convolution = torch.nn.Conv2d(n_in, FILTERS, 3, stride=2, padding=1, bias=False)
            torch.nn.init.xavier_uniform_(convolution.weight)
            normalization = torch.nn.BatchNorm2d(FILTERS, eps=_EPS, track_running_stats=False)
            layers += [convolution, normalization, torch.nn.ReLU()]
        # 28 pixels are 14, 7, 4 and 2 after the convolutions.
        head = torch.nn.Linear(FILTERS * 2 * 2, n_way)
        torch.nn.init.xavier_uniform_(head.weight)
        torch.nn.init.zeros_(head.bias)
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), head)
