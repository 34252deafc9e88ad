"""What a step of many tensors on a CUDA device takes of the host, counted without a GPU.

    python tests/host_time.py [N_TENSORS]

Tensors are PyTorch's own, played as a device's (`played_torch.py`); CUDA's calls are those of the
machine that runs kernels on the CPU, whose kernels do nothing here. What a driver takes for one
launch, a few microseconds, comes on top of it.
"""

from __future__ import annotations

import sys
import time

import device
from played_torch import played
from torch_models import MetaOptimizer, torch


def least(call, n_calls):
    """The fastest of some calls, in microseconds."""
    found = []
    for _ in range(n_calls):
        begin = time.perf_counter_ns()
        call()
        found.append(time.perf_counter_ns() - begin)
    return min(found) / 1000


def of_steps(n, n_calls, n_numbers=10):
    """Microseconds of `TaskOptimizer.step`: with the graph of the loss still there, and without."""
    weights = [torch.nn.Parameter(torch.rand(n_numbers)) for _ in range(n)]
    meta = MetaOptimizer(weights, learning_rate=1e-4)
    with meta.task() as optimizer:
        loss = torch.stack(weights).square().sum()
        loss.backward()
        with_graph = least(optimizer.step, n_calls)
        del loss
        return with_graph, least(optimizer.step, n_calls)


def of_device(n, n_calls):
    """The same on a device whose kernels do nothing."""
    with device.installed(), played():
        device.machine.set_idle(True)
        try:
            return of_steps(n, n_calls)
        finally:
            device.machine.set_idle(False)


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for name, measured in (("cuda", of_device), ("cpu", of_steps)):
        with_graph, without = measured(number, 1000)
        print(f"{name}: {with_graph:.0f} us with the loss still there, {without:.0f} without")
