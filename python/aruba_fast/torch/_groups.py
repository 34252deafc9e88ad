"""What of a model is learned by itself: a tensor, a group, or groups with the same rule."""

from typing import Any

import torch

from .._state import Hyperparameters
from ._flat import Block

HYPERPARAMETERS = ("learning_rate", "zeta", "p", "decay", "isotropic", "max_learning_rate")


def trainable(groups: list[dict[str, Any]]) -> list[torch.Tensor]:
    """Returns the parameters that require a gradient, each once, in the order of the groups."""
    found = (p for group in groups for p in group["params"] if p.requires_grad)
    return list({id(p): p for p in found}.values())


def blocks_of(groups: list[dict[str, Any]]) -> list[Block]:
    """Returns the sizes and hyperparameters of the blocks; neighbours that may be merged are."""
    blocks: list[Block] = []
    seen: set[int] = set()
    for group in groups:
        own = []
        for p in group["params"]:
            if p.requires_grad and id(p) not in seen:
                seen.add(id(p))
                own.append(p.numel())
        shared = {name: group[name] for name in HYPERPARAMETERS}
        by_tensor = isinstance(shared["isotropic"], str)
        if by_tensor:
            if shared["isotropic"] != "tensor":
                raise ValueError(
                    f"MetaOptimizer: `isotropic` must be known: got {shared['isotropic']!r}, "
                    "expected False, True or 'tensor'"
                )
            shared["isotropic"] = True
        hyper = Hyperparameters(**shared, function="MetaOptimizer")
        hyper.require_numbers("MetaOptimizer")
        if by_tensor:
            blocks += [(n, hyper) for n in own if n]
        elif blocks and not hyper.isotropic and blocks[-1][1] == hyper:
            blocks[-1] = (blocks[-1][0] + sum(own), hyper)
        elif sum(own):
            blocks.append((sum(own), hyper))
    return blocks
