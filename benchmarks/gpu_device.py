"""Where the GPU benchmarks run: a device timed by its own events, or, dry, the CPU execution."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from gpu_yardstick import ARRAYS, Kernels, peak
from race import need

import aruba_fast as af


class Device(Protocol):
    """What a benchmark needs of the place it runs in; arrays are `cupy.ndarray` in both.

    Long inputs repeat after `period` numbers, a prime, so that an index that is wrong by a power of
    two meets another number.
    """

    dry: bool
    period: int

    def describe(self) -> dict[str, Any]: ...
    def free_bytes(self) -> int: ...
    def array(self, values: np.ndarray) -> Any: ...
    def host(self, array: Any) -> np.ndarray: ...
    def tiled(self, values: np.ndarray, n: int) -> Any: ...
    def torch(self, array: Any) -> Any: ...
    def seconds(self, run: Callable[[], object], calls: int) -> float: ...
    def peak(self) -> float | None: ...
    def yardsticks(self, n_bytes: int) -> dict[str, Callable[[], object]]: ...
    def captured(self, run: Callable[[], object]) -> Callable[[], object]: ...
    def cupy(self) -> Any: ...


class Gpu:
    """The current CUDA device. Runs are enqueued on the legacy default stream, as torch's are."""

    dry = False
    period = 1_000_003

    def __init__(self) -> None:
        cupy = self._cupy = need("cupy")
        try:
            self._properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise SystemExit(f"bench-gpu: no CUDA device can be used: {error}") from None
        af.step(
            cupy.empty(4, np.float32), cupy.empty(4, np.float32), 0.0
        )  # or says what is missing
        self._kernels = Kernels(cupy, self.seconds)

    def peak(self) -> float | None:
        """GB/s of the data sheet."""
        runtime, device = self._cupy.cuda.runtime, self._cupy.cuda.Device().id
        clock, bus = (
            runtime.deviceGetAttribute(getattr(runtime, f"cudaDevAttr{name}"), device)
            for name in ("MemoryClockRate", "GlobalMemoryBusWidth")
        )
        return peak(self._properties["name"].decode(), clock, bus)

    def describe(self) -> dict[str, Any]:
        runtime = self._cupy.cuda.runtime
        return {
            "device": self._properties["name"].decode(),
            "sm": self._properties["multiProcessorCount"],
            "l2_bytes": self._properties["l2CacheSize"],
            "memory_bytes": self._properties["totalGlobalMem"],
            "driver": runtime.driverGetVersion(),
            "runtime": runtime.runtimeGetVersion(),
            "cupy": self._cupy.__version__,
            **{key: af.info()[key] for key in ("version", "cuda")},
        }

    def free_bytes(self) -> int:
        self._cupy.get_default_memory_pool().free_all_blocks()
        return int(self._cupy.cuda.runtime.memGetInfo()[0])

    def array(self, values: np.ndarray) -> Any:
        return self._cupy.asarray(values)

    def host(self, array: Any) -> np.ndarray:
        return self._cupy.asnumpy(array)

    def tiled(self, values: np.ndarray, n: int) -> Any:
        """As many numbers as asked for, which repeat `values`: made by copies that double."""
        out = self._cupy.empty(n, values.dtype)
        done, size = min(n, values.size), values.itemsize
        out[:done].set(values.ravel()[:done])
        while done < n:
            more = min(done, n - done)
            (out.data + done * size).copy_from_device_async(
                out.data, more * size, self._cupy.cuda.Stream.null
            )
            done += more
        return out

    def torch(self, array: Any) -> Any:
        """A tensor over the same memory."""
        torch = need("torch")
        if not torch.cuda.is_available():
            pytest.skip("this torch was built without CUDA")
        return torch.from_dlpack(array)

    def seconds(self, run: Callable[[], object], calls: int) -> float:
        events = self._cupy.cuda.Event(), self._cupy.cuda.Event()
        events[0].record()
        for _ in range(calls):
            run()
        events[1].record()
        events[1].synchronize()
        return 1e-3 * self._cupy.cuda.get_elapsed_time(*events) / calls

    def yardsticks(self, n_bytes: int) -> dict[str, Callable[[], object]]:
        """What moves as many bytes, and does nothing else; the driver's own copy beside them."""
        source, target = self._cupy.empty((2, n_bytes // 2), np.uint8)
        stream = self._cupy.cuda.Stream.null
        return {
            **{kind: self._kernels.fastest(kind, n_bytes) for kind in ARRAYS},
            "memcpy": lambda: target.data.copy_from_device_async(
                source.data, source.nbytes, stream
            ),
        }

    def captured(self, run: Callable[[], object]) -> Callable[[], object]:
        """`run` as a CUDA graph, which the result replays."""
        run()  # what is made once is made before the capture
        stream = self._cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            run()
            graph = stream.end_capture()
        return lambda: graph.launch(self._cupy.cuda.Stream.null)

    def cupy(self) -> Any:
        return self._cupy


class CpuExecution:
    """The emulated device of the test suite: it shows that a benchmark is right, never how fast."""

    dry = True
    period = 1009

    def __init__(self) -> None:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        import device
        import emulated_cupy

        if reason := device.missing():
            raise SystemExit(f"bench-gpu --dry-run: {reason}")
        self._tests, self._view, self._seen_by_torch = device, emulated_cupy.host, []
        installed = device.installed()
        installed.__enter__()
        atexit.register(installed.__exit__, None, None, None)

    def describe(self) -> dict[str, Any]:
        return {"device": "CPU execution (dry run)"}

    def free_bytes(self) -> int:
        return 1 << 32

    def array(self, values: np.ndarray) -> Any:
        return self._tests.array(values)

    def host(self, array: Any) -> np.ndarray:
        return self._tests.host(array)

    def tiled(self, values: np.ndarray, n: int) -> Any:
        return self.array(np.resize(values, n))

    def torch(self, array: Any) -> Any:
        self._seen_by_torch.append(array)  # a view of its memory does not keep it
        return need("torch").from_numpy(self._view(array))

    def seconds(self, run: Callable[[], object], calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) / calls

    def peak(self) -> float | None:
        return None

    def yardsticks(self, n_bytes: int) -> dict[str, Callable[[], object]]:
        source, target = np.zeros((2, n_bytes // 2), np.uint8)
        return {"memcpy": lambda: np.copyto(target, source)}

    def captured(self, _: Callable[[], object]) -> Callable[[], object]:
        pytest.skip("the CPU execution has no graphs")

    def cupy(self) -> Any:
        pytest.skip("CuPy's own kernels need a device")
