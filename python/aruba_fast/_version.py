"""The version of what is stored: files, pickles and dictionaries say which one wrote them."""

from dataclasses import MISSING, fields
from typing import Any

# To be raised only where an older reader would go wrong; what is older is read for ever.
FORMAT = 1
_KEY = "aruba_fast_format"


def require_readable(version: object) -> None:
    """Refuses what a newer version wrote."""
    if type(version) is not int or version < 1:
        raise ValueError(f"damaged metadata (version {version!r})")
    if version > FORMAT:
        raise ValueError(
            f"has format version {version}, this aruba_fast reads up to {FORMAT}: "
            "install a newer aruba_fast"
        )


class Versioned:
    """Base of frozen dataclasses whose pickles say their version.

    Of a pickle that says none, the version is 1. A field that it is too old to have has its
    default.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {_KEY: FORMAT, **vars(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        kind = type(self).__name__
        try:
            require_readable(state.get(_KEY, 1))
        except ValueError as error:
            raise ValueError(f"{kind}: the pickle is refused: {error}") from None
        defaults = {
            field.name: field.default
            for field in fields(self)  # type: ignore[arg-type]
            if field.default is not MISSING
        }
        for name, value in (defaults | state).items():
            if name != _KEY:
                object.__setattr__(self, name, self._unpickled(value))

    def _unpickled(self, value: Any) -> Any:
        return value
