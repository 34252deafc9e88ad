"""What all trainings of a network have in common: first weights by a seed, and what is saved."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray

from aruba_fast.torch import MetaOptimizer
from aruba_fast.torch._parameters import array


@contextmanager
def first_weights(seed: int) -> Iterator[None]:
    """Weights made in the context depend on the seed; PyTorch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def adam(parameters: list[torch.Tensor], rate: float) -> torch.optim.Adam:
    """Adam within a task as Reptile has it: without momentum."""
    return torch.optim.Adam(parameters, lr=rate, betas=(0.0, 0.999))


def state_of(
    meta: MetaOptimizer, inner: torch.optim.Optimizer | None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Returns the meta-state and that of the optimizer within tasks, as a `Training` does."""
    state = meta.state_dict()
    arrays = {f"meta.{name}": array(value.cpu()) for name, value in state["state"].items()}
    if inner is not None:
        for number, own in inner.state_dict()["state"].items():
            for name, value in own.items():
                if isinstance(value, torch.Tensor):
                    arrays[f"inner.{number}.{name}"] = array(value.cpu().reshape(-1))
    return arrays, {"layout": state["layout"]}


def restore(
    meta: MetaOptimizer,
    inner: torch.optim.Optimizer | None,
    arrays: Mapping[str, NDArray[Any]],
    facts: Mapping[str, Any],
) -> None:
    """Gives both what `state_of` gave."""
    own = {name: values for name, values in arrays.items() if not name.startswith("inner.")}
    state = {name.removeprefix("meta."): torch.from_numpy(v) for name, v in own.items()}
    meta.load_state_dict({"state": state, "layout": facts["layout"]})
    if inner is None:
        return
    of_inner = inner.state_dict()
    of_inner["state"] = {}
    for key, value in arrays.items():
        if key.startswith("inner."):
            _, number, name = key.split(".")
            shape = () if name == "step" else meta.parameters[int(number)].shape
            entries = of_inner["state"].setdefault(int(number), {})
            entries[name] = torch.from_numpy(value).reshape(shape)
    inner.load_state_dict(of_inner)
