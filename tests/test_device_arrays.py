"""Device arrays of any library: their memory, their streams, and what is waited for."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import device
import ml_dtypes
import numpy as np
import pytest
from foreign import Capsule, Interface

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
FORMS = {
    "interface": Interface,
    "dlpack": Capsule,
    "dlpack 0": lambda array: Capsule(array, versioned=False),
    "list": lambda array: [Interface(array)],
}


@pytest.fixture
def emulated():
    """The machine that runs the kernels, its counts at zero."""
    if not device.machine:
        pytest.skip("counts are kept and streams are numbers on the emulated device only")
    device.machine.reset()
    return device.machine


@pytest.fixture
def stream():
    """CuPy's streams; the emulated ones are numbers."""
    import emulated_cupy

    return emulated_cupy.Stream


def vectors(rng, n=257, dtype=np.float32):
    theta, grad, rate, squares = rng.standard_normal((4, n)).astype(dtype)
    return theta, grad, rate**2, squares**2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_other_libraries_are_modified_in_place(form, dtype, rng):
    if device.REAL and form == "dlpack 0":
        pytest.skip("CuPy hands out versioned capsules")
    hosts = vectors(rng, dtype=dtype)
    devices = [device.array(a) for a in hosts]
    theta, grad, rate, squares = (FORMS[form](a) for a in devices)
    af.step(theta, grad, rate, grad_sq=squares)
    af.step(hosts[0], hosts[1], hosts[2], grad_sq=hosts[3])
    for got, expected in zip(devices, hosts, strict=True):
        np.testing.assert_array_equal(device.host(got), expected)


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_through_dlpack(half, rng):
    if device.REAL:
        pytest.importorskip("torch")
    theta, grad = np.ones(33, np.float32), rng.standard_normal(33).astype(half)
    on_device = device.array(theta)
    if half is np.float16:
        af.step(on_device, Capsule(device.array(grad)), 0.5)
    else:  # NumPy cannot export bfloat16: the bits of float16 stay, what they mean is another thing
        af.step(on_device, device.array(grad), 0.5)
    af.step(theta, grad, 0.5)
    np.testing.assert_array_equal(device.host(on_device), theta)


def test_strides_that_are_contiguous_are_known_as_such():
    theta, grad = (
        device.array(np.ones((3, 4), np.float32)),
        device.array(np.ones((3, 4), np.float32)),
    )
    af.step(Interface(theta, strides=(16, 4)), Capsule(grad), 0.5)
    np.testing.assert_array_equal(device.host(theta), np.full((3, 4), 0.5))


def test_cupys_current_stream_is_used(emulated, stream, rng):
    theta, grad, rate, squares = (device.array(a) for a in vectors(rng))
    for pointer in (0, 2, 4096):
        with stream(pointer):
            af.step(theta, grad, rate, grad_sq=squares)
            assert emulated.last_launch() == (0, pointer)
    assert emulated.counts()["waits"] == 0
    for pointer in (0, 2, 4096):
        with stream(pointer):
            af.step([theta, rate], [grad, squares], 0.5)
            assert emulated.last_launch() == (0, pointer)
    # The table of tensors was copied on the first stream, and that is seen to be done by now.
    assert emulated.counts()["copies"] == 1
    assert emulated.counts()["waits"] == 0
    assert emulated.counts()["launches"] == 6
    assert emulated.counts()["synchronizations"] == 0


def test_the_stream_of_an_interface_is_used_and_others_are_waited_for(emulated, rng):
    theta, grad, rate, squares = (device.array(a) for a in vectors(rng))
    af.step(Interface(theta, stream=4096), Interface(grad, stream=4096), 0.5)
    assert emulated.last_launch() == (0, 4096)
    assert emulated.counts()["waits"] == 0
    # The legacy default stream is 1 to the interface.
    af.step(Interface(theta, stream=1), Interface(grad), 0.5)
    assert emulated.last_launch() == (0, 0)
    assert emulated.counts()["waits"] == 0
    # Both ways: grad must be there, and not be overwritten before it was read.
    af.step(Interface(theta, stream=4096), Interface(grad, stream=8192), 0.5)
    assert emulated.last_launch() == (0, 4096)
    assert emulated.counts()["waits"] == 2
    af.step(theta, Interface(grad, stream=8192), Interface(rate, stream=8192), grad_sq=squares)
    assert emulated.last_launch() == (0, 0)
    assert emulated.counts()["waits"] == 4
    assert emulated.counts()["synchronizations"] == 0


