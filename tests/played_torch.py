"""PyTorch's tensors in host memory, played as those of a CUDA device: nothing else of them changes.

DLPack's exchange API says that they lie on device 0, and so do their `.device`s in Python; what
PyTorch itself computes it computes at once.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import device
import pytest
from foreign import pointer_of
from torch_models import torch

# The two versions and four functions before `tensor_from_object`.
_OFFSET = 8 + 4 * ctypes.sizeof(ctypes.c_void_p)


def _tensor_of(array):
    """`torch.from_dlpack` of the emulated CuPy's arrays: their memory, which the tensor keeps."""
    import emulated_cupy

    memory = emulated_cupy.Place(array).view()
    if memory.base is not None:
        memory.base.owner = array
    return torch.from_numpy(memory)


def _array_of(tensor):
    """`cupy.from_dlpack` of a tensor."""
    import emulated_cupy

    host = tensor.detach().numpy()
    return emulated_cupy.shared(host.ctypes.data, host.shape, host.dtype, host.strides, tensor)


@contextmanager
def played():
    """Every tensor is one of device 0."""
    if device.REAL:
        pytest.skip("tensors are played on the emulated device only")
    import cupy
    from emulated_streams import Stream

    library = device.machine._library
    slot = ctypes.c_void_p.from_address(
        pointer_of(torch.Tensor.__dlpack_c_exchange_api__, b"dlpack_exchange_api") + _OFFSET
    )
    own = slot.value
    library.machine_set_description(ctypes.c_void_p(own))
    here, from_dlpack = torch.device("cuda", 0), torch.from_dlpack

    def shared(array):
        return _tensor_of(array) if isinstance(array, cupy.ndarray) else from_dlpack(array)

    def current_stream(_=None):
        return SimpleNamespace(cuda_stream=Stream.current, device_index=0)

    patches = [
        mock.patch.object(torch.Tensor, "device", property(lambda _: here), create=True),
        mock.patch.object(torch, "from_dlpack", shared),
        mock.patch.object(torch.cuda, "current_stream", current_stream),
        mock.patch.object(cupy, "from_dlpack", _array_of),
    ]
    for patch in patches:
        patch.start()
    slot.value = ctypes.cast(library.machine_describe, ctypes.c_void_p).value
    try:
        yield
    finally:
        slot.value = own
        for patch in reversed(patches):
            patch.stop()
