"""Arrays of other libraries on a device, known by their protocols only."""

from __future__ import annotations

import ctypes

import device

CUDA = 2  # DLPack's number for it


class Interface:
    """`__cuda_array_interface__` of a CuPy array, as numba and others offer it."""

    def __init__(self, array, *, stream=None, read_only=False, **changes):
        self.array = array
        self._fields = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.data.ptr, read_only),
            "strides": None if array.flags.c_contiguous else array.strides,
            "stream": stream,
            "version": 3,
        } | changes

    @property
    def __cuda_array_interface__(self):
        return self._fields


def pointer_of(capsule, name):
    """Where a capsule points to."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, name)


class Capsule:
    """DLPack of a CuPy array; remembers the stream that it was asked to be ready on.

    `major` is the version that a capsule says it has, `place` where it says that its memory is.
    """

    def __init__(
        self, array, *, versioned=True, read_only=False, number=0, major=1, place=None, null=False
    ):
        self.array, self.versioned, self.read_only = array, versioned, read_only
        self.number, self.major, self.null = number, major, null
        self.place = (CUDA, number) if place is None else place
        self.streams = []

    def __dlpack_device__(self):
        return CUDA, self.number

    def __dlpack__(self, *, stream, **keywords):
        if keywords and not self.versioned:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.streams.append(stream)
        if device.REAL:
            return self.array.__dlpack__(stream=stream, **keywords)
        import emulated_cupy

        memory = emulated_cupy.Place(self.array).view()
        if memory.base is not None:
            memory.base.owner = self.array  # the capsule keeps the memory
        memory.flags.writeable = not self.read_only
        if not self.versioned:
            capsule = memory.__dlpack__()
            where = pointer_of(capsule, b"dltensor")
        else:
            capsule = memory.__dlpack__(max_version=(1, 0))
            head = pointer_of(capsule, b"dltensor_versioned")
            ctypes.c_uint32.from_address(head).value = self.major
            where = head + 32
        if self.null:
            ctypes.c_void_p.from_address(where).value = None
        ctypes.c_int32.from_address(where + 8).value = self.place[0]
        ctypes.c_int32.from_address(where + 12).value = self.place[1]
        return capsule
