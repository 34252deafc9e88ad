"""CuPy without a GPU: real `cupy.ndarray` objects in the machine's memory, NumPy computes for them.

CuPy's own hook for foreign implementations of its element-wise functions is used; what else needs a
driver is replaced: allocation, copies, streams and devices. What is computed is work of the current
stream, done when the machine's schedule says, and knows of an array no more than a kernel does: an
address.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from itertools import count

import cupy
import emulated_streams as streams
import numpy as np
from emulated_streams import Device, Event, Graph, Stream, get_current_stream


class Owned:
    """Memory of the pool, for as long as somebody has it."""

    def __init__(self, pointer):
        self.pointer = pointer

    def __del__(self):
        if streams.machine:
            streams.machine.give_back(self.pointer)


def allocate(n_bytes):
    """Memory of the current device and stream, filled with nans."""
    pointer = streams.machine.take(n_bytes, Stream.current)
    owned = cupy.cuda.UnownedMemory(pointer, n_bytes, Owned(pointer), Device.current)
    return cupy.cuda.MemoryPointer(owned, 0)


class Place:
    """Where the memory of an array is, and how it lies there."""

    def __init__(self, array):
        self.pointer, self.size, self.dtype = array.data.ptr, array.size, array.dtype
        self.shape, self.strides = array.shape, array.strides

    def view(self):
        """The memory as a NumPy array."""
        if not self.size:
            return np.empty(self.shape, self.dtype)
        steps = [s * (n - 1) for s, n in zip(self.strides, self.shape, strict=True)]
        low, high = (sum(s for s in steps if (s < 0) == below) for below in (True, False))
        raw = (ctypes.c_uint8 * (high - low + self.dtype.itemsize)).from_address(self.pointer + low)
        return np.ndarray(self.shape, self.dtype, raw, -low, self.strides)


def host(array):
    """The memory of a CuPy array as a NumPy array: a view, not a copy; once all work is done."""
    streams.machine.finish()
    return Place(array).view()


def work(function, *arrays):
    """Has the current stream call `function` on the memory of these arrays."""
    places = [Place(a) if isinstance(a, cupy.ndarray) else a for a in arrays]
    pointers = [p.pointer for p in places if isinstance(p, Place) and p.size]
    streams.enqueue(
        lambda: function(*(p.view() if isinstance(p, Place) else p for p in places)), pointers
    )


class ndarray(cupy.ndarray):  # noqa: N801 (CuPy's name for it)
    """An array whose element-wise functions NumPy computes, on the memory itself."""

    def __cupy_override_elementwise_kernel__(self, kernel, *arguments, out=None, **keywords):
        assert not keywords, keywords
        function = getattr(np, kernel.name.removeprefix("cupy_"))
        if out is None:
            ones = [np.ones(a.shape, a.dtype) if isinstance(a, cupy.ndarray) else a
                    for a in arguments]  # fmt: skip
            like = function(*ones)
            out = empty(like.shape, like.dtype)

        def compute(into, *values):
            with np.errstate(all="ignore"):
                into[...] = function(*values)

        work(compute, out, *arguments)
        return out

    def get(self, *_, **__):
        if get_current_stream().is_capturing():
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: get")
        result = np.empty(self.shape, self.dtype)
        work(lambda memory: np.copyto(result, memory), self)
        get_current_stream().synchronize()
        return result

    def copy(self, order="C"):
        return self.astype(self.dtype, order)

    def astype(self, dtype, order="K"):
        result = empty(self.shape, dtype, order if order != "K" else "C")
        work(copy_values, result, self)
        return result

    def sum(self, axis=None):
        like = np.ones(self.shape, self.dtype).sum(axis)
        result = empty(like.shape, like.dtype)
        work(lambda into, values: np.copyto(into, values.sum(axis)), result, self)
        return result

    def __getitem__(self, index):
        if not isinstance(index, cupy.ndarray):
            return super().__getitem__(index)
        result = empty((*index.shape, *self.shape[1:]), self.dtype)
        work(lambda into, values, at: np.copyto(into, values[at]), result, self, index)
        return result

    def __setitem__(self, index, values):
        values = values if isinstance(values, cupy.ndarray) else np.array(values)
        work(copy_values, super().__getitem__(index), values)

    def fill(self, value):
        work(copy_values, self, value)

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __repr__(self):
        return repr(self.get())

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return array, (self.get(),)


def copy_values(into, values):
    with np.errstate(all="ignore"):
        into[...] = values


def empty(shape, dtype=float, order="C"):
    return ndarray(shape, dtype, order=order)


def zeros(shape, dtype=float):
    result = empty(shape, dtype)
    result.fill(0)
    return result


def array(values, order="C"):
    """`values` copied to the current device; a graph would copy what lies there when it runs."""
    if get_current_stream().is_capturing():
        raise RuntimeError("cudaErrorStreamCaptureUnsupported: a copy of host memory")
    values = np.array(values)
    result = empty(values.shape, values.dtype, order)
    work(copy_values, result, values)
    return result


def shared(pointer, shape, dtype, strides, owner):
    """An array of this memory, which keeps `owner`."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize * int(np.prod(shape))
    owned = cupy.cuda.UnownedMemory(pointer, size, owner, 0)
    return ndarray(shape, dtype, cupy.cuda.MemoryPointer(owned, 0), strides)


def asarray(values, dtype=None):
    if isinstance(values, cupy.ndarray):
        return values if dtype in (None, values.dtype) else values.astype(dtype)
    if hasattr(values, "__cuda_array_interface__"):
        told = values.__cuda_array_interface__
        return shared(told["data"][0], told["shape"], told["typestr"], told["strides"], values)
    return array(np.asarray(values, dtype))


def from_dlpack(values):
    capsule, place = values.__dlpack__(stream=Stream.current or 1), Place(values.array)
    return shared(place.pointer, place.shape, place.dtype, place.strides, capsule)


def ascontiguousarray(values, dtype=None):
    if values.flags.c_contiguous and dtype in (None, values.dtype):
        return values
    return values.astype(dtype or values.dtype)


@contextmanager
def installed(machine):
    """Replaces what CuPy cannot do here."""
    here = {
        cupy: (empty, zeros, asarray, ascontiguousarray, from_dlpack),
        cupy.cuda: (Device, Event, Graph, Stream, get_current_stream),
    }
    before = {
        module: {f.__name__: getattr(module, f.__name__) for f in here[module]} for module in here
    }
    before[cupy.cuda]["ExternalStream"] = cupy.cuda.ExternalStream
    cupy.cuda.ExternalStream = Stream
    cupy.cuda.set_allocator(allocate)
    streams.machine, streams.numbers = machine, count(1)
    for module, functions in here.items():
        for function in functions:
            setattr(module, function.__name__, function)
    try:
        yield
    finally:
        machine.set_schedule(0)
        streams.machine = None
        for module, functions in before.items():
            for name, function in functions.items():
                setattr(module, name, function)
        cupy.cuda.set_allocator(cupy.get_default_memory_pool().malloc)
