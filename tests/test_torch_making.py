"""What `MetaOptimizer` refuses to be made of, and groups that stay as they were made."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from torch_models import learning, torch

from aruba_fast.torch import MetaOptimizer

PARAMETER = torch.nn.Parameter


def used_up():
    parameters = torch.nn.Linear(2, 2).parameters()
    list(parameters)
    return parameters


def fake():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return [PARAMETER(torch.ones(2))]


def inference():
    with torch.inference_mode():
        return [PARAMETER(torch.ones(2))]


def group(**keys):
    return [{"params": [PARAMETER(torch.ones(2))], **keys}]


MAKING = [
    ([], {}, ValueError, "MetaOptimizer: `params` must not be empty: got no parameter"),
    (used_up(), {}, ValueError, "MetaOptimizer: `params` must not be empty: got no parameter"),
    (
        torch.nn.Linear(2, 2),
        {},
        TypeError,
        "MetaOptimizer: `params` must be parameters or groups of them: got Linear, expected model.",
    ),
    (
        PARAMETER(torch.ones(2)),
        {},
        TypeError,
        "MetaOptimizer: `params` must be parameters or groups of them: got Parameter, expected",
    ),
    (
        group()[0],
        {},
        TypeError,
        "MetaOptimizer: `params` must be parameters or groups of them: got dict, expected model.",
    ),
    (
        {PARAMETER(torch.ones(2))},
        {},
        TypeError,
        "MetaOptimizer: `params` must be parameters or groups of them: got set, expected model.",
    ),
    (
        None,
        {},
        TypeError,
        "MetaOptimizer: `params` must be parameters or groups of them: got NoneType, expected",
    ),
    (
        torch.nn.LazyLinear(3).parameters(),
        {},
        ValueError,
        "MetaOptimizer: `params` must have a shape: got a lazy layer's parameter at 0, expected",
    ),
    (
        fake(),
        {},
        TypeError,
        "MetaOptimizer: `params` must be plain tensors: got a FakeTensor at 0 that is spread",
    ),
    (
        [PARAMETER(torch._neg_view(torch.ones(2)))],
        {},
        TypeError,
        "MetaOptimizer: `params` must be plain tensors: got a Parameter at 0 that is spread",
    ),
    (
        [PARAMETER(torch.ones(2)), PARAMETER(torch.ones(1).expand(3))],
        {},
        TypeError,
        "MetaOptimizer: `params` must be plain tensors: got a Parameter at 1 that is spread",
    ),
    (
        inference(),
        {},
        ValueError,
        "MetaOptimizer: `params[0]` must not be an inference tensor: got a model made or loaded",
    ),
    (
        group(lr=0.1),
        {},
        ValueError,
        "MetaOptimizer: `params[0]` must have known keys: got 'lr', expected 'learning_rate'",
    ),
    (
        [*group(), *group(max_learning_rat=0.1)],
        {},
        ValueError,
        "MetaOptimizer: `params[1]` must have known keys: got 'max_learning_rat', expected "
        "'max_learning_rate'",
    ),
    (
        group(weight_decay=0.1),
        {},
        ValueError,
        "MetaOptimizer: `params[0]` must have known keys: got 'weight_decay', expected one of "
        "learning_rate, zeta, p, decay, isotropic, max_learning_rate",
    ),
    (
        [{"learning_rate": 0.1}],
        {},
        ValueError,
        "MetaOptimizer: `params[0]` must hold 'params': got ['learning_rate'], expected",
    ),
    (
        group(zeta=-1.0),
        {},
        ValueError,
        "MetaOptimizer: `zeta` must be positive: got -1.0, expected a finite number > 0",
    ),
    (
        group(),
        {"learning_rate": 1e39},
        ValueError,
        "MetaOptimizer: `learning_rate` must be within float32: got 1e+39, expected",
    ),
    (
        group(),
        {"isotropic": 3},
        TypeError,
        "MetaOptimizer: `isotropic` must be a bool: got 3, an int, expected True or False",
    ),
    (
        group(),
        {"buffers": torch.nn.BatchNorm1d(2)},
        TypeError,
        "MetaOptimizer: `buffers` must be tensors: got BatchNorm1d, expected model.buffers()",
    ),
    (
        group(),
        {"buffers": [3]},
        TypeError,
        "MetaOptimizer: `buffers` must be tensors: got int, expected model.buffers()",
    ),
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
    with pytest.raises(ValueError, match=r"MetaOptimizer.rule: `b` must be positive within"):
        meta.rule(coef=1.0)


def test_a_dictionary_of_a_group_makes_two_optimizers():
    """PyTorch's way of writing defaults into it would give the second one those of the first."""
    model = torch.nn.Linear(2, 2)
    given = [{"params": model.parameters(), "name": "all"}]
    made = [MetaOptimizer(given, learning_rate=rate) for rate in (0.5, 0.25)]
    assert [m.learning_rate[1][0].item() for m in made] == [0.5, 0.25]
    assert [len(m.parameters) for m in made] == [2, 2]
    assert made[1].param_groups[0]["name"] == "all"


