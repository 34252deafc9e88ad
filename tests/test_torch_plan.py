"""Plans of PyTorch's tensors: memory that moves is followed, autograd is told, nothing is held."""

from __future__ import annotations

import sys
import weakref

import device
import numpy as np
import pytest
from cases import kernels
from played_torch import played
from torch_models import smoothed_optimizer, torch

import aruba_fast as af

SHAPES = [(3,), (0,), (4, 5), (1,), (17, 33)] * 4
NAMES = ("theta", "grad", "learning_rate", "grad_sq")


@pytest.fixture(autouse=True, params=["host", pytest.param("device", marks=pytest.mark.gpu)])
def place(request):
    """Tensors in host memory, and on a device where that is played."""
    torch.manual_seed(0)
    if request.param == "host":
        yield request.param
        return
    request.getfixturevalue("on_device")
    with played():
        yield request.param


def planned(given):
    return af.StepPlan(
        af.step, given["theta"], given["grad"], given["learning_rate"], grad_sq=given["grad_sq"]
    )


def some(n=20, size=6):
    return {name: [torch.rand(size) for _ in range(n)] for name in NAMES}


def twins(given):
    """Copies as NumPy's arrays."""
    return {name: [t.detach().numpy().copy() for t in tensors] for name, tensors in given.items()}


def assert_stepped(given, expected):
    """A step of NumPy's arrays has the same bits as that which the tensors have just done."""
    af.step(
        expected["theta"], expected["grad"], expected["learning_rate"], grad_sq=expected["grad_sq"]
    )
    for name, arrays in expected.items():
        for one, other in zip(given[name], arrays, strict=True):
            assert one.detach().numpy().tobytes() == other.tobytes(), name


@kernels
@pytest.mark.parametrize("half", [None, torch.bfloat16, torch.float16], ids=str)
def test_planned_steps_of_tensors_are_those_of_arrays(kernel, half):
    given = {name: [torch.rand(shape) for shape in SHAPES] for name in kernel.arguments}
    if half is not None:
        given["grad"] = [grad.to(half) for grad in given["grad"]]
    expected = twins(given | {"grad": [grad.float() for grad in given["grad"]]})
    plan = af.StepPlan(getattr(af, kernel.function), **(given | kernel.numbers))
    for _ in range(3):
        plan.step()
        kernel.call(expected)
    for name in kernel.written:
        for one, other in zip(given[name], expected[name], strict=True):
            assert one.numpy().tobytes() == other.tobytes(), name


def test_autograd_is_told_what_was_written_in_every_step():
    given = some()
    plan = planned(given)
    for n in (1, 2, 3):
        plan.step()
        for name, tensors in given.items():
            counts = {tensor._version for tensor in tensors}
            assert counts == {n if name in ("theta", "grad_sq") else 0}, name
    weight = torch.nn.Parameter(torch.ones(3))
    plan = af.StepPlan(af.step, [weight], [torch.ones(3)], 0.5)
    loss = weight.square().sum()
    plan.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


MOVES = {
    "other data": lambda t: setattr(t, "data", torch.rand(t.shape)),
    "another storage": lambda t: t.set_(torch.rand(50).untyped_storage(), 7, t.shape),
    "further on in its storage": lambda t: t.set_(t.untyped_storage(), 1, (5,)),
    "a shorter one": lambda t: t.resize_(2),
    "a longer one": lambda t: t.resize_(500).fill_(0.5),
    "strides": lambda t: setattr(t, "data", torch.rand(12)[::2]),
    "negated": lambda t: setattr(t, "data", torch._neg_view(torch.rand(t.shape))),
    "another type": lambda t: setattr(t, "data", torch.rand(t.shape).to(torch.float64)),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_tensor_that_moved_is_stepped_where_it_is_or_refused(move, name, all_of_them, place):
    """As the step itself does, which has no memory."""
    given = some()
    plan = planned(given)
    plan.step()
    for tensors in given.values() if all_of_them else [given[name]]:
        MOVES[move](tensors[3])
    before = {key: [t.clone() for t in tensors] for key, tensors in given.items()}
    try:
        af.step(before["theta"], before["grad"], before["learning_rate"], grad_sq=before["grad_sq"])
    except (TypeError, ValueError):
        with pytest.raises((TypeError, ValueError), match=r"^StepPlan.step: `\w+\[3\]` must "):
            plan.step()
        return
    written = ("theta", "grad_sq")
    # A device copies nothing that is negated.
    any_name = all_of_them or (move == "negated" and place == "device")
    if move in ("strides", "negated") and (any_name or name in written):
        rule = r"^StepPlan.step: `\w+\[3\]` must be (C-contiguous|a plain tensor)"
        with pytest.raises(TypeError, match=rule):
            plan.step()
        return
    plan.step()
    for key in written:
        assert all(map(torch.equal, given[key], before[key])), key


def test_a_storage_that_is_gone_is_refused():
    given = some()
    plan = planned(given)
    given["theta"][5].untyped_storage().resize_(0)
    with pytest.raises(TypeError, match=r"^StepPlan.step: `theta\[5\]` must "):
        plan.step()


def test_gradients_of_backward_are_given_to_every_step_and_not_held():
    weights = [torch.nn.Parameter(torch.rand(5)) for _ in range(20)]
    arrays = [weight.detach().numpy().copy() for weight in weights]
    plan = af.StepPlan(af.step, weights, None, 0.1)
    for scale in (1.0, 2.0, 3.0):
        for weight in weights:
            weight.grad = None
        sum((scale * weight.square()).sum() for weight in weights).backward()
        plan.step([weight.grad for weight in weights])
        af.step(arrays, [2 * np.float32(scale) * array for array in arrays], 0.1)
        gone = weakref.ref(weights[3].grad)
        weights[3].grad = None
        assert gone() is None
    for weight, array in zip(weights, arrays, strict=True):
        assert weight.detach().numpy().tobytes() == array.tobytes()


# ---- of MetaOptimizer ----------------------------------------------------------------------------


def calls_of(function):
    """How many calls of Python and C functions a call makes."""
    found = []
    sys.setprofile(lambda _frame, event, _: found.append(event))
    try:
        function()
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in found)


