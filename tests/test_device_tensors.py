"""Tensors of PyTorch on a device are read by DLPack's exchange API: no Python call a tensor."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import device
import numpy as np
import pytest
from cases import kernels
from foreign import Described

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
SHAPES = [(3,), (0,), (4, 5), (1,), (17, 33), (1000,)] * 8


class Tensor(Described):
    """What PyTorch's tensors look like here."""

    def contiguous(self):
        return Tensor(self.array.copy())


@pytest.fixture
def asked(monkeypatch):
    """How often PyTorch was asked for its current stream."""
    if device.REAL:
        pytest.skip("PyTorch is played by two classes on the emulated device only")
    numbers = []

    def current_stream(number):
        numbers.append(number)
        return SimpleNamespace(cuda_stream=0)

    cuda = SimpleNamespace(current_stream=current_stream)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(Tensor=Tensor, cuda=cuda))
    return numbers


def tensors(arrays):
    return [Tensor(device.array(array)) for array in arrays]


@kernels
@pytest.mark.parametrize("planned", [False, True])
def test_lists_of_tensors_have_the_bits_of_the_host(kernel, planned, asked, rng):
    given = {}
    for name in kernel.arguments:
        draw = rng.standard_normal if name in ("theta", "grad") else rng.random
        given[name] = [draw(shape).astype(np.float32) for shape in SHAPES]
    on_device = {name: tensors(arrays) for name, arrays in given.items()}
    function = getattr(af, kernel.function)
    plan = af.StepPlan(function, **(on_device | kernel.numbers)) if planned else None
    for _ in range(2):
        kernel.call(given)
        asked.clear()
        plan.step() if plan else kernel.call(on_device)
        assert len(asked) <= 2, "once a call, not once a tensor"
    for name in kernel.arguments:
        for one, other in zip(on_device[name], given[name], strict=True):
            assert device.host(one.array).tobytes() == other.tobytes(), name


@pytest.mark.usefixtures("asked")
def test_strided_gradients_are_copied_and_strided_parameters_are_refused():
    theta, wide = tensors([np.zeros((3, 4), np.float32)]), np.arange(12, dtype=np.float32)
    grad = Tensor(device.array(wide.reshape(4, 3)).T)
    af.step(theta, [grad], 1.0)
    np.testing.assert_array_equal(device.host(theta[0].array), -wide.reshape(4, 3).T)
    with pytest.raises(TypeError, match=r"^step: `theta\[0\]` must be C-contiguous and aligned"):
        af.step([grad], theta, 1.0)


REFUSED = {
    "negated": ({"is_neg": lambda: True}, "be a plain tensor: got one whose numbers are negated"),
    "in host memory": ({"place": (1, 0)}, "live on the device of `theta`: got Tensor in host"),
    "on another device": ({"place": (2, 1)}, "live on the device of `theta`: got cuda:1"),
    "of another kind": ({"place": (10, 0)}, "live on the device of `theta`: got Tensor on another"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("asked")
def test_what_is_no_tensor_of_the_device_is_refused(case):
    changes, message = REFUSED[case]
    theta, grad = (tensors([np.full(3, v, np.float32) for _ in range(2)]) for v in (0, 1))
    for name, value in changes.items():
        setattr(grad[1], name, value)
    with pytest.raises(TypeError, match=rf"^step: `grad\[1\]` must {message}"):
        af.step(theta, grad, 1.0)
    assert not any(device.host(t.array).any() for t in theta)
