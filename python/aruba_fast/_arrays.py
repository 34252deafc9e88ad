"""Where arrays live: NumPy's in host memory, CuPy's on a CUDA device, and what works on each."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import _core


class ForeignArray(Protocol):
    """An array of another library: CuPy's, PyTorch's, JAX's and all others that speak DLPack."""

    def __dlpack__(self, *args: Any, **keywords: Any) -> Any:
        """Hands the memory over."""

    def __dlpack_device__(self) -> tuple[Any, Any]:
        """Tells where the memory is."""


def require_plain(function: str, name: str, value: Any) -> None:
    """Refuses a tensor of PyTorch whose numbers are not those that its memory holds."""
    torch: Any = sys.modules.get("torch")
    plain: Any = getattr(torch, "Tensor", ())
    if not isinstance(value, plain):
        return
    kind = type(value)
    functorch = getattr(torch._C, "_functorch", None)
    if kind.__torch_dispatch__ is not plain.__torch_dispatch__:
        got = f"a {kind.__name__}, whose class gives memory a meaning of its own"
        expected = "a torch.Tensor of its numbers, as DTensor.full_tensor() returns"
    elif functorch and functorch.is_functorch_wrapped_tensor(value):
        got, expected = "one within a transform of torch.func", "a call outside of it"
    elif value.device.type not in ("cpu", "cuda"):
        got, expected = f"one on {str(value.device)!r}", "one on 'cpu' or 'cuda'"
    elif value.layout is not torch.strided:
        return  # its exporter's own sentence is as good
    elif value.is_neg() or value.is_conj():
        got = "one whose numbers are negated or conjugated when they are read"
        expected = "resolve_neg() or resolve_conj() of it"
    elif value.numel() and not value.data_ptr():
        got, expected = "one without memory", "one that has it"
    else:
        return
    raise TypeError(f"{function}: `{name}` must be a plain tensor: got {got}, expected {expected}")


def cuda_module(function: str, name: str, value: object) -> ModuleType:
    """Returns the native code for CUDA devices, on behalf of an argument that asks for it."""
    try:
        return import_module("aruba_fast._cuda")
    except ModuleNotFoundError:
        raise TypeError(
            f"{function}: `{name}` must live in host memory, this aruba_fast was built without "
            f"CUDA: got {_described(value)}, expected a NumPy array, or a build with nvcc"
        ) from None


def _described(value: object) -> str:
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {', '.join(map(_described, value[:1]))}"
    return f"{type(value).__module__}.{type(value).__qualname__} on a CUDA device"


def _cupy(function: str, name: str, value: object) -> Any:
    """Returns CuPy, which owns and allocates the memory of devices."""
    try:
        import cupy
    except ImportError:
        raise ImportError(
            f"{function}: `{name}` must not be on a CUDA device without CuPy: got "
            f"{_described(value)}, expected CuPy from pip install 'aruba_fast[cuda13]' or "
            "'aruba_fast[cuda12]'"
        ) from None
    return cupy


def on_cuda(value: object) -> bool:
    """Whether `value` is an array, of any library, in the memory of a CUDA device."""
    return not isinstance(value, np.ndarray) and _core.on_cuda(value)


def from_cuda(function: str, name: str, value: Any) -> Any:
    """Returns an array on a CUDA device, of any library, as CuPy's, sharing its memory."""
    cuda_module(function, name, value).require_device(function)
    cupy = _cupy(function, name, value)
    if isinstance(value, cupy.ndarray):
        return value
    return cupy.from_dlpack(value) if hasattr(value, "__dlpack__") else cupy.asarray(value)


def namespace(array: Any) -> Any:
    """Returns the module, numpy or cupy, whose array this is."""
    return np if isinstance(array, np.ndarray) else _cupy("aruba_fast", "array", array)


def native(array: Any) -> Any:
    """Returns the native code that works where `array` lives."""
    return _core if isinstance(array, np.ndarray) else cuda_module("aruba_fast", "array", array)


def device_of(array: Any) -> str:
    """Returns the name of the place where an array lives: "cpu", "cuda:0", ..."""
    return "cpu" if isinstance(array, np.ndarray) else f"cuda:{array.data.device_id}"


