"""Checkpoint files: safetensors with a version, replaced as a whole or not at all."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KIND = "MetaLearner"
VERSION = 1


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, NDArray[Any]],
    hyperparameters: Mapping[str, Any],
    kind: str = KIND,
) -> None:
    """Writes arrays and hyperparameters; if that fails, the old file stands and nothing is left.

    Args:
        path: The file; a symbolic link is followed.
        arrays: C-contiguous float32, float64 or int64 arrays by name.
        hyperparameters: Whatever JSON can hold, by name.
        kind: Name of the class whose state this is.

    Raises:
        OSError: The file cannot be written.
    """
    from safetensors.numpy import save

    # One metadata key: safetensors writes several in an arbitrary order, and files would differ.
    header = {
        "kind": kind,
        "version": VERSION,
        "hyperparameters": dict(hyperparameters),
        "sha256": checksum(arrays, hyperparameters),
    }
    replace(path, save(dict(arrays), metadata={"aruba_fast": json.dumps(header)}))


def checksum(arrays: Mapping[str, NDArray[Any]], hyperparameters: Mapping[str, Any]) -> str:
    """SHA-256 of all that a checkpoint holds: a flipped bit of a number looks like a number."""
    digest = hashlib.sha256(json.dumps(dict(hyperparameters), sort_keys=True).encode())
    for name in sorted(arrays):
        values = arrays[name]
        digest.update(f"{name} {values.dtype.name} {values.shape}".encode())
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


def replace(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file; if that fails, the old one stands and nothing is left beside it.

    Args:
        path: The file; a symbolic link is followed.
        data: All that it will hold.

    Raises:
        OSError: The file cannot be written.
    """
    target = Path(os.path.realpath(os.fspath(path)))
    temporary = target.with_name(f".aruba_fast-{secrets.token_hex(8)}.tmp")
    file = temporary.open("xb")
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # Makes the new name survive a power cut. The file is whole either way, and some file systems
    # cannot sync a directory, hence no error.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(
    path: str | os.PathLike[str], kind: str = KIND
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], str]:
    """Reads what `write` wrote, values not yet checked: `(arrays, hyperparameters, checksum)`.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a checkpoint of this kind and version; the message gives the reason.
    """
    # Read, not mapped: another process may truncate the file while it is in use.
    data = Path(path).read_bytes()
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        n_header = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + n_header]).get("__metadata__") or {}
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"damaged or not a safetensors file ({type(error).__name__}: {error})"
        ) from None
    header = _header(metadata, kind)
    # Copies: what safetensors returns may be read-only or unaligned.
    copies = {name: np.array(values) for name, values in arrays.items()}
    return copies, header["hyperparameters"], header["sha256"]


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
        raise ValueError(f"holds {kind!r}, expected {expected!r}")
    if type(version) is not int or version < 1:
        raise ValueError(f"damaged metadata (version {version!r})")
    if version > VERSION:
        raise ValueError(
            f"has format version {version}, this aruba_fast reads up to {VERSION}: "
            "install a newer aruba_fast"
        )
    if not isinstance(header.get("hyperparameters"), dict) or "sha256" not in header:
        raise ValueError("damaged metadata (no hyperparameters or no checksum)")
    return header