def test_dlpack_producers_are_told_the_stream(emulated, stream, rng):
    theta, grad, _, squares = (device.array(a) for a in vectors(rng))
    grads = Capsule(grad)
    with stream(4096):
        af.step(theta, grads, 0.5, grad_sq=squares)
    assert emulated.last_launch() == (0, 4096)
    af.step(theta, grads, 0.5)
    assert grads.streams == [4096, 1]  # 1: the legacy default stream


class Tensor(Capsule):
    """What PyTorch's tensors look like here."""


@pytest.fixture
def torch(monkeypatch):
    if device.REAL:
        pytest.skip("PyTorch is played by two classes on the emulated device only")
    current = SimpleNamespace(cuda_stream=0)
    module = SimpleNamespace(Tensor=Tensor, cuda=SimpleNamespace(current_stream=lambda _: current))
    monkeypatch.setitem(sys.modules, "torch", module)
    return current


def test_pytorchs_current_stream_is_used(emulated, torch, stream, rng):
    theta, grad, _, squares = (Tensor(device.array(a)) for a in vectors(rng))
    torch.cuda_stream = 512
    with stream(4096):  # CuPy's, which is none of PyTorch's business
        af.step(theta, grad, 0.5, grad_sq=squares)
    assert emulated.last_launch() == (0, 512)
    assert emulated.counts()["waits"] == 0
    assert theta.streams == grad.streams == squares.streams == [-1]  # it need not do anything
    with stream(4096):
        af.step(theta, grad.array, 0.5)
    assert emulated.last_launch() == (0, 512)
    assert emulated.counts()["waits"] == 2
    with stream(4096):
        af.step(theta.array, grad, 0.5)
    assert emulated.last_launch() == (0, 4096)
    assert emulated.counts()["waits"] == 4


def test_calls_can_be_captured(emulated, rng):
    """After the first round, which warms the cache of tables up."""
    theta, grad, rate, squares = (device.array(a) for a in vectors(rng))
    for capture in (False, True):
        for call in (
            lambda: af.step(theta, grad, rate, grad_sq=squares),
            lambda: af.step([theta, rate], [grad, squares], 0.5),
            lambda: af.aruba_step(theta, grad, rate, squares, coef=0.5),
            lambda: af.adagrad_step(theta, grad, squares, learning_rate=0.5, delta=0.5),
        ):
            if capture:
                device.graph_of(call)
            else:
                call()
    assert emulated.counts()["synchronizations"] == 0


def test_other_devices_are_visited_and_left(emulated, rng):
    import cupy

    emulated.set_devices(2)
    try:
        with cupy.cuda.Device(1):
            theta, grad, rate, squares = (device.array(a) for a in vectors(rng))
        af.step(theta, grad, rate, grad_sq=squares)
        assert emulated.last_launch()[0] == 1
        here = device.array(np.ones(3, np.float32))
        af.step(here, device.array(np.ones(3, np.float32)), 0.5)
        assert emulated.last_launch()[0] == 0
        before = device.host(theta)
        with pytest.raises(TypeError, match=r"step: `grad`.*device of `theta`.*cuda:0.*cuda:1"):
            af.step(theta, device.array(np.ones(257, np.float32)), 0.5)
        np.testing.assert_array_equal(device.host(theta), before)
    finally:
        emulated.set_devices(1)


def test_what_the_driver_refuses_is_told(emulated, rng):
    theta, grad, _, _ = (device.array(a) for a in vectors(rng))
    emulated.fail_next("cudaLaunchKernelEx", 719)
    with pytest.raises(af.CudaError, match="719"):
        af.step(theta, grad, 0.5)
    af.step(theta, grad, 0.5)  # the error does not stick


def test_foreign_arrays_are_let_go(rng):
    grad = Capsule(device.array(vectors(rng)[1]))
    theta = device.array(vectors(rng)[0])
    before = sys.getrefcount(grad.array)
    for _ in range(10):
        af.step(theta, grad, 0.5)
    device.host(theta)
    af.step(theta, theta.copy(), 0.5)  # the last one, by the call after it
    after = sys.getrefcount(grad.array)
    assert after == before
