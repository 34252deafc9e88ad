"""`FirstRate`: what a machine says of the first learning rate, from tasks that nobody else sees."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _check
from . import _wire

_KIND = "FirstRate"


@dataclass(frozen=True)
class FirstRate:
    """The first learning rate that fits the tasks of one machine.

    A learner made with `learning_rate="auto"` has no rate to send in its first round. Machines
    then answer with the rate that fits their own tasks, and the server starts with

        min(the smallest limit, the median of the estimates)

    A limit is the largest rate that a machine's rows allow, 1 / max_i c_i |x_i|^2. The smallest of
    them is, to the bit, the limit of all rows in one place. An estimate comes from trying rates, as
    for a network.

    Args:
        rate: The rate, > 0; infinite if no row limits it.
        version: The number of the phi that the server sent, >= 0.
        is_limit: Whether the rate is a limit; else it is an estimate.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> from aruba_fast.federated import FirstRate
        >>> FirstRate.from_bytes(FirstRate(0.25, version=0).to_bytes())
        FirstRate(rate=0.25, version=0, is_limit=False)
    """

    rate: float
    version: int
    is_limit: bool = False

    def __post_init__(self) -> None:
        name = _KIND
        if self.rate != math.inf:
            object.__setattr__(self, "rate", _check.positive(name, "rate", self.rate))
        version = _check.integer(name, "version", self.version, 0, _wire.MOST_VERSION)
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "is_limit", _check.boolean(name, "is_limit", self.is_limit))

    def to_bytes(self) -> bytes:
        """Returns it as a safetensors file, with a checksum.

        Example:
            >>> from aruba_fast.federated import FirstRate
            >>> len(FirstRate(0.25, version=0).to_bytes()) < 500
            True
        """
        values = {"version": self.version, "is_limit": self.is_limit}
        return _wire.written({"rate": np.array([self.rate])}, values, _KIND)

    @classmethod
    def from_bytes(cls, data: bytes) -> "FirstRate":
        """Reads what `to_bytes` wrote.

        Args:
            data: The bytes.

        Raises:
            TypeError: `data` is no bytes.
            ValueError: The bytes are damaged, of a newer version or something else.

        Example:
            >>> from aruba_fast.federated import FirstRate
            >>> FirstRate.from_bytes(FirstRate(0.5, 3, is_limit=True).to_bytes()).rate
            0.5
        """
        return _wire.read(f"{_KIND}.from_bytes", data, _KIND, cls._made)

    @classmethod
    def _made(cls, arrays: dict[str, Any], values: dict[str, Any]) -> "FirstRate":
        return cls(float(arrays["rate"].item()), values["version"], values["is_limit"])


def agreed(answers: Iterable[FirstRate]) -> float:
    """The rate that a server starts with."""
    told = sorted((answer.is_limit, answer.rate) for answer in answers)
    estimates = [rate for limit, rate in told if not limit]
    middle = estimates[(len(estimates) - 1) // 2 :][:1]
    rate = min([rate for limit, rate in told if limit] + middle)
    return 1.0 if rate == math.inf else rate
