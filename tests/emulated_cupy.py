"""CuPy without a GPU: real `cupy.ndarray` objects over host memory, NumPy computes for them.

CuPy's own hook for foreign implementations of its element-wise functions is used; what else needs a
driver is replaced: allocation, copies, streams and devices.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager

import cupy
import numpy as np


def allocate(n_bytes):
    """Memory that CuPy believes is on the current device, filled with nans."""
    memory = np.full(max(n_bytes, 1), 0xFF, np.uint8)
    owned = cupy.cuda.UnownedMemory(memory.ctypes.data, n_bytes, memory, Device.current)
    return cupy.cuda.MemoryPointer(owned, 0)


def host(array):
    """The memory of a CuPy array as a NumPy array: a view, not a copy."""
    if not array.size:
        return np.empty(array.shape, array.dtype)
    low = min([0] + [s * (n - 1) for s, n in zip(array.strides, array.shape, strict=True) if s < 0])
    high = sum(s * (n - 1) for s, n in zip(array.strides, array.shape, strict=True) if s > 0)
    size = high - low + array.itemsize
    raw = (ctypes.c_uint8 * size).from_address(array.data.ptr + low)
    return np.ndarray(array.shape, array.dtype, raw, -low, array.strides)


class ndarray(cupy.ndarray):  # noqa: N801 (CuPy's name for it)
    """An array whose element-wise functions NumPy computes, on the memory itself."""

    def __cupy_override_elementwise_kernel__(self, kernel, *arguments, out=None, **keywords):
        assert not keywords, keywords
        values = [host(a) if isinstance(a, cupy.ndarray) else a for a in arguments]
        name = kernel.name.removeprefix("cupy_")
        with np.errstate(all="ignore"):
            result = getattr(np, name)(*values)
        if out is None:
            return array(result)
        host(out)[...] = result
        return out

    def get(self, *_, **__):
        return host(self).copy()

    def copy(self, order="C"):
        return array(host(self), order)

    def astype(self, dtype, order="K"):
        with np.errstate(all="ignore"):
            return array(host(self).astype(dtype), order if order != "K" else "C")

    def __getitem__(self, index):
        if isinstance(index, cupy.ndarray):
            return array(host(self)[host(index)])
        return super().__getitem__(index)

    def __int__(self):
        return int(host(self))

    def __float__(self):
        return float(host(self))

    def __repr__(self):
        return repr(host(self))

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return array, (host(self).copy(),)


def empty(shape, dtype=float, order="C"):
    return ndarray(shape, dtype, order=order)


def zeros(shape, dtype=float):
    result = empty(shape, dtype)
    host(result)[...] = 0
    return result


def array(values, order="C"):
    """`values` copied to the current device."""
    values = np.asarray(values)
    result = empty(values.shape, values.dtype, order)
    host(result)[...] = values
    return result


def asarray(values, dtype=None):
    if isinstance(values, cupy.ndarray) and dtype in (None, values.dtype):
        return values
    if hasattr(values, "__cuda_array_interface__"):
        fields = values.__cuda_array_interface__
        shape, kind = fields["shape"], np.dtype(fields["typestr"])
        owned = cupy.cuda.UnownedMemory(
            fields["data"][0], kind.itemsize * np.prod(shape), values, 0
        )
        return ndarray(shape, kind, cupy.cuda.MemoryPointer(owned, 0))
    return array(np.asarray(host(values) if isinstance(values, cupy.ndarray) else values, dtype))


def ascontiguousarray(values, dtype=None):
    if values.flags.c_contiguous and dtype in (None, values.dtype):
        return values
    return array(host(values).astype(dtype or values.dtype))


class Device:
    """`cupy.cuda.Device`: which one is current."""

    current = 0

    def __init__(self, device=None):
        self.id = Device.current if device is None else device

    def __enter__(self):
        self.before, Device.current = Device.current, self.id
        return self

    def __exit__(self, *_):
        Device.current = self.before


class Event:
    """`cupy.cuda.Event`: a test says whether it is done, and sees which stream waits for it."""

    all_done = True

    def __init__(self, stream):
        self.recorded_on, self.waited_for_on = stream, []

    @property
    def done(self):
        return Event.all_done


class Stream:
    """`cupy.cuda.Stream`: a number that kernels are launched on, and which one is current."""

    current = 0

    def __init__(self, ptr):
        self.ptr = ptr

    def __enter__(self):
        self.before, Stream.current = Stream.current, self.ptr
        return self

    def __exit__(self, *_):
        Stream.current = self.before

    def record(self):
        return Event(self.ptr)

    def wait_event(self, event):
        event.waited_for_on.append(self.ptr)


def get_current_stream(device_id=-1):  # noqa: ARG001 (CuPy's name for it)
    return Stream(Stream.current)


@contextmanager
def installed():
    """Replaces what CuPy cannot do here."""
    here = {
        cupy: (empty, zeros, asarray, ascontiguousarray),
        cupy.cuda: (Device, get_current_stream),
    }
    before = {
        module: {f.__name__: getattr(module, f.__name__) for f in here[module]} for module in here
    }
    cupy.cuda.set_allocator(allocate)
    before[cupy.cuda]["alloc"] = cupy.cuda.alloc
    cupy.cuda.alloc = allocate
    for module, functions in here.items():
        for function in functions:
            setattr(module, function.__name__, function)
    try:
        yield
    finally:
        for module, functions in before.items():
            for name, function in functions.items():
                setattr(module, name, function)
        cupy.cuda.set_allocator(cupy.get_default_memory_pool().malloc)
