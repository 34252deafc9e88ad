"""Models sharded by FSDP2 in the tests whose rates are learned from sums over all coordinates."""

from __future__ import annotations

import io
import os
import signal

from rank_rounds import dist, torch
from rank_shards import sharded
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from aruba_fast.torch import MetaOptimizer

KEPT = ("phi", "b", "g", "rate", "rho")
SIZES = (2, 3)
N_TASKS, ROUNDS = 4, 4
BROKEN, FAR, SILENT = {5, 14}, {9}, 8  # not finite in one shard; to be shortened; no gradient yet

RATE = {"learning_rate": 0.1}
CASES = {
    "average task": RATE,
    "forgetting": {**RATE, "decay": 0.05, "bound": "blog"},
    "capped": {**RATE, "max_learning_rate": 0.12},
    "a rate a tensor": {**RATE, "isotropic": "tensor"},
    "one rate": {**RATE, "isotropic": True},
    "one rate, zeta": {**RATE, "isotropic": True, "zeta": 1.0},
    "a rate a tensor, zeta": {**RATE, "isotropic": "tensor", "zeta": 1.0},
    "scalar": {**RATE, "train": "scalar"},
    "groups": {**RATE, "groups": True},
    "float32": {**RATE, "dtype": torch.float32},
}


def model_of(dtype=torch.float64):
    """Tensors of several segments, of a part of one, and of fewer rows than there are ranks."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(31, 70), torch.nn.Tanh(), torch.nn.Linear(70, 1)]
    return torch.nn.Sequential(*layers).to(dtype)


def made(model, groups=False, **hyper):
    params = list(model.parameters())
    if groups:  # the second one is on the first rank alone
        params = [
            {"params": params[:2]},
            {"params": params[2:], "max_learning_rate": 0.11},
        ]
    return MetaOptimizer(params, **hyper)


def set_gradients(model, number, step):
    """The same values whether a parameter is sharded or not."""
    generator = torch.Generator().manual_seed(100 * number + step)
    for i, p in enumerate(model.parameters()):
        grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        grad = grad * (50.0 if number in FAR else 1.0)
        if i == 1 and number < SILENT:
            grad.zero_()
        if i == 0 and number in BROKEN:
            grad[-1, -1] = torch.nan
        grad = grad.to(p.dtype)
        is_dtensor = isinstance(p, DTensor)
        p.grad = distribute_tensor(grad, p.device_mesh, p.placements) if is_dtensor else grad


def rounds(meta, model, numbers):
    for number in numbers:
        with meta.task(1.0 + number % 3) as optimizer:
            for step in range(2):
                set_gradients(model, number, step)
                optimizer.step()
        if number % N_TASKS == N_TASKS - 1:
            meta.step(0.5)


def state_of(meta):
    """Per array the parts of all parameters, and what every rank must have to the bit."""
    own = meta._parameters
    found = {
        name: [part.numpy().copy() for part in own.views(torch.from_numpy(meta._flat.arrays[name]))]
        for name in KEPT
    }
    return found, (meta.n_tasks, meta.n_skipped)


def learned(hyper, shard=None):
    """The state after some rounds, and where the rule for new tasks leads."""
    hyper = dict(hyper)
    model = model_of(hyper.pop("dtype", torch.float64))
    meta = made(model if shard is None else shard(model), **hyper)
    rounds(meta, model, range(N_TASKS * ROUNDS))
    found, counts = state_of(meta)
    optimizer = meta.rule()
    set_gradients(model, 3, 0)
    optimizer.step()
    found["rule"] = [p.detach().numpy().copy() for p in meta._parameters.tensors]
    return found, counts


def everything(_, size):
    """All that ranks of one group are asked for: processes take longer to start than to learn."""
    found = {"limits": limits(size), "resumed": resumed(size)}
    found["defaults"] = by_default(sharded(model_of(), size))
    return found | {n: learned(hyper, lambda m: sharded(m, size)) for n, hyper in CASES.items()}


def limits(size):
    """How far a task may spread, as every rank knows it before each round."""
    model, found = sharded(model_of(), size), []
    meta = made(model, **CASES["groups"])
    for number in range(0, 3 * N_TASKS, N_TASKS):
        rounds(meta, model, range(number, number + N_TASKS))
        shards = meta._flat.shards
        told = [None] * size
        dist.all_gather_object(told, shards.limits(meta._flat.arrays["limit"]))
        found.append(shards.limit(told))
    return found


def replicated(_):
    """Two replicas of a model that has two shards."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))

    def shard(model):
        for layer in (model[0], model[2]):
            fully_shard(layer, mesh=mesh)
        return fully_shard(model, mesh=mesh, reshard_after_forward=True)

    return learned(RATE, shard)


def dies_late(rank, size):
    """What the others are told where a rank dies after the last word of a round."""
    model = sharded(model_of(), size)
    meta = made(model, **RATE)
    rounds(meta, model, range(N_TASKS - 1))
    if rank == 1:
        meta._flat.shards.find_rates = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    try:
        meta.step(0.5)
    except RuntimeError as error:
        return str(error)


def resumed(size):
    """Rounds without a break, and from a file each rank has written in between."""
    found = []
    for stops in (False, True):
        model = sharded(model_of(torch.float32), size)
        meta = made(model, **RATE)
        rounds(meta, model, range(2 * N_TASKS))
        if stops:
            file = io.BytesIO()
            torch.save(meta.state_dict(), file)
            model = sharded(model_of(torch.float32), size)
            meta = made(model, **RATE)
            file.seek(0)
            meta.load_state_dict(torch.load(file))
        rounds(meta, model, range(2 * N_TASKS, 3 * N_TASKS))
        found.append(state_of(meta))
    return found


def fit(model, optimizer, number):
    """A task of regression by its loss."""
    generator = torch.Generator().manual_seed(number)
    x, y = (torch.randn(12, n, generator=generator, dtype=torch.float64) for n in (31, 1))
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


def by_default(model):
    """As a user writes it who knows nothing of shards: the first rate, and what came of it."""
    meta = MetaOptimizer(model.parameters())
    first = 0
    while not meta.n_tasks:
        for number in range(first, first + 8):
            with meta.task() as optimizer:
                fit(model, optimizer, number)
        meta.step()
        first += 8
    found, counts = state_of(meta)
    return found, (*counts, first, meta._flat.learners[0].initial_learning_rate)
