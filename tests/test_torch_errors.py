"""What `aruba_fast.torch` refuses, each with its message: a refused call changes no state."""

from __future__ import annotations

import copy
import re
import threading

import numpy as np
import pytest
from torch_models import learning, one_task, torch

import aruba_fast as af
from aruba_fast.torch import MetaOptimizer

PARAMETER = torch.nn.Parameter


def _nested(meta, *_):
    with meta.task(), meta.task():
        pass


def _in_task(call):
    def run(meta, model, kind):
        with meta.task():
            call(meta, model, kind)

    return run


def _stale(meta, *_):
    with meta.task() as optimizer:
        pass
    optimizer.step()


def _stale_beside_another(meta, model, _):
    old = meta.rule()
    with meta.task(optimizer=torch.optim.SGD(model.parameters(), lr=0.1)):
        old.step()


def _other_parameters(meta, *_):
    with meta.task(optimizer=torch.optim.SGD([PARAMETER(torch.ones(1))], lr=0.1)):
        pass


def _bad_gradient(optimizer_of, which=0):
    def run(meta, model, _):
        p = list(model.parameters())[which]
        with meta.task(optimizer=optimizer_of(model.parameters())) as optimizer:
            p.grad_dtype = None
            p.grad = torch.ones(p.shape, dtype=torch.float64)
            optimizer.step()

    return run


def _bad_gradient_at_meta_test(meta, model, _):
    optimizer = meta.rule(coef=1.0)
    model[2].bias.grad_dtype = None
    model[2].bias.grad = torch.ones(3, dtype=torch.float64)
    optimizer.step()


def _reshaped(meta, model, _):
    model[0].weight.data = torch.ones(2, 2)
    with meta.task():
        pass


def _in_a_task_of_another_thread(meta, *_):
    inside, done = threading.Event(), threading.Event()

    def run():
        with meta.task():
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        inside.wait(60)
        with meta.task():
            pass
    finally:
        done.set()
        thread.join()


def _state(change):
    def run(meta, *_):
        state = meta.state_dict()
        change(state["state"])
        meta.load_state_dict(state)

    return run


def _layout(**changed):
    def run(meta, *_):
        state = meta.state_dict()
        meta.load_state_dict({**state, "layout": {**state["layout"], **changed}})

    return run


def _other_hyperparameters(meta, model, _):
    meta.load_state_dict(MetaOptimizer(model.parameters(), zeta=2.0).state_dict())


# Methods, and what they take, that are for between tasks.
CLOSED = [
    ("step",),
    ("statistics",),
    ("rule",),
    ("adopt",),
    ("state_dict",),
    ("save", "never"),
    ("load", "never"),
]

