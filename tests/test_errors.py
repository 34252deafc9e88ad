"""Bad input of the kernels: refused with its sentence before anything is touched."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from buffers import snapshot
from kernel_calls import (
    ARRAYS,
    EITHER,
    F32,
    F64,
    NUMBERS,
    arguments,
    call,
    every_array,
    every_output,
    every_step,
    refused,
)

import aruba_fast as af


@every_step
def test_the_unspoiled_arguments_are_accepted(function):
    keywords = arguments(function)
    before = snapshot(keywords)
    assert call(function, keywords) is None
    assert snapshot(keywords) != before


class OnDevice:
    """What an array of another device looks like: CUDA is kind 2 of DLPack."""

    def __init__(self, kind=2):
        self.kind = kind

    def __dlpack_device__(self):
        return (self.kind, 0)

    def __dlpack__(self, **kwargs):
        raise BufferError("the memory of a device must not be asked for")


class CudaArray:
    """What CuPy or numba hand over."""

    @property
    def __cuda_array_interface__(self):
        return {"shape": (3, 4), "typestr": "<f4", "data": (4096, False), "version": 3}


@every_array
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda: np.ones((4, 3), F32), ValueError, r"`{}`.*\(4, 3\)"),
        (lambda: np.ones((3, 4), np.int32), TypeError, "`{}`.*int32"),
        (lambda: np.ones((3, 4), np.complex64), TypeError, "`{}`.*complex64"),
        (lambda: np.ones((3, 4), bool), TypeError, "`{}`.*bool"),
        (lambda: np.ones((3, 4), object), TypeError, "`{}`"),
        (lambda: np.ones((3, 4), ">f4"), TypeError, "`{}`.*>f4"),
        (lambda: np.ones((3, 4), ml_dtypes.float8_e5m2), TypeError, "`{}`.*float8"),
        (lambda: np.array(1.0, F32), (ValueError, TypeError), "`{}`"),
        (lambda: "text", TypeError, "`{}`.*str"),
        (lambda: object(), TypeError, "`{}`.*object"),
        (lambda: OnDevice(2), (TypeError, af.CudaError), "(?i:device)"),
        (lambda: OnDevice(13), TypeError, "`{}`.*(?i:device)"),
        (lambda: CudaArray(), (TypeError, af.CudaError), "(?i:cuda|device)"),
    ],
    ids=[
        "shape", "int32", "complex", "bool", "object", "byte-swapped", "float8", "0-d", "text",
        "no array", "cuda", "rocm or other", "cuda array interface",
    ],
)  # fmt: skip
def test_every_array_is_checked(function, name, spoil, error, message):
    refused(function, {name: spoil()}, error, message.format(name))


@every_array
def test_types_must_agree(function, name):
    """float64 among float32; for theta it is the others that do not fit, grad first."""
    blamed = "grad" if name == "theta" else name
    refused(function, {name: np.ones((3, 4), F64)}, TypeError, f"`{blamed}`.*(float32|float64)")


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@every_array
def test_half_precision_is_for_gradients_and_rates_of_float32_only(function, name, half):
    may_be = name == "grad" or (name in ("learning_rate", "b") and half != np.float16)
    spoiled = np.ones((3, 4), half)
    dtype = F64 if may_be else F32
    refused(function, {name: spoiled}, TypeError, f"`{name}`.*(float16|bfloat16)", dtype=dtype)


@every_step
@pytest.mark.parametrize("grad_type", ["float32", "bf16", 16, np.float16], ids=str)
def test_grad_type_names_a_half_type(function, grad_type):
    refused(function, {"grad_type": grad_type}, ValueError, "`grad_type`.*'bfloat16', 'float16'")


@every_array
def test_words_are_gradients_and_rates_of_a_named_type_only(function, name):
    words = np.ones((3, 4), np.uint16)
    refused(function, {name: words}, TypeError, f"`{name}`.*uint16")
    if name != "grad":
        named = "float16" if name in ("learning_rate", "b") else "bfloat16"
        refused(function, {name: words, "grad_type": named}, TypeError, f"`{name}`.*{named}")


@every_output
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: np.broadcast_to(F32(1), (3, 4)), "`{}`.*(writable|contiguous)"),
        (lambda: np.ones((4, 3), F32).T, "`{}`.*contiguous"),
        (lambda: np.ones((3, 8), F32)[:, ::2], "`{}`.*contiguous"),
        (lambda: np.ones((3, 4), F32)[::-1], "`{}`.*contiguous"),
        (lambda: np.ones(49, np.uint8)[1:].view(F32).reshape(3, 4), "`{}`.*aligned"),
    ],
    ids=["broadcast", "transposed", "strided", "reversed", "misaligned"],
)
def test_what_would_have_to_be_copied_is_not_modified(function, name, spoil, message):
    refused(function, {name: spoil()}, TypeError, message.format(name))


@every_output
def test_read_only_outputs(function, name):
    frozen = np.ones((3, 4), F32)
    frozen.flags.writeable = False
    refused(function, {name: frozen}, TypeError, f"`{name}`.*writable.*read-only")


@every_output
def test_outputs_overlap_nothing(function, name):
    """Wholly, by one element, or through another argument's middle."""
    others = [other for kernel, other in ARRAYS if kernel == function and other != name]
    for other in others:
        memory = np.ones(100, F32)
        for shift in (0, 1, 11):
            pair = {
                name: memory[20:32].reshape(3, 4),
                other: memory[20 + shift : 32 + shift].reshape(3, 4),
            }
            refused(function, pair, ValueError, f"`({name}|{other})`.*overlap.*`({name}|{other})`")
        apart = {name: memory[20:32].reshape(3, 4), other: memory[32:44].reshape(3, 4)}
        assert call(function, arguments(function) | apart) is None


