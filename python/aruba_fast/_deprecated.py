"""Names of the version before: they work for one more version, and warn."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class CalledList(list[Any]):
    """A property's list that a method of the same name gave in the version before.

    Args:
        name: That name.
        values: The list.
    """

    def __init__(self, name: str, values: list[Any]) -> None:
        super().__init__(values)
        self._name = name

    def __call__(self) -> list[Any]:
        """Returns the list, for who calls what is no method any more."""
        warn_renamed(f"{self._name}()", self._name)
        return list(self)


def warn_renamed(old: str, new: str) -> None:
    """Warns whoever called the caller that a name has become another.

    Args:
        old: The name that was used.
        new: The name to use instead.
    """
    message = f"{old} is {new} now: the old name will not be there in the next version"
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def renamed_arguments(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Lets a function take keyword arguments by their old names: `renamed_arguments(old="new")`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> R:
            for old, new in names.items():
                if old in given and new not in given:
                    where = function.__qualname__.removesuffix(".__init__")
                    warn_renamed(f"{where}: `{old}`", f"`{new}`")
                    given[new] = given.pop(old)
            return function(*args, **given)

        return call

    return decorate