SCHEDULERS = {
    "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 3),
    "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=9),
    "CyclicLR": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.1, 0.2, cycle_momentum=False),
    "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda _: 1.0),
    "ReduceLROnPlateau": torch.optim.lr_scheduler.ReduceLROnPlateau,
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, 0.1),
    "a loop": lambda o: [g.__setitem__("lr", 0.1) for g in o.param_groups],
    "learning_rate": lambda o: o.param_groups[0].update(learning_rate=0.1),
    "setdefault": lambda o: o.param_groups[0].setdefault("weight_decay", 0.1),
    "in place": lambda o: o.param_groups[0].__ior__({"zeta": 2.0}),
    "params": lambda o: o.param_groups[0].__setitem__("params", []),
}


@pytest.mark.parametrize("change", SCHEDULERS)
@pytest.mark.parametrize("owner", ["MetaOptimizer", "TaskOptimizer"])
@pytest.mark.parametrize("copied", [False, True])
def test_groups_are_neither_scheduled_nor_changed(change, owner, copied):
    _, _, meta = learning()
    meta = pickle.loads(pickle.dumps(meta)) if copied else meta
    optimizer = meta if owner == "MetaOptimizer" else meta.rule()
    before = dict(optimizer.param_groups[0])
    remedy = {"MetaOptimizer": "step(meta_step=...)", "TaskOptimizer": "meta.task(optimizer=...)"}
    message = f"^{owner}: `param_groups` must .*{re.escape(remedy[owner])}"
    with pytest.raises((KeyError, TypeError), match=message):
        SCHEDULERS[change](optimizer)
    assert dict(optimizer.param_groups[0]) == before
    assert optimizer.param_groups[0].get("lr") is None
    with pytest.raises(KeyError, match="momentum"):
        optimizer.param_groups[0]["momentum"]


@pytest.mark.parametrize("use", ["task", "rule"])
@pytest.mark.parametrize(
    "exchange",
    [
        lambda m: m.param_groups.append({"params": []}),
        lambda m: m.param_groups.__setitem__(0, {**m.param_groups[0], "zeta": 2.0}),
        lambda m: m.param_groups[0]["params"].pop(),
        lambda m: m.param_groups[0]["params"].__setitem__(0, PARAMETER(torch.ones(8, 5))),
        lambda m: setattr(m, "param_groups", copy.copy(m.param_groups[:0])),
    ],
    ids=range(5),
)
def test_groups_that_were_exchanged_are_noticed(use, exchange):
    _, _, meta = learning()
    exchange(meta)
    with pytest.raises(
        ValueError, match=rf"MetaOptimizer\.{use}: `param_groups` must stay as they were made"
    ):
        meta.task().__enter__() if use == "task" else meta.rule()


def test_groups_come_when_it_is_made():
    _, _, meta = learning()
    for owner, optimizer in (("MetaOptimizer", meta), ("TaskOptimizer", meta.rule())):
        with pytest.raises(RuntimeError, match=rf"{owner}\.add_param_group: groups must be given"):
            optimizer.add_param_group({"params": [PARAMETER(torch.ones(1))]})
