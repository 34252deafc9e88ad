"""Rates in bfloat16 of PyTorch: tensors, operators, plans, and `MetaOptimizer(rate_type=...)`."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from torch_models import smoothed_optimizer, torch

import aruba_fast as af
from aruba_fast.torch import MetaOptimizer, ops

SHAPES = [(7,), (), (3, 5), (1,), (33, 129)]


def drawn(shape, seed=0):
    """theta, grad, rates or b, and the state; the rates are bfloat16."""
    torch.manual_seed(seed)
    theta, grad = torch.randn(2, *shape)
    return theta, grad, (0.1 + torch.rand(shape)).bfloat16(), 0.1 + torch.rand(shape)


def wide(given):
    return [each.float() if each.dtype == torch.bfloat16 else each.clone() for each in given]


@pytest.mark.parametrize("name", ["step", "aruba_step"])
@pytest.mark.parametrize("shared", [False, True])
def test_operators(name, shared):
    given = list(drawn((3, 17)))
    if shared:
        given[2] = given[2][0].clone()
    coef = () if name == "step" else (0.75,)
    expected = getattr(ops, name)(*wide(given), *coef)
    torch.library.opcheck(getattr(ops, name), (*given, *coef))
    assert all(map(torch.equal, getattr(ops, name)(*given, *coef), expected))
    getattr(ops, f"{name}_")(*given, *coef)
    assert torch.equal(given[0], expected[0])
    assert torch.equal(given[3], expected[1])


def test_an_operator_takes_one_rate_for_all():
    theta, grad, _, sums = drawn((4, 3))
    one = ops.step(theta, grad, torch.tensor(0.3).bfloat16(), sums)
    two = ops.step(theta, grad, torch.tensor(0.3).bfloat16().float(), sums)
    assert all(map(torch.equal, one, two))


def test_planned_steps_of_tensors():
    given = [drawn(shape, i) for i, shape in enumerate(s for s in SHAPES if s)]
    expected = [wide(each) for each in given]
    plan = af.StepPlan(af.step, *(list(c) for c in list(zip(*given, strict=True))[:3]))
    for _ in range(2):
        for mine, other in zip(given, expected, strict=True):
            mine[2].mul_(0.7)
            af.step(other[0], other[1], mine[2].float())
        plan.step()
        assert all(
            torch.equal(mine[0], other[0]) for mine, other in zip(given, expected, strict=True)
        )


def test_a_plan_follows_rates_that_become_bfloat16():
    theta, grad, rates = torch.zeros(3, 9), torch.ones(3, 9), 0.3 * torch.ones(9)
    plan = af.StepPlan(af.step, theta, grad, rates)
    for kind in (torch.float32, torch.bfloat16, torch.float32):
        theta.zero_()
        rates.data = (0.3 * torch.ones(9)).to(kind)
        plan.step()
        assert torch.equal(theta, -rates.float().expand(3, 9))


# ---- of MetaOptimizer ----------------------------------------------------------------------------


def weights():
    torch.manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def gradients(parameters):
    """Those of three steps, the same in every call."""
    torch.manual_seed(4)
    return [[torch.randn(p.shape) for p in parameters] for _ in range(3)]


def stepped(optimizer, parameters):
    for grads in gradients(parameters):
        for p, grad in zip(parameters, grads, strict=True):
            p.grad = grad
        optimizer.step()


def learned(**hyper):
    """An optimizer whose rates a round has made uneven, and its parameters."""
    parameters = weights()
    meta = smoothed_optimizer(parameters, learning_rate=0.3, **hyper)
    with meta.task() as optimizer:
        stepped(optimizer, parameters)
    meta.step(0.5)
    return meta, parameters


def expected_of(meta, parameters, coef=None):
    """Where the steps lead with rates that are rounded here."""
    found, begin = [], 0
    for i, p in enumerate(parameters):
        theta = p.detach().numpy().ravel().copy()
        span = slice(begin, begin := begin + p.numel())
        state = np.zeros_like(theta)
        rate = meta.learning_rate[i].bfloat16().float().numpy().ravel()
        if coef is not None:
            learner = meta.learners[0]
            b, state = (v[span].astype(np.float32) for v in (learner.b, learner.g))
            b = torch.from_numpy(b).bfloat16().float().numpy()
        for grads in gradients(parameters):
            grad = grads[i].numpy().ravel()
            if coef is None:
                af.step(theta, grad, rate, grad_sq=state)
            else:
                af.aruba_step(theta, grad, b, state, coef=coef)
        found.append((theta, state))
    return found


def assert_at(parameters, found):
    for p, (theta, _) in zip(parameters, found, strict=True):
        assert p.detach().numpy().ravel().tobytes() == theta.tobytes()


@pytest.mark.parametrize("copied", ["itself", "deepcopy", "loaded"])
def test_tasks_step_at_rounded_rates_and_keep_their_squares(copied, tmp_path):
    meta, parameters = learned(rate_type="bfloat16")
    if copied == "deepcopy":
        meta = copy.deepcopy(meta)
        parameters = meta.param_groups[0]["params"]
    elif copied == "loaded":
        meta.save(tmp_path / "meta.safetensors")
        parameters = weights()
        meta = smoothed_optimizer(parameters, learning_rate=0.3, rate_type="bfloat16")
        meta.load(tmp_path / "meta.safetensors")
    rates = torch.cat([rate.ravel() for rate in meta.learning_rate])
    assert (rates.bfloat16().float() != rates).any()
    with meta.task() as optimizer:
        found = expected_of(meta, parameters)
        stepped(optimizer, parameters)
        assert_at(parameters, found)
    sums = np.concatenate([state for _, state in found])
    np.testing.assert_array_equal(meta.statistics().grad_sq, sums)


@pytest.mark.parametrize("coef", [None, 0.75])
def test_rules_step_at_rounded_rates(coef):
    meta, parameters = learned(rate_type="bfloat16")
    optimizer = meta.rule(coef=coef)
    found = expected_of(meta, parameters, coef)
    stepped(optimizer, parameters)
    assert_at(parameters, found)


def test_what_is_learned_is_not_rounded():
    """Before the first round the rate is one that bfloat16 has: both learn the same bits."""
    parts = []
    for kind in (None, "bfloat16"):
        parameters = weights()
        meta = smoothed_optimizer(parameters, learning_rate=0.25, rate_type=kind)
        with meta.task() as optimizer:
            stepped(optimizer, parameters)
        meta.step(0.5)
        parts.append(meta.state_dict()["state"])
    assert parts[0].keys() == parts[1].keys()
    assert all(torch.equal(parts[0][key], parts[1][key]) for key in parts[0])


def test_the_first_rate_is_searched_as_ever():
    found = []
    for kind in (None, "bfloat16"):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(4))
        meta = MetaOptimizer([weight], rate_type=kind)
        while meta.n_tasks == 0:
            target = torch.randn(4)
            with meta.task() as optimizer:
                for _ in range(3):
                    optimizer.zero_grad()
                    (weight - target).square().sum().backward()
                    optimizer.step()
            meta.step(1.0)
            if meta._flat.search is None:
                break
        found.append(meta.learners[0].initial_learning_rate)
    assert found[0] == found[1]


def test_parameters_of_bfloat16_are_stepped_by_their_masters():
    parameters = [torch.nn.Parameter(torch.randn(33).bfloat16())]
    meta = smoothed_optimizer(parameters, learning_rate=0.3, rate_type="bfloat16")
    before = parameters[0].detach().float()
    with meta.task() as optimizer:
        parameters[0].grad = torch.ones(33).bfloat16()
        optimizer.step()
        expected = before - torch.tensor(0.3).bfloat16().float()
        assert torch.equal(parameters[0].detach(), expected.bfloat16())


REFUSED = {
    "float64": (torch.float64, "bfloat16", TypeError, "None but for float32 parameters: got"),
    "float16": (
        torch.float32,
        "float16",
        ValueError,
        "known: got 'float16', a str, expected",
    ),
    "a type": (torch.float32, torch.bfloat16, TypeError, "known: got .*, expected 'bfloat16'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_types_are_refused(case):
    dtype, rate_type, error, message = REFUSED[case]
    with pytest.raises(error, match=rf"^MetaOptimizer: `rate_type` must be {message}"):
        MetaOptimizer([torch.nn.Parameter(torch.zeros(3, dtype=dtype))], rate_type=rate_type)
