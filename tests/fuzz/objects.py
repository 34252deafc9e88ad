"""Objects that misbehave: they lie, raise, or change while they are read."""

from __future__ import annotations

import array as stdlib_array
import decimal
import fractions

import numpy as np


class Misbehaved(Exception):  # noqa: N818 (it is no error of the library)
    """Raised by the objects here; may come out of any call that they were given to."""


def _raise(*_, **__):
    raise Misbehaved


class Raising:
    """Offers one protocol, and raises when it is used."""

    def __init__(self, *methods):
        self.__class__ = type("Raising", (Raising,), dict.fromkeys(methods, _raise))


METHODS = (
    "__float__",
    "__index__",
    "__int__",
    "__len__",
    "__iter__",
    "__getitem__",
    "__array__",
    "__bool__",
    "__call__",
    "__eq__",
    "__hash__",
    "__dlpack__",
    "__dlpack_device__",
    "__fspath__",
    "__str__",
    "__repr__",
    "__buffer__",
    "__getattr__",
)


class Answering:
    """Offers all protocols of numbers and sequences, and answers nonsense."""

    def __init__(self, answer):
        self.answer = answer

    def _answer(self, *_, **__):
        return self.answer

    __float__ = __index__ = __len__ = __array__ = __iter__ = __bool__ = __call__ = _answer
    __getitem__ = __dlpack__ = __dlpack_device__ = __fspath__ = _answer


class LyingList(list):
    """Tells another length than it has."""

    def __init__(self, values, length):
        super().__init__(values)
        self.length = length

    def __len__(self):
        return self.length


class VanishingList(list):
    """Is empty after the first look at it."""

    def __iter__(self):
        for value in list.copy(self):
            self.clear()
            yield value

    def __getitem__(self, index):
        value = super().__getitem__(index)
        self.clear()
        return value


class Meddling:
    """An array that changes the list that it stands in when its memory is asked for."""

    def __init__(self, array, change, device=(1, 0)):
        self.array, self.change, self.device = array, change, device

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **keywords):
        self.change()
        return self.array.__dlpack__(**keywords)


class ChangingArray:
    """`__array__` changes the list that it stands in, or gives another type each time."""

    def __init__(self, array, change):
        self.array, self.change = array, change

    def __array__(self, dtype=None, copy=None):
        self.change()
        return np.array(self.array, dtype)


class RaisingFloat(float):
    """A float that does not want to be one."""

    def __float__(self):
        raise Misbehaved


class RaisingInt(int):
    """An integer likewise."""

    def __index__(self):
        raise Misbehaved


def strange_list(draw, values):
    """A list near a valid one."""
    kind = draw.integer(0, 8)
    if kind == 0:
        return LyingList(values, draw.choice((0, 1, len(values) + 1, len(values) + 1000)))
    if kind == 1:
        return VanishingList(values)
    if kind in (2, 3):
        at = draw.integer(0, len(values) - 1)
        changes = (values.clear, lambda: values.append(None), lambda: values.pop(), _raise)
        change, first = draw.choice(changes), values[at]
        if isinstance(first, np.ndarray):
            kinds = (Meddling, ChangingArray)
            values[at] = draw.choice(kinds)(first, change)
        return values
    if kind == 4:
        return values[:-1]
    if kind == 5:
        return [*values, values[0]]
    if kind == 6:
        values[draw.integer(0, len(values) - 1)] = anything(draw, values[0])
        return values
    if kind == 7:
        values.append(values)
        return values
    return draw.choice((tuple, iter, set, dict.fromkeys))(range(len(values)))


