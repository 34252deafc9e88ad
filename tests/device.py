"""The CUDA device that tests run on: a real one, or the kernels on the CPU under CuPy's own arrays.

ARUBA_TEST_DEVICE is `emulated` (if not set) or `real`. The emulated `_cuda` is the target
`_cuda_emulated` of the build; ARUBA_CUDA_EMULATED_MODULE names its file or folder where it is not
in build/*/emulated.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path

import pytest

REAL = os.environ.get("ARUBA_TEST_DEVICE", "emulated") == "real"
ROOT = Path(__file__).parents[1]


def emulated_module():
    """The newest emulated `_cuda` for this interpreter, or None."""
    name = f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
    if named := os.environ.get("ARUBA_CUDA_EMULATED_MODULE"):
        path = Path(named) / name if Path(named).is_dir() else Path(named)
        return path if path.exists() else None
    found = ROOT.glob(f"build/*/emulated/{name}")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def missing():
    """Why there is no device to test on, or None."""
    if importlib.util.find_spec("cupy") is None:
        return "no CuPy: pip install 'aruba_fast[cuda13]'"
    if not REAL and emulated_module() is None:
        return "no emulated _cuda: build with -DARUBA_CUDA_EMULATED=ON"
    return None


def require():
    """Skips where there is no device to test on; in CI that is a failure."""
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


class Machine:
    """Controls of the machine that runs kernels on the CPU."""

    COUNTS = ("launches", "copies", "allocations", "synchronizations", "waits")

    def __init__(self, path):
        self._library = ctypes.CDLL(str(path))
        for name in ("last_stream", "take"):
            getattr(self._library, f"machine_{name}").restype = ctypes.c_void_p
        for name in ("record", "end_capture"):
            getattr(self._library, f"machine_{name}").restype = ctypes.c_int64

    def counts(self):
        out = (ctypes.c_int64 * len(self.COUNTS))()
        self._library.machine_counts(out)
        return dict(zip(self.COUNTS, out, strict=True))

    def reset(self):
        self._library.machine_reset_counts()

    def set_devices(self, n, error=0):
        self._library.machine_set_devices(n, error)

    def fail_next(self, call, error):
        self._library.machine_fail_next(call.encode(), error)

    def set_idle(self, idle):
        """Kernels are launched and do nothing."""
        self._library.machine_set_idle(int(idle))

    def set_order(self, order):
        self._library.machine_set_order(order)

    def last_launch(self):
        """Device and stream of the last launch."""
        return self._library.machine_last_device(), self._library.machine_last_stream() or 0

    # ---- streams: see cuda/streams.h ----

    SCHEDULES = {"at once": 0, "late": 1, "others first": 2} | {f"seed {k}": k for k in range(3, 9)}

    def set_schedule(self, schedule):
        self._library.machine_set_schedule(self.SCHEDULES.get(schedule, schedule))

    @contextmanager
    def schedule(self, schedule):
        """Streams do their work in this order; none of it may be wrong."""
        self.set_schedule(schedule)
        try:
            yield
            self.finish()
            if fault := self.take_fault():
                pytest.fail(fault)
        finally:
            self.set_schedule(0)
            self.take_fault()

    def finish(self):
        """Waits for all streams."""
        self._library.machine_finish()

    def take_fault(self):
        """What work did wrong since the last call, or nothing."""
        text = ctypes.create_string_buffer(256)
        self._library.machine_take_fault(text, ctypes.c_size_t(256))
        return text.value.decode()

    def enqueue(self, stream, call, number, memory):
        pointers = (ctypes.c_void_p * len(memory))(*memory)
        self._library.machine_enqueue(
            ctypes.c_void_p(stream), call, ctypes.c_int64(number), pointers,
            ctypes.c_size_t(len(memory)),
        )  # fmt: skip

    def take(self, n_bytes, stream):
        return self._library.machine_take(ctypes.c_size_t(n_bytes), ctypes.c_void_p(stream))

    def give_back(self, pointer):
        self._library.machine_give_back(ctypes.c_void_p(pointer))

    def synchronize(self, stream):
        self._library.machine_synchronize(ctypes.c_void_p(stream))

    def record(self, stream):
        return self._library.machine_record(ctypes.c_void_p(stream))

    def wait(self, stream, event):
        return bool(self._library.machine_wait(ctypes.c_void_p(stream), ctypes.c_int64(event)))

    def is_done(self, event):
        return bool(self._library.machine_is_done(ctypes.c_int64(event)))

    def is_capturing(self, stream):
        return bool(self._library.machine_is_capturing(ctypes.c_void_p(stream)))

    def begin_capture(self, stream):
        self._library.machine_begin_capture(ctypes.c_void_p(stream))

    def end_capture(self, stream):
        return self._library.machine_end_capture(ctypes.c_void_p(stream))

    def replay(self, graph, stream):
        self._library.machine_replay(ctypes.c_int64(graph), ctypes.c_void_p(stream))

    def destroy_graph(self, graph):
        self._library.machine_destroy_graph(ctypes.c_int64(graph))


machine = None


@contextmanager
def installed():
    """The emulated `_cuda` in the place of the real one, and CuPy over host memory."""
    global machine
    if REAL:
        yield
        return
    import emulated_cupy

    import aruba_fast

    path = emulated_module()
    # pybind11 keeps modules by name: under its own, it would be the real one, once imported.
    spec = importlib.util.spec_from_file_location("emulated._cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = sys.modules.get("aruba_fast._cuda")
    sys.modules["aruba_fast._cuda"] = aruba_fast._cuda = module
    machine = Machine(path)
    try:
        with emulated_cupy.installed(machine):
            yield
    finally:
        machine = None
        del aruba_fast._cuda, sys.modules["aruba_fast._cuda"]
        if before is not None:
            sys.modules["aruba_fast._cuda"] = aruba_fast._cuda = before


def array(values):
    """A copy on the device."""
    import cupy

    return cupy.asarray(values)


def host(values):
    """A copy in host memory, of arrays of either."""
    import cupy

    if not isinstance(values, cupy.ndarray):
        return values
    if REAL:
        return cupy.asnumpy(values)
    import emulated_cupy

    return emulated_cupy.host(values).copy()


def graph_of(work):
    """`work` as a graph: captured, not done."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            work()
        finally:
            graph = stream.end_capture()
    return graph


def stream(number):
    """A stream of the emulated CuPy, as a context in which it is the current one."""
    import emulated_cupy

    return emulated_cupy.Stream(number)
