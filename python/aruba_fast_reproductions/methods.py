"""Methods by the names that commands read and files bear."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class NamedMethod:
    """One way to train: a kind, and a rate for a kind whose rate is fixed.

    Attributes:
        kind: One of `kinds`, or of `fixed`.
        rate: Learning rate of one of `fixed`.
        command: Name of the command that reads it.
        kinds: The kinds without a rate.
        fixed: The kinds with one.
    """

    kind: str
    rate: float | None = None
    command: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    fixed: ClassVar[tuple[str, ...]]

    @classmethod
    def of(cls, name: str) -> "Self":
        """Reads a name: a kind, or one of `fixed` with its rate as in sgd-0.1."""
        kind, _, rate = name.partition("-")
        if name in cls.kinds:
            return cls(name)
        with suppress(ValueError):
            if kind in cls.fixed and 0.0 < float(rate) < float("inf"):
                return cls(kind, float(rate))
        *others, last = (*cls.kinds, *(f"{kind}-RATE" for kind in cls.fixed))
        raise ValueError(
            f"{cls.command}: `methods` must be known: got {name!r}, expected "
            f"{', '.join(others)} or {last}, such as {cls.fixed[0]}-0.1"
        )

    @property
    def name(self) -> str:
        """The name that `of` reads; good for a file."""
        return self.kind if self.rate is None else f"{self.kind}-{self.rate:g}"
