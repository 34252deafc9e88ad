"""What of a model is learned by itself: a tensor, a group, or groups with the same rule."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .._state import Hyperparameters, bound_of_network
from ._parameters import local
from ._round import Block

HYPERPARAMETERS = (
    *("learning_rate", "zeta", "p", "decay", "isotropic", "max_learning_rate"),
    *("bound", "train"),
)


def trainable(groups: list[dict[str, Any]]) -> list[torch.Tensor]:
    """Returns the parameters that require a gradient, each once, in the order of the groups."""
    found = (p for group in groups for p in group["params"] if p.requires_grad)
    return list({id(p): p for p in found}.values())


@dataclass(frozen=True)
class Whole:
    """What is learned together, of all processes that have a part of it.

    Attributes:
        sizes: Number of coordinates of each tensor, and of those that are here.
        hyper: The hyperparameters of the whole.
    """

    sizes: list[tuple[int, int]]
    hyper: Hyperparameters

    def here(self) -> Block:
        """What of it is here."""
        own = tuple(n for _, n in self.sizes if n)
        return sum(own), replace(self.hyper, tensors=self.hyper.tensors and own)


def blocks_of(wholes: Sequence[Whole]) -> list[Block]:
    """Returns the sizes and hyperparameters of the blocks that this process has a part of."""
    return [whole.here() for whole in wholes if any(n for _, n in whole.sizes)]


def wholes_of(groups: list[dict[str, Any]]) -> list[Whole]:
    """Returns the blocks of the whole model; neighbours that may be merged are."""
    wholes: list[Whole] = []
    seen: set[int] = set()
    for group in groups:
        own = []
        for p in group["params"]:
            if p.requires_grad and id(p) not in seen:
                seen.add(id(p))
                own.append((p.numel(), local(p).numel()))
        sizes = [each for each in own if each[0]]
        hyper, by_tensor = _hyperparameters(group)
        if not sizes:
            continue
        if by_tensor and not hyper.average_task:
            wholes += [Whole([each], hyper) for each in sizes]
            continue
        if hyper.average_task and (by_tensor or not hyper.isotropic):
            hyper = replace(hyper, tensors=tuple(n for n, _ in sizes))
        if wholes and (joint := _joint(wholes[-1].hyper, hyper)):
            wholes[-1] = Whole(wholes[-1].sizes + sizes, joint)
        else:
            wholes.append(Whole(sizes, hyper))
    return wholes


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


def _joint(one: Hyperparameters, other: Hyperparameters) -> Hyperparameters | None:
    """The hyperparameters of two blocks as one, if nothing is learned from both together."""
    if replace(one, tensors=None) != replace(other, tensors=None):
        return None
    if one.tensors and other.tensors and one.train == "learned":
        return replace(one, tensors=(*one.tensors, *other.tensors))
    return one if not one.isotropic and not one.average_task else None
