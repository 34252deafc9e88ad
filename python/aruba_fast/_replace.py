"""Files that are replaced as a whole or not at all, whatever stands at their path."""

import contextlib
import errno
import hashlib
import os
import stat
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

# Windows has none.
fcntl: Any = import_module("fcntl") if os.name == "posix" else None


def replace(path: str | os.PathLike[str], data: bytes, function: str = "replace") -> None:
    """Writes a file; if that fails, the old one stands and nothing is left beside it.

    It is written beside `path`, under a name that begins with ".aruba_fast-", and renamed. What a
    killed process leaves under such a name is removed when the same file is written again.

    Args:
        path: The file; a symbolic link is followed. A file that is there keeps its permissions and,
            where the system allows it, its owner and group. A pipe or a character device is written
            to as it is.
        data: All that it will hold.
        function: Name of the public function, for messages.

    Raises:
        TypeError: `path` is no path.
        ValueError: `path` holds a null character.
        OSError: The file cannot be written.
    """
    name = checked_path(function, path)
    try:
        before = _existing(name)
        target = Path(os.path.realpath(name))
        if before is None or (stat.S_ISREG(before.st_mode) and target.exists()):
            _replace(target, data, before)
        elif stat.S_ISREG(before.st_mode) or _is_stream(before.st_mode):
            # A regular file here is one that only a descriptor leads to, as /dev/stdout may.
            Path(name).write_bytes(data)
        else:
            code = errno.EISDIR if stat.S_ISDIR(before.st_mode) else errno.ENXIO
            raise OSError(code, os.strerror(code))
    except OSError as error:
        raise told(function, name, error, writing=True) from error


def checked_path(function: str, path: object) -> str:
    """Returns a path as text, or refuses what is none."""
    try:
        name = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{function}: `path` must be a path: got {type(path).__name__}, "
            "expected a str or an os.PathLike"
        ) from None
    if "\0" in name:
        raise ValueError(f"{function}: `path` must hold no null character: got {name!r}")
    return name


def told(function: str, path: str, error: OSError, *, writing: bool = False) -> OSError:
    """The same error of the system as a sentence, with what to do about it."""
    folder = Path(os.path.realpath(path)).parent
    if not path:
        rule, got = "be the name of a file", "got ''"
    elif error.errno == errno.EISDIR:
        rule = "be a file"
        got = f"got {path!r}, a folder, expected a file in it, as {str(Path(path) / 'NAME')!r}"
    elif error.errno == errno.ENOENT and not folder.is_dir():
        rule, got = "be in a folder that exists", f"got {path!r}, and there is no {str(folder)!r}"
        if writing:
            got += f"; make it by os.makedirs({str(folder)!r})"
    elif error.errno == errno.ENOENT:
        rule, got = "be a file that exists", f"got {path!r}, and {str(folder)!r} has no such file"
    elif error.errno == errno.ENXIO and writing:
        rule = "be a file, a pipe or a terminal"
        got = f"got {path!r}, which cannot be written to as one"
    else:
        rule = "be a file that can be " + ("written" if writing else "read")
        got = f"got {path!r}: {error.strerror or error}"
    sentence = type(error)(f"{function}: `path` must {rule}: {got}")
    sentence.errno = error.errno
    return sentence


def _existing(path: str) -> os.stat_result | None:
    if not path or path.endswith(os.sep):
        code = errno.EISDIR if path else errno.ENOENT
        raise OSError(code, os.strerror(code))
    try:
        return Path(path).stat()
    except FileNotFoundError:
        return None


def _is_stream(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _replace(target: Path, data: bytes, before: os.stat_result | None) -> None:
    # Nobody else may read what is going to be as private as the old file.
    descriptor, temporary = _created(target, 0o666 if before is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if before is not None and hasattr(os, "fchown"):
                _keep_access(descriptor, before)
            os.fsync(descriptor)
            if fcntl is None:
                file.close()  # Windows renames no open file
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


def _created(target: Path, mode: int) -> tuple[int, Path]:
    """A new file beside `target`, locked for as long as it is open, and its path.

    Its name is one that the next save of `target` looks at: a lock that can be had tells that
    whoever made the file is gone.
    """
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    for number in count():
        path = target.with_name(f".aruba_fast-{digest}-{number}.tmp")
        _remove_abandoned(path)
        try:
            descriptor = os.open(path, flags, mode)
        except FileExistsError:
            continue
        _lock(descriptor, wait=True)
        if fcntl is None or _is_named(descriptor, path):
            return descriptor, path
        os.close(descriptor)  # somebody took it for an abandoned one, before it was locked
    raise AssertionError


def _remove_abandoned(path: Path) -> None:
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _lock(descriptor, wait=False) and _is_named(descriptor, path):
                path.unlink()
        finally:
            os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """False where another process has the lock, or the file system has none."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _keep_access(descriptor: int, before: Any) -> None:
    mode = stat.S_IMODE(before.st_mode) & 0o777
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        except OSError:
            try:
                os.fchown(descriptor, -1, before.st_gid)
            except OSError:
                # Of another group: it may do what everybody may.
                mode &= ~0o070 | (mode & 0o007) << 3
    with contextlib.suppress(OSError):  # file systems without permissions
        os.fchmod(descriptor, mode)
