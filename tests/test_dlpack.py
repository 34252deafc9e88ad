"""DLPack in host memory: versions that are not known are not read."""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from foreign import pointer_of

import aruba_fast as af


class Newer:
    """An array whose capsule says that it is of another major version."""

    def __init__(self, array, major):
        self.array, self.major = array, major

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **keywords):
        capsule = self.array.__dlpack__(max_version=(1, 0))
        ctypes.c_uint32.from_address(pointer_of(capsule, b"dltensor_versioned")).value = self.major
        return capsule


@pytest.mark.parametrize("name", ["theta", "grad"])
def test_another_major_version_is_refused(name):
    arrays = {"theta": np.ones(3), "grad": np.ones(3)}
    af.step(**arrays | {name: Newer(arrays[name].copy(), 1)}, learning_rate=0.0)
    with pytest.raises(TypeError, match=f"^step: `{name}` must be .*major version"):
        af.step(**arrays | {name: Newer(np.ones(3), 2)}, learning_rate=0.5)
    np.testing.assert_array_equal(arrays["theta"], 1)


class Tensor(ctypes.Structure):
    """dlpack.h's DLTensor."""

    _fields_ = [("data", ctypes.c_void_p), ("kind", ctypes.c_int32), ("id", ctypes.c_int32),
                ("n_dimensions", ctypes.c_int32), ("code", ctypes.c_uint8),
                ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)),
                ("strides", ctypes.c_void_p), ("byte_offset", ctypes.c_uint64)]  # fmt: skip


Describe = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(Tensor))


class Api(ctypes.Structure):
    """The head of its DLPackExchangeAPI."""

    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32),
                ("previous", ctypes.c_void_p), ("unused", ctypes.c_void_p * 3),
                ("describe", Describe)]  # fmt: skip


@Describe
def describe(tensor, out):
    array = tensor.array
    out.contents.data, out.contents.kind, out.contents.n_dimensions = array.ctypes.data, 1, 1
    out.contents.code, out.contents.bits, out.contents.lanes = 2, 64, 1
    out.contents.strides, out.contents.byte_offset, out.contents.id = None, 0, 0
    tensor.shape = array.ctypes.shape_as(ctypes.c_int64)  # for as long as the tensor
    out.contents.shape = tensor.shape
    return 0


def test_the_exchange_api_of_a_newer_version_leads_to_an_older_one(monkeypatch):
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    known = Api(1, 0, None, (ctypes.c_void_p * 3)(), describe)
    for previous in (None, ctypes.addressof(known)):
        newer = Api(2, 0, previous)  # it has no function that could be called
        capsule = make(ctypes.addressof(newer), b"dlpack_exchange_api", None)

        class Player(Newer):
            __dlpack_c_exchange_api__ = capsule
            __torch_dispatch__ = layout = None
            device = SimpleNamespace(type="cpu")
            is_neg = is_conj = numel = lambda _: 0

        torch = SimpleNamespace(Tensor=Player, strided=None)
        monkeypatch.setitem(sys.modules, "torch", torch)
        theta = Player(np.ones(3), 1 if previous is None else 2)
        # A thread that has not seen the real PyTorch, of which threads keep a function.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(af.step, theta, np.ones(3), 0.5).result()
        np.testing.assert_array_equal(theta.array, 0.5)
