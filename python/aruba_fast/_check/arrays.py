"""Checks of arrays: "function: `argument` must ...: got X, expected Y"."""

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _arrays, _core
from .numbers import shown

FloatArray = NDArray[np.floating[Any]]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

_MOST_DIMENSIONS = 64  # of an array of NumPy's


def array(function: str, name: str, value: object) -> NDArray[Any]:
    """Returns `value` as a NumPy array, or as CuPy's if it lives on a CUDA device.

    It is not copied where that is possible. What is said of NumPy arrays holds for CuPy's too from
    here on; checks of values, though, wait for the device. Masked values are refused, because an
    array does not know which of its numbers are none.
    """
    if type(value) is np.ndarray:  # neither masked nor anybody else's
        return value
    if _arrays.on_cuda(value):
        try:
            device_array: NDArray[Any] = _arrays.from_cuda(function, name, value)
        except (ValueError, TypeError, MemoryError, ImportError, _core.CudaError):
            raise
        except Exception as error:  # of an array that CuPy cannot read after all
            raise TypeError(
                f"{function}: `{name}` must be an array that CuPy can read: "
                f"got {type(value).__name__} ({error}), expected an array on a CUDA device"
            ) from error
        return device_array
    require_plain(function, name, value)
    if not isinstance(value, np.ndarray) and _is_ours(value):
        raise TypeError(
            f"{function}: `{name}` must be an array: got {shown(value)}{_array_of(name, value)}"
        )
    try:
        held = _held(value)
        result: NDArray[Any] | None = None if _is_masked(held) else np.asarray(held)
    except MemoryError:
        raise
    except Exception as error:  # foreign arrays raise whatever their library chose
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(
            f"{function}: `{name}` must be convertible to a NumPy array: "
            f"got {type(value).__name__} ({error}), expected an array"
        ) from error
    if result is None:
        raise ValueError(
            f"{function}: `{name}` must not be masked: got a masked array with masked values, "
            f"expected an array: leave these rows out, or {name}.filled(...)"
        )
    return result


def require_plain(function: str, name: str, value: Any) -> None:
    """Refuses a tensor of PyTorch whose numbers are not those that its memory holds."""
    torch: Any = sys.modules.get("torch")
    plain: Any = getattr(torch, "Tensor", ())
    if not isinstance(value, plain):
        return
    kind = type(value)
    functorch = getattr(getattr(torch, "_C", None), "_functorch", None)
    if kind.__torch_dispatch__ is not plain.__torch_dispatch__:
        got = f"a {kind.__name__}, whose class gives memory a meaning of its own"
        expected = "a torch.Tensor of its numbers, as DTensor.full_tensor() returns"
    elif functorch and functorch.is_functorch_wrapped_tensor(value):
        got, expected = "one within a transform of torch.func", "a call outside of it"
    elif value.device.type not in ("cpu", "cuda"):
        got, expected = f"one on {str(value.device)!r}", "one on 'cpu' or 'cuda'"
    elif value.layout is not torch.strided:
        return  # its exporter's own sentence is as good
    elif value.is_neg() or value.is_conj():
        got = "one whose numbers are negated or conjugated when they are read"
        expected = "resolve_neg() or resolve_conj() of it"
    elif value.numel() and not value.data_ptr():
        got, expected = "one without memory", "one that has it"
    else:
        return
    raise TypeError(f"{function}: `{name}` must be a plain tensor: got {got}, expected {expected}")


def _held(value: Any, depth: int = 0) -> Any:
    """Copies of lists, and of lists in them: NumPy borrows their items, which may change them."""
    if not isinstance(value, (list, tuple)):
        return value
    if depth > _MOST_DIMENSIONS:
        raise ValueError(f"lists in lists, deeper than {_MOST_DIMENSIONS}")
    held = list.copy(value) if isinstance(value, list) else value
    if not any(issubclass(kind, (list, tuple)) for kind in set(map(type, held))):
        return held
    return (tuple if isinstance(value, tuple) else list)(_held(item, depth + 1) for item in held)


def _is_ours(value: object) -> bool:
    """Whether a value is an object of this library, which NumPy would take for a sequence."""
    return any(kind.__module__.startswith("aruba_fast.") for kind in type(value).__mro__)


def _array_of(name: str, value: object) -> str:
    """Which array of one of this library's objects was meant, as a message ends."""
    fitting = {
        "weight": ("run.weight", name == "weights"),
        "grad_sq": ("run.grad_sq", name == "grad_sq"),
        "theta_hat": ("run.theta_hat", True),
        "learning_rate": ("learner.learning_rate", name == "learning_rate"),
        "phi": ("learner.phi", True),
        "starts": ("tasks.y" if name == "y" else "tasks.x", name in ("x", "y")),
    }
    for attribute, (text, fits) in fitting.items():
        if fits and hasattr(value, attribute):
            return f", expected {text}"
    return ""


def _is_masked(value: object) -> bool:
    """Whether a value is masked in a masked array, or in one of a list of them."""
    if isinstance(value, np.ma.MaskedArray):
        # As bytes: the mask of a structured array is structured.
        return bool(np.ascontiguousarray(np.ma.getmaskarray(value)).view(np.uint8).any())
    if isinstance(value, (list, tuple)):
        nested = {
            kind for kind in map(type, value) if issubclass(kind, (list, tuple, np.ma.MaskedArray))
        }
        return bool(nested) and any(map(_is_masked, value))
    return False


