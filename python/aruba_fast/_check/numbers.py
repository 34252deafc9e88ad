"""Checks of numbers: "function: `argument` must ...: got X, expected Y"."""

import math
import numbers
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_INT64_MAX = 2**63 - 1
# Vowels that are not read as one.
_AS_YOU_OR_ONE = re.compile(r"u(func|int|ni[cfotqv]|se|ti|tf|uid)|eu|one")


def _real(function: str, name: str, value: object) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{function}: `{name}` must be a real number: got {shown(value)}, expected a float"
        )
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except MemoryError:
        raise
    except Exception as error:  # of the object's own code
        raise TypeError(
            f"{function}: `{name}` must be a real number: got {type(value).__name__} ({error}), "
            "expected a float"
        ) from error


def _article(kind: str) -> str:
    """The article of a type's name as it is read: a ufunc, a uint8, an int, an ndarray."""
    name = kind.lstrip("_").lower()
    if _AS_YOU_OR_ONE.match(name):
        return "a"
    return "an" if name.startswith(("a", "e", "i", "o", "u", "ndarray", "xml")) else "a"


def shown(value: object) -> str:
    """What a message says of a value that is of the wrong type."""
    kind = type(value).__name__
    article = _article(kind)
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (str, bool, int, float, np.generic)) and len(repr(value)) < 40:
        return f"{value!r}, {article} {kind}"
    if isinstance(value, np.ndarray):
        return f"{article} {kind} of shape {value.shape}"
    return f"{article} {kind}"


def positive(function: str, name: str, value: object) -> float:
    """Returns `value` as a float; it must be finite and above 0."""
    number = _real(function, name, value)
    if not (0.0 < number < math.inf):
        rule = "positive" if math.isfinite(number) else "finite"
        raise ValueError(
            f"{function}: `{name}` must be {rule}: got {number}, expected a finite number > 0"
        )
    return number


def non_negative(function: str, name: str, value: object) -> float:
    """Returns `value` as a float; it must be finite and at least 0."""
    number = _real(function, name, value)
    if not (0.0 <= number < math.inf):
        rule = "not be negative" if math.isfinite(number) else "be finite"
        raise ValueError(
            f"{function}: `{name}` must {rule}: got {number}, expected a finite number >= 0"
        )
    return number


def fraction(function: str, name: str, value: object, *, zero: bool = False) -> float:
    """Returns `value` as a float; it must lie in (0, 1), or in [0, 1) where `zero` is allowed."""
    number = _real(function, name, value)
    if not (0.0 < number < 1.0 or (zero and number == 0.0)):
        expected = "0 <= value < 1" if zero else "0 < value < 1"
        raise ValueError(
            f"{function}: `{name}` must be a fraction: got {number}, expected {expected}"
        )
    return number


def meta_step(function: str, value: Any, n_tasks: Callable[[], int]) -> float | None:
    """Returns the step of the initialization, None for that of the running mean.

    Args:
        function: Name of the public function, for the message.
        value: A number, None, or a function of the number of tasks that returns one of them.
        n_tasks: Counts the tasks, for such a function; on a device that waits.
    """
    if callable(value):
        value = value(n_tasks())
    return None if value is None else non_negative(function, "meta_step", value)


def square(function: str, what: str, number: float) -> float:
    """Returns the square of a positive number, which must not leave float64."""
    if not (1e-150 < number < 1e150):
        raise ValueError(
            f"{function}: {what} must have a square within float64: got {number}, "
            "expected 1e-150 to 1e150"
        )
    return number**2


def auto(
    function: str, name: str, value: object, check: Callable[[str, str, object], float]
) -> float | str:
    """Returns "auto", or what `check` makes of a number."""
    if not isinstance(value, str):
        return check(function, name, value)
    if value != "auto":
        raise TypeError(
            f"{function}: `{name}` must be a real number: got {shown(value)}, "
            "expected a float, or 'auto'"
        )
    return value


def one_of(function: str, name: str, value: object, known: tuple[str, ...]) -> str:
    """Returns `value`, which must be one of the words `known`."""
    if not isinstance(value, str) or value not in known:
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(
            f"{function}: `{name}` must be known: got {shown(value)}, "
            f"expected {' or '.join(map(repr, known))}"
        )
    return value


def by_rows(
    function: str,
    weights: Any,
    remedy: str = ", expected 'rows' for their numbers of rows, or None for 1 each",
) -> str | None:
    """Returns `weights` of tasks, None or "rows"."""
    if weights is not None and not (isinstance(weights, str) and weights == "rows"):
        raise (ValueError if isinstance(weights, str) else TypeError)(
            f"{function}: `weights` must be None or 'rows': got {shown(weights)}{remedy}"
        )
    return weights


def boolean(function: str, name: str, value: object) -> bool:
    """Returns `value` as a bool; nothing but a bool is taken for one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"{function}: `{name}` must be a bool: got {shown(value)}, expected True or False"
        )
    return bool(value)


def integer(function: str, name: str, value: Any, minimum: int, maximum: int = _INT64_MAX) -> int:
    """Returns `value` as an int; it must be in range, and fit into 64 bits."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except MemoryError:
        raise
    except Exception as error:  # a float has no index; an object's own code raises what it likes
        raise TypeError(
            f"{function}: `{name}` must be an integer: got {shown(value)}, expected an int"
        ) from (None if type(error) is TypeError else error)
    if not (minimum <= number <= maximum):
        most = "fit into 64 bits" if maximum == _INT64_MAX else f"be at most {maximum}"
        rule = f"be at least {minimum}" if number < minimum else most
        raise ValueError(f"{function}: `{name}` must {rule}: got {number}")
    return number
