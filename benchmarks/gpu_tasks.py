"""A round on the device: do its reduction and its tasks run at the speed of the device's memory?"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import bench_engine
import bench_reduction
import numpy as np
from bench_engine import N_ROUNDS
from gpu_device import Device
from race import Arrays, Entrant, Work, need

import aruba_fast as af

# ---- the sums over the tasks of a round --------------------------------------------------------


class Round(NamedTuple):
    """theta_hat and grad_sq [n_tasks, d] on the device, and a host copy for the oracle."""

    device: Device
    host: bench_reduction.Inputs
    theta_hat: Any
    grad_sq: Any
    phi: Any


def round_inputs(device: Device, n_tasks: int, d: int) -> Round:
    host = bench_reduction.inputs(n_tasks, d)
    return Round(device, host, *(device.array(a) for a in host))


def our_reduction(i: Round) -> Entrant:
    learner = af.MetaLearner(i.phi)
    run = af.TaskRun(i.theta_hat, i.grad_sq)
    last: list[Any] = []

    def reduce() -> None:
        last[:] = [learner.statistics(run)]

    def answer() -> Arrays:
        high = i.device.host(last[0].sums)[:, 0]
        return {"distance": high[0], "grad_sq": high[1], "theta": high[2]}

    return Entrant(reduce, answer)


def torch_reduction(i: Round) -> Entrant:
    torch = need("torch")
    theta_hat, grad_sq, phi = (i.device.torch(a) for a in (i.theta_hat, i.grad_sq, i.phi))
    last: list[Any] = []

    def run() -> None:
        squares = (theta_hat - phi).square_()
        last[:] = [
            0.5 * squares.sum(0, dtype=torch.float64),
            grad_sq.sum(0, dtype=torch.float64),
            theta_hat.sum(0, dtype=torch.float64),
        ]

    names = ("distance", "grad_sq", "theta")
    return Entrant(run, lambda: {n: a.cpu().numpy() for n, a in zip(names, last, strict=True)})


def cupy_reduction(i: Round) -> Entrant:
    cupy = i.device.cupy()
    half_square = cupy.ReductionKernel(
        "float32 theta, float32 phi",
        "float64 sum",
        "0.5 * ((double)theta - phi) * ((double)theta - phi)",
        "a + b",
        "sum = a",
        "0",
        "aruba_rival_distance",
    )
    last: list[Any] = []

    def run() -> None:
        last[:] = [
            half_square(i.theta_hat, i.phi, axis=0),
            i.grad_sq.sum(0, dtype=np.float64),
            i.theta_hat.sum(0, dtype=np.float64),
        ]

    names = ("distance", "grad_sq", "theta")
    return Entrant(run, lambda: {n: i.device.host(a) for n, a in zip(names, last, strict=True)})


# ---- whole tasks -------------------------------------------------------------------------------


class Tasks(NamedTuple):
    """Dense logistic tasks: `host` holds the first of them, the device all, which repeat those."""

    device: Device
    host: bench_engine.Inputs
    x: Any
    y: Any
    phi: Any
    rate: Any


def task_inputs(device: Device, n_tasks: int, d: int) -> Tasks:
    different = min(n_tasks, max(7, 10_000_000 // (N_ROUNDS * d)))
    host = bench_engine.inputs(different, d)
    x = device.tiled(host.x, n_tasks * N_ROUNDS * d).reshape(n_tasks, N_ROUNDS, d)
    y = device.tiled(host.y, n_tasks * N_ROUNDS).reshape(n_tasks, N_ROUNDS)
    return Tasks(device, host, x, y, device.array(host.phi), device.array(host.rate))


def tasks_expected(i: Tasks) -> Arrays:
    out = bench_engine.batched(i.host, np.float64)
    return {name: np.resize(a, (len(i.x), a.shape[1])) for name, a in out.items()}


def our_tasks(i: Tasks, capture: bool = False) -> Entrant:
    tasks, rule = af.Tasks(i.x, i.y), af.OGD(i.rate)
    last: list[Any] = []

    def run() -> None:
        last[:] = [af.run_tasks(tasks, i.phi, rule, loss="logistic")]

    replay = i.device.captured(run) if capture else run

    def answer() -> Arrays:
        done = last[0]
        return {"theta_hat": i.device.host(done.theta_hat), "grad_sq": i.device.host(done.grad_sq)}

    return Entrant(replay, answer)


def torch_tasks(i: Tasks, capture: bool = False) -> Entrant:
    """A step of all tasks at once; as a graph, nothing but its kernels and their memory counts."""
    torch = need("torch")
    x, y, phi, rate = (i.device.torch(a) for a in (i.x, i.y, i.phi, i.rate))
    theta, squares = torch.empty_like(x[:, 0]), torch.empty_like(x[:, 0])
    total = torch.empty_like(y[:, 0])

    def run() -> None:
        theta.copy_(phi.expand_as(theta))
        squares.zero_()
        total.zero_()
        for t in range(N_ROUNDS):
            row, label = x[:, t], y[:, t]
            z = torch.linalg.vecdot(row, theta)
            total.add_(torch.nn.functional.softplus(z)).addcmul_(label, z, value=-1)
            g = row * torch.sigmoid(z).sub_(label)[:, None]
            theta.addcmul_(g, rate, value=-1)
            squares.addcmul_(g, g)

    replay = run
    if capture:
        if i.device.dry:
            i.device.captured(run)  # says why not
        run()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        replay = graph.replay
    return Entrant(
        replay, lambda: {"theta_hat": theta.cpu().numpy(), "grad_sq": squares.cpu().numpy()}
    )


def works(device: Device) -> list[Work]:
    n_tasks, d = (130, 67) if device.dry else (1000, 100_000)
    out = [
        Work(
            f"round reduction, [{n_tasks}, {d}]",
            partial(round_inputs, device, n_tasks, d),
            lambda i: bench_reduction.expected(i.host),
            {
                "ours": our_reduction,
                "CuPy, float64 sums": cupy_reduction,
                "torch, float64 sums": torch_reduction,
            },
            n_bytes=8 * n_tasks * d,
            share=0.9,
        )
    ]
    for d in (8, 33, 600) if device.dry else (8, 64, 512, 1024, 4096):
        n_tasks = 9 if device.dry else (1 << 28) // (N_ROUNDS * d)
        out.append(
            Work(
                f"logistic tasks, d = {d} ({n_tasks} tasks)",
                partial(task_inputs, device, n_tasks, d),
                tasks_expected,
                {
                    "ours": our_tasks,
                    "ours, CUDA graph": partial(our_tasks, capture=True),
                    "torch, batched": torch_tasks,
                    "torch, batched, CUDA graph": partial(torch_tasks, capture=True),
                },
                n_bytes=4 * (n_tasks * N_ROUNDS * (d + 1) + 2 * n_tasks * d),
                share=0.9,
                tolerance=1e-4,
                n_units=n_tasks * N_ROUNDS,
                unit="step",
            )
        )
    return out
