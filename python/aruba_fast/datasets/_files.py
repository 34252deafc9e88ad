"""Finding and reading the files of a data set, with the reason in one sentence where it fails."""

import os
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._paths import told
from .._replace import checked_path

VARIABLE = "ARUBA_FAST_DATA"

Arrays = dict[str, NDArray[Any]]
Result = TypeVar("Result")


def place(function: str, path: str | os.PathLike[str] | None, what: str) -> Path:
    """Returns the file or folder to read: `path`, or where that is None the folder of the data.

    Raises:
        FileNotFoundError: Neither is given, or what is given does not exist; the message says
            `what` is expected there.
    """
    chosen = path if path is not None else os.environ.get(VARIABLE) or None
    if chosen is None:
        raise FileNotFoundError(
            f"{function}: `path` must be given where {VARIABLE} does not name the folder of the "
            f"data: got neither, expected {what}"
        )
    found = Path(checked_path(function, chosen))
    if not found.exists():
        raise missing(function, found, what)
    return found


def within(found: Path, name: str) -> Path:
    """The file of that name in a folder, or what was found if it is no folder."""
    return found / name if found.is_dir() else found


def missing(function: str, path: Path, what: str) -> FileNotFoundError:
    """The error where nothing that `function` reads is at `path`."""
    return FileNotFoundError(
        f"{function}: `path` (or {VARIABLE}) must lead to the data: "
        f"got {os.fspath(path)!r}, where it is not, expected {what}"
    )


def parsed(function: str, path: Path, what: str, parse: Callable[[Path], Result]) -> Result:
    """Returns `parse(path)`; what is wrong with a file is told as the reason why it is refused."""
    try:
        return parse(path)
    except OSError as error:
        raise type(error)(f"{function}: `path` must be {what}: {told(error)}") from None
    except ValueError as error:
        raise ValueError(
            f"{function}: `path` must be {what}: got {os.fspath(path)!r}, which is refused: {error}"
        ) from None


def arrays(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Arrays:
    """Reads the named arrays of an `.npz` file and no others; nothing in it is executed.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, no archive, or has not all of the `required` arrays.
    """
    content = path.read_bytes()
    if not zipfile.is_zipfile(BytesIO(content)):
        raise ValueError("it is no archive, or not a whole one; expected an .npz file")
    try:
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            names = archive.files
            found = {name: archive[name] for name in (*required, *optional) if name in names}
    # zipfile, the decompressors behind it and NumPy raise a dozen types on a damaged archive.
    except Exception as error:
        raise ValueError(f"it cannot be read ({type(error).__name__}: {error})") from None
    absent = [name for name in required if name not in found]
    if absent:
        some = f"{names[:12]}{' and more' if len(names) > 12 else ''}"
        raise ValueError(f"it has no array {', '.join(absent)}; it has {some}")
    return found


def shape(name: str, value: NDArray[Any], expected: tuple[int, ...]) -> None:
    """Refuses an array of a file whose shape is not `expected`."""
    if value.shape != expected:
        raise ValueError(f"`{name}` has the shape {value.shape}, expected {expected}")


def strings(name: str, value: NDArray[Any], length: int) -> tuple[str, ...]:
    """Returns an array of `length` strings as a tuple."""
    shape(name, value, (length,))
    if value.dtype.kind != "U":
        raise ValueError(f"`{name}` is {value.dtype}, expected strings")
    return tuple(value.tolist())


def integers(name: str, value: NDArray[Any], length: int, maximum: int) -> NDArray[np.int64]:
    """Returns `length` integers between 0 and `maximum` as int64."""
    shape(name, value, (length,))
    if value.dtype.kind not in "iu":
        raise ValueError(f"`{name}` is {value.dtype}, expected integers")
    if length and not (value.min() >= 0 and value.max() <= maximum):
        raise ValueError(
            f"`{name}` has values from {value.min()} to {value.max()}, expected 0 to {maximum}"
        )
    return value.astype(np.int64)


def packed(name: str, value: NDArray[Any], axes: tuple[str | int, ...]) -> NDArray[np.uint8]:
    """Returns an array of bytes whose shape is `axes`, where a name stands for any length."""
    fits = value.ndim == len(axes) and all(
        size > 0 if isinstance(axis, str) else size == axis
        for size, axis in zip(value.shape, axes, strict=True)
    )
    if not fits or value.dtype != np.uint8:
        expected = ", ".join(str(axis) for axis in axes)
        raise ValueError(f"`{name}` is {value.dtype} {value.shape}, expected uint8 [{expected}]")
    result: NDArray[np.uint8] = value
    return result
