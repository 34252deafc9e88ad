"""What do the optimizer's part of a step of a PyTorch model, and the meta-update, cost?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need

RATE = 0.01


class Network(NamedTuple):
    """Shapes of the parameters, their values and gradients: what an optimizer sees of a model."""

    shapes: list[tuple[int, ...]]
    theta: list[np.ndarray]
    grad: list[np.ndarray]

    @property
    def n(self) -> int:
        return sum(t.size for t in self.theta)


def conv_net() -> list[tuple[int, ...]]:
    """Reptile's network for Omniglot, 5-way: four convolutions with BatchNorm, and a head."""
    layers = [[(64, n, 3, 3), (64,), (64,), (64,)] for n in (1, 64, 64, 64)]
    return [shape for layer in layers for shape in layer] + [(5, 256), (5,)]


def lstm_net() -> list[tuple[int, ...]]:
    """The Shakespeare network: embedding 8, two layers of 256, 90 characters."""
    layers = [[(1024, n), (1024, 256), (1024,), (1024,)] for n in (8, 256)]
    return [(90, 8), *(shape for layer in layers for shape in layer), (90, 256), (90,)]


NETWORKS = {
    "4-conv net": conv_net(),
    "2-layer LSTM": lstm_net(),
    "1000 tensors of 1000": [(1000,)] * 1000,
}


def network(shapes: list[tuple[int, ...]]) -> Network:
    rng = np.random.default_rng(0)
    return Network(
        shapes,
        [rng.standard_normal(shape, np.float32) for shape in shapes],
        [rng.standard_normal(shape, np.float32) for shape in shapes],
    )


def parameters(net: Network) -> Any:
    torch = need("torch")
    made = [torch.nn.Parameter(torch.from_numpy(values.copy())) for values in net.theta]
    for p, grad in zip(made, net.grad, strict=True):
        p.grad = torch.from_numpy(grad)
    return made


def joined(tensors: list[Any]) -> np.ndarray:
    return np.concatenate([t.detach().numpy().ravel() for t in tensors])


def step_answer(net: Network) -> Arrays:
    theta, grad = (np.concatenate([v.ravel() for v in part]) for part in (net.theta, net.grad))
    return {"theta": theta.astype(np.float64) - RATE * grad.astype(np.float64)}


def our_step(net: Network) -> Entrant:
    """Update and statistics."""
    need("torch")
    from aruba_fast.torch import MetaOptimizer

    made = parameters(net)
    grads = [p.grad for p in made]
    meta = MetaOptimizer(made, learning_rate=RATE, zeta=1.0)
    with meta.task() as optimizer:
        pass
    # The task is opened again by hand and stays open: only its steps are of interest.
    meta._start("bench")
    meta._active = optimizer
    for p, grad in zip(made, grads, strict=True):
        p.grad = grad
    return Entrant(optimizer.step, lambda: {"theta": joined(made)})


def formulas(net: Network) -> Entrant:
    """The step and the sums of squares as the authors' code writes them, a tensor at a time."""
    torch = need("torch")
    made = parameters(net)
    rates = [torch.full_like(p, RATE) for p in made]
    sums = [torch.zeros_like(p) for p in made]

    @torch.no_grad()
    def run() -> None:
        for p, rate, total in zip(made, rates, sums, strict=True):
            p.add_(-rate * p.grad)
            total += p.grad.pow(2)

    return Entrant(run, lambda: {"theta": joined(made)})


def sgd(**how: bool) -> Callable[[Network], Entrant]:
    """PyTorch's SGD, which has one rate and collects nothing."""

    def build(net: Network) -> Entrant:
        torch = need("torch")
        made = parameters(net)
        return Entrant(torch.optim.SGD(made, lr=RATE, **how).step, lambda: {"theta": joined(made)})

    return build


# ---- the meta-update: 5 tasks, b, g, phi and the rates -------------------------------------------

N_TASKS = 5


