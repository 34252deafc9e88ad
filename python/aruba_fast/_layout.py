"""How rows make tasks and tasks are chosen: checked offsets and indices."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arrays, _check
from ._check import Int64Array


def checked_offsets(offsets: ArrayLike, n_rows: int) -> Int64Array:
    """Returns checked offsets as int64; they must rise strictly from 0 to `n_rows`."""
    raw = _arrays.host(_check.array("Tasks", "offsets", offsets))
    if raw.dtype.kind not in "ui":
        raise TypeError(
            f"Tasks: `offsets` must be integers: got {raw.dtype}, expected an integer type"
        )
    _check.dimension("Tasks", "offsets", raw, "[n_tasks + 1]")
    if len(raw) < 2:
        raise ValueError(
            f"Tasks: `offsets` must describe a task: got {len(raw)} values, expected >= 2"
        )
    for place, expected in ((0, 0), (-1, n_rows)):
        if int(raw[place]) != expected:
            # Sizes in the place of offsets are a common slip.
            sizes = place == 0 and int(raw.sum()) == n_rows
            remedy = "; of the sizes of tasks, np.append(0, np.cumsum(sizes))" if sizes else ""
            raise ValueError(
                f"Tasks: `offsets` must run from 0 to n_rows: got {int(raw[place])} at {place}, "
                f"expected {expected}{remedy}"
            )
    # Compared in the type given: a uint64 beyond int64 must not wrap before the check.
    falls = np.flatnonzero(raw[1:] <= raw[:-1])
    if len(falls):
        task = int(falls[0])
        raise ValueError(
            f"Tasks: `offsets` must increase strictly, every task needs a row: got "
            f"{int(raw[task])}, {int(raw[task + 1])} for task {task}, expected a rise"
        )
    return raw.astype(np.int64)


def checked_index(index: slice | ArrayLike, n_tasks: int) -> slice | NDArray[Any]:
    """Returns an index of tasks: a slice, or an integer, integers or a mask as an array."""
    if isinstance(index, slice):
        try:
            index.indices(n_tasks)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"Tasks: `index` must select tasks: got {index} ({error}), expected integers"
            ) from None
        return index
    chosen = _arrays.host(_check.array("Tasks", "index", index))
    if chosen.shape == (0,) and isinstance(index, (list, tuple)):
        chosen = chosen.astype(np.int64)
    mask = chosen.dtype.kind == "b"
    if chosen.dtype.kind not in "bui" or chosen.ndim > 1 or (mask and chosen.ndim == 0):
        raise TypeError(
            f"Tasks: `index` must select tasks: got {chosen.dtype} of shape {chosen.shape}, "
            "expected an int, a slice, a boolean mask or integers"
        )
    if mask and len(chosen) != n_tasks:
        raise IndexError(
            f"Tasks: `index` must be a mask of all tasks: got {len(chosen)} values, "
            f"expected {n_tasks}"
        )
    outside = chosen[(chosen < -n_tasks) | (chosen >= n_tasks)] if not mask else chosen[:0]
    if outside.size:
        raise IndexError(
            f"Tasks: `index` must be in range: got {outside.flat[0]}, "
            f"expected {-n_tasks} <= index < {n_tasks}"
        )
    return chosen
