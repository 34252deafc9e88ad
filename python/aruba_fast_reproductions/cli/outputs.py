"""The files that a command is to write: looked at before its work, which may take hours."""

import os
from pathlib import Path

from aruba_fast import _paths


def require(
    command: str, *, folders: dict[str, Path | None], files: dict[str, Path | None]
) -> None:
    """Makes the folders, and refuses in one sentence what could not be written afterwards.

    Args:
        command: Its name.
        folders: Folders by the name of their option, None where one is not asked for.
        files: Files likewise; `figure` is a picture, whose ending names its format.

    Raises:
        OSError: Something cannot be written to.
        ValueError: A picture has no known ending, or two files are one.
    """
    taken: dict[str, str] = {}
    for name, path in files.items():
        if path is None:
            continue
        if name == "figure":
            require_ending(command, name, path)
        other = taken.setdefault(os.path.realpath(path), name)
        if other != name:
            raise ValueError(
                f"{command}: `{name}` must be another file than `{other}`: got {str(path)!r} twice"
            )
        _paths.require_file(command, name, path)
    for name, path in folders.items():
        if path is not None:
            _paths.require_folder(command, name, path)


def require_ending(command: str, name: str, path: Path) -> None:
    """Refuses a picture whose ending names no format, before there is anything to draw."""
    from ..demo.figure import FORMATS

    if path.suffix[1:].lower() not in FORMATS:
        raise ValueError(
            f"{command}: `{name}` must end in a format: got {str(path)!r}, whose ending is not "
            f"supported, expected one of {', '.join(f'.{ending}' for ending in FORMATS)}"
        )
