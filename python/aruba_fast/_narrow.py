"""Features in bfloat16, float16 or uint8: taken as they are, and widened when they are read."""

import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _arrays, _check
from ._check import FloatArray
from ._check.arrays import require_plain

NAMES = ("bfloat16", "float16", "uint8")
_TYPES = ("float64", "float32", *NAMES)


def checked(function: str, x: Any, scale: float | None, axes: str) -> tuple[NDArray[Any], Any]:
    """Returns features, or the values of sparse ones, as they are, and what bytes are times.

    Args:
        function: Name of the public function, for messages.
        x: Its argument of that name.
        scale: Its argument of that name.
        axes: The shape of `x` that is expected.
    """
    features = _check.float_array(function, "x", _readable(function, x), axes, also=NAMES)
    is_bytes = features.dtype == np.uint8
    if scale is None:
        if is_bytes:
            raise TypeError(
                f"{function}: `x` must be float32 or float64, or uint8 with a `scale`: got uint8, "
                "expected x.astype(np.float32), or `scale`, 1 / 255 for pixels"
            )
        return features, None
    factor = _checked_scale(function, scale)
    if not is_bytes:
        raise ValueError(
            f"{function}: `scale` must be None but for uint8 `x`: got {factor:g} for "
            f"{features.dtype}, expected None"
        )
    return features, factor


def chosen(
    function: str, dtype: DTypeLike | None, scale: float | None
) -> tuple[np.dtype[Any] | None, float | None]:
    """Returns the type that features are to be made of, None for that of their columns.

    Args:
        function: Name of the public function, for messages.
        dtype: Its argument of that name.
        scale: Its argument of that name: what bytes are multiplied by.
    """
    name = dtype
    if dtype is not None and not isinstance(dtype, str):
        try:
            name = np.dtype(dtype).name
        except Exception:  # of an object's own code
            name = ""
    if name is not None and name not in _TYPES:
        raise ValueError(
            f"{function}: `dtype` must be a type of features: got {_check.shown(dtype)}, expected "
            f"one of {', '.join(_TYPES)}, or None for that of the columns"
        )
    if (name == "uint8") != (scale is not None):
        expected = "None" if scale is not None else "1 for counts, 1 / 255 for pixels"
        raise ValueError(
            f"{function}: `scale` must be given with `dtype` uint8 and no other: got "
            f"{name} and {_check.shown(scale)}, expected {expected}"
        )
    factor = None if scale is None else _checked_scale(function, scale)
    if name == "bfloat16":
        return np.dtype(_bfloat16(function, "dtype", "bfloat16", "float16")), None
    return None if name is None else np.dtype(name), factor


def beyond(given: NDArray[Any], made: NDArray[Any]) -> NDArray[np.bool_]:
    """Which numbers a type has no place for: bytes are exact, and others finite where given so."""
    if made.dtype == np.uint8:
        return np.asarray(made != given)
    return np.asarray(np.isinf(made) & np.isfinite(given))


def holds(dtype: np.dtype[Any]) -> str:
    """Returns which numbers a type has a place for, as a message ends."""
    if dtype == np.uint8:
        return "whole numbers from 0 to 255"
    largest = {"float16": 65504.0, "bfloat16": 3.3895314e38, "float32": 3.4028235e38}
    return f"at most {largest[dtype.name]:g}"


def of_parameters(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns the type of labels and parameters beside features of a type."""
    return np.dtype(np.float32) if dtype.name in NAMES else dtype


def _checked_scale(function: str, scale: float | None) -> float:
    factor = _check.positive(function, "scale", scale)
    limits = np.finfo(np.float32)
    if not limits.tiny <= factor <= limits.max:
        raise ValueError(
            f"{function}: `scale` must be within float32: got {factor:g}, expected "
            f"{limits.tiny:g} to {limits.max:g}"
        )
    return float(np.float32(factor))


def is_narrow(x: NDArray[Any]) -> bool:
    """Whether features are held in less than float32."""
    return x.dtype.name in NAMES


def shown(dtype: np.dtype[Any], scale: float | None) -> str:
    """Returns what `repr` adds of features: nothing where they are of the type of the labels."""
    if dtype.name not in NAMES:
        return ""
    return f", features={dtype}" + ("" if scale is None else f" * {scale:g}")


def widened(x: NDArray[Any], scale: float | None) -> FloatArray:
    """Returns a float32 copy of narrow features, what native code makes of them; else `x`."""
    if not is_narrow(x):
        return x
    with np.errstate(under="ignore", over="ignore"):
        features = x.astype(np.float32)
        return features if scale is None else features * np.float32(scale)


def _readable(function: str, x: Any) -> Any:
    """A tensor of bfloat16, which NumPy may not know, as an array that shares its memory."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor) or x.dtype != torch.bfloat16:
        return x
    require_plain(function, "x", x)
    kind = _bfloat16(function, "x", "a tensor of torch.bfloat16", "x.half()")
    words = _check.array(function, "x", x.detach().view(torch.int16))
    _arrays.require_known(function, "x", np.dtype(kind), words)
    return words.view(kind)


def _bfloat16(function: str, name: str, got: str, other: str) -> Any:
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise ImportError(
            f"{function}: `{name}` must not be of bfloat16 without ml_dtypes, which has the type "
            f"for NumPy: got {got}, expected it from pip install 'aruba_fast[bfloat16]', or {other}"
        ) from None
    return bfloat16
