"""Tasks of Parquet files that are sorted by task: chunk after chunk, for what exceeds memory."""

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _check
from .._check import FloatArray, Int64Array
from .._frames import Columns, columns_of, narwhals
from .._ids import without_id
from .._keys import Names
from .._replace import checked_path
from ..tasks import Tasks
from . import _files

# Rows that Arrow hands over at once; so many, of ten features, stay in the second-level cache.
_ROWS_AT_ONCE = 1 << 16
_NAME, _WHAT = "ParquetTasks", "a Parquet file"


class ParquetTasks:
    """The tasks of Parquet files whose rows are sorted by task, read chunk after chunk.

    Iterating reads the files from the beginning and yields `Tasks`, for `meta_train` and for loops
    of your own: whole tasks, in chunks of about `batch_rows` rows. Memory holds two chunks, one
    that is worked on and one that a thread reads meanwhile, and a row group of the files. No task
    is cut: one that crosses row groups or files is put together, however long it is. What comes is,
    to the bit, what `Tasks.from_frame` makes of the whole table. Needs pyarrow and narwhals:
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

    Attributes:
        n_rows: Number of rows of all files.
        n_features: Number of features.
        feature_names: Their names.
        dtype: Type of features and labels, as in `Tasks.from_frame`.

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
        features: Sequence[str] | None = None,
        batch_rows: int = 1 << 20,
    ) -> None:
        _parquet()
        self._files = _found(path)
        schemas = []
        self.n_rows = 0
        for file in self._files:
            schema, n_rows = _files.parsed(_NAME, file, _WHAT, _footer)
            schemas.append(schema)
            self.n_rows += n_rows
        first = _frame(schemas[0].empty_table())
        self._columns = columns_of(_NAME, "path", first, target, group, features)
        self._batch_rows = _check.integer(_NAME, "batch_rows", batch_rows, 1)
        read = (*self._columns.features, target, group)
        for file, schema in zip(self._files[1:], schemas[1:], strict=True):
            for name in read:
                own, expected = _type(schema, name), _type(schemas[0], name)
                if own != expected:
                    raise ValueError(
                        f"{_NAME}: `path` must lead to files of the same columns: got {name!r} of "
                        f"{own} in {os.fspath(file)!r}, expected {expected} as in the first"
                    )
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
        """Type of features and labels: float32 or float64."""
        return self._columns.dtype

    @property
    def n_tasks(self) -> int:
        """Number of tasks; counted by reading the one column, if nobody has read the files yet."""
        if self._n_tasks is None:
            last, n_tasks = None, 0
            for batches, first_row in self._batches([self._columns.group]):
                keys, _ = self._runs(batches, first_row, last)
                n_tasks += len(keys) - (last is not None and bool(keys[0] == last))
                last = keys[-1]
            self._n_tasks = n_tasks
        return self._n_tasks

    def __repr__(self) -> str:
        return (
            f"ParquetTasks(n_files={len(self._files)}, n_rows={self.n_rows}, "
            f"n_features={self.n_features}, dtype={self.dtype})"
        )

    def __iter__(self) -> Iterator[Tasks]:
        """Reads the files from the beginning; the next chunk is read while one is worked on."""
        # Closed when the thread has ended, which may be reading still.
        with closing(self._chunks()) as chunks, ThreadPoolExecutor(1, _NAME) as thread:
            coming = thread.submit(next, chunks, None)
            while (chunk := coming.result()) is not None:
                coming = thread.submit(next, chunks, None)
                yield chunk

    def _chunks(self) -> Generator[Tasks, None, None]:
        columns = self._columns
        # Rows of the last task so far, which may go on, and its key.
        rest: list[tuple[FloatArray, FloatArray]] = []
        last: Any = None
        n_tasks = 0
        for batches, first_row in self._batches([*columns.features, columns.target, columns.group]):
            keys, begins = self._runs(batches, first_row, last)
            goes_on = bool(rest) and bool(keys[0] == last)
            alone = goes_on and len(keys) == 1
            n_rest = 0 if alone else sum(len(y) for _, y in rest)
            n_rows = sum(batch.num_rows for batch in batches)
            x = np.empty((n_rest + n_rows, len(columns.features)), columns.dtype)
            y = np.empty(n_rest + n_rows, columns.dtype)
            self._read(batches, x[n_rest:], y[n_rest:], first_row)
            if alone:  # a task of many batches is put together once, at its end
                rest.append((x, y))
                continue
            if rest:
                np.concatenate([some for some, _ in rest], out=x[:n_rest])
                np.concatenate([some for _, some in rest], out=y[:n_rest])
                begins = np.append(0, begins[int(goes_on) :] + n_rest)
                if not goes_on:
                    keys = np.append(np.array([last], keys.dtype), keys)
            cut, last = int(begins[-1]), keys[-1]
            rest = [(x[cut:].copy(), y[cut:].copy())]
            if cut:
                n_tasks += len(keys) - 1
                yield _tasks(x[:cut], y[:cut], keys[:-1], begins[:-1], columns)
        if rest:
            x, y = (np.concatenate(parts) for parts in zip(*rest, strict=True))
            yield _tasks(x, y, np.array([last], keys.dtype), np.zeros(1, np.int64), columns)
            self._n_tasks = n_tasks + 1

    def _batches(self, names: list[str]) -> Iterator[tuple[list[Any], int]]:
        """Batches that have `batch_rows` rows together, and the number of their first row."""
        at_once = min(self._batch_rows, _ROWS_AT_ONCE)
        held: list[Any] = []
        first_row = n_held = 0
        for file in self._files:
            with closing(_one_by_one(file, at_once, names)) as coming:
                for batch in _told(file, coming):
                    held.append(batch)
                    n_held += batch.num_rows
                    if n_held >= self._batch_rows:
                        yield held, first_row
                        held, first_row, n_held = [], first_row + n_held, 0
        if n_held:
            yield held, first_row

    def _read(self, batches: list[Any], x: FloatArray, y: FloatArray, first_row: int) -> None:
        """Fills `x` and `y`, and lets go of the batches one by one."""
        begin = 0
        while batches:
            batch = batches.pop(0)
            rows = slice(begin, begin + batch.num_rows)
            self._columns.read(_frame(batch), x[rows], y[rows], first_row + begin)
            begin = rows.stop

    def _runs(
        self, batches: list[Any], first_row: int, last: Any
    ) -> tuple[NDArray[Any], Int64Array]:
        """The ids of rows, each once, and where the rows of each begin; they rise, from `last`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        group = self._columns.group
        ids = pa.chunked_array([batch.column(group) for batch in batches])
        if pa.types.is_dictionary(ids.type):
            ids = ids.cast(ids.type.value_type)
        if str(ids.type) == "string_view":  # which has no kernel of runs
            ids = ids.cast(pa.large_string())
        runs = pc.run_end_encode(ids.combine_chunks(), run_end_type=pa.int64())
        keys = runs.values.to_numpy(zero_copy_only=False)
        ends = runs.run_ends.to_numpy()
        begins = np.append(0, ends[:-1])
        if (lost := without_id(keys)).any():
            run = int(lost.argmax())
            raise ValueError(
                f"{_NAME}: `group` must name a task in every row: got {keys[run]} in row "
                f"{first_row + int(begins[run])} of column {group!r}, expected no missing id: "
                "leave these rows out"
            )
        falls = np.flatnonzero(keys[1:] <= keys[:-1]) + 1
        if last is not None and keys[0] < last:
            falls = np.zeros(1, np.int64)
        if len(falls):
            run = int(falls[0])
            before = keys[run - 1] if run else last
            raise ValueError(
                f"{_NAME}: `path` must be sorted by its column {group!r}, within files and from "
                f"one to the next: got {keys[run]} after {before} in row "
                f"{first_row + int(begins[run])}, expected values that rise: sort the rows before "
                "they are written"
            )
        return keys, begins