def float_array(
    function: str, name: str, value: object, axes: str, *, also: tuple[str, ...] = ()
) -> FloatArray:
    """Returns `value` as an aligned C-contiguous float32 or float64 array; nothing is converted.

    Args:
        function: Name of the public function, for the message.
        name: Name of its argument, for the message.
        value: Anything array-like.
        axes: The shape that is expected, as "[n_tasks, n_parameters]".
        also: Names of other types that are taken.
    """
    result = array(function, name, value)
    # The name of a type takes longer to ask for than the type.
    known = result.dtype.type in (np.float32, np.float64) or result.dtype.name in also
    if not known or not result.dtype.isnative:
        order = "" if result.dtype.isnative else " in native byte order"
        raise TypeError(
            f"{function}: `{name}` must be float32 or float64{order}: got {result.dtype}"
            f"{_converted(name, value, result.dtype)}"
        )
    dimension(function, name, result, axes)
    return _arrays.contiguous(result)


def _converted(name: str, value: object, dtype: np.dtype[Any]) -> str:
    """How an array becomes one of floats, as a message ends; empty where it cannot."""
    if dtype.kind not in "biuf":
        return ""
    kind = "np.float32" if dtype.itemsize <= 4 or dtype.kind in "biu" else "np.float64"
    if hasattr(value, "astype"):
        return f", expected {name}.astype({kind})"
    return f", expected np.asarray({name}, {kind})"


def float64_array(function: str, name: str, value: object, axes: str) -> Float64Array:
    """Returns `value` as a C-contiguous float64 array, converted from any real type."""
    result = real_array(function, name, value)
    dimension(function, name, result, axes)
    return _arrays.contiguous(result, np.float64)


def real_array(function: str, name: str, value: object) -> NDArray[Any]:
    """Returns `value` as an array of any boolean, integer or real type."""
    result = array(function, name, value)
    if result.dtype.kind not in "buif":
        raise TypeError(
            f"{function}: `{name}` must hold real numbers: "
            f"got {shown(value) if result.dtype.kind == 'O' else result.dtype}, "
            "expected a bool, integer or float type"
        )
    return result


def dimension(function: str, name: str, value: NDArray[Any], axes: str) -> None:
    """Refuses an array whose number of dimensions is not that of `axes`."""
    n = axes.count(",") + 1
    if value.ndim != n:
        remedy = ""
        if n == 1 and value.ndim > 1:
            remedy = f", as {name}.ravel()"
        elif value.ndim == 1 and axes == "[n_tasks, n_parameters]":
            remedy = f", as {name}[None] of one task"
        raise ValueError(
            f"{function}: `{name}` must have {n} dimension{'s' * (n > 1)}: "
            f"got shape {value.shape}, expected {axes}{remedy}"
        )


def shape(
    function: str,
    name: str,
    value: NDArray[Any],
    expected: tuple[int, ...],
    rule: str = "fit in shape",
) -> None:
    """Refuses an array whose shape is not `expected`, by `rule`."""
    if value.shape != expected:
        raise ValueError(
            f"{function}: `{name}` must {rule}: got {value.shape}, expected {expected}"
        )


def finite(
    function: str,
    name: str,
    value: NDArray[Any],
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
) -> None:
    """Refuses an array with a value that is not finite, not above or not at least a bound."""
    value = _arrays.host(value)
    good = np.isfinite(value) & (value > above) & (value >= at_least)
    if not good.all():
        rule = "finite"
        if above != -math.inf:
            rule += f" and > {above:g}"
        if at_least != -math.inf:
            rule += f" and >= {at_least:g}"
        position = int(np.argmin(good))
        raise ValueError(
            f"{function}: `{name}` must be {rule} everywhere: "
            f"got {float(value.flat[position])} at {position}, expected {rule}"
        )


def weights(function: str, name: str, value: NDArray[Any]) -> None:
    """Refuses weights that are negative, or whose sums or their inverses may not be finite."""
    finite(function, name, value, at_least=0.0)
    value = _arrays.host(value)
    good = (value == 0.0) | ((value >= 1e-150) & (value <= 1e150))
    if not good.all():
        raise ValueError(
            f"{function}: `{name}` must be moderate: got {float(value.flat[np.argmin(good)])} at "
            f"{int(np.argmin(good))}, expected 0, or 1e-150 to 1e150"
        )


def together(function: str, name: str, value: Any, other: str, beside: Any) -> None:
    """Refuses an array that does not live where the array `beside`, called `other`, does."""
    got, expected = _arrays.device_of(value), _arrays.device_of(beside)
    if got != expected:
        raise TypeError(
            f"{function}: `{name}` must live where `{other}` does: got {got}, expected {expected}"
            + _moved(name, expected)
        )


def on_host(function: str, name: str, value: Any) -> None:
    """Refuses an array on a CUDA device."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{function}: `{name}` must live in host memory: got {_arrays.device_of(value)}, "
            "expected" + _moved(name, "cpu").removeprefix(", as")
        )


def _moved(name: str, expected: str) -> str:
    """How something gets from one device to another, as a message ends."""
    if name in ("learner", "tasks", "statistics", "other"):
        return f", as {name}.to({expected!r})"
    if name in ("rule", "run"):
        return ", made of arrays that live there"
    return f", as {name}.get()" if expected == "cpu" else f", as cupy.asarray({name})"


def on_simplex(function: str, name: str, value: NDArray[Any], *, positive: bool = False) -> None:
    """Refuses points with a coordinate below zero, or at zero, or with a sum that is not one."""
    tolerance = 64.0 * float(np.finfo(value.dtype).eps) * value.shape[-1]
    off = np.abs(value.sum(axis=-1) - 1.0)
    outside = value <= 0.0 if positive else value < 0.0
    if outside.any() or not (off <= tolerance).all():
        raise ValueError(
            f"{function}: `{name}` must lie on the simplex: got a least coordinate of "
            f"{float(value.min()):g} and a sum off by {float(off.max()):g}, "
            f"expected {'> 0' if positive else '>= 0'} and a sum of 1"
        )
