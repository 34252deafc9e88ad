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


class Description(ctypes.Structure):
    """DLTensor of DLPack."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("kind", ctypes.c_int32),
        ("number", ctypes.c_int32),
        ("n_dimensions", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


@ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(Description))
def _describe(tensor, out):
    out[0] = tensor.description()
    return 0


class _ExchangeApi(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("others", ctypes.c_void_p * 4),
        ("describe", ctypes.c_void_p),
    )


_API = _ExchangeApi(1, 3, describe=ctypes.cast(_describe, ctypes.c_void_p))
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_NAME = b"dlpack_exchange_api"


class Described(Capsule):
    """A tensor whose type has DLPack's exchange API, as PyTorch's: no capsule is made of it."""

    __dlpack_c_exchange_api__ = _new_capsule(ctypes.addressof(_API), _NAME, None)

    def __dlpack__(self, **keywords):
        raise AssertionError("not asked")

    __dlpack_device__ = __dlpack__

    def is_neg(self):
        return False

    def description(self):
        array = self.array
        bits = 8 * array.itemsize
        code = 4 if array.dtype.name == "bfloat16" else 2
        sizes = [ctypes.c_int64 * array.ndim for _ in range(2)]
        self.shape = sizes[0](*array.shape)
        self.strides = sizes[1](*(n // array.itemsize for n in array.strides))
        shape, strides = (
            ctypes.cast(n, ctypes.POINTER(ctypes.c_int64)) for n in (self.shape, self.strides)
        )
        return Description(
            array.data.ptr, *self.place, array.ndim, code, bits, 1, shape, strides, 0
        )
