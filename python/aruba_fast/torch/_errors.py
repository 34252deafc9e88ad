"""Errors of the code below as those of the function that was called; warnings at its caller."""

import re
import sys
import warnings
from collections.abc import Sequence

# Code of these stands between a warning and the line of the user that it is about.
_BETWEEN = ("aruba_fast", "contextlib", "torch")


def warn(text: str) -> None:
    """Warns at the line outside of this package that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals["__name__"].split(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def renamed(error: Exception, function: str, numbers: Sequence[int] = ()) -> Exception:
    """Returns an error with the name of another function before it.

    Args:
        error: What was raised: "name: `argument` must ...".
        function: The function that was called.
        numbers: For an argument that is a list of some of the parameters, their numbers among all.
    """
    text = re.sub(r"^[\w.]+: ", f"{function}: ", str(error))
    if numbers:
        text = re.sub(r"`(\w+)\[(\d+)\]`", lambda m: f"`{m[1]}[{numbers[int(m[2])]}]`", text)
    return type(error)(text)