CALLS = [
    (_nested, RuntimeError, "MetaOptimizer.task: no task must be open: got a call within"),
    *(
        (
            _in_task(lambda meta, *_, name=name, args=args: getattr(meta, name)(*args)),
            RuntimeError,
            f"MetaOptimizer.{name}: no task must be open",
        )
        for name, *args in CLOSED
    ),
    (
        _in_task(lambda meta, *_: copy.deepcopy(meta)),
        RuntimeError,
        "MetaOptimizer: no task must be open where it is copied or pickled: got a call within",
    ),
    (
        lambda meta, *_: meta.step(),
        RuntimeError,
        "MetaOptimizer.step: the round must hold a task: got none, expected `with meta.task()`",
    ),
    (
        lambda meta, model, kind: (one_task(meta, model, kind), meta.step(-1.0)),
        ValueError,
        "MetaOptimizer.step: `meta_step` must not be negative: got -1.0, expected a finite number",
    ),
    (
        lambda meta, *_: meta.step(statistics=3),
        TypeError,
        "MetaOptimizer.step: `statistics` must be TaskStatistics: got int, expected TaskStatistics",
    ),
    (
        lambda meta, *_: meta.step(
            statistics=af.MetaLearner(np.zeros(3)).statistics(af.TaskRun([[1.0] * 3], [[1.0] * 3]))
        ),
        ValueError,
        "MetaOptimizer.step: `statistics` must fit in shape: got (3, 2, 3), expected",
    ),
    (
        lambda meta, model, kind: one_task(meta, model, kind, weight=-2.0),
        ValueError,
        "MetaOptimizer.task: `weight` must not be negative: got -2.0, expected a finite",
    ),
    (
        lambda meta, model, kind: one_task(meta, model, kind, weight="2"),
        TypeError,
        "MetaOptimizer.task: `weight` must be a real number: got '2', a str, expected a float",
    ),
    (
        _other_parameters,
        ValueError,
        "MetaOptimizer.task: `optimizer` must move parameters of the model: got SGD with none of",
    ),
    (
        _stale,
        RuntimeError,
        "TaskOptimizer.step: the optimizer must be the one in use: got one whose task has ended",
    ),
    (
        _stale_beside_another,
        RuntimeError,
        "TaskOptimizer.step: the optimizer must be the one in use: got one whose task has ended",
    ),
    (_bad_gradient(lambda _: None), TypeError, "TaskOptimizer.step: `grad[0]` must"),
    (_bad_gradient(lambda _: None, 2), TypeError, "TaskOptimizer.step: `grad[2]` must"),
    (_bad_gradient(torch.optim.SGD, 3), TypeError, "MetaOptimizer.task: `grad[3]` must"),
    (_bad_gradient_at_meta_test, TypeError, "TaskOptimizer.step: `grad[3]` must"),
    (
        _reshaped,
        ValueError,
        "MetaOptimizer.task: `params[0]` must stay as it was: got torch.float32 (2, 2) on cpu, "
        "expected torch.float32 (8, 5) on cpu",
    ),
    (
        _in_a_task_of_another_thread,
        RuntimeError,
        "MetaOptimizer.task: no task must be open: got a call within",
    ),
    (
        lambda meta, *_: copy.deepcopy(meta.rule()).step(),
        RuntimeError,
        "TaskOptimizer.step: the optimizer must be the one in use: got one whose task has ended",
    ),
    (
        lambda meta, *_: meta.rule(coef=-1.0),
        ValueError,
        "MetaOptimizer.rule: `coef` must not be negative: got -1.0, expected a finite number",
    ),
    (
        lambda meta, *_: meta.add_param_group({"params": [PARAMETER(torch.ones(1))]}),
        RuntimeError,
        "MetaOptimizer.add_param_group: groups must be given when the optimizer is made: got one",
    ),
    (
        lambda meta, model, kind: (one_task(meta, model, kind), meta.adopt()),
        RuntimeError,
        "MetaOptimizer.adopt: the round must hold no task: got 1, expected `step` before",
    ),
    (
        lambda meta, model, _: (model[0].weight.data.fill_(torch.inf), meta.adopt()),
        ValueError,
        "MetaOptimizer.adopt: `params` must be finite everywhere: got inf at 0, expected finite",
    ),
    (
        _state(lambda arrays: arrays.update(b=arrays["b"][1:])),
        ValueError,
        "MetaOptimizer.load_state_dict: `state_dict` must be of this MetaOptimizer: it is refused: "
        "`b` is float64 (74,), expected float64 (75,)",
    ),
    (
        _state(lambda arrays: arrays["g"].__setitem__(3, -1.0)),
        ValueError,
        "MetaOptimizer.load_state_dict: `state_dict` must be of this MetaOptimizer: it is refused: "
        "`g` holds the impossible value -1.0",
    ),
    (
        _state(lambda arrays: arrays.pop("b")),
        ValueError,
        "MetaOptimizer.load_state_dict: `state_dict` must be of this MetaOptimizer: it is refused: "
        "`b` is nothing, expected float64 (75,)",
    ),
    (
        _other_hyperparameters,
        ValueError,
        "MetaOptimizer.load_state_dict: `state_dict` must be of this MetaOptimizer: it is refused: "
        "its blocks are",
    ),
    (_layout(shapes=3), ValueError, "it is refused: its shapes are 3, expected [[8, 5], [8], ["),
    (_layout(blocks=[[75]]), ValueError, "it is refused: its blocks are [[75]], expected [[75, {"),
    (_layout(parameters={}), ValueError, "it is refused: its parameters are {}, expected {'of': 4"),
    (
        _layout(blocks=[[75, {"momentum": 0.9}]]),
        ValueError,
        "it is refused: holds the hyperparameters momentum, which this version does not know",
    ),
    (
        lambda meta, *_: meta.load_state_dict({"state": {}, "layout": None}),
        ValueError,
        "it is refused: its layout is None, expected shapes and hyperparameters",
    ),
    (
        lambda meta, *_: meta.load_state_dict({}),
        ValueError,
        "MetaOptimizer.load_state_dict: `state_dict` must be of this MetaOptimizer: it is refused:",
    ),
]


@pytest.mark.parametrize(("call", "kind_of", "message"), CALLS, ids=range(len(CALLS)))
def test_a_refused_call_changes_no_state(call, kind_of, message):
    model, kind, meta = learning()
    before = {k: v for k, v in meta.state_dict()["state"].items() if not k.startswith("round")}
    with pytest.raises(kind_of, match=re.escape(message)):
        call(meta, model, kind)
    after = meta._flat.arrays
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value, err_msg=key)
