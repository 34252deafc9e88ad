"""Where arrays live: NumPy's in host memory, CuPy's on a CUDA device, and what works on each."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
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


def cuda_module(function: str, name: str, value: object) -> ModuleType:
    """Returns the native code for CUDA devices, on behalf of an argument that asks for it."""
    try:
        return import_module("aruba_fast._cuda")
    except ModuleNotFoundError:
        raise TypeError(
            f"{function}: `{name}` must live in host memory, this aruba_fast was built without "
            f"CUDA: got {_described(value)}, expected a NumPy array, or a build with ARUBA_CUDA=ON"
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


class _Kept:
    """Arrays that are kept, once nobody has them any more, until the streams in use are done."""

    def __init__(self, arrays: Any, like: Any) -> None:
        self.arrays, self.streams = arrays, set[int]()
        self._device, self._cuda = like.data.device_id, namespace(like).cuda
        self._hold = native(like).hold

    def current_stream(self) -> int:
        current: int = self._cuda.get_current_stream(self._device).ptr
        return current

    def __del__(self) -> None:
        with suppress(_core.CudaError):  # at the end of the process the driver may be gone
            for stream in self.streams:
                self._hold(self._device, stream, self.arrays)


class _Lent(_Kept):
    """Memory of another library, which uses it anew as soon as nobody holds its array.

    It knows nothing of the work that CuPy's stream still has to do with it.
    """

    def __del__(self) -> None:
        self.streams.add(self.current_stream())
        super().__del__()


def from_cuda(function: str, name: str, value: Any) -> Any:
    """Returns an array on a CUDA device, of any library, as CuPy's, sharing its memory."""
    cuda_module(function, name, value).require_device(function)
    cupy = _cupy(function, name, value)
    if isinstance(value, cupy.ndarray):
        return value
    lent = cupy.from_dlpack(value) if hasattr(value, "__dlpack__") else cupy.asarray(value)
    place = lent.data
    memory = cupy.cuda.UnownedMemory(place.ptr, lent.nbytes, _Lent(lent, lent), place.device_id)
    pointer = cupy.cuda.MemoryPointer(memory, 0)
    return type(lent)(lent.shape, lent.dtype, pointer, strides=lent.strides)


def namespace(array: Any) -> Any:
    """Returns the module, numpy or cupy, whose array this is."""
    return np if isinstance(array, np.ndarray) else _cupy("aruba_fast", "array", array)


def require_known(function: str, name: str, dtype: np.dtype[Any], like: Any) -> None:
    """Refuses bfloat16 where `like` lives, if that is on a device of a CuPy without the type."""
    if not isinstance(like, np.ndarray):
        _require_known(function, name, dtype, namespace(like))


def _require_known(function: str, name: str, dtype: np.dtype[Any], cupy: Any) -> None:
    if dtype.name == "bfloat16" and int(cupy.__version__.partition(".")[0]) < 14:
        raise ImportError(
            f"{function}: `{name}` must not be of bfloat16 on a CUDA device before CuPy 14: got "
            f"CuPy {cupy.__version__}, expected a newer one, or {name} as float16"
        )


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
    """Returns a context in which arrays are made where `array` lives.

    What is made while a graph is captured stays as long as the graph: a replay writes there again.
    """
    return nullcontext() if isinstance(array, np.ndarray) else _beside(array)


@contextmanager
def _beside(array: Any) -> Iterator[None]:
    cuda, device, module = namespace(array).cuda, array.data.device_id, native(array)
    with cuda.Device(device):
        stream = cuda.get_current_stream(device).ptr
        if not module.is_capturing(device, stream):
            yield
            return
        pool = cuda.get_allocator()

        def of_graph(n_bytes: int) -> Any:
            memory = pool(n_bytes)
            module.hold(device, stream, memory)
            return memory

        with module.RelaxedCapture(), cuda.using_allocator(of_graph):
            yield


