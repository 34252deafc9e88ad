"""The command `aruba-fast`; what it needs beyond the library is the extra `reproductions`."""

import sys
from importlib.util import find_spec

_NEEDED = ("typer", "rich", "matplotlib")


def main() -> None:
    """Entry point of `aruba-fast`; one clear sentence where the extra is missing."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(
            f"aruba-fast needs {', '.join(missing)}, not installed here: "
            "pip install 'aruba_fast[reproductions]'"
        )
    try:
        from . import (  # noqa: F401  add their commands
            diagnose,
            omniglot,
            shakespeare,
            sine,
            theory,
            writers,
        )
        from .app import app
        from .screen import any_screen

        with any_screen():
            app()
    except KeyboardInterrupt:
        sys.exit(130)
