"""Features in bfloat16, float16 or uint8: taken as they are, and widened when they are read."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check
from ._check import FloatArray
from ._check.arrays import require_plain

NAMES = ("bfloat16", "float16", "uint8")


def checked(function: str, x: Any, scale: float | None, axes: str) -> tuple[NDArray[Any], Any]:
    """Returns dense features as they are, and what bytes are multiplied by.

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
    factor = _check.positive(function, "scale", scale)
    if not is_bytes:
        raise ValueError(
            f"{function}: `scale` must be None but for uint8 `x`: got {factor:g} for "
            f"{features.dtype}, expected None"
        )
    limits = np.finfo(np.float32)
    if not limits.tiny <= factor <= limits.max:
        raise ValueError(
            f"{function}: `scale` must be within float32: got {factor:g}, expected "
            f"{limits.tiny:g} to {limits.max:g}"
        )
    return features, float(np.float32(factor))


def refuse_scale(function: str, scale: float | None) -> None:
    """Refuses a `scale` for CSR rows."""
    if scale is not None:
        raise ValueError(
            f"{function}: `scale` must be None for CSR rows: got {_check.shown(scale)}, "
            "expected None"
        )


def is_narrow(x: NDArray[Any]) -> bool:
    """Whether features are held in less than float32."""
    return x.dtype.name in NAMES


def shown(x: NDArray[Any], scale: float | None) -> str:
    """Returns what `repr` adds of features: nothing where they are of the type of the labels."""
    if not is_narrow(x):
        return ""
    return f", features={x.dtype}" + ("" if scale is None else f" * {scale:g}")


def widened(x: NDArray[Any], scale: float | None) -> FloatArray:
    """Returns a float32 copy of narrow features, what native code makes of them; else `x`."""
    if not is_narrow(x):
        return x
    with np.errstate(under="ignore", over="ignore"):
        features = x.astype(np.float32)
        return features if scale is None else features * np.float32(scale)


def _readable(function: str, x: Any) -> Any:
    """A tensor of bfloat16, which NumPy does not know, as an array that shares its memory."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor) or x.dtype != torch.bfloat16:
        return x
    require_plain(function, "x", x)
    if x.device.type != "cpu":
        return x
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise ImportError(
            f"{function}: `x` must not be of bfloat16 without ml_dtypes, which has the type for "
            "NumPy: got a tensor of torch.bfloat16, expected it from pip install "
            "'aruba_fast[bfloat16]', or x.half()"
        ) from None
    return _check.array(function, "x", x.detach().view(torch.int16)).view(bfloat16)
