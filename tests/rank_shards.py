"""Models sharded by FSDP2 in the tests, and what every rank's shards have come to."""

from __future__ import annotations

import numpy as np
from rank_rounds import dist, torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aruba_fast.torch import MetaOptimizer

KEPT = ("phi", "b", "g", "rate", "rho")
BROKEN = 3  # the task with one gradient that is not finite
HYPER = {"learning_rate": 0.1, "zeta": 1.0, "decay": 0.01, "max_learning_rate": 0.3}
ROUNDS, N_TASKS = 3, 4


def model_of():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1)]
    return torch.nn.Sequential(*layers)


def sharded(model, size):
    mesh = init_device_mesh("cpu", (size,))
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh, reshard_after_forward=True)


def gradients_by_hand(model, number, step):
    """The same values whether a parameter is sharded or not; a nan in one shard alone."""
    generator = torch.Generator().manual_seed(100 * number + step)
    for p in model.parameters():
        grad = torch.randn(p.shape, generator=generator)
        if number == BROKEN and p.shape == (7, 5):
            grad[-1, -1] = torch.nan
        is_dtensor = isinstance(p, DTensor)
        p.grad = distribute_tensor(grad, p.device_mesh, p.placements) if is_dtensor else grad


def gradients_of_a_loss(model, number, _):
    generator = torch.Generator().manual_seed(number)
    x, y = (torch.randn(6, n, generator=generator) for n in (5, 1))
    model.zero_grad()
    torch.nn.functional.mse_loss(model(x), y if number != BROKEN else y / 0).backward()


def learned(model, gradients, group=None, other=None):
    """Per parameter and array what a learner has after some rounds, and its counts."""
    *some, last = model.parameters()  # the last one is empty on all ranks but one
    groups = [{"params": some}, {"params": [last], "max_learning_rate": 0.2}]
    meta = MetaOptimizer(groups, **HYPER)
    for number in range(ROUNDS * N_TASKS):
        kind = None if other is None else other(model.parameters(), lr=0.05)
        with meta.task(1.0 + number % 3, optimizer=kind, process_group=group) as optimizer:
            for step in range(2):
                gradients(model, number, step)
                optimizer.step()
        if number % N_TASKS == N_TASKS - 1:
            meta.step(0.5, process_group=group)
    own = meta._parameters
    found = {
        name: [part.numpy().copy() for part in own.views(torch.from_numpy(meta._flat.arrays[name]))]
        for name in KEPT
    }
    found["model"] = [p.detach().numpy().copy() for p in own.tensors]
    optimizer = meta.rule()
    gradients(model, 1, 0)
    optimizer.step()
    found["rule"] = [p.detach().numpy().copy() for p in own.tensors]
    return found, (meta.n_tasks, meta.n_skipped)


CASES = {
    "by hand": (gradients_by_hand, None),
    "loss": (gradients_of_a_loss, None),
    "Adam": (gradients_by_hand, torch.optim.Adam),
}
# FSDP2 takes the mean of all ranks' gradients: that of three equal ones may be another number.
OF_SIZE = {2: ["by hand", "loss"], 3: ["by hand", "Adam"]}


def all_cases(_, size):
    found = {}
    for name in OF_SIZE[size]:
        gradients, other = CASES[name]
        found[name] = learned(sharded(model_of(), size), gradients, dist.group.WORLD, other)
    return found


def refusals(rank, size):
    """What is told of calls that a sharded model does not have."""
    group = dist.group.WORLD
    told = []

    def tell(call):
        try:
            call()
        except Exception as error:
            told.append((type(error).__name__, str(error)))
        else:
            told.append(None)

    mesh, in_part = init_device_mesh("cpu", (size,)), model_of()
    fully_shard(in_part[0], mesh=mesh)
    for hyper in ({}, {"zeta": 1.0}, {"learning_rate": 0.1, "zeta": 1.0, "isotropic": True}):
        tell(lambda hyper=hyper: MetaOptimizer(in_part.parameters(), **hyper))
    model = sharded(model_of(), size)
    some, other = ({"params": layer.parameters()} for layer in (model[0], model[2]))
    tell(lambda: MetaOptimizer([some, {**other, "learning_rate": 0.1}]))
    model = sharded(model_of(), size)
    tell(MetaOptimizer(model.parameters()).statistics)
    model = sharded(model_of(), size)
    meta = MetaOptimizer(model.parameters(), **HYPER)
    before = meta._flat.arrays["phi"].copy()
    with meta.task(1.0 + rank, process_group=group):
        pass
    tell(meta.step)
    tell(lambda: meta.step(process_group=group))
    return told, bool(np.array_equal(before, meta._flat.arrays["phi"])) and meta.n_tasks == 0


class Operators(TorchDispatchMode):
    """Notes the operators that PyTorch is asked for, of DTensors and of all others."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace != "profiler":  # of every optimizer's step
            self.found.append(str(func))
        return func(*args, **kwargs or {})


def watched(_, size):
    """Of steps of a sharded model: the operators, how often autograd was told, what it says."""
    model = sharded(model_of(), size)
    parameters = list(model.parameters())
    meta = MetaOptimizer(parameters, **HYPER)
    with meta.task() as optimizer:
        gradients_by_hand(model, 1, 0)
        optimizer.step()
        versions = [(p._version, p.to_local()._version) for p in parameters]
        with Operators() as operators:
            for _ in range(2):
                optimizer.step()
        told = [
            (p._version - outer, p.to_local()._version - inner)
            for p, (outer, inner) in zip(parameters, versions, strict=True)
        ]
        empty = [not p.to_local().numel() for p in parameters]
        weight = next(p for p in parameters if p.to_local().numel())
        loss = weight.square().sum()
        optimizer.step()
        try:
            loss.backward()
        except RuntimeError as error:
            return operators.found, told, empty, str(error)
    return operators.found, told, empty, "nothing"
