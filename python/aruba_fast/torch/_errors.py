"""Errors of the code below as those of the function that was called."""

import re
from collections.abc import Sequence


def renamed(error: Exception, function: str, numbers: Sequence[int] = ()) -> Exception:
    """Returns an error with the name of another function before it.

    Args:
        error: What was raised: "name: `argument` must ...".
        function: The function that was called.
        numbers: For an argument that is a list of some of the parameters, their numbers among all.
    """
    text = re.sub(r"^\w+: ", f"{function}: ", str(error))
    if numbers:
        text = re.sub(r"`(\w+)\[(\d+)\]`", lambda m: f"`{m[1]}[{numbers[int(m[2])]}]`", text)
    return type(error)(text)