def meta_answer(net: Network) -> Arrays:
    """After one task that took a step, five times over; FedAvg."""
    theta, grad = (
        np.concatenate([v.ravel() for v in part]).astype(np.float64)
        for part in (net.theta, net.grad)
    )
    b = RATE**2 + sum(0.5 * (RATE * grad) ** 2 + RATE**2 / (t + 2) for t in range(N_TASKS))
    g = 1 + sum(grad**2 + 1 / (t + 2) for t in range(N_TASKS))
    return {"phi": theta - RATE * grad, "rate": np.sqrt(b / g)}


def our_meta(net: Network) -> Entrant:
    """The statistics of a round and `meta.step`, the runs of its tasks being there."""
    torch = need("torch")
    from aruba_fast.torch import MetaOptimizer

    made = parameters(net)
    meta = MetaOptimizer(made, learning_rate=RATE, zeta=1.0)
    flat = meta._flat
    theta, grad = torch.from_numpy(joined(made)), torch.from_numpy(joined([p.grad for p in made]))
    for _ in range(N_TASKS):
        theta_hat, grad_sq = flat.next_run()
        theta_hat[:], grad_sq[:] = (theta - RATE * grad).numpy(), (grad * grad).numpy()
        flat.keep_run(1.0)
    first: Arrays = {}

    def run() -> None:
        flat._weights = [1.0] * N_TASKS
        meta.step(1.0)
        if not first:
            first.update(phi=joined(made), rate=joined(meta.learning_rate))

    return Entrant(run, lambda: first)


def meta_formulas(net: Network) -> Entrant:
    """The same as the authors' code does it: a tensor and a task at a time, in float32."""
    torch = need("torch")
    made = [p.detach() for p in parameters(net)]
    phi = [p.clone() for p in made]
    grads = [torch.from_numpy(grad) for grad in net.grad]
    runs = [[p - RATE * d for p, d in zip(phi, grads, strict=True)] for _ in range(N_TASKS)]
    sums = [[d * d for d in grads] for _ in range(N_TASKS)]
    b, g = [torch.full_like(p, RATE**2) for p in phi], [torch.ones_like(p) for p in phi]
    rates = [torch.full_like(p, RATE) for p in phi]
    state = {"t": 1}
    first: Arrays = {}

    def run() -> None:
        for hats, squares in zip(runs, sums, strict=True):
            smoothing = 1 / (state["t"] + 1)
            for i in range(len(phi)):
                b[i] += 0.5 * (hats[i] - phi[i]).pow(2) + RATE**2 * smoothing
                g[i] += squares[i] + smoothing
            state["t"] += 1
        for i in range(len(phi)):
            mean = sum(hats[i] for hats in runs) / N_TASKS
            phi[i] += mean - phi[i]
            rates[i] = torch.sqrt(b[i] / g[i])
            made[i].copy_(phi[i])
        if not first:
            first.update(phi=joined(made), rate=joined(rates))

    return Entrant(run, lambda: first)


def step_work(name: str, shapes: list[tuple[int, ...]]) -> Work:
    net = network(shapes)
    return Work(
        f"optimizer step, {name}",
        lambda: net,
        step_answer,
        {
            "ours": our_step,
            "the authors' formulas": formulas,
            "torch SGD(foreach), no statistics": sgd(foreach=True),
            "torch SGD(fused), no statistics": sgd(fused=True),
        },
        n_bytes=24 * net.n,
        at_least={
            "the authors' formulas": 3.0,
            "torch SGD(foreach), no statistics": 1.0,
            "torch SGD(fused), no statistics": 1.0,
        },
    )


def meta_work(name: str, shapes: list[tuple[int, ...]]) -> Work:
    net = network(shapes)
    return Work(
        f"meta-update, 5 tasks, {name}",
        lambda: net,
        meta_answer,
        {"ours": our_meta, "the authors' formulas": meta_formulas},
        n_bytes=(8 * N_TASKS + 84) * net.n,
        # A step of 1% of phi, rounded to float32 with it.
        tolerance=1e-4,
        at_least={"the authors' formulas": 4.0},
    )


WORKS = [step_work(*item) for item in NETWORKS.items()]
WORKS += [meta_work(*item) for item in NETWORKS.items()]


@cases(*WORKS)
def test_torch(benchmark, work, name):
    measure(benchmark, work, name)
