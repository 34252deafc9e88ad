"""Learned rates along the network, in few numbers: quantiles by tensor, means by filter."""

from typing import Any

import numpy as np
import torch

from aruba_fast import _arrays
from aruba_fast.torch import MetaOptimizer

from .network import FILTERS

# As many as draw a distribution smoothly.
QUANTILES = tuple(np.linspace(0.0, 1.0, 41).round(3).tolist())
_KINDS = {torch.nn.Conv2d: "conv", torch.nn.BatchNorm2d: "norm", torch.nn.Linear: "head"}


def rates_of(meta: MetaOptimizer, model: torch.nn.Module) -> list[dict[str, Any]]:
    """Returns what the figure shows of every parameter of the network, from the image to the head.

    Args:
        meta: Has learned the rates.
        model: The network, whose parameters it learns.

    Returns:
        For every tensor: `layer`, such as "conv 2"; `parameter`, "weight" or "bias"; `quantiles` of
        its rates at `QUANTILES`; `size`, the root mean square of phi; `moved`, that of
        theta_hat - phi over all tasks, and `gradient`, the root of a task's mean sum of squared
        gradients, both as learned from, without the prior; `filter_rates`, for every filter the
        geometric mean of the rates of its weights, and of the head's weights that it feeds;
        `filter_moved`, `moved` in the same way.
    """
    learned = zip(meta.parameters, meta.learning_rate, *_sums(meta), strict=True)
    of_tensor = {id(p): values for p, *values in learned}
    found, number = [], 0
    for layer in model:
        kind = _KINDS.get(type(layer))
        if kind is None:
            continue
        number += kind == "conv"
        for name, parameter in layer.named_parameters():
            rates, moved, gradient = of_tensor[id(parameter)]
            logs = rates.double().cpu().log()
            cuts = torch.quantile(logs.flatten(), torch.tensor(QUANTILES, dtype=logs.dtype)).exp()
            found.append(
                {
                    "layer": "head" if kind == "head" else f"{kind} {number}",
                    "parameter": name,
                    "quantiles": _short(cuts),
                    "size": float(parameter.detach().double().square().mean().sqrt()),
                    "moved": float(moved.mean().sqrt()),
                    "gradient": float(gradient.mean().sqrt()),
                    "filter_rates": _short(_by_filter(logs, kind == "head").exp()),
                    "filter_moved": _short(_by_filter(moved, kind == "head").sqrt()),
                }
            )
    return found


def _by_filter(values: torch.Tensor, is_head: bool) -> torch.Tensor:
    """The means over all axes but that of the filters; in the head that is within the second."""
    if is_head and values.ndim == 2:
        return values.reshape(len(values), FILTERS, -1).mean(dim=(0, 2))
    return values.reshape(len(values), -1).mean(dim=1)


def _short(values: torch.Tensor) -> list[float]:
    """Four digits are more than a picture shows."""
    return [float(f"{value:.4g}") for value in values.tolist()]


def _sums(meta: MetaOptimizer) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The means over tasks of (theta_hat - phi)^2 and of a task's grad_sq, for every tensor."""
    (learner,) = meta.learners
    sizes = [p.numel() for p in meta.parameters]
    # b of the tight bound, which networks are learned by, holds the whole D^2.
    means = (torch.from_numpy(_arrays.host(v)) / learner.n_tasks for v in (learner.b, learner.g))
    moved, gradient = (
        [v.reshape(p.shape) for v, p in zip(mean.split(sizes), meta.parameters, strict=True)]
        for mean in means
    )
    return moved, gradient
