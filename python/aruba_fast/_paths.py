"""Paths that a user names: whether they can be written to, asked before the work; errors told."""

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def told(error: OSError) -> str:
    """What the system says of a file, as a sentence about the file."""
    if error.filename is None or error.strerror is None:
        return str(error)
    path = os.fsdecode(error.filename)
    if isinstance(error, FileNotFoundError):
        return f"the file {path!r} does not exist"
    if isinstance(error, IsADirectoryError):
        return f"{path!r} is a folder, not a file"
    return f"the file {path!r} cannot be used: {error.strerror}"


def require_file(function: str, name: str, path: Path) -> None:
    """Refuses a path that no file could be written to, and makes its folder.

    Raises:
        OSError: The folder cannot be made or written to, the path is a folder, or its name no name.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if not target.exists() or target.is_file():
            _try(target.parent)
            # A name may be too long for the file system: that is found by looking for it.
            with suppress(FileNotFoundError):
                target.lstat()
    except (OSError, ValueError) as error:
        raise _refused(function, name, path, "a file", error) from None


def require_folder(function: str, name: str, path: Path) -> None:
    """Makes a folder, with those above it, and refuses one that cannot be written to.

    Raises:
        OSError: It cannot be made, or nothing can be written into it.
    """
    try:
        _try(Path(os.path.realpath(path)))
    except (OSError, ValueError) as error:
        raise _refused(function, name, path, "a folder", error) from None


def _try(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _refused(function: str, name: str, path: Path, what: str, error: Exception) -> OSError:
    kind = type(error) if isinstance(error, OSError) else OSError
    reason = getattr(error, "strerror", None) or str(error)
    return kind(
        f"{function}: `{name}` must be {what} that can be written to: got {os.fspath(path)!r}, "
        f"where that fails: {reason}"
    )
