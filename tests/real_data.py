"""The real data outside the repository: found, or skipped with the reason; in CI they must be."""

import os
from pathlib import Path

import numpy as np
import pytest

import aruba_fast as af
from aruba_fast import datasets

FOLDER = Path(
    os.environ.get("ARUBA_FAST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
)
TABLES = ("wages", "lenk", "school", "parkinson")


def require(name):
    """The path of a file of the real data."""
    path = FOLDER / name
    if not path.is_file():
        reason = f"{path} is missing: set ARUBA_FAST_DATA to the folder of the real data"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def people(name):
    if name == "wages":
        return datasets.load_wages()
    return datasets.load_table(require(f"{name}.npz"))


def standardized(name, label=lambda y: y):
    """All tasks of a table with standardized columns and an intercept, in float64."""
    table = people(name)
    spread = table.x.std(axis=0)
    x = (table.x - table.x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    x = np.column_stack([x, np.ones(len(x))])
    y = (table.y - table.y.mean()) / table.y.std()
    return af.Tasks.from_groups(x, label(y), table.task)
