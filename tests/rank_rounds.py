"""What ranks do in the tests of rounds over processes."""

from __future__ import annotations

import numpy as np
from optional import need

torch = need("torch")
import torch.distributed as dist  # noqa: E402

from aruba_fast.torch import MetaOptimizer, _round  # noqa: E402

SIZES = (1, 2, 3, 7)
KEPT = ("phi", "phi_master", "b", "g", "rate", "rho", "counts", "weight", "limit")
# Tasks of each round, and those of them that are not finite, or go far.
ROUNDS = [11, 3, 5, 1, 8]
BROKEN, FAR = {4, 12, 17}, {13, 21}
SEARCH = [9] * 7

CASES = {
    "auto": ({"learning_rate": 0.1}, ROUNDS),
    "isotropic": ({"learning_rate": 0.1, "isotropic": "tensor"}, ROUNDS),
    "zeta": ({"learning_rate": 0.1, "zeta": 1.0, "decay": 0.01}, ROUNDS),
    "groups": ({"learning_rate": 0.1, "groups": True}, ROUNDS),
    "float64": ({"learning_rate": 0.1, "dtype": torch.float64}, ROUNDS),
    "parts": ({"learning_rate": 0.1, "at_once": 3}, [17, 2, 13]),
    "search": ({}, SEARCH),
    "search of groups": ({"groups": True}, SEARCH),
}


def model_of(dtype=torch.float32):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(9, 67), torch.nn.Tanh(), torch.nn.Linear(67, 3)]
    return torch.nn.Sequential(*layers).to(dtype)


def made(groups=False, dtype=torch.float32, **hyper):
    model = model_of(dtype)
    params = model.parameters()
    if groups:
        params = [
            {"params": model[0].parameters()},
            {"params": model[2].parameters(), "isotropic": True, "max_learning_rate": 100.0},
        ]
    return model, MetaOptimizer(params, **hyper)


def one_task(meta, model, number, group=None):
    """The task of this number: a few steps on data of its own."""
    generator = torch.Generator().manual_seed(number)
    dtype = model[0].weight.dtype
    x = torch.randn(6, 9, generator=generator, dtype=dtype)
    y = torch.randn(6, 3, generator=generator, dtype=dtype)
    if number in BROKEN:
        y[0, 0] = torch.nan
    if number in FAR:
        y *= 1000
    with meta.task(weight=1.0 + number % 3, process_group=group) as optimizer:
        for _ in range(2 + number % 2):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()


def states(hyper, rounds, share, group=None):
    """The arrays after every round; `share(first, n)` are the numbers of this process."""
    hyper = dict(hyper)
    before = _round._TASKS_AT_ONCE, _round._TASKS_AT_LEAST
    if at_once := hyper.pop("at_once", None):
        _round._TASKS_AT_ONCE = _round._TASKS_AT_LEAST = at_once
    try:
        model, meta = made(**hyper)
    finally:
        _round._TASKS_AT_ONCE, _round._TASKS_AT_LEAST = before
    # By values alone other parts show in one of many sums, if at all.
    sizes, add = [], meta._flat._add
    meta._flat._add = lambda part, into: (sizes.append(len(part[0])), add(part, into))
    first, found = 0, []
    for n in rounds:
        for number in share(first, n):
            one_task(meta, model, number, group)
        first += n
        meta.step(0.5, process_group=group)
        of_round, sizes[:] = list(sizes), []
        arrays = {name: meta._flat.arrays[name].copy() for name in KEPT}
        arrays["model"] = torch.cat([p.detach().ravel() for p in model.parameters()]).numpy()
        arrays["first"] = np.array([x.initial_learning_rate or 0.0 for x in meta.learners])
        if at_once and n > at_once:
            arrays["parts"] = np.array(of_round)
        found.append(arrays)
    return found


def share_of(rank, size):
    """Neighbours, of numbers that differ: with few tasks, some ranks have none."""

    def share(first, n):
        cuts = np.linspace(0, n, size + 1).astype(int) if first % 2 else np.arange(size + 1)
        cuts = np.minimum(cuts, n)
        cuts[-1] = n
        return range(first + cuts[rank], first + cuts[rank + 1])

    return share


def all_sizes(rank):
    """For every size of a group what all cases come to."""
    groups = {size: dist.new_group(range(size)) for size in SIZES}
    return {
        (size, case): states(*CASES[case], share_of(rank, size), groups[size])
        for size in SIZES
        for case in CASES
        if rank < size
    }
