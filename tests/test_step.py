"""Element-wise kernels: every size, offset, shape and type against the oracle, sentinels around."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from buffers import Guarded
from cases import KERNELS, SIZES, dtypes, kernel_arguments, kernels

import aruba_fast as af
from aruba_fast import _core

PROMISED_ULP = 4


def assert_close(got, expected, before, what):
    """Within the promised ulp of the largest operand: old, new, or their difference."""
    largest = np.maximum(np.abs(before), np.abs(expected - before))
    ulp = np.spacing(np.maximum(largest, np.abs(expected)).astype(got.dtype)).astype(np.float64)
    error = np.abs(got.astype(np.float64) - expected)
    assert (error <= PROMISED_ULP * ulp).all(), f"{what}: {np.max(error / ulp)} ulp"


def check(kernel, arguments, dtype, offset=0, grad_dtype=None):
    """Runs the kernel on guarded copies; inputs stay, outputs are right, no neighbour changes."""
    types = {name: np.dtype(dtype) for name in arguments} | {"grad": np.dtype(grad_dtype or dtype)}
    arguments = {n: v.astype(types[n]).astype(np.float64) for n, v in arguments.items()}
    guarded = {n: Guarded(v.astype(types[n]), offset) for n, v in arguments.items()}
    assert kernel.call({name: g.view for name, g in guarded.items()}) is None
    expected = kernel.expected(arguments)
    assert set(expected) == set(kernel.written)
    for name, g in guarded.items():
        assert g.intact(), f"{name}: a neighbour was written"
        if name in expected:
            assert_close(g.view, expected[name], arguments[name], name)
        else:
            np.testing.assert_array_equal(g.view.astype(np.float64), arguments[name])


def test_every_step_of_the_library_is_in_the_table():
    """And so everywhere that a table of steps is tested: NumPy, CUDA, PyTorch, JAX, the fuzzer."""
    assert {kernel.function for kernel in KERNELS} == set(_core.step_rules())


@kernels
@dtypes
@pytest.mark.parametrize("size", SIZES)
def test_every_size_and_offset(kernel, dtype, size, rng):
    for offset in range(4):
        check(kernel, kernel_arguments(kernel, rng, (size,)), dtype, offset)


@kernels
@dtypes
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 17), (5, 3), (7, 129), (33, 31), (0, 4)])
@pytest.mark.parametrize("shared", [False, True], ids=["own_rates", "shared_rates"])
def test_every_task_of_a_matrix(kernel, dtype, shape, shared, rng):
    for offset in (0, 1):
        check(kernel, kernel_arguments(kernel, rng, shape, shared), dtype, offset)


@pytest.mark.parametrize("grad_sq", [False, True])
@dtypes
def test_a_scalar_rate_is_a_constant_vector(dtype, grad_sq, rng):
    theta, grad, squares = rng.standard_normal((3, 7, 33)).astype(dtype)
    squares = squares**2
    scalar, vector = [(theta.copy(), squares.copy()) for _ in range(2)]
    for (th, sq), rate in ((scalar, 0.3), (vector, np.full(33, 0.3, dtype))):
        af.step(th, grad, rate, grad_sq=sq if grad_sq else None)
    np.testing.assert_array_equal(scalar[0], vector[0])
    np.testing.assert_array_equal(scalar[1], vector[1])
    assert (scalar[0] != theta).any()
    assert (scalar[1] != squares).any() == grad_sq


@kernels
@pytest.mark.parametrize("half", [ml_dtypes.bfloat16, np.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("size", [1, 3, 16, 33, 129, 4097])
def test_half_precision_gradients_are_widened_before_use(kernel, half, size, rng):
    """Squares of large half-precision gradients overflow float16; widened first, they do not."""
    arguments = kernel_arguments(kernel, rng, (size,))
    arguments["grad"] = 1000.0 * arguments["grad"]
    for offset in range(4):
        check(kernel, arguments, np.float32, offset, half)
    check(kernel, kernel_arguments(kernel, rng, (3, size), True), np.float32, 1, half)


@pytest.mark.parametrize("half", [ml_dtypes.bfloat16, np.float16], ids=["bfloat16", "float16"])
def test_every_half_precision_number_is_read_exactly(half):
    grad = np.arange(2**16, dtype=np.uint16).view(half)
    theta = np.zeros(2**16, np.float32)
    af.step(theta, grad, 1.0)
    np.testing.assert_array_equal(-theta, grad.astype(np.float32))  # nan where nan, inf where inf


LIST_SHAPES = [(17,), (0,), (3, 5), (1,), (2, 2, 9), (4097,), (128,)]


@kernels
@dtypes
def test_a_list_of_arrays_is_the_arrays_one_by_one(kernel, dtype, rng):
    whole, single = [], []
    for shape in LIST_SHAPES:
        arguments = kernel_arguments(kernel, rng, shape)
        arguments = {n: v.astype(dtype) for n, v in arguments.items()}
        guarded = {n: Guarded(v, 1) for n, v in arguments.items()}
        whole.append(guarded)
        single.append({n: v.ravel().copy() for n, v in arguments.items()})
    kernel.call({n: [g[n].view for g in whole] for n in kernel.arguments})
    for guarded, arguments in zip(whole, single, strict=True):
        kernel.call(arguments)
        for name in kernel.arguments:
            assert guarded[name].intact()
            np.testing.assert_array_equal(guarded[name].view.ravel(), arguments[name])


def test_a_list_with_one_scalar_rate(rng):
    theta = [rng.standard_normal(n).astype(np.float32) for n in (5, 1000, 33)]
    grad = [rng.standard_normal(n).astype(np.float32) for n in (5, 1000, 33)]
    flat_theta, flat_grad = np.concatenate(theta), np.concatenate(grad)
    af.step(theta, grad, 0.25)
    af.step(flat_theta, flat_grad, 0.25)
    np.testing.assert_array_equal(np.concatenate(theta), flat_theta)


def test_a_thousand_small_tensors_in_one_call(rng):
    theta = list(rng.standard_normal((1000, 1000)).astype(np.float32))
    grad = list(rng.standard_normal((1000, 1000)).astype(np.float32))
    squares = [np.ones(1000, np.float32) for _ in theta]
    expected = [t.astype(np.float64) - 0.125 * g for t, g in zip(theta, grad, strict=True)]
    af.step(theta, grad, 0.125, grad_sq=squares)
    np.testing.assert_allclose(theta, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(squares, 1 + np.square(grad, dtype=np.float64), rtol=1e-7)


def test_empty_lists_and_empty_arrays_are_no_work():
    af.step([], [], 0.1)
    empty = np.empty((0, 3), np.float32)
    af.step(empty, empty.copy(), 0.1)


@dtypes
def test_read_only_inputs_may_be_strided(dtype, rng):
    theta, twin = np.ones(9, dtype), np.ones(9, dtype)
    grad = rng.standard_normal(18).astype(dtype)[::2]
    rate = rng.random(27).astype(dtype)[::-3]
    af.step(theta, grad, rate)
    af.step(twin, np.ascontiguousarray(grad), np.ascontiguousarray(rate))
    np.testing.assert_array_equal(theta, twin)
    assert (theta != 1).any()


@dtypes
def test_inputs_may_be_read_only_and_shared(dtype, rng):
    """One array may be several inputs at once; only what is written must stand alone."""
    grad = rng.standard_normal(33).astype(dtype)
    grad.flags.writeable = False
    theta = np.ones(33, dtype)
    af.step(theta, grad, grad)
    np.testing.assert_allclose(
        theta, 1 - grad.astype(np.float64) ** 2, atol=4 * np.finfo(dtype).eps
    )


def test_a_huge_step_is_not_made_in_the_wrong_precision():
    """sqrt(b)/sqrt(g), not sqrt(b/g): the quotient would overflow, its root does not."""
    theta, g = np.zeros(5, np.float32), np.full(5, 1e-30, np.float32)
    af.aruba_step(theta, np.full(5, 1e-20, np.float32), np.full(5, 1e30, np.float32), g, coef=1.0)
    np.testing.assert_allclose(theta, -1e10, rtol=1e-6)


class Foreign:
    """An array of another library, known by DLPack only."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@dtypes
