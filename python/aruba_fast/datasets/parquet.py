"""Tasks of Parquet files that are sorted by task: chunk after chunk, for what exceeds memory."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _check, _narrow
from .._check import FloatArray, Int64Array
from .._frames import columns_of
from .._keys import Names
from ..tasks import Tasks
from ._parquet import (
    NAME,
    batches,
    batches_of,
    found,
    frame,
    opened,
    require_alike,
    row_groups,
    runs,
)


class ParquetTasks:
    """The tasks of Parquet files whose rows are sorted by task, read chunk after chunk.

    Iterating reads the files from the beginning and yields `Tasks`, for `meta_train` and for loops
    of your own: whole tasks, in chunks of about `batch_rows` rows. Memory holds two chunks, one
    that is used and one that a thread reads meanwhile, and a row group of the files. No task is
    cut: a task in several row groups or files is put together, however long it is. The tasks are,
    to the bit, those that `Tasks.from_frame` makes of the whole table. Needs pyarrow and narwhals:
    pip install 'aruba_fast[tables]'.

    Args:
        path: A Parquet file, a folder whose files `*.parquet` are read in the order of their names,
            or a list of files in their order.
        target: Name of the column of labels.
        group: Name of the column that tells the task; its values rise from row to row and from file
            to file.
        features: Names of the columns of features, numbers or booleans; None for all columns but
            `target` and `group`.
        batch_rows: Rows of a chunk, about.
        dtype: Type of the features, as in `Tasks.from_frame`: with "uint8", "float16" or "bfloat16"
            a chunk takes a quarter or half of the memory that it takes with float32.
        scale: With uint8, what features are multiplied by, > 0: 1 for counts, 1 / 255 for pixels.

    Attributes:
        n_rows: Number of rows of all files.
        n_features: Number of features.
        feature_names: Their names.
        dtype: Type of the labels and of what is computed, and of features that are not narrower.

    Raises:
        TypeError: An argument is of the wrong type, or a column not of numbers.
        ValueError: A name is not that of a column, a file is damaged or has other columns than the
            first. While it is read: a value or an id is missing, or rows are not sorted.
        OSError: A file cannot be read.
        ImportError: pyarrow or narwhals is not installed.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.datasets import ParquetTasks
        >>> people = ParquetTasks("people/", target="y", group="person")  # doctest: +SKIP
        >>> learner = af.MetaLearner(np.zeros(people.n_features))  # doctest: +SKIP
        >>> af.meta_train(people, learner, loss="squared", history=False)  # doctest: +SKIP
        History(n_tasks=0, n_skipped=0)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        target: str,
        group: str,
        features: Iterable[str] | None = None,
        batch_rows: int = 1 << 20,
        dtype: DTypeLike | None = None,
        scale: float | None = None,
    ) -> None:
        made, self._scale = _narrow.chosen(NAME, dtype, scale)
        self._files = found(path)
        schema, self.n_rows = opened(self._files)
        empty = frame(schema.empty_table())
        self._columns = columns_of(NAME, "path", empty, target, group, features, None, made)
        self._batch_rows = _check.integer(NAME, "batch_rows", batch_rows, 1)
        require_alike(self._files, [*self.feature_names, self._columns.target, self._columns.group])
        self._n_tasks: int | None = None

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self._columns.features)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self._columns.features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of labels and parameters: float32 or float64."""
        return _narrow.of_parameters(self._columns.dtype)

    @property
    def n_tasks(self) -> int:
        """Number of tasks; counted by reading the one column, if nobody has read the files yet."""
        if self._n_tasks is None:
            last, n_tasks = None, 0
            for some, first_row in batches(self._files, [self._columns.group], self._batch_rows):
                keys, _ = runs(some, self._columns.group, first_row, last)
                n_tasks += len(keys) - (last is not None and bool(keys[0] == last))
                last = keys[-1]
            self._n_tasks = n_tasks
        return self._n_tasks

    def __repr__(self) -> str:
        return (
            f"ParquetTasks(n_files={len(self._files)}, n_rows={self.n_rows}, "
            f"n_features={self.n_features}, dtype={self.dtype}"
            f"{_narrow.shown(self._columns.dtype, self._scale)})"
        )

    def __iter__(self) -> Iterator[Tasks]:
        """Reads the files from the beginning; the next chunk is read while one is worked on."""
        # Closed when the thread has ended, which may be reading still.
        with closing(self._chunks()) as chunks, ThreadPoolExecutor(1, NAME) as thread:
            coming = thread.submit(next, chunks, None)
            while (chunk := coming.result()) is not None:
                coming = thread.submit(next, chunks, None)
                yield chunk

    def _chunks(self) -> Generator[Tasks, None, None]:
        columns = self._columns
        # Rows of the last task so far, which may go on, and its key.
        rest: list[tuple[NDArray[Any], FloatArray]] = []
        last: Any = None
        n_tasks = 0
        names = [*columns.features, columns.target, columns.group]
        for some, first_row in batches(self._files, names, self._batch_rows):
            keys, begins = runs(some, self._columns.group, first_row, last)
            goes_on = bool(rest) and bool(keys[0] == last)
            alone = goes_on and len(keys) == 1
            n_rest = 0 if alone else sum(len(y) for _, y in rest)
            n_rows = sum(batch.num_rows for batch in some)
            x, y = columns.empty(n_rest + n_rows)
            self._read(some, x[n_rest:], y[n_rest:], first_row)
            if alone:  # a task of many batches is put together once, at its end
                rest.append((x, y))
                continue
            if rest:
                np.concatenate([part for part, _ in rest], out=x[:n_rest])
                np.concatenate([part for _, part in rest], out=y[:n_rest])
                begins = np.append(0, begins[int(goes_on) :] + n_rest)
                if not goes_on:
                    keys = np.append(np.array([last], keys.dtype), keys)
            cut, last = int(begins[-1]), keys[-1]
            rest = [(x[cut:].copy(), y[cut:].copy())]
            if cut:
                n_tasks += len(keys) - 1
                yield self._tasks(x[:cut], y[:cut], keys[:-1], begins[:-1])
        if rest:
            x, y = (np.concatenate(parts) for parts in zip(*rest, strict=True))
            yield self._tasks(x, y, np.array([last], keys.dtype), np.zeros(1, np.int64))
            self._n_tasks = n_tasks + 1

    def _row_groups(self) -> list[tuple[Path, int, int]]:
        """What `_row_group` takes, one after the other; those without rows are left out."""
        return row_groups(self._files)

    def _row_group(self, file: Path, number: int, first_row: int) -> Tasks:
        """The rows of one row group, in which the first and the last task may be cut."""
        columns = self._columns
        some = batches_of(file, number, [*columns.features, columns.target, columns.group])
        keys, begins = runs(some, columns.group, first_row, None)
        n_rows = sum(batch.num_rows for batch in some)
        x, y = columns.empty(n_rows)
        self._read(some, x, y, first_row)
        return self._tasks(x, y, keys, begins)

    def _read(self, some: list[Any], x: NDArray[Any], y: FloatArray, first_row: int) -> None:
        """Fills `x` and `y`, and lets go of the batches one by one."""
        begin = 0
        while some:
            batch = some.pop(0)
            rows = slice(begin, begin + batch.num_rows)
            self._columns.read(frame(batch), x[rows], y[rows], first_row + begin)
            begin = rows.stop

    def _tasks(
        self, x: NDArray[Any], y: FloatArray, keys: NDArray[Any], begins: Int64Array
    ) -> Tasks:
        tasks = Tasks(x, y, np.append(begins, len(y)), scale=self._scale)
        tasks._name(Names(keys, begins, self.feature_names))
        return tasks
