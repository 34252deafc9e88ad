"""Tables of many people's data: the embedded wages, and any `.npz` file in the same schema."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._check import Float64Array, Int64Array
from .._replace import checked_path
from . import _files

_REQUIRED = ("x", "y", "task", "task_names", "feature_names", "info")


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Rows of many tasks, sorted by task.

    Attributes:
        x: Features, float64 [n_rows, n_features], finite.
        y: Targets, float64 [n_rows], finite.
        task: Number of every row's task, int64 [n_rows], rising from 0 to n_tasks - 1.
        task_names: One name per task.
        feature_names: One name per column of `x`.
        info: What the table is and where it comes from.
        test: Rows that the table itself sets aside for testing, bool [n_rows], each task's last;
            None where it does not.
    """

    x: Float64Array
    y: Float64Array
    task: Int64Array
    task_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    info: Mapping[str, Any]
    test: NDArray[np.bool_] | None = None

    @property
    def sizes(self) -> Int64Array:
        """Number of rows of every task, int64 [n_tasks]."""
        return np.bincount(self.task, minlength=len(self.task_names)).astype(np.int64)

    def __repr__(self) -> str:
        rows, features = self.x.shape
        return f"Table(n_tasks={len(self.task_names)}, n_rows={rows}, n_features={features})"


def load_wages() -> Table:
    """Loads the wages of 595 people over the seven years 1976 to 1982, one person a task.

    The target is the logarithm of the wage; `info` cites the source.

    Returns:
        Table with 12 features.

    Example:
        >>> from aruba_fast.datasets import load_wages
        >>> load_wages()
        Table(n_tasks=595, n_rows=4165, n_features=12)

    Source: Cornwell and Rupert, Journal of Applied Econometrics 3 (1988).
    """
    with resources.as_file(resources.files("aruba_fast") / "data" / "wages.npz") as path:
        return load_table(path)


def load_table(path: str | os.PathLike[str]) -> Table:
    """Loads a table from an `.npz` file; nothing in it is executed (`allow_pickle=False`).

    The arrays of the file: `x` [n_rows, n_features] and `y` [n_rows], real numbers; `task`
    [n_rows], integers sorted from 0 to n_tasks - 1; `task_names` [n_tasks] and `feature_names`
    [n_features], strings; `info`, one string of JSON; and if there is one, `test` [n_rows], not
    zero where a row is set aside for testing. Other arrays are ignored.

    Args:
        path: The file.

    Returns:
        Table. Within a task the rows keep their order, those set aside by `test` after the others.

    Raises:
        TypeError: `path` is no path.
        OSError: The file cannot be read.
        ValueError: The file is damaged, no archive or not in the schema; the message names the
            file and the reason.

    Example:
        >>> from aruba_fast.datasets import load_table
        >>> load_table("lenk.npz")  # doctest: +SKIP
        Table(n_tasks=180, n_rows=3600, n_features=14)
    """
    name = "load_table"
    return _files.parsed(name, Path(checked_path(name, path)), "a table of tasks", _read)


def _read(path: Path) -> Table:
    return _table(_files.arrays(path, _REQUIRED, ("test",)))


def _table(arrays: Mapping[str, NDArray[Any]]) -> Table:
    """Checks the arrays in the order of the schema."""
    x = _numbers("x", arrays["x"])
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"`x` has the shape {x.shape}, expected [n_rows, n_features], not empty")
    rows, features = x.shape
    y = _numbers("y", arrays["y"])
    _files.shape("y", y, (rows,))
    task = arrays["task"]
    _files.shape("task", task, (rows,))
    if task.dtype.kind not in "iu":
        raise ValueError(f"`task` is {task.dtype}, expected integers")
    task = task.astype(np.int64)
    if task[0] != 0 or not np.isin(np.diff(task), (0, 1)).all():
        raise ValueError("`task` is not sorted from 0 to n_tasks - 1 without a gap")
    task_names = _files.strings("task_names", arrays["task_names"], int(task[-1]) + 1)
    feature_names = _files.strings("feature_names", arrays["feature_names"], features)
    info = _info(arrays["info"])
    if "test" not in arrays:
        return Table(x, y, task, task_names, feature_names, info)
    test = _numbers("test", arrays["test"]) != 0
    _files.shape("test", test, (rows,))
    order = np.lexsort((test, task))
    return Table(x[order], y[order], task, task_names, feature_names, info, test[order])


def _numbers(name: str, value: NDArray[Any]) -> Float64Array:
    if value.dtype.kind not in "buif":
        raise ValueError(f"`{name}` is {value.dtype}, expected real numbers")
    result = value.astype(np.float64)
    if not np.isfinite(result).all():
        raise ValueError(f"`{name}` has {int((~np.isfinite(result)).sum())} values not finite")
    return result


def _info(value: NDArray[Any]) -> Mapping[str, Any]:
    if value.shape != () or value.dtype.kind != "U":
        raise ValueError(f"`info` is {value.dtype} {value.shape}, expected one string of JSON")
    result = json.loads(str(value))
    if not isinstance(result, dict):
        raise ValueError(f"`info` is a JSON {type(result).__name__}, expected an object")
    return result
