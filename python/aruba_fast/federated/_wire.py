"""What replies, rounds and first rates have in common on their way: they are bytes."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from numpy.typing import NDArray

from .. import _check

T = TypeVar("T")

MOST_VERSION = 2**63 - 1


def written(arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any], kind: str) -> bytes:
    """Numbers as a safetensors file with a checksum."""
    from .. import checkpoint  # takes as long to import as half of the package

    return checkpoint.to_bytes(arrays, values, kind)


def read(
    function: str,
    data: object,
    kind: str,
    make: Callable[[dict[str, NDArray[Any]], dict[str, Any]], T],
) -> T:
    """Makes of bytes what they were written of; says in one sentence why not."""
    from .. import checkpoint

    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"{function}: `data` must be bytes: got {_check.shown(data)}, expected those of "
            "to_bytes"
        )
    try:
        arrays, values, checksum = checkpoint.from_bytes(bytes(data), kind)
        checkpoint.require_whole(arrays, values, checksum)
        return make(arrays, values)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{function}: `data` must be what to_bytes wrote: it is refused: {error}"
        ) from None
