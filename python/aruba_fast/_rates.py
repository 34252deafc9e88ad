"""Parameters of the within-task rules: a number, or one for every coordinate."""

import numbers
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _check

# What the engine takes: the name of the rule, and its parameters.
NativeRule: TypeAlias = tuple[str | float | NDArray[Any], ...]


def checked(function: str, name: str, value: Any, *, positive: bool) -> float | NDArray[Any]:
    """Returns a checked float, or a read-only copy [n_parameters] that keeps its float type."""
    if isinstance(value, (numbers.Real, str)):
        check = _check.positive if positive else _check.non_negative
        return check(function, name, value)
    values = _check.array(function, name, value)
    if values.dtype.type is not np.float32 or not values.dtype.isnative:
        values = _check.real_array(function, name, value).astype(np.float64)
    _check.dimension(function, name, values, "[n_parameters]")
    bound = {"above": 0.0} if positive else {"at_least": 0.0}
    _check.finite(function, name, values, **bound)
    return _arrays.frozen(values.copy())


def require_length(function: str, name: str, values: NDArray[Any], n_parameters: int) -> None:
    """Refuses any other number of values than that of the parameters."""
    if values.shape != (n_parameters,):
        raise ValueError(
            f"{function}: `rule` must have one `{name}` per parameter: got {values.shape}, "
            f"expected ({n_parameters},)"
        )


def cast(function: str, name: str, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rounds to the type of the parameters; a value that overflows there is refused.

    On a CUDA device it becomes infinite, and tasks that are run with it are skipped: nothing waits.
    """
    with np.errstate(over="ignore", under="ignore"):
        result = _arrays.contiguous(values, dtype)
    if isinstance(result, np.ndarray) and not np.isfinite(result).all():
        raise ValueError(
            f"{function}: `rule` must have a `{name}` within {dtype}: "
            f"got {float(np.abs(values).max())}, expected at most {np.finfo(dtype).max:g}"
        )
    return result


def shown(value: float | NDArray[Any]) -> str:
    """A number, or what range an array has, for a repr."""
    if isinstance(value, float):
        return f"{value:g}"
    if not value.size:
        return f"{value.dtype}[0]"
    value = _arrays.host(value)
    return f"{value.dtype}[{value.size}] in [{value.min():g}, {value.max():g}]"
