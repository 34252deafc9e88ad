"""Torch tensors in the kernels, and the kernels as operators of `torch.library`."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from cases import KERNELS, SIZES
from torch_models import torch

import aruba_fast as af
from aruba_fast.torch import ops

# An operator always keeps the statistics.
OPERATORS = {kernel.function: kernel for kernel in KERNELS if kernel.name != "step"}
operators = pytest.mark.parametrize("name", OPERATORS)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def tensors(name, shape, dtype, seed=0):
    torch.manual_seed(seed)
    made = {key: torch.rand(shape, dtype=dtype) + 0.1 for key in OPERATORS[name].arguments}
    return made | {
        "theta": torch.randn(shape, dtype=dtype),
        "grad": torch.randn(shape, dtype=dtype),
    }


def by_numpy(name, given):
    """The states that the function on NumPy's arrays leaves."""
    kernel = OPERATORS[name]
    arrays = {key: given[key].detach().numpy().copy() for key in kernel.arguments}
    kernel.call(arrays)
    return [arrays[key] for key in kernel.written]


@operators
@dtypes
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)], ids=str)
def test_operators_equal_numpy(name, dtype, shape):
    kernel = OPERATORS[name]
    keys, numbers, changed = kernel.arguments, kernel.numbers, kernel.written
    given = tensors(name, shape, dtype)
    expected = by_numpy(name, given)
    before = {key: value.clone() for key, value in given.items()}
    got = getattr(torch.ops.aruba_fast, name)(*(given[k] for k in keys), *numbers.values())
    for key in keys:
        assert torch.equal(given[key], before[key]), "the functional form changes nothing"
    getattr(torch.ops.aruba_fast, f"{name}_")(*(given[k] for k in keys), *numbers.values())
    for key, one, two in zip(changed, got, expected, strict=True):
        np.testing.assert_array_equal(one.numpy(), two)
        np.testing.assert_array_equal(given[key].numpy(), two)


@operators
@pytest.mark.parametrize("form", ["", "_"], ids=["functional", "in_place"])
@pytest.mark.parametrize("shared", [False, True])
def test_opcheck(name, form, shared):
    """Schema, fake tensors, autograd registration and AOT dispatch with dynamic shapes."""
    kernel = OPERATORS[name]
    keys, numbers = kernel.arguments, kernel.numbers
    given = tensors(name, (3, 5), torch.float32)
    if shared and kernel.shared:
        given[kernel.shared] = given[kernel.shared][0].clone()
    arguments = (*(given[k] for k in keys), *numbers.values())
    torch.library.opcheck(getattr(ops, f"{name}{form}"), arguments)


def test_one_rate_for_all_is_a_tensor_without_dimensions():
    given = tensors("step", (4, 3), torch.float32)
    one = ops.step(given["theta"], given["grad"], torch.tensor(0.25), given["grad_sq"])
    rates = torch.full((4, 3), 0.25)
    two = ops.step(given["theta"], given["grad"], rates, given["grad_sq"])
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_operators_compile_whole():
    """No graph break in a compiled function that steps."""

    @torch.compile(backend="aot_eager", fullgraph=True)
    def move(theta, grad, rate, grad_sq):
        torch.ops.aruba_fast.step_(theta, 2 * grad, rate, grad_sq)
        return theta.sum()

    given = tensors("step", (9,), torch.float32)
    expected = by_numpy("step", given | {"grad": 2 * given["grad"]})
    move(*given.values())
    torch._dynamo.reset()
    np.testing.assert_array_equal(given["theta"].numpy(), expected[0])
    np.testing.assert_array_equal(given["grad_sq"].numpy(), expected[1])


@dtypes
@pytest.mark.parametrize("size", SIZES)
def test_tensors_of_every_size_and_offset(dtype, size):
    for offset in range(4):
        given = tensors("step", (size + offset,), dtype)
        views = {key: value[offset:] for key, value in given.items()}
        expected = by_numpy("step", views)
        af.step(views["theta"], views["grad"], views["learning_rate"], grad_sq=views["grad_sq"])
        np.testing.assert_array_equal(views["theta"].numpy(), expected[0])
        np.testing.assert_array_equal(views["grad_sq"].numpy(), expected[1])


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_gradients_are_widened_first(half):
    grad = (100 * torch.randn(65)).to(half)
    theta = [torch.ones(65), torch.ones(65)]
    sums = [torch.zeros(65), torch.zeros(65)]
    af.step(theta[0], grad, 0.1, grad_sq=sums[0])
    af.step(theta[1], grad.float(), 0.1, grad_sq=sums[1])
    assert torch.equal(*theta)
    assert torch.equal(*sums)


def test_words_of_a_named_type_are_that_type():
    grad = torch.randn(33).bfloat16()
    theta = [torch.zeros(33), torch.zeros(33)]
    af.step(theta[0], grad, 0.5)
    af.step(theta[1], grad.view(torch.uint16), 0.5, grad_type="bfloat16")
    assert torch.equal(*theta)


def test_gradients_of_any_strides():
    """Every order of the dimensions, steps between elements, expanded and misaligned ones."""
    grad = torch.randn(2, 3, 4)
    wide = torch.randn(4, 6, 8)
    misaligned = torch.frombuffer(bytearray(97), dtype=torch.float32, offset=1, count=24)
    misaligned.copy_(torch.randn(24))
    cases = [grad.permute(order) for order in itertools.permutations(range(3))]
    cases += [wide[::2, ::2, ::2], wide.flip(0)[:2], torch.ones(1, 3, 1).expand(2, 3, 4)]
    cases += [misaligned.view(2, 3, 4)]
    for case in cases:
        theta = torch.zeros(case.shape)
        af.step(theta, case, 1.0)
        assert torch.equal(theta, -case)


REFUSED = [
    (
        lambda: af.step(torch.ones(3, 2).t(), torch.ones(2, 3), 0.1),
        "step: `theta` must be C-contiguous and aligned, it is modified in place: got",
    ),
    (
        lambda: af.step(torch.ones(3, dtype=torch.int64), torch.ones(3), 0.1),
        "step: `theta` must be of a native floating-point type: got torch.int64, expected float32",
    ),
    (
        lambda: af.step(torch.ones(3), torch.ones(3, dtype=torch.complex64), 0.1),
        "step: `grad` must be of a native floating-point type: got torch.complex64, expected",
    ),
    (
        lambda: af.step(torch.ones(3), torch.ones(3).to_sparse(), 0.1),
        "step: `grad` must be an array of a known type: got Tensor (Can't export tensors with",
    ),
    (
        lambda: af.step(torch.ones(3), torch.ones(3, device="meta"), 0.1),
        "step: `grad` must",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=range(len(REFUSED)))
def test_tensors_that_are_refused(call, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        call()


def test_nine_dimensions_are_refused():
    with pytest.raises(ValueError, match="step: `theta` must have at most 8 dimensions: got 9"):
        af.step(torch.ones([1] * 9), torch.ones([1] * 9), 0.1)


def test_tensors_that_overlap_are_refused():
    theta = torch.ones(6)
    with pytest.raises(ValueError, match="must not overlap"):
        af.step(theta[:4], torch.ones(4), 0.1, grad_sq=theta[2:])


def test_types_of_tensors_come_and_go():
    """Subclasses beyond the two that are remembered, dropped and made again."""
    for k in range(5):
        kind = type(f"Kind{k}", (torch.Tensor,), {})
        theta = torch.ones(3).as_subclass(kind)
        af.step([theta, torch.nn.Parameter(torch.ones(2))], [torch.ones(3), torch.ones(2)], 0.5)
        assert theta.tolist() == [0.5] * 3
