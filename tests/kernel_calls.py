"""Calls of the kernels whose arguments a test spoils, one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from buffers import snapshot
from cases import KERNELS

import aruba_fast as af

F32, F64 = np.float32, np.float64
# The form of every step that has all its arrays.
STEPS = {kernel.function: kernel for kernel in KERNELS}


def arguments(function, shape=(3, 4), dtype=F32):
    """Good arguments of a kernel, by name."""
    kernel = STEPS[function]
    return {name: np.ones(shape, dtype) for name in kernel.arguments} | kernel.numbers


def call(function, keywords):
    return getattr(af, function)(**keywords)


def refused(function, changes, error, message, *, place=dict, bits=snapshot, **how):
    """Calls with the changed arguments: the error, its message, and every array as it was."""
    keywords = place(arguments(function, **how)) | changes
    before = bits(keywords)
    with pytest.raises(error, match=message) as caught:
        call(function, keywords)
    assert str(caught.value).startswith(f"{function}: ")
    assert bits(keywords) == before


ARRAYS = [(function, name) for function, kernel in STEPS.items() for name in kernel.arguments]
OUTPUTS = [(function, name) for function, kernel in STEPS.items() for name in kernel.written]
EITHER = [(function, name) for function, kernel in STEPS.items() for name in kernel.either]
NUMBERS = [
    (function, name)
    for function, kernel in STEPS.items()
    for name in kernel.numbers
    if name != "t" and name not in kernel.either
]
every_step = pytest.mark.parametrize("function", STEPS)
every_array = pytest.mark.parametrize(("function", "name"), ARRAYS)
every_output = pytest.mark.parametrize(("function", "name"), OUTPUTS)
