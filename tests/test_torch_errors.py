"""What `aruba_fast.torch` refuses, each with its message: a refused call changes no state."""

from __future__ import annotations

import copy
import re

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
    old = meta.optimizer()
    with meta.task(optimizer=torch.optim.SGD(model.parameters(), lr=0.1)):
        old.step()


def _other_parameters(meta, *_):
    with meta.task(optimizer=torch.optim.SGD([PARAMETER(torch.ones(1))], lr=0.1)):
        pass


def _bad_gradient(meta, model, _):
    with meta.task() as optimizer:
        model[0].weight.grad_dtype = None
        model[0].weight.grad = torch.ones(8, 5, dtype=torch.float64)
        optimizer.step()


def _reshaped(meta, model, _):
    model[0].weight.data = torch.ones(2, 2)
    with meta.task():
        pass


def _foreign_state(meta, *_):
    state = meta.state_dict()
    state["state"]["b"] = state["state"]["b"][1:]
    meta.load_state_dict(state)


def _impossible_state(meta, *_):
    state = meta.state_dict()
    state["state"]["g"][3] = -1.0
    meta.load_state_dict(state)


def _other_hyperparameters(meta, model, _):
    meta.load_state_dict(MetaOptimizer(model.parameters(), zeta=2.0).state_dict())


CALLS = [
    (_nested, RuntimeError, "MetaOptimizer.task: no task must be open: got a call within"),
    (
        _in_task(lambda meta, *_: meta.step()),
        RuntimeError,
        "MetaOptimizer.step: no task must be open",
    ),
    (
        _in_task(lambda meta, *_: meta.statistics()),
        RuntimeError,
        "MetaOptimizer.statistics: no task must be open",
    ),
    (
        _in_task(lambda meta, *_: meta.optimizer()),
        RuntimeError,
        "MetaOptimizer.optimizer: no task must be open",
    ),
    (
        _in_task(lambda meta, *_: meta.adopt()),
        RuntimeError,
        "MetaOptimizer.adopt: no task must be open",
    ),
    (
        _in_task(lambda meta, *_: meta.state_dict()),
        RuntimeError,
        "MetaOptimizer.state_dict: no task must be open",
    ),
    (
        _in_task(lambda meta, *_: meta.save("never")),
        RuntimeError,
        "MetaOptimizer.save: no task must be open",
    ),
    (
        _in_task(lambda meta, *_: meta.load("never")),
        RuntimeError,
        "MetaOptimizer.load: no task must be open",
    ),
    (
        _in_task(lambda meta, *_: copy.deepcopy(meta)),
        RuntimeError,
        "MetaOptimizer.__getstate__: no task must be open",
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
    (_bad_gradient, TypeError, "step: `grad[0]` must"),
    (
        _reshaped,
        ValueError,
        "MetaOptimizer: `params[0]` must stay as it was: got (2, 2) on cpu, expected (8, 5) on cpu",
    ),
    (
        lambda meta, *_: meta.optimizer(coef=-1.0),
        ValueError,
        "MetaOptimizer.optimizer: `coef` must not be negative: got -1.0, expected a finite number",
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
        _foreign_state,
        ValueError,
        "MetaOptimizer.load_state_dict: `state_dict` must be of this MetaOptimizer: it is refused: "
        "`b` is float64 (74,), expected float64 (75,)",
    ),
    (
        _impossible_state,
        ValueError,
        "MetaOptimizer.load_state_dict: `state_dict` must be of this MetaOptimizer: it is refused: "
        "`g` holds the impossible value -1.0",
    ),
    (
        _other_hyperparameters,
        ValueError,
        "MetaOptimizer.load_state_dict: `state_dict` must be of this MetaOptimizer: it is refused: "
        "its blocks are",
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


MAKING = [
    ([], {}, ValueError, "optimizer got an empty parameter list"),
    (
        [torch.nn.Parameter(torch.ones(2), requires_grad=False)],
        {},
        ValueError,
        "MetaOptimizer: `params` must hold a parameter that requires a gradient: got 0 of them",
    ),
    (
        [PARAMETER(torch.ones(2, dtype=torch.complex64))],
        {},
        TypeError,
        "MetaOptimizer: `params` must be floating point: got torch.complex64, expected float32",
    ),
    (
        [PARAMETER(torch.ones(2)), PARAMETER(torch.ones(2, dtype=torch.float64))],
        {},
        TypeError,
        "MetaOptimizer: `params` must have one type: got torch.float64 beside torch.float32",
    ),
    (
        [PARAMETER(torch.ones(2)), PARAMETER(torch.ones(2, device="meta"))],
        {},
        TypeError,
        "MetaOptimizer: `params` must live on one device: got meta, expected cpu",
    ),
    (
        [PARAMETER(torch.ones(2, device="meta"))],
        {},
        TypeError,
        "MetaOptimizer: `params` must live in host memory or on a CUDA device: got meta",
    ),
    (
        [PARAMETER(torch.tensor([1.0, torch.nan]))],
        {},
        ValueError,
        "MetaOptimizer: `params` must be finite everywhere: got nan at 1, expected finite",
    ),
    (
        [PARAMETER(torch.ones(2))],
        {"isotropic": "layer"},
        ValueError,
        "MetaOptimizer: `isotropic` must be known: got 'layer', expected False, True or 'tensor'",
    ),
    (
        [PARAMETER(torch.ones(2))],
        {"learning_rate": 0.0},
        ValueError,
        "MetaOptimizer: `learning_rate` must be positive: got 0.0, expected a finite number > 0",
    ),
]


@pytest.mark.parametrize(("params", "hyper", "kind_of", "message"), MAKING, ids=range(len(MAKING)))
def test_what_cannot_be_learned_is_refused(params, hyper, kind_of, message):
    with pytest.raises(kind_of, match=re.escape(message)):
        MetaOptimizer(params, **hyper)


def test_rates_beyond_the_type_are_refused():
    meta = MetaOptimizer([PARAMETER(torch.ones(2))], learning_rate=1e-10, zeta=1e-20)
    with pytest.raises(ValueError, match=r"MetaOptimizer.optimizer: `b` must be positive within"):
        meta.optimizer(coef=1.0)
