"""Steps on arrays of a CUDA device: the table of the CPU kernels, bit for bit the same."""

from __future__ import annotations

import device
import ml_dtypes
import numpy as np
import pytest
from buffers import Guarded
from cases import KERNELS, SIZES, dtypes, kernel_arguments, kernels

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]


class OnDevice:
    """A copy of a guarded buffer: the view on the device, and the bytes around it."""

    def __init__(self, guarded):
        self.guarded = guarded
        self.bytes = device.array(guarded.bytes)
        view = guarded.view
        first = view.ctypes.data - guarded.bytes.ctypes.data
        inside = self.bytes[first : first + view.nbytes]
        self.view = inside.view(view.dtype).reshape(view.shape)

    def check(self, name):
        """All bytes are those of the host's buffer after its own call."""
        np.testing.assert_array_equal(device.host(self.bytes), self.guarded.bytes, err_msg=name)


def compare(kernel, arguments, dtype, offset=0, grad_dtype=None):
    """Runs the kernel on the host and on the device: every byte agrees, the neighbours' too."""
    types = {name: np.dtype(dtype) for name in arguments} | {"grad": np.dtype(grad_dtype or dtype)}
    hosts = {n: Guarded(v.astype(types[n]), offset) for n, v in arguments.items()}
    devices = {name: OnDevice(guarded) for name, guarded in hosts.items()}
    kernel.call({name: d.view for name, d in devices.items()})
    kernel.call({name: g.view for name, g in hosts.items()})
    assert all(g.intact() for g in hosts.values())
    for name, d in devices.items():
        d.check(name)


@kernels
@dtypes
@pytest.mark.parametrize("size", SIZES)
def test_every_size_and_offset(kernel, dtype, size, rng):
    for offset in range(4):
        compare(kernel, kernel_arguments(kernel, rng, (size,)), dtype, offset)


@kernels
@dtypes
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 17), (5, 3), (7, 129), (33, 31), (0, 4)])
@pytest.mark.parametrize("shared", [False, True], ids=["own_rates", "shared_rates"])
def test_every_task_of_a_matrix(kernel, dtype, shape, shared, rng):
    for offset in (0, 1):
        compare(kernel, kernel_arguments(kernel, rng, shape, shared), dtype, offset)


@kernels
@pytest.mark.parametrize("half", [ml_dtypes.bfloat16, np.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("size", [1, 3, 16, 33, 129, 4097])
def test_half_precision_gradients(kernel, half, size, rng):
    arguments = kernel_arguments(kernel, rng, (size,))
    arguments["grad"] = 1000.0 * arguments["grad"]
    for offset in range(4):
        compare(kernel, arguments, np.float32, offset, half)
    compare(kernel, kernel_arguments(kernel, rng, (3, size), True), np.float32, 1, half)


LIST_SHAPES = [(17,), (0,), (3, 5), (1,), (2, 2, 9), (4097,), (128,)]


@kernels
@dtypes
@pytest.mark.parametrize("repeats", [1, 30])
def test_a_whole_model_is_one_launch(kernel, dtype, repeats, rng):
    """Tensors of every shape, empty and unaligned ones included."""
    hosts = [
        {n: Guarded(v.astype(dtype), 1) for n, v in kernel_arguments(kernel, rng, shape).items()}
        for shape in LIST_SHAPES * repeats
    ]
    devices = [{n: OnDevice(g) for n, g in arguments.items()} for arguments in hosts]
    for round in range(3):
        if device.machine:
            device.machine.reset()
        kernel.call({n: [d[n].view for d in devices] for n in kernel.arguments})
        if device.machine:
            counts = device.machine.counts()
            assert counts["launches"] == 1
            assert counts["synchronizations"] == 0
            # The table of tensors goes to the device once: later rounds find it there.
            assert counts["copies"] == (1 if round == 0 else 0)
        kernel.call({n: [g[n].view for g in hosts] for n in kernel.arguments})
    for arguments in devices:
        for name, d in arguments.items():
            d.check(name)


@dtypes
def test_a_scalar_rate_and_no_statistics(dtype, rng):
    theta, grad = rng.standard_normal((2, 7, 33)).astype(dtype)
    on_device = device.array(theta)
    af.step(on_device, device.array(grad), 0.3)
    af.step(theta, grad, 0.3)
    np.testing.assert_array_equal(device.host(on_device), theta)


@dtypes
def test_strided_inputs_are_copied_on_the_device(dtype, rng):
    theta, grad, rate = np.ones(9, dtype), rng.standard_normal(18).astype(dtype), np.ones(27, dtype)
    on_device = device.array(theta)
    af.step(on_device, device.array(grad)[::2], device.array(rate)[::-3])
    af.step(theta, grad[::2], rate[::-3])
    np.testing.assert_array_equal(device.host(on_device), theta)


def test_empty_arrays_are_no_work():
    empty = device.array(np.empty((0, 3), np.float32))
    af.step(empty, device.array(np.empty((0, 3), np.float32)), 0.1)


@pytest.mark.parametrize("order", [1, 2, 77])
def test_the_order_of_blocks_and_threads_does_not_matter(order, rng):
    if not device.machine:
        pytest.skip("the order can be chosen on the emulated device only")
    device.machine.set_order(order)
    try:
        for kernel in KERNELS:
            compare(kernel, kernel_arguments(kernel, rng, (5003,)), np.float32, 1)
    finally:
        device.machine.set_order(0)