def test_overlaps_within_a_list():
    memory = np.ones(100, F32)
    theta = [memory[:10], memory[50:60], memory[9:20]]
    grad = [np.ones(len(t), F32) for t in theta]
    before = memory.copy()
    with pytest.raises(ValueError, match=r"step: `theta\[\d\]`.*overlap.*`theta\[\d\]`"):
        af.step(theta, grad, 0.5)
    np.testing.assert_array_equal(memory, before)


def test_a_long_list_that_was_accepted_once_is_looked_at_again():
    theta, grad, squares = ([np.full(3, v) for _ in range(40)] for v in (0.0, 1.0, 0.0))
    for _ in range(2):
        af.step(theta, grad, grad, grad_sq=squares)  # may overlap: neither is modified
        with pytest.raises(ValueError, match=r"step: `theta\[\d+\]`.*overlap.*`grad\[\d+\]`"):
            af.step(grad, grad, theta, grad_sq=squares)
        with pytest.raises(ValueError, match=r"step: `(theta|grad_sq)\[39\]`.*overlap.*\[39\]`"):
            af.step(theta, grad, grad, grad_sq=[*squares[:39], theta[39]])
        with pytest.raises(ValueError, match=r"step: `theta\[\d+\]`.*overlap.*`theta\[\d+\]`"):
            af.step([*theta[:39], theta[0]], grad, grad, grad_sq=squares)
        af.step(theta[:20], grad[:20], grad[:20], grad_sq=squares[:20])
    np.testing.assert_array_equal(theta, np.repeat([-4.0, -2.0], 20)[:, None] + np.zeros((40, 3)))


@pytest.mark.parametrize(("function", "name"), [*EITHER, *NUMBERS])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, -1e-300])
def test_hyperparameters_are_finite_and_not_negative(function, name, value):
    refused(function, {name: value}, ValueError, f"`{name}`.*got -?(nan|inf|1)")


@pytest.mark.parametrize(("function", "name"), NUMBERS)
@pytest.mark.parametrize("value", [None, "0.1", 1j, [0.1]])
def test_hyperparameters_are_numbers(function, name, value):
    refused(function, {name: value}, TypeError, f"`{name}`")


