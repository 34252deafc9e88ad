"""Calls of the kernels whose arguments a test spoils, one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from buffers import snapshot

import aruba_fast as af

F32, F64 = np.float32, np.float64


def arguments(function, shape=(3, 4), dtype=F32):
    """Good arguments of a kernel, by name, as the table below spoils them."""

    def ones(shape=shape):
        return np.ones(shape, dtype)

    return {
        "step": {"theta": ones(), "grad": ones(), "learning_rate": ones(), "grad_sq": ones()},
        "aruba_step": {"theta": ones(), "grad": ones(), "b": ones(), "g": ones(), "coef": 0.5},
        "adagrad_step": {
            "theta": ones(), "grad": ones(), "grad_sq": ones(), "learning_rate": 0.5, "delta": 0.1,
        },
    }[function]  # fmt: skip


def call(function, keywords):
    positional = {"step": 3, "aruba_step": 4, "adagrad_step": 3}[function]
    values = list(keywords.items())
    return getattr(af, function)(
        *(value for _, value in values[:positional]), **dict(values[positional:])
    )


def refused(function, changes, error, message, **how):
    """Calls with the changed arguments: the error, its message, and every array as it was."""
    keywords = arguments(function, **how) | changes
    before = snapshot(keywords)
    with pytest.raises(error, match=message) as caught:
        call(function, keywords)
    assert str(caught.value).startswith(f"{function}: ")
    assert snapshot(keywords) == before


WRITTEN = {
    "step": ("theta", "grad_sq"),
    "aruba_step": ("theta", "g"),
    "adagrad_step": ("theta", "grad_sq"),
}
ARRAYS = [
    (function, name)
    for function, names in {
        "step": ("theta", "grad", "learning_rate", "grad_sq"),
        "aruba_step": ("theta", "grad", "b", "g"),
        "adagrad_step": ("theta", "grad", "grad_sq"),
    }.items()
    for name in names
]
OUTPUTS = [(function, name) for function, names in WRITTEN.items() for name in names]
