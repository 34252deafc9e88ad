"""`Draw`: random numbers, arrays and objects of one call, arrays in memory that is watched."""

from __future__ import annotations

import math

import numpy as np

from . import objects

GUARD = 64  # bytes before and behind every array, which nobody may touch
PATTERN = 0xA5
FLOATS = (np.float32, np.float64)
OTHER_TYPES = (
    np.float16,
    np.longdouble,
    np.complex128,
    np.int64,
    np.int8,
    np.uint16,
    np.bool_,
    np.dtype(">f4"),
    np.dtype(">f8"),
    np.dtype("M8[s]"),
    np.dtype("U3"),
    np.dtype("V4"),
    np.dtype("f4,f8"),
    object,
)
NUMBERS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-3,
    3e-46,
    5e-324,
    1e-310,
    1e-45,
    1.1754944e-38,
    1e-30,
    1e10,
    1e19,
    1e25,
    3.4e38,
    1e39,
    1e154,
    1e300,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
    math.nan,
)
INTEGERS = (-(2**63), -1, 0, 1, 2, 3, 7, 64, 2**31, 2**63 - 1, 2**63, 2**64, 10**30)


class Draw:
    """All randomness of one call.

    Args:
        seed: Of the whole run.
        number: Of the call within it.
        wild: Whether arguments may be spoiled; if not, every call is valid and its numbers tame.
        torch: The module of PyTorch, or None.
        device: A function from NumPy's to arrays on a device, or None.
    """

    def __init__(self, seed, number, *, wild=True, torch=None, device=None):
        self.rng = np.random.default_rng([seed, number])
        self.wild, self.torch, self.device = wild, torch, device
        self.buffers = []
        self.spice = wild and self.chance(0.3)
        self.dtype = self.choice(FLOATS)

    def chance(self, probability):
        return self.rng.random() < probability

    def choice(self, options):
        return options[int(self.rng.integers(len(options)))]

    def integer(self, low, high):
        """A Python integer in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def size(self):
        """Mostly few; at times around the widths of registers and segments."""
        if self.chance(0.8):
            return self.integer(1, 6)
        return self.choice((8, 15, 16, 17, 31, 33, 64, 127, 129, 513))

    def positive(self):
        """A float > 0; at times at the limits of the types."""
        if self.spice and self.chance(0.2):
            return abs(self.choice(NUMBERS)) or 1.0
        return float(np.exp(self.rng.normal() - 1))

    def positives(self, shape, dtype=None, *, bad=True):
        """An array of such."""
        values = np.exp(self.rng.normal(size=shape) - 1)
        return self.array(self._spiced(values, absolute=True) if bad else values, dtype)

    def normals(self, shape, dtype=None):
        """An array of any numbers."""
        return self.array(self._spiced(self.rng.normal(size=shape)), dtype)

    def _spiced(self, values, *, absolute=False):
        if self.spice and values.size and self.chance(0.6):
            for _ in range(self.integer(1, 3)):
                value = self.choice(NUMBERS)
                values.flat[self.integer(0, values.size - 1)] = abs(value) if absolute else value
        return values

    def array(self, values, dtype=None):
        """A C-contiguous copy in watched memory; where the call is on a device, there."""
        dtype = np.dtype(dtype or self.dtype)
        with np.errstate(all="ignore"):
            values = np.asarray(values).astype(dtype)
        result = self._placed(values)
        return self.device(result) if self.device else result

    def _placed(self, values):
        if values.dtype.hasobject:
            return values
        base = np.full(values.nbytes + 2 * GUARD, PATTERN, np.uint8)
        self.buffers.append(base)
        result = base[GUARD : GUARD + values.nbytes].view(values.dtype).reshape(values.shape)
        result[...] = values
        return result

    def strided(self, array):
        """The same values with other strides, order or flags."""
        if not isinstance(array, np.ndarray) or array.dtype.hasobject:
            return array
        kind = self.integer(0, 5)
        if kind == 0 and array.ndim:
            wide = self._placed(np.repeat(array, 2, axis=-1))
            return wide[..., ::2]
        if kind == 1 and array.ndim:
            return self._placed(np.ascontiguousarray(array[..., ::-1]))[..., ::-1]
        if kind == 2:
            return self._placed(np.ascontiguousarray(array.T)).T
        if kind == 3:
            base = np.full(array.nbytes + 2 * GUARD + 1, PATTERN, np.uint8)
            self.buffers.append(base)
            moved = base[GUARD + 1 : GUARD + 1 + array.nbytes].view(array.dtype)
            moved = moved.reshape(array.shape)
            moved[...] = array
            return moved
        if kind == 4:
            array.flags.writeable = False
            return array
        return self._placed(array.astype(array.dtype.newbyteorder()))

    def spoiled(self, value):
        """Something else than a valid argument: near it, or far away."""
        if isinstance(value, np.ndarray) and self.chance(0.7):
            return self._spoiled_array(value)
        if self.torch and isinstance(value, self.torch.Tensor) and self.chance(0.7):
            return objects.strange_tensor(self, value)
        if isinstance(value, (list, tuple)) and value and self.chance(0.7):
            return objects.strange_list(self, list(value))
        if isinstance(value, bool) and self.chance(0.3):
            return not value
        if type(value) is int and self.chance(0.6):
            return self.choice(INTEGERS)
        if isinstance(value, float) and self.chance(0.6):
            return self.choice(NUMBERS)
        return objects.anything(self, value)

    def _spoiled_array(self, array):
        kind = self.integer(0, 9)
        if kind <= 3:
            return self.strided(array)
        if kind == 4:
            shape = list(array.shape)
            if shape:
                shape[self.integer(0, len(shape) - 1)] += self.choice((-1, 1))
            return self._placed(np.ones([max(n, 0) for n in shape], array.dtype))
        if kind == 5:
            changed = self.choice(OTHER_TYPES)
            with np.errstate(all="ignore"):
                try:
                    return self._placed(np.zeros(array.shape).astype(changed))
                except (TypeError, ValueError):
                    return self._placed(np.zeros(array.shape, changed))
        if kind == 6:
            return self.choice((array[None], array.reshape(-1), array.ravel()[:1].reshape(())))
        if kind == 7 and array.ndim:
            return np.broadcast_to(array.ravel()[:1] if array.size else np.ones(1), array.shape)
        if kind == 8 and array.size and array.dtype.kind == "f":
            array.flat[self.integer(0, array.size - 1)] = self.choice(NUMBERS)
            return array
        return objects.like_array(self, array)
