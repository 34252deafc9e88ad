"""CuPy's streams, events, graphs and devices, by the machine that runs kernels on the CPU."""

from __future__ import annotations

import ctypes
from itertools import count

machine = None
numbers = count(1)
calls = {}  # work that is not done yet, or that a graph may ask for again
pointers = count(1 << 20, 1 << 10)


@ctypes.CFUNCTYPE(None, ctypes.c_int64)
def call(number):
    """What the machine calls: the work of that number."""
    calls[number]()


def enqueue(function, memory):
    """Has the current stream call `function`, which uses these addresses."""
    number = next(numbers)
    once = not Stream(Stream.current).is_capturing()
    calls[number] = (lambda: calls.pop(number) and function()) if once else function
    machine.enqueue(Stream.current, call, number, memory)


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
    """`cupy.cuda.Event`, recorded."""

    def __init__(self, stream):
        self.number = machine.record(stream)

    @property
    def done(self):
        return machine.is_done(self.number)


class Graph:
    """`cupy.cuda.Graph`."""

    def __init__(self, number):
        self.number = number

    def launch(self, stream=None):
        machine.replay(self.number, Stream.current if stream is None else stream.ptr)

    def __del__(self):
        if machine:
            machine.destroy_graph(self.number)


class Stream:
    """`cupy.cuda.Stream` and `ExternalStream`: a number, and which one is current."""

    current = 0

    def __init__(self, ptr=None, device_id=-1, *, non_blocking=False):  # noqa: ARG002 (CuPy's)
        self.ptr = next(pointers) if ptr is None else ptr

    def __enter__(self):
        self.before, Stream.current = Stream.current, self.ptr
        return self

    def __exit__(self, *_):
        Stream.current = self.before

    def record(self):
        return Event(self.ptr)

    def wait_event(self, event):
        if not machine.wait(self.ptr, event.number):
            raise RuntimeError("cudaErrorStreamCaptureIsolation: an event that is no graph's")

    def synchronize(self):
        machine.synchronize(self.ptr)

    def is_capturing(self):
        return machine.is_capturing(self.ptr)

    def begin_capture(self):
        machine.begin_capture(self.ptr)

    def end_capture(self):
        if not (number := machine.end_capture(self.ptr)):
            raise RuntimeError("cudaErrorStreamCaptureUnjoined: a stream was not joined again")
        return Graph(number)


def get_current_stream(device_id=-1):  # noqa: ARG001 (CuPy's name for it)
    return Stream(Stream.current)
