"""What goes wrong on ranks in the tests: everybody is told, and nothing is learned."""

from __future__ import annotations

import os
import signal
import time

from rank_rounds import dist, made, one_task, torch

SIZE = 3


def setup(rank, learning_rate=0.1, **hyper):
    model, meta = made(learning_rate=learning_rate, **hyper)
    one_task(meta, model, rank, dist.group.WORLD)
    return model, meta


def another_phi(rank):
    model, meta = made(learning_rate=0.1)
    if rank == 2:
        model[0].weight.data[0, 0] += 1
        meta.adopt()
    one_task(meta, model, rank)
    return meta, {}


def another_rate(rank):
    return setup(rank, 0.2 if rank == 1 else 0.1)[1], {}


def another_rule(rank):
    return setup(rank, decay=0.1 * rank)[1], {}


def other_buffers(rank):
    meta = setup(rank, buffers=[torch.full((2,), float(rank))])[1]
    return meta, {}


def another_step(rank):
    return setup(rank)[1], {"meta_step": 0.5 + rank}


def a_bad_step(rank):
    return setup(rank)[1], {"meta_step": -1.0 if rank == 1 else 0.5}


def a_step_that_raises(rank):
    def function(n_tasks):
        raise ZeroDivisionError(f"at {n_tasks}")

    return setup(rank)[1], {"meta_step": function if rank == 0 else 0.5}


def reshaped(rank):
    model, meta = setup(rank)
    if rank == 1:
        model[0].bias.data = torch.ones(2)
    return meta, {}


def summed(rank):
    meta = setup(rank)[1]
    if rank == 2:
        meta.statistics()
    return meta, {}


def a_search_alone(rank):
    model, meta = made()
    one_task(meta, model, rank)
    return meta, {}


def statistics_too(rank):
    meta = setup(rank)[1]
    return meta, {"statistics": meta.statistics()}


def no_task(_):
    return made(learning_rate=0.1)[1], {}


FAULTS = {
    another_phi: (
        ValueError,
        "MetaOptimizer.step: all ranks must start from the same state: got other phi_master on "
        "rank 2 than on rank 0, expected one `torch.manual_seed`",
    ),
    another_rate: (
        ValueError,
        "all ranks must start from the same state: got other hyperparameters on rank 1",
    ),
    another_rule: (ValueError, "got other hyperparameters on rank 1 than on rank 0"),
    other_buffers: (ValueError, "got other buffers on rank 1 than on rank 0"),
    another_step: (ValueError, "MetaOptimizer.step: `meta_step` must be the same on all ranks"),
    a_bad_step: (
        (ValueError, RuntimeError),
        "MetaOptimizer.step: `meta_step` must not be negative: got -1.0",
    ),
    a_step_that_raises: ((ZeroDivisionError, RuntimeError), "at 3"),
    reshaped: (
        RuntimeError,
        "MetaOptimizer.step: no rank must be in trouble: got from rank 1: `params[1]` must stay",
    ),
    summed: (
        RuntimeError,
        "got from rank 2: the tasks of the round must wait as they are: got 1 that are summed",
    ),
    a_search_alone: (
        RuntimeError,
        "got from rank 0: tasks that find the first rate must be run in turn: got 1 of a rank",
    ),
    statistics_too: (RuntimeError, "`statistics` must be None beside `process_group`"),
    no_task: (RuntimeError, "MetaOptimizer.step: the round must hold a task: got none on any rank"),
}


def all_faults(rank):
    """For each fault what was raised, whether the state is as before, and how many tasks wait."""
    found = {}
    for fault in FAULTS:
        meta, arguments = fault(rank)
        before = {name: array.copy() for name, array in meta._flat.arrays.items()}
        n_waiting = meta._flat.n_waiting
        raised = None
        try:
            meta.step(**{"meta_step": 0.5, **arguments}, process_group=dist.group.WORLD)
        except Exception as error:
            raised = type(error).__name__, str(error)
        arrays = meta._flat.arrays
        same = all(before[name].tobytes() == arrays[name].tobytes() for name in before)
        found[fault.__name__] = raised, same and n_waiting == meta._flat.n_waiting
    return found


def again_after_a_refusal(rank):
    """The tasks still wait: a step that all agree on learns from them."""
    group = dist.group.WORLD
    meta = setup(rank)[1]
    try:
        meta.step(0.5 + rank, process_group=group)
    except ValueError:
        meta.step(0.5, process_group=group)
    return meta._flat.arrays["phi"].copy(), meta.n_tasks


def _killed():
    os.kill(os.getpid(), signal.SIGKILL)


def dies_before_the_exchange(rank):
    model, meta = setup(rank)
    meta.step(0.5, process_group=dist.group.WORLD)
    one_task(meta, model, 10 + rank)
    if rank == 1:
        time.sleep(0.3)  # the others wait
        _killed()
    return meta


def dies_in_the_exchange(rank):
    """After it has told of its tasks, and before their rows have all gone."""
    from aruba_fast.torch import _exchange

    model, meta = setup(rank)
    meta.step(0.5, process_group=dist.group.WORLD)
    one_task(meta, model, 10 + rank)
    if rank == 2:
        _exchange.rows_of_all = lambda *_: _killed()
    return meta


def dies_in_its_turn(rank):
    """While it searches the first rate, and those behind it wait in their first task."""
    meta = made()[1]
    if rank == 0:
        with meta.task(process_group=dist.group.WORLD):
            time.sleep(0.3)
            _killed()
    return meta


DEATHS = {
    dies_before_the_exchange: (1, "MetaOptimizer.step: every process of `process_group` must take"),
    dies_in_the_exchange: (2, "MetaOptimizer.step: every process of `process_group` must take"),
    dies_in_its_turn: (0, "MetaOptimizer.task: every process of `process_group` must take part"),
}


def after_a_death(rank, number):
    """What a rank that goes on is told, how soon, and whether its state is as before."""
    meta = list(DEATHS)[number](rank)
    before = {name: array.copy() for name, array in meta._flat.arrays.items()}
    n_waiting, start, raised = meta._flat.n_waiting, time.monotonic(), None
    try:
        if meta._flat.search is not None:
            with meta.task(process_group=dist.group.WORLD):
                pass
        meta.step(0.5, process_group=dist.group.WORLD)
    except Exception as error:
        raised = type(error).__name__, str(error)
    arrays = meta._flat.arrays
    same = all(before[name].tobytes() == arrays[name].tobytes() for name in before)
    seconds = time.monotonic() - start
    return raised, same and n_waiting == meta._flat.n_waiting, seconds


def goes_on_without(rank):
    """A rank ends; the others make a group of their own, and learn from the tasks that wait."""
    group = dist.new_group([0, 2])
    meta = setup(rank)[1]
    if rank == 1:
        _killed()
    try:
        meta.step(0.5, process_group=dist.group.WORLD)
    except RuntimeError:
        meta.step(0.5, process_group=group)
    return meta._flat.arrays["phi"].copy(), meta.n_tasks
