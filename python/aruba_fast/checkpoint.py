"""Checkpoint files: safetensors with a version, replaced as a whole or not at all."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._replace import checked_path, replace, told
from ._version import FORMAT, require_readable

__all__ = [
    "KIND",
    "OtherKindError",
    "checked_path",
    "from_bytes",
    "kind_of",
    "read",
    "replace",
    "require_whole",
    "to_bytes",
    "write",
]

KIND = "MetaLearner"


class OtherKindError(ValueError):
    """A checkpoint is one of another class."""


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    hyperparameters: Mapping[str, Any],
    kind: str = KIND,
) -> None:
    """Writes arrays and hyperparameters; if that fails, the old file stands and nothing is left.

    Args:
        path: The file, as `replace`.
        arrays: C-contiguous float32, float64 or int64 arrays by name.
        hyperparameters: Whatever JSON can hold, by name.
        kind: Name of the class whose state this is.

    Raises:
        OSError: The file cannot be written.
    """
    replace(path, to_bytes(arrays, hyperparameters, kind), f"{kind}.save")


def to_bytes(
    arrays: Mapping[str, NDArray[Any]], hyperparameters: Mapping[str, Any], kind: str
) -> bytes:
    """Returns what `write` writes."""
    from safetensors.numpy import save

    # One metadata key: safetensors writes several in an arbitrary order, and files would differ.
    header = {
        "kind": kind,
        "version": FORMAT,
        "hyperparameters": dict(hyperparameters),
        "sha256": _checksum(arrays, hyperparameters),
        "written_by": _library(),
    }
    data: bytes = save(dict(arrays), metadata={"aruba_fast": json.dumps(header)})
    return data


@cache
def _library() -> str:
    from importlib.metadata import version

    return f"aruba_fast {version('aruba_fast')}"


def _checksum(arrays: Mapping[str, NDArray[Any]], hyperparameters: Mapping[str, Any]) -> str:
    """SHA-256 of all that a checkpoint holds: a flipped bit of a number looks like a number."""
    digest = hashlib.sha256(json.dumps(dict(hyperparameters), sort_keys=True).encode())
    for name in sorted(arrays):
        values = arrays[name]
        digest.update(f"{name} {values.dtype.name} {values.shape}".encode())
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


def require_whole(
    arrays: Mapping[str, NDArray[Any]], hyperparameters: Mapping[str, Any], checksum: str
) -> None:
    """Refuses what `read` gave where a bit of it is another than was written."""
    if _checksum(arrays, hyperparameters) != checksum:
        raise ValueError("damaged (its checksum is another)")


def read(
    path: str | os.PathLike[str], kind: str = KIND, known: Collection[str] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], str]:
    """Reads what `write` wrote, values not yet checked: `(arrays, hyperparameters, checksum)`.

    Args:
        path: The file.
        kind: Name of the class whose state it is.
        known: Names of the hyperparameters that the file may have; None for any.

    Raises:
        OSError: The file cannot be read.
        OtherKindError: It is a checkpoint of another kind.
        ValueError: It is not a checkpoint, or of a newer version; the message gives the reason.
    """
    name = checked_path(f"{kind}.load", path)
    try:
        # Read, not mapped: another process may truncate the file while it is in use.
        data = Path(name).read_bytes()
    except OSError as error:
        raise told(f"{kind}.load", name, error) from error
    return from_bytes(data, kind, known)


def from_bytes(
    data: bytes, kind: str, known: Collection[str] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], str]:
    """What `read` returns of a file's bytes; raises its ValueErrors."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays, metadata = load(data), _metadata(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"damaged or not a safetensors file ({type(error).__name__}: {error})"
        ) from None
    header = _header(metadata, kind)
    if known is not None and (new := sorted(set(header["hyperparameters"]) - set(known))):
        raise ValueError(
            f"has the hyperparameters {new} of {header.get('written_by', 'a newer aruba_fast')}, "
            f"which {_library()} does not know: install that version"
        )
    # Copies: what safetensors returns may be read-only or unaligned.
    copies = {name: np.array(values) for name, values in arrays.items()}
    return copies, header["hyperparameters"], header["sha256"]


def kind_of(data: bytes) -> str | None:
    """The kind that bytes say they are of, not yet checked; None where they say nothing."""
    try:
        return str(json.loads(_metadata(data)["aruba_fast"])["kind"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _metadata(data: bytes) -> dict[str, str]:
    n_header = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + n_header]).get("__metadata__") or {}


def _header(metadata: dict[str, str], expected: str) -> dict[str, Any]:
    """Returns the header of a checkpoint of this kind and version."""
    if "aruba_fast" not in metadata:
        raise ValueError("not written by aruba_fast (its metadata is missing)")
    try:
        header: dict[str, Any] = json.loads(metadata["aruba_fast"])
        kind, version = header["kind"], header["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"damaged metadata ({type(error).__name__}: {error})") from None
    if kind != expected:
        raise OtherKindError(f"holds {kind!r}, expected {expected!r}")
    require_readable(version)
    if not isinstance(header.get("hyperparameters"), dict) or "sha256" not in header:
        raise ValueError("damaged metadata (no hyperparameters or no checksum)")
    return header
