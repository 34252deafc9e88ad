"""Personalized language: FedAvg and FedAvg with ARUBA on what the roles of Shakespeare say."""

from .job import ShakespeareJob
from .methods import DEFAULT_METHODS, Method
from .result import Result
from .settings import SCALES, Settings

__all__ = ["SCALES", "Method", "Result", "Settings", "ShakespeareJob", "planned"]


def planned(names: str | None) -> list[Method]:
    """The methods of a list with commas, each once; all of the table if it is None."""
    given = DEFAULT_METHODS if names is None else names.split(",")
    return [Method.of(name) for name in dict.fromkeys(name.strip() for name in given)]
