"""What does a model of many small tensors cost, against one flat array and against torch?"""

from __future__ import annotations

from functools import partial

import numpy as np
from bench_step import Inputs, inputs, step_answer, torch_tensors, with_numpy
from race import Arrays, Entrant, Work, cases, measure, need

import aruba_fast as af


def copies(i: Inputs, n_tensors: int) -> list[list[np.ndarray]]:
    """theta, grad, rate, state as lists of arrays, each in an allocation of its own."""
    return [[part.copy() for part in np.split(array, n_tensors)] for array in i]


def joined(theta: list[np.ndarray], state: list[np.ndarray]) -> Arrays:
    return {"theta": np.concatenate(theta), "state": np.concatenate(state)}


def ours(n_tensors: int, i: Inputs) -> Entrant:
    theta, grad, rate, state = copies(i, n_tensors)
    return Entrant(lambda: af.step(theta, grad, rate, grad_sq=state), lambda: joined(theta, state))


def ours_planned(n_tensors: int, i: Inputs) -> Entrant:
    theta, grad, rate, state = copies(i, n_tensors)
    plan = af.StepPlan(af.step, theta, grad, rate, grad_sq=state)
    return Entrant(plan.step, lambda: joined(theta, state))


def ours_flat(i: Inputs) -> Entrant:
    theta, state = i.theta.copy(), i.state.copy()
    return Entrant(
        lambda: af.step(theta, i.grad, i.rate, grad_sq=state),
        lambda: {"theta": theta, "state": state},
    )


def torch_loop(n_tensors: int, i: Inputs) -> Entrant:
    theta, grad, rate, state = ([*t.view(n_tensors, -1)] for t in torch_tensors(i))

    def run() -> None:
        for p, d, r, s in zip(theta, grad, rate, state, strict=True):
            p.addcmul_(r, d, value=-1)
            s.addcmul_(d, d)

    return Entrant(run, lambda: joined([p.numpy() for p in theta], [s.numpy() for s in state]))


def torch_foreach(n_tensors: int, i: Inputs) -> Entrant:
    torch = need("torch")
    theta, grad, rate, state = ([*t.view(n_tensors, -1)] for t in torch_tensors(i))

    def run() -> None:
        torch._foreach_addcmul_(theta, rate, grad, value=-1)
        torch._foreach_addcmul_(state, grad, grad)

    return Entrant(run, lambda: joined([p.numpy() for p in theta], [s.numpy() for s in state]))


def numpy_loop(n_tensors: int, i: Inputs) -> Entrant:
    parts = [with_numpy(Inputs(*part)) for part in zip(*copies(i, n_tensors), strict=True)]

    def run() -> None:
        for part in parts:
            part.run()

    def answer() -> Arrays:
        done = [part.answer() for part in parts]
        return joined([d["theta"] for d in done], [d["state"] for d in done])

    return Entrant(run, answer)


def work(n_tensors: int, size: int, at_least: dict[str, float]) -> Work:
    n = n_tensors * size
    of_lists = {
        "ours": ours,
        "ours, planned": ours_planned,
        "torch, loop of two addcmul_": torch_loop,
        "torch, _foreach_addcmul_": torch_foreach,
        "NumPy, loop": numpy_loop,
    }
    return Work(
        f"{n_tensors} tensors x {size}, one call",
        lambda: inputs(n),
        step_answer,
        {
            **{name: partial(entrant, n_tensors) for name, entrant in of_lists.items()},
            "ours, one flat array": ours_flat,
        },
        n_bytes=24 * n,
        at_least=at_least,
    )


WORKS = [
    work(
        1000,
        1000,
        {
            "ours, one flat array": 1 / 1.3,
            "torch, loop of two addcmul_": 4.0,
            "torch, _foreach_addcmul_": 2.0,
        },
    ),
    work(1000, 10, {"torch, _foreach_addcmul_": 2.0}),
    work(10, 100_000, {"ours, one flat array": 1 / 1.3}),
]


@cases(*WORKS)
def test_many_tensors(benchmark, work, name):
    measure(benchmark, work, name)
