"""Files of results, as JSON, and what says of which data they are."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aruba_fast._replace import replace


def write_json(path: Path, values: Any, command: str = "write_json") -> None:
    """Writes a file whole or not at all, for a command; refuses numbers that are not finite."""
    text = json.dumps(values, indent=1, allow_nan=False)
    replace(path, (text + "\n").encode(), command)


def plain(value: Any) -> Any:
    """The same as lists and numbers that JSON knows; None for those that are not finite."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@contextmanager
def own_file(command: str, rule: str, path: Path) -> Iterator[None]:
    """Refuses in one sentence, in which `rule` stands, a file that cannot be read as intended."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{command}: {rule} that this command wrote: got {str(path)!r}, which is refused: "
            f"{type(error).__name__}: {error}"
        ) from None


def read_json(command: str, path: Path, own: Mapping[str, Any]) -> dict[str, Any]:
    """Reads what an earlier run has left, if it is of this very one, else nothing.

    Args:
        command: Its name.
        path: The file; it need not exist.
        own: Entries that the file must have for it to count: settings, the data.

    Raises:
        ValueError: The file was not written by this command.
    """
    if not path.is_file():
        return {}
    with own_file(command, "`out` must hold files", path):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found if all(found.get(name) == value for name, value in own.items()) else {}


def fingerprint(*arrays: NDArray[Any]) -> str:
    """What tells one data set from another: 64 bits of a SHA-256 of all their numbers."""
    digest = hashlib.sha256()
    for values in arrays:
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()[:16]
