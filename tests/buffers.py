"""Arrays at a chosen element offset inside a larger buffer whose other elements must survive."""

from __future__ import annotations

import numpy as np

MARGIN = 67  # more than two of the widest vector registers, and odd


class Guarded:
    """A copy of `values` at `offset` elements after an aligned address, sentinels on both sides."""

    def __init__(self, values, offset=0):
        values = np.asarray(values)
        itemsize = values.dtype.itemsize
        lead = -(-MARGIN // 64) * 64 + offset
        total = lead + values.size + MARGIN
        raw = np.empty(total * itemsize + 64, np.uint8)
        shift = -raw.ctypes.data % 64
        self.bytes = raw[shift : shift + total * itemsize]
        self.bytes[:] = 0xA5
        inside = slice(lead * itemsize, (lead + values.size) * itemsize)
        self.view = self.bytes[inside].view(values.dtype).reshape(values.shape)
        self.view[...] = values
        self.outside = np.ones(self.bytes.size, bool)
        self.outside[inside] = False

    def intact(self):
        return bool((self.bytes[self.outside] == 0xA5).all())


def snapshot(arguments):
    """Copies of every array among `arguments` (lists included), to prove that nothing changed."""
    if isinstance(arguments, dict):
        return {name: snapshot(value) for name, value in arguments.items()}
    if isinstance(arguments, (list, tuple)):
        return [snapshot(value) for value in arguments]
    return arguments.tobytes() if isinstance(arguments, np.ndarray) else arguments


class Lent:
    """An array of another library: memory that is lent by DLPack, once for each call."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)