def test_arrays_of_other_libraries_through_dlpack(dtype, rng):
    """In place as well: their memory is modified, not a copy of it."""
    theta, grad, squares = rng.standard_normal((3, 17)).astype(dtype)
    twin, twin_squares = theta.copy(), squares.copy()
    af.step(Foreign(theta), Foreign(grad), Foreign(squares**2), grad_sq=Foreign(squares))
    af.step(twin, grad, twin_squares**2, grad_sq=twin_squares)
    np.testing.assert_array_equal(theta, twin)
    np.testing.assert_array_equal(squares, twin_squares)
    af.step([Foreign(theta)], [grad], 0.5)
    assert (theta != twin).all()


def test_foreign_outputs_that_cannot_be_written_are_refused():
    theta = np.ones((4, 6), np.float32)
    before = theta.copy()
    with pytest.raises(TypeError, match=r"step: `theta`.*contiguous"):
        af.step(Foreign(theta.T), np.ones((6, 4), np.float32), 0.5)
    theta.flags.writeable = False
    with pytest.raises(TypeError, match="step: `theta`"):
        af.step(Foreign(theta), np.ones((4, 6), np.float32), 0.5)
    np.testing.assert_array_equal(theta, before)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
@kernels
def test_words_of_a_half_type(kernel, name, rng):
    """uint16 gradients with their type named: the bits of gradients of that type."""
    dtype = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else np.float16)
    values = kernel_arguments(kernel, rng, (1003,))
    typed = {k: v.astype(dtype if k == "grad" else np.float32) for k, v in values.items()}
    words = {k: v.copy() for k, v in typed.items()}
    kernel.call(typed)
    kernel.call(words | {"grad": words["grad"].view(np.uint16)}, grad_type=name)
    for written in kernel.written:
        np.testing.assert_array_equal(words[written], typed[written])