def shown(array: Any) -> str:
    """Returns what `repr` adds of the device: nothing in host memory."""
    return "" if isinstance(array, np.ndarray) else f", device={device_of(array)!r}"


def beside(array: Any) -> AbstractContextManager[Any]:
    """Returns a context in which arrays are made where `array` lives."""
    if isinstance(array, np.ndarray):
        return nullcontext()
    device: AbstractContextManager[Any] = namespace(array).cuda.Device(array.data.device_id)
    return device


def empty(shape: tuple[int, ...], dtype: Any, like: Any) -> Any:
    """Returns a new array where `like` lives."""
    if isinstance(like, np.ndarray):
        return np.empty(shape, dtype)
    with beside(like):
        return namespace(like).empty(shape, dtype)


def zeros(shape: tuple[int, ...] | int, dtype: Any, like: Any) -> Any:
    """Returns a new array of zeros where `like` lives."""
    with beside(like):
        return namespace(like).zeros(shape, dtype)


def moved(array: NDArray[Any], like: Any) -> NDArray[Any]:
    """Returns a host array where `like` lives: itself, or a copy on the device."""
    if isinstance(like, np.ndarray):
        return array
    with beside(like):
        copy: NDArray[Any] = namespace(like).asarray(array)
        return copy


def recorded(like: Any) -> Any:
    """Returns an event after what was enqueued on the current stream beside `like`, or None."""
    if isinstance(like, np.ndarray):
        return None
    with beside(like):
        return namespace(like).cuda.get_current_stream().record()


def await_event(event: Any, like: Any) -> None:
    """Makes the current stream, which may be another one by now, wait for what was recorded."""
    # Not asked of an event that is done: a stream that is captured must not wait for it.
    if event is not None and not event.done:
        with beside(like):
            namespace(like).cuda.get_current_stream().wait_event(event)


def host(array: Any) -> NDArray[Any]:
    """Returns an array in host memory: itself, or a copy that waits for the device."""
    result: NDArray[Any] = array if isinstance(array, np.ndarray) else array.get()
    return result


def contiguous(array: Any, dtype: Any = None) -> NDArray[Any]:
    """Returns an aligned C-contiguous array, without a copy where that is possible."""
    if isinstance(array, np.ndarray):
        return np.require(array, dtype, requirements=("C", "A"))
    result: NDArray[Any] = namespace(array).ascontiguousarray(array, dtype)
    return result


def owned(array: Any) -> NDArray[Any]:
    """Returns a copy of contiguous memory of its own, in native byte order, where `array` lives."""
    if isinstance(array, np.ndarray):
        return np.array(array, array.dtype.newbyteorder("="), order="C")
    with beside(array):
        copy: NDArray[Any] = array.copy()
        return copy


def frozen(array: Any) -> NDArray[Any]:
    """Returns a view that cannot be written through; CuPy has no such views, there it can."""
    view: NDArray[Any] = array.view()
    if isinstance(view, np.ndarray):
        view.setflags(write=False)
    return view


def all_moved(function: str, arrays: Mapping[str, Any], device: object) -> dict[str, Any]:
    """Returns copies of arrays by name on another device, "cpu", "cuda" or "cuda:1"."""
    if device == "cpu":
        return {name: np.array(host(array)) for name, array in arrays.items()}
    kind, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind != "cuda" or not (number.isdecimal() or device == "cuda"):
        raise ValueError(
            f"{function}: `device` must be known: got {device!r}, expected 'cpu', 'cuda' or "
            "'cuda:' and a number"
        )
    cuda = cuda_module(function, "device", device)
    cuda.require_device(function)
    cupy = _cupy(function, "device", device)
    if int(number or 0) >= (n_devices := cuda.info()["devices"]):
        raise _core.CudaError(
            f"{function}: `device` must be one of this machine: got {device!r}, "
            f"expected at most 'cuda:{n_devices - 1}'"
        )
    with cupy.cuda.Device(int(number)) if number else nullcontext():
        return {name: cupy.asarray(host(array)) for name, array in arrays.items()}
