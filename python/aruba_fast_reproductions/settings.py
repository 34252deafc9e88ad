"""The check that all settings of experiments have in common: of their fields, by their types."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from aruba_fast import _check

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_fields(
    command: str,
    settings: "DataclassInstance",
    *,
    number: Callable[[str, str, Any], float] = _check.fraction,
    least: Mapping[str, int] | None = None,
) -> None:
    """Refuses settings that are out of range.

    Args:
        command: Whose settings they are.
        settings: A dataclass of integers, which may also be None where the type says so, and of
            floats.
        number: Check of a float.
        least: The least of an integer, by the name of the field, where that is not 1.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.type is float:
            number(command, field.name, value)
        elif value is not None or field.type is int:
            _check.integer(command, field.name, value, (least or {}).get(field.name, 1))