def _tasks(
    x: FloatArray, y: FloatArray, keys: NDArray[Any], begins: Int64Array, columns: Columns
) -> Tasks:
    tasks = Tasks(x, y, np.append(begins, len(y)))
    tasks._name(Names(keys, begins, columns.features))
    return tasks


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            f"{_NAME}: pyarrow must be installed: got no module named 'pyarrow', expected it from "
            "pip install 'aruba_fast[tables]'"
        ) from None
    return pyarrow.parquet


def _frame(arrow: Any) -> Any:
    import pyarrow as pa

    table = arrow if isinstance(arrow, pa.Table) else pa.Table.from_batches([arrow])
    return narwhals(_NAME).from_native(table, eager_only=True)


def _one_by_one(file: Path, n_rows: int, names: list[str]) -> Generator[Any, None, None]:
    """Batches of a file; asked for all row groups together, Arrow holds the whole file at the end.

    672 MB of a file of 646, and 40 MB row group by row group.
    """
    with _parquet().ParquetFile(file) as opened:
        for number in range(opened.num_row_groups):
            yield from opened.iter_batches(n_rows, row_groups=[number], columns=names)


def _told(file: Path, batches: Iterator[Any]) -> Iterator[Any]:
    """The batches; what is wrong with their file is told as the loaders do."""
    while (batch := _files.parsed(_NAME, file, _WHAT, lambda _: next(batches, None))) is not None:
        yield batch


def _footer(file: Path) -> tuple[Any, int]:
    with _parquet().ParquetFile(file) as opened:
        return opened.schema_arrow, opened.metadata.num_rows


def _type(schema: Any, name: str) -> str:
    return str(schema.field(name).type) if name in schema.names else "no type, for it is not there"


def _found(path: Any) -> tuple[Path, ...]:
    """The files, of which there is at least one."""
    given = path if isinstance(path, (list, tuple)) else [path]
    files: list[Path] = []
    for one in given:
        place = _files.place(_NAME, checked_path(_NAME, one), "a Parquet file or a folder of them")
        files += sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    if not files:
        raise ValueError(
            f"{_NAME}: `path` must lead to Parquet files: got {path!r}, where there is none, "
            "expected files *.parquet"
        )
    return tuple(files)
