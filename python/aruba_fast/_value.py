"""Frozen values with arrays in them: compared, hashed and pickled by what they hold."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _arrays
from ._version import Versioned

if TYPE_CHECKING:
    from typing_extensions import Self


class Value(Versioned):
    """Base of frozen dataclasses, made with `eq=False`, whose fields are numbers or arrays.

    Two are equal if they are of one class and each field is: numbers by value, arrays by values and
    shape, wherever both live on the same device (comparing waits for that). A number is no array of
    equal numbers.
    """

    def _hold(self, **values: Any) -> None:
        """Sets fields, which nobody else can."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def _of(cls, **values: Any) -> "Self":
        """Holds a learner's own values: not checked, so that no device is waited for."""
        result = object.__new__(cls)
        result._hold(**values)
        return result

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return all(_equal(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return hash((type(self), *map(_hashable, values)))

    def _unpickled(self, value: Any) -> Any:
        # Pickles do not know that an array is read-only.
        return _arrays.frozen(value) if _is_array(value) else value


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic)


def _equal(one: Any, other: Any) -> bool:
    if not _is_array(one) or not _is_array(other):
        return _is_array(one) == _is_array(other) and bool(one == other)
    if one.shape != other.shape or _arrays.device_of(one) != _arrays.device_of(other):
        return False
    return np.array_equal(_arrays.host(one), _arrays.host(other))


def _hashable(value: Any) -> Any:
    if not _is_array(value):
        return value
    if not isinstance(value, np.ndarray):
        return value.shape  # what lives on a device can be written to, and reading it would wait
    # Equal numbers of another type have the same hash, and so have the two zeros.
    return value.shape, (value.astype(np.float64) + 0.0).tobytes()