def like_array(draw, array):
    """Something that is nearly an array."""
    kind = draw.integer(0, 7)
    if kind == 0:
        return array.tolist()
    if kind == 1:
        return np.ma.masked_array(array, np.zeros(array.shape, bool))
    if kind == 2:
        return Meddling(array, lambda: None, draw.choice(((1, 0), (2, 0), (99, -1), (1,), None)))
    if kind == 3:
        return ChangingArray(array, draw.choice((lambda: None, _raise)))
    if kind == 4 and array.flags.c_contiguous and not array.dtype.hasobject:
        return draw.choice((memoryview, bytes, bytearray))(array.tobytes())
    if kind == 5 and draw.torch and array.dtype in (np.float32, np.float64):
        return strange_tensor(draw, draw.torch.from_numpy(np.array(array)))
    if kind == 6:
        return np.broadcast_to(np.float32(0), (2**47,))
    return np.matrix(np.ones((2, 2)))


def strange_tensor(draw, tensor):
    """A tensor that means more, or has less, than its memory."""
    torch = draw.torch
    complexed = torch.ones(tensor.shape, dtype=torch.complex64)
    kinds = (
        lambda: tensor.clone().requires_grad_(),
        lambda: tensor.clone().requires_grad_() * 2,
        lambda: tensor.to(torch.bfloat16),
        lambda: tensor.to("meta"),
        lambda: tensor.to_sparse(),
        lambda: complexed.imag,
        lambda: torch._neg_view(tensor),
        lambda: complexed.conj(),
        lambda: tensor.clone().resize_(0),
        lambda: torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype),
        lambda: tensor.expand(2, *tensor.shape),
        lambda: tensor.mT if tensor.ndim > 1 else tensor[None],
        lambda: torch.nn.Parameter(tensor.clone()),
        lambda: tensor.to(torch.int32),
        lambda: freed(tensor.clone()),
    )
    kind = draw.choice(kinds)
    try:
        if tensor.numel() and not tensor.data_ptr():
            return tensor  # PyTorch itself crashes of most that is done with it
        return kind()
    except (RuntimeError, NotImplementedError):  # of a tensor that is strange already
        return tensor


def answering(answer):
    """A function that always gives the same."""
    return lambda *_: answer


def freed(tensor):
    """A tensor whose storage was given back."""
    tensor.untyped_storage().resize_(0)
    return tensor


def anything(draw, value):
    """An object of any kind, the valid one at times among them."""
    makers = (
        lambda: None,
        lambda: draw.choice((True, False)),
        lambda: draw.choice((-1, 0, 1, 2**63, 10**400)),
        lambda: draw.choice((0.5, -0.5, float("nan"), float("inf"), 1e-320, 1e39)),
        lambda: draw.choice(("", "squared", "1", "\udc80", "x" * 500, "\x00")),
        lambda: draw.choice((b"", b"squared", bytearray(4), memoryview(b"abcd"))),
        lambda: draw.choice(([], (), {}, set(), [[]], [None], [1.0], [[1.0], [1.0, 2.0]])),
        lambda: draw.choice((object(), object, len, ..., slice(None), NotImplemented, np)),
        lambda: draw.choice((1j, fractions.Fraction(1, 3), decimal.Decimal("0.5"))),
        lambda: draw.choice((np.float16(0.5), np.longdouble(0.5), np.float64("nan"), np.int8(1))),
        lambda: draw.choice((np.array(0.5), np.array([0.5]), np.array(None), np.array("a"))),
        lambda: draw.choice((np.zeros(0), np.zeros((0, 3)), np.ones((1,) * 32), np.ones(1, "V3"))),
        lambda: draw.choice((stdlib_array.array("d", [1.0]), range(3), iter([1.0]))),
        lambda: Raising(draw.choice(METHODS), draw.choice(METHODS)),
        lambda: Answering(draw.choice((None, 1, 0.5, -1, "x", [], 2**70, float("nan")))),
        lambda: draw.choice((RaisingFloat(0.5), RaisingInt(1))),
        lambda: [value] * draw.integer(0, 3),
        lambda: answering(draw.choice((None, 0.5, -1.0, "x", float("nan"), 1e300, True))),
        lambda: _raise,
    )
    return draw.choice(makers)()
