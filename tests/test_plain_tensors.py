"""Tensors without memory, or with a meaning beside it: resolved or refused, never just read."""

from __future__ import annotations

import re

import numpy as np
import pytest
from torch_models import torch

import aruba_fast as af

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors:UserWarning")


def two():
    from torch.testing._internal.two_tensor import TwoTensor

    return TwoTensor(torch.ones(3), torch.ones(3))


def fake():
    from torch._subclasses import FakeTensorMode

    return FakeTensorMode().from_tensor(torch.ones(3))


def masked():
    return torch.masked.masked_tensor(torch.ones(3), torch.tensor([True, False, True]))


def asynchronous():
    from torch.distributed._functional_collectives import AsyncCollectiveTensor

    return AsyncCollectiveTensor(torch.ones(3))


def freed():
    tensor = torch.ones(3)
    tensor.untyped_storage().resize_(0)
    return tensor


def with_values():
    """A subclass that handles every operation itself and has a storage all the same."""

    class Scaled(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
            raise AssertionError("not asked")

    return torch.Tensor._make_subclass(Scaled, torch.ones(3))


OWN = "whose class gives memory a meaning of its own, expected a torch.Tensor of its numbers"
REFUSED = {
    "two": (two, f"a TwoTensor, {OWN}"),
    "fake": (fake, f"a FakeTensor, {OWN}"),
    "masked": (masked, f"a MaskedTensor, {OWN}"),
    "asynchronous": (asynchronous, f"a AsyncCollectiveTensor, {OWN}"),
    "scaled": (with_values, f"a Scaled, {OWN}"),
    "freed": (freed, "one without memory, expected one that has it"),
    "zeros": (lambda: torch._efficientzerotensor((3,)), "one without memory"),
    "functional": (lambda: torch._to_functional_tensor(torch.ones(3)), "one without memory"),
    "meta": (
        lambda: torch.ones(3, device="meta"),
        "one on 'meta', expected one on 'cpu' or 'cuda'",
    ),
}


@pytest.mark.parametrize("name", ["theta", "grad", "learning_rate", "grad_sq", "grad[1]"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_memory_does_not_tell_is_refused(kind, name):
    make, got = REFUSED[kind]
    given = {key: torch.ones(3) for key in ("theta", "grad", "learning_rate", "grad_sq")}
    if name == "grad[1]":
        given = {key: [value, torch.ones(3)] for key, value in given.items()}
        given["grad"][1] = make()
    else:
        given[name] = make()
    message = f"step: `{name}` must be a plain tensor: got {got}"
    with pytest.raises(TypeError, match=re.escape(message)):
        af.step(given["theta"], given["grad"], given["learning_rate"], grad_sq=given["grad_sq"])


@pytest.mark.parametrize("kind", REFUSED)
def test_learners_and_tasks_refuse_it_too(kind):
    make, got = REFUSED[kind]
    with pytest.raises(
        TypeError, match=re.escape(f"MetaLearner: `phi` must be a plain tensor: got {got}")
    ):
        af.MetaLearner(make())
    with pytest.raises(TypeError, match="Tasks: `y` must be a plain tensor: got"):
        af.Tasks(np.ones((3, 2), np.float32), make(), offsets=[0, 3])


@pytest.mark.parametrize("transform", ["vmap", "grad"])
@pytest.mark.parametrize("name", ["theta", "grad"])
def test_within_a_transform(transform, name):
    outside = {"theta": torch.zeros(3), "grad": torch.ones(3)}

    def body(value):
        af.step(*(outside | {name: value}).values(), 0.5)
        return value.sum()

    apply = torch.vmap(body) if transform == "vmap" else torch.func.grad(body)
    message = f"step: `{name}` must be a plain tensor: got one within a transform of torch.func"
    with pytest.raises(TypeError, match=message):
        apply(torch.ones(2, 3) if transform == "vmap" else torch.ones(3))


NEGATED = {
    "view": lambda: torch._neg_view(torch.ones(3)),
    "parameter": lambda: torch.nn.Parameter(torch._neg_view(torch.ones(3))),
    "double": lambda: torch._neg_view(torch.ones(3, dtype=torch.float64)),
    "half": lambda: torch._neg_view(torch.ones(3, dtype=torch.bfloat16)),
    "one of six dimensions": lambda: torch._neg_view(torch.ones([1] * 6)),
    "imaginary part": lambda: torch.tensor([1.0 + 1.0j]).conj().imag,
    "strided": lambda: torch.tensor([1.0 + 1.0j] * 3).conj().imag,
    "list": lambda: torch._neg_view(torch.ones(2, 3)),
}


@pytest.mark.parametrize("kind", NEGATED)
def test_a_negated_tensor_is_read_with_its_sign_and_not_written_to(kind):
    grad = NEGATED[kind]()
    assert grad.is_neg()
    theta = torch.zeros(grad.shape, dtype=torch.float64 if kind == "double" else torch.float32)
    if kind == "list":
        af.step([theta, theta.clone()], [grad, torch.ones(2, 3)], 0.5)
    else:
        af.step(theta, grad, 0.5)
    assert (theta == 0.5).all()
    if kind != "half":
        with pytest.raises(TypeError, match=r"step: `theta` must be C-contiguous.*"):
            af.step(grad, torch.ones_like(theta), 0.5)
        assert (grad == -1).all()


def test_a_conjugated_tensor_is_refused():
    for name in ("theta", "grad"):
        given = {"theta": torch.ones(3), "grad": torch.ones(3)}
        given[name] = torch.ones(3, dtype=torch.complex64).conj()
        with pytest.raises(TypeError, match=f"step: `{name}` must be of a native floating"):
            af.step(*given.values(), 0.5)


def test_masked_arrays_of_numpy():
    theta, plain = np.zeros(3, np.float32), np.ma.masked_array(np.ones(3, np.float32))
    af.step(theta, plain, 0.5)  # nothing of it is masked
    np.testing.assert_array_equal(theta, np.full(3, -0.5))
    grad = np.ma.masked_array(np.ones(3, np.float32), [False, True, False])
    with pytest.raises(TypeError, match=r"step: `grad` must have all of its values: got masked"):
        af.step(theta, grad, 0.5)
    with pytest.raises(TypeError, match=r"step: `theta\[0\]` must have all of its values"):
        af.step([grad], [theta], 0.5)
    np.testing.assert_array_equal(theta, np.full(3, -0.5))


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("as_list", [False, True])
def test_autograd_is_told_of_what_is_modified(requires_grad, as_list):
    theta, b, g, squares = (torch.ones(3, requires_grad=requires_grad) for _ in range(4))
    grad = torch.ones(3)
    wrapped = (lambda t: [t]) if as_list else (lambda t: t)
    before = {id(t): t._version for t in (theta, b, g, squares, grad)}
    af.step(wrapped(theta), wrapped(grad), 0.1, grad_sq=wrapped(squares))
    af.aruba_step(wrapped(theta), wrapped(grad), wrapped(b), wrapped(g), coef=0.5)
    moved = {id(t): t._version - before[id(t)] for t in (theta, b, g, squares, grad)}
    assert list(moved.values()) == [2, 0, 1, 1, 0]


def test_a_backward_pass_over_overwritten_values_is_an_error():
    weight, x = torch.ones(3, requires_grad=True), torch.ones(3)
    loss = (weight * x).sum()
    af.step(x, torch.ones(3), 0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_failed_call_tells_autograd_nothing():
    theta = torch.ones(3)
    with pytest.raises(ValueError, match="step: `grad`"):
        af.step(theta, torch.ones(4), 0.5)
    assert theta._version == 0
    with torch.inference_mode():
        made = torch.ones(3)
        af.step(made, torch.ones(3), 0.5)
    assert made.tolist() == [0.5] * 3
