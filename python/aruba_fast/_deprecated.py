"""Names of the version before: they work for one more version, and warn."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warns whoever called the caller that a name has become another.

    Args:
        old: The name that was used.
        new: The name to use instead.
        stacklevel: As that of `warnings.warn`, counted from here.
    """
    message = f"{old} is {new} now: the old name will not be there in the next version"
    warnings.warn(message, DeprecationWarning, stacklevel)


def renamed_arguments(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Lets a function take keyword arguments by their old names: `renamed_arguments(old="new")`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> R:
            for old, new in names.items():
                if old in given and new not in given:
                    where = function.__qualname__.removesuffix(".__init__")
                    renamed(f"{where}: `{old}`", f"`{new}`")
                    given[new] = given.pop(old)
            return function(*args, **given)

        return call

    return decorate