@contextmanager
def on_stream(device: int, pointer: int) -> Iterator[None]:
    """Has CuPy work on a stream of another library; in order with its own, before and after."""
    cupy = _cupy("aruba_fast", "device", f"cuda:{device}")
    module = cuda_module("aruba_fast", "device", f"cuda:{device}")
    ours: int = cupy.cuda.get_current_stream(device).ptr
    module.wait_for(device, pointer, ours)
    try:
        with cupy.cuda.ExternalStream(pointer, device):
            yield
    finally:
        module.wait_for(device, ours, pointer)


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
    """Returns a host array where `like` lives: itself, or a copy on the device.

    A graph that is captured gets the values of now: it would copy what lies in the host's memory at
    its replay.
    """
    if isinstance(like, np.ndarray):
        return array
    cupy, device = namespace(like), like.data.device_id
    with beside(like):
        stream = cupy.cuda.get_current_stream(device)
        if not native(like).is_capturing(device, stream.ptr):
            copy: NDArray[Any] = cupy.asarray(array)
            return copy
        with cupy.cuda.Stream(non_blocking=True) as aside:
            copy = cupy.asarray(array)
            aside.synchronize()
        return copy


class Copies:
    """Copies of host arrays where `like` lives, for work on any stream.

    Nobody else knows of them: a stream that uses them waits for the one that made them, and they
    stay until all that used them are done.
    """

    def __init__(self, arrays: tuple[NDArray[Any], ...], like: Any) -> None:
        self._copies = tuple(moved(array, like) for array in arrays)
        self._kept = None if isinstance(like, np.ndarray) else _Kept(self._copies, like)
        if self._kept is not None:
            self._device = like.data.device_id
            self._mark = native(like).Mark(self._device, self._kept.current_stream())

    def get(self) -> tuple[Any, ...]:
        """Returns the copies, for work on the current stream."""
        if self._kept is not None:
            stream = self._kept.current_stream()
            if self._mark is not None and self._mark.has_passed():
                self._mark = None
            if self._mark is not None:
                self._mark.wait(self._device, stream)
            self._kept.streams.add(stream)
        return self._copies


def host(array: Any) -> NDArray[Any]:
    """Returns an array in host memory: itself, or a copy that waits for the device."""
    result: NDArray[Any] = array if isinstance(array, np.ndarray) else array.get()
    return result


def contiguous(array: Any, dtype: Any = None) -> NDArray[Any]:
    """Returns an aligned C-contiguous array, without a copy where that is possible."""
    if isinstance(array, np.ndarray):
        flags = array.flags
        if flags.c_contiguous and flags.aligned and (dtype is None or array.dtype == dtype):
            return array  # as below, which takes a microsecond to find it out
        return np.require(array, dtype, requirements=("C", "A"))
    with beside(array):
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
    named = device if isinstance(device, str) else ""
    if named == "cpu":
        return {name: np.array(host(array)) for name, array in arrays.items()}
    kind, _, number = named.partition(":")
    if kind != "cuda" or not (number.isdecimal() or named == "cuda"):
        plain = device is None or isinstance(device, (str, int, float))
        got = repr(device) if plain else type(device).__name__
        raise ValueError(
            f"{function}: `device` must be known: got {got}, expected 'cpu', 'cuda' or 'cuda:' "
            "and a number"
        )
    cuda = cuda_module(function, "device", device)
    cuda.require_device(function)
    cupy = _cupy(function, "device", device)
    if int(number or 0) >= (n_devices := cuda.info()["devices"]):
        raise _core.CudaError(
            f"{function}: `device` must be one of this machine: got {device!r}, "
            f"expected at most 'cuda:{n_devices - 1}'"
        )
    for name, array in arrays.items():
        _require_known(function, name, array.dtype, cupy)
    with cupy.cuda.Device(int(number)) if number else nullcontext():
        return {name: cupy.asarray(host(array)) for name, array in arrays.items()}
