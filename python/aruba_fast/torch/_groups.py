"""What of a model is learned by itself: a tensor, a group, or groups with the same rule."""

from dataclasses import replace
from typing import Any

import torch

from .._state import Hyperparameters, bound_of_network
from ._parameters import is_sharded, local
from ._round import Block

HYPERPARAMETERS = (
    *("learning_rate", "zeta", "p", "decay", "isotropic", "max_learning_rate"),
    *("bound", "train"),
)


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
                own.append(local(p).numel())
        sizes = tuple(n for n in own if n)
        hyper, by_tensor = _hyperparameters(group)
        if any(map(is_sharded, group["params"])):
            _require_own_rates(hyper)
        if not sizes:
            continue
        if by_tensor and not hyper.average_task:
            blocks += [(n, hyper) for n in sizes]
            continue
        if hyper.average_task and (by_tensor or not hyper.isotropic):
            hyper = replace(hyper, tensors=sizes)
        n = sum(sizes)
        if blocks and (joint := _joint(blocks[-1][1], hyper)):
            blocks[-1] = (blocks[-1][0] + n, joint)
        else:
            blocks.append((n, hyper))
    return blocks


def _hyperparameters(group: dict[str, Any]) -> tuple[Hyperparameters, bool]:
    """Those of a group, and whether it has a rate a tensor."""
    given = {name: group[name] for name in HYPERPARAMETERS}
    by_tensor = isinstance(given["isotropic"], str)
    if by_tensor:
        if given["isotropic"] != "tensor":
            raise ValueError(
                f"MetaOptimizer: `isotropic` must be known: got {given['isotropic']!r}, "
                "expected False, True or 'tensor'"
            )
        given["isotropic"] = True
    given["bound"] = bound_of_network("MetaOptimizer", given["bound"], given["zeta"])
    return Hyperparameters(**given, function="MetaOptimizer"), by_tensor


def _require_own_rates(hyper: Hyperparameters) -> None:
    """Refuses for sharded parameters what is learned from sums over coordinates."""
    text = "MetaOptimizer: `{}` must be {} for parameters that are sharded, of whose sums over all "
    text += "weights no process has more than its part: got {!r}, expected {}"
    if hyper.average_task or not hyper.knows_rate:
        name = "zeta" if hyper.average_task else "learning_rate"
        raise ValueError(text.format(name, "a number", "auto", "learning_rate=0.01, zeta=1.0, say"))
    if hyper.isotropic:
        raise ValueError(text.format("isotropic", "False", True, "a rate a coordinate"))
    if hyper.train != "learned":
        raise ValueError(text.format("train", "'learned'", hyper.train, "a rate a coordinate"))


def _joint(one: Hyperparameters, other: Hyperparameters) -> Hyperparameters | None:
    """The hyperparameters of two blocks as one, if nothing is learned from both together."""
    if replace(one, tensors=None) != replace(other, tensors=None):
        return None
    if one.tensors and other.tensors and one.train == "learned":
        return replace(one, tensors=(*one.tensors, *other.tensors))
    return one if not one.isotropic and not one.average_task else None