def test_a_step_of_many_tensors_makes_the_calls_of_a_step_of_few():
    counts = set()
    for n in (3, 300):
        weights = [torch.nn.Parameter(torch.rand(4)) for _ in range(n)]
        meta = smoothed_optimizer(weights, learning_rate=0.1)
        with meta.task() as optimizer:
            for weight in weights:
                weight.grad = torch.ones(4)
            optimizer.step()
            counts.add(calls_of(optimizer.step))
    assert len(counts) == 1


@pytest.mark.parametrize("coef", [None, 0.5])
def test_parameters_whose_gradients_come_and_go(coef):
    """Which ones have a gradient changes from step to step, and from task to task."""
    weights = [torch.nn.Parameter(torch.rand(4)) for _ in range(6)]
    meta = smoothed_optimizer(weights, learning_rate=0.1)
    patterns = [(0, 1, 2, 3, 4, 5), (0, 2), (0, 2), (1, 3, 5), (0, 1, 2, 3, 4, 5), (4,)]

    def run(optimizer, theta, state):
        for used in patterns:
            for i, weight in enumerate(weights):
                weight.grad = torch.rand(4) if i in used else None
            optimizer.step()
            for i in used:
                grad = weights[i].grad.numpy()
                if coef is None:
                    af.step(theta[i], grad, 0.1, grad_sq=state[i])
                else:
                    af.aruba_step(theta[i], grad, *state[i], coef=coef)
        for weight, array in zip(weights, theta, strict=True):
            assert weight.detach().numpy().tobytes() == array.tobytes()

    phi = [weight.detach().numpy().copy() for weight in weights]
    for _ in range(3):
        theta = [array.copy() for array in phi]
        if coef is None:
            sums = [np.zeros(4, np.float32) for _ in weights]
            with meta.task() as optimizer:
                run(optimizer, theta, sums)
            np.testing.assert_array_equal(
                np.concatenate(sums), device.host(meta._flat.row(meta._flat.n_waiting - 1)[1])
            )
        else:
            learner = meta.learners[0]
            b, g = (np.split(device.host(v).astype(np.float32), 6) for v in (learner.b, learner.g))
            run(meta.rule(coef=coef), theta, list(zip(b, g, strict=True)))


def test_other_data_within_a_task_is_stepped_where_it_is():
    weights = [torch.nn.Parameter(torch.zeros(3)) for _ in range(3)]
    meta = smoothed_optimizer(weights, learning_rate=0.5)
    for _ in range(2):
        with meta.task() as optimizer:
            for value in (0.0, 7.0):
                for weight in weights:
                    weight.data = torch.full((3,), value)
                    weight.grad = torch.ones(3)
                optimizer.step()
                assert all((weight == value - 0.5).all() for weight in weights)
        assert all((weight == 0).all() for weight in weights)


@pytest.mark.parametrize("sparse", [True, False])
def test_another_optimizer_whose_gradients_come_and_go(sparse):
    """What is collected of steps that others do."""
    weights = [torch.nn.Parameter(torch.rand(4)) for _ in range(3)]
    meta = smoothed_optimizer(weights, learning_rate=0.1)
    with meta.task(optimizer=torch.optim.SGD(weights, lr=0.1)) as sgd:
        sums = [np.zeros(4, np.float32) for _ in weights]
        for used in ((0, 1, 2), (0, 2), (0, 2), (1,)):
            for i, weight in enumerate(weights):
                grad = torch.rand(4)
                weight.grad = (grad.to_sparse() if sparse else grad) if i in used else None
                if i in used:
                    af.step(np.zeros(4, np.float32), grad.numpy(), 0.0, grad_sq=sums[i])
            sgd.step()
    found = device.host(meta.statistics().grad_sq)
    np.testing.assert_array_equal(found, np.concatenate(sums))
