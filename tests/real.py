"""Where the real data lies: in the folder that ARUBA_FAST_DATA names, or in `../shared/data`."""

import os
from pathlib import Path

import pytest

FOLDER = Path(
    os.environ.get("ARUBA_FAST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
)


def require(name):
    """The path of a file of the real data; where it is missing the test skips, and fails in CI."""
    path = FOLDER / name
    if not path.is_file():
        reason = f"{path} is missing: set ARUBA_FAST_DATA to the folder of the real data"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
