"""What the native functions of a device refuse, though Python never asks it of them."""

from __future__ import annotations

import device
import ml_dtypes
import numpy as np
import pytest

import aruba_fast as af
from aruba_fast._state import ARRAYS

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
F32 = np.float32


class Case:
    """Arguments of the native functions for two tasks of three rows and two features."""

    def __init__(self, dtype=F32):
        ones = lambda *shape: device.array(np.ones(shape, dtype))  # noqa: E731
        offsets = [device.array(np.array(at, np.int64)) for at in ([0, 3], [3, 6])]
        self.results = [ones(2, 2), ones(2, 2)]
        self.loss = device.array(np.ones(2))
        self.run = lambda *rule: af._cuda.run_tasks(
            (ones(6, 2), ones(6), *offsets, None, None), ones(2), rule, ("squared", 1, 1, None),
            (*self.results, None, self.loss),
        )  # fmt: skip
        arrays = {name: device.array(np.ones(2)) for name in ARRAYS}
        arrays |= {name: ones(2) for name in ("phi", "rate")}
        arrays["counts"] = device.array(np.zeros(2, np.int64))
        arrays["limit"] = device.array(np.ones(1))
        self.learn = lambda: af._cuda.MetaState(
            arrays, learning_rate=1.0, zeta=1.0, p=1.0, decay=0.0, isotropic=False,
            max_learning_rate=None, average_task=False, tight=False,
        )  # fmt: skip


@pytest.mark.parametrize("rule", ["eg", "sgd", ""])
def test_rules_that_a_device_does_not_know(rule):
    case = Case()
    with pytest.raises(ValueError, match=r"^run_tasks: `rule` must be .*expected ogd, adagrad"):
        case.run(rule, 0.1)
    for untouched in (*case.results, case.loss):
        np.testing.assert_array_equal(device.host(untouched), 1)
    case.run("aruba++", 0.1, 0.0)


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_no_type_of_a_learner_or_of_labels(half):
    rule = r"must be float32 or float64: got b?float16"
    with pytest.raises(TypeError, match=f"MetaState: `phi` {rule}"):
        Case(half).learn()
    with pytest.raises(TypeError, match=f"run_tasks: `y` {rule}"):
        af._cuda.check_labels("run_tasks", device.array(np.ones(3, half)), "logistic", 2)
    with pytest.raises(TypeError, match=r"run_tasks: `y` must .*: got b?float16, expected float32"):
        Case(half).run("ogd", 0.1)


def test_the_device_is_as_before_where_an_allocation_fails(monkeypatch):
    if not device.machine:
        pytest.skip("memory is short on the emulated device only")
    import emulated_cupy

    device.machine.set_devices(2)
    with emulated_cupy.Device(1):
        case = Case()

    def short(n_bytes):
        raise MemoryError(f"no {n_bytes} bytes")

    try:
        with monkeypatch.context() as patch, emulated_cupy.Stream(4096):
            patch.setattr(emulated_cupy.cupy.cuda, "alloc", short)
            with pytest.raises(MemoryError, match=r"no \d+ bytes"):
                af._cuda.check_labels("run_tasks", case.results[0].reshape(4), "logistic", 2)
            assert emulated_cupy.Stream.current == 4096
        assert emulated_cupy.Device.current == 0
    finally:
        device.machine.set_devices(1)