@pytest.mark.parametrize(
    ("t", "error"),
    [(0, ValueError), (-1, ValueError), (2**70, ValueError), (1.5, TypeError), (True, TypeError)],
)
def test_steps_are_counted_from_one(t, error):
    refused("adam_step", {"t": t}, error, "`t`")


def test_zero_is_a_rate_and_a_coefficient_but_no_delta():
    for function, name in (("step", "learning_rate"), ("aruba_step", "coef")):
        assert call(function, arguments(function) | {name: 0.0}) is None
    refused("adagrad_step", {"delta": 0.0}, ValueError, "`delta`.*positive")


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), 1, np.int64(1)], ids=repr)
def test_numbers_of_numpy_are_numbers(number):
    theta = np.ones(3, F32)
    af.step(theta, np.ones(3, F32), number)
    np.testing.assert_array_equal(theta, 1 - float(number))


@pytest.mark.parametrize("rates", [(3,), (12,), (4, 3), (3, 1), (1, 4), (2, 3, 4)])
def test_rates_that_fit_neither_theta_nor_its_last_dimension(rates):
    changes = {"learning_rate": np.ones(rates, F32)}
    refused("step", changes, ValueError, r"`learning_rate`.*expected \(3, 4\) or \(4,\)")
    refused("aruba_step", {"b": np.ones(rates, F32)}, ValueError, "`b`")


def test_lists_must_have_the_same_length_and_shapes():
    theta, grad = [np.ones(3, F32), np.ones(4, F32)], [np.ones(3, F32), np.ones(4, F32)]
    for bad in (grad[:1], grad[::-1], [*grad, grad[0]], grad[0], [grad[0], None], [[1.0], [2.0]]):
        before = snapshot([theta, bad])
        with pytest.raises((ValueError, TypeError), match=r"step: `grad(\[\d\])?`"):
            af.step(theta, bad, 0.5)
        assert snapshot([theta, bad]) == before
    for n in (0, 1):
        with pytest.raises(ValueError, match=rf"step: `grad_sq`.*got {n}, expected 2"):
            af.step(theta, grad, 0.5, grad_sq=[np.ones(3, F32)] * n)
        with pytest.raises(ValueError, match=rf"step: `learning_rate`.*got {n}, expected 2"):
            af.step(theta, grad, [np.ones(3, F32)] * n)


def test_a_bad_last_array_leaves_the_first_ones_alone():
    """Everything is checked before memory is touched, however long the list."""
    theta = [np.ones(1000, F32) for _ in range(100)]
    grad = [np.ones(1000, F32) for _ in range(99)] + [np.ones(999, F32)]
    with pytest.raises(ValueError, match=r"step: `grad\[99\]`.*\(999,\).*\(1000,\)"):
        af.step(theta, grad, 0.5)
    assert all((t == 1).all() for t in theta)


def test_arguments_are_positional_and_keywords_are_keywords():
    theta = np.ones(3, F32)
    for bad in (
        lambda: af.step(theta),
        lambda: af.step(theta, theta.copy(), 0.1, theta.copy()),
        lambda: af.aruba_step(theta, theta.copy(), theta.copy(), theta.copy(), 0.5),
        lambda: af.adagrad_step(theta, theta.copy(), theta.copy(), 0.5, 0.5),
        lambda: af.step(theta, theta.copy(), 0.1, momentum=0.9),
    ):
        with pytest.raises(TypeError):
            bad()
    np.testing.assert_array_equal(theta, 1)


@pytest.mark.parametrize("n", [0, -1, 1.5, 10**9, np.nan])
def test_threads_out_of_range(n):
    before = af.get_num_threads()
    with pytest.raises(ValueError, match=r"set_num_threads: `n`.*whole number"):
        af.set_num_threads(n)
    with pytest.raises(TypeError, match="set_num_threads: `n`"):
        af.set_num_threads("two")
    assert af.get_num_threads() == before
