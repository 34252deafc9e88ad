"""Parquet files of one table: found, opened, and read in batches whose ids rise."""

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._check import Int64Array
from .._frames import ROWS_AT_ONCE, narwhals
from .._ids import without_id
from .._replace import checked_path
from . import _files

NAME, _WHAT = "ParquetTasks", "a Parquet file"


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            f"{NAME}: pyarrow must be installed: got no module named 'pyarrow', expected it from "
            "pip install 'aruba_fast[tables]'"
        ) from None
    return pyarrow.parquet


def frame(arrow: Any) -> Any:
    """A table or a batch of Arrow, as narwhals has it."""
    import pyarrow as pa

    table = arrow if isinstance(arrow, pa.Table) else pa.Table.from_batches([arrow])
    return narwhals(NAME).from_native(table, eager_only=True)


def found(path: Any) -> tuple[Path, ...]:
    """The files, of which there is at least one."""
    given = path if isinstance(path, (list, tuple)) else [path]
    files: list[Path] = []
    for one in given:
        place = Path(checked_path(NAME, one))
        files += sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    if not files:
        raise ValueError(
            f"{NAME}: `path` must lead to Parquet files: got {path!r}, where there is none, "
            "expected files *.parquet"
        )
    return tuple(files)


def opened(files: tuple[Path, ...]) -> tuple[Any, int]:
    """The schema of the first file, and the number of rows of all."""
    footers = [_files.parsed(NAME, file, _WHAT, _footer) for file in files]
    return footers[0][0], sum(n_rows for _, n_rows in footers)


def require_alike(files: tuple[Path, ...], names: list[str]) -> None:
    """Refuses files whose columns of these names are not of the types of the first one's."""
    first = _footer(files[0])[0]
    for file in files[1:]:
        schema = _footer(file)[0]
        for name in names:
            own, expected = _type(schema, name), _type(first, name)
            if own != expected:
                raise ValueError(
                    f"{NAME}: `path` must lead to files of the same columns: got {name!r} of "
                    f"{own} in {os.fspath(file)!r}, expected {expected} as in the first"
                )


def _footer(file: Path) -> tuple[Any, int]:
    with _parquet().ParquetFile(file) as opened:
        return opened.schema_arrow, opened.metadata.num_rows


def _type(schema: Any, name: str) -> str:
    return str(schema.field(name).type) if name in schema.names else "no type, for it is not there"


def row_groups(files: tuple[Path, ...]) -> list[tuple[Path, int, int]]:
    """The row groups that have rows: their files, their numbers there, their first rows."""
    found, first_row = [], 0
    for file in files:
        with _parquet().ParquetFile(file) as opened:
            for number in range(opened.num_row_groups):
                if n_rows := opened.metadata.row_group(number).num_rows:
                    found.append((file.absolute(), number, first_row))
                first_row += n_rows
    return found


def batches_of(file: Path, number: int, names: list[str]) -> list[Any]:
    """The batches of one row group."""
    with closing(_one_by_one(file, ROWS_AT_ONCE, names, [number])) as coming:
        return list(_told(file, coming))


def batches(
    files: tuple[Path, ...], names: list[str], n_rows: int
) -> Iterator[tuple[list[Any], int]]:
    """Batches that have `n_rows` rows together, and the number of their first row."""
    at_once = min(n_rows, ROWS_AT_ONCE)
    held: list[Any] = []
    first_row = n_held = 0
    for file in files:
        with closing(_one_by_one(file, at_once, names)) as coming:
            for batch in _told(file, coming):
                held.append(batch)
                n_held += batch.num_rows
                if n_held >= n_rows:
                    yield held, first_row
                    held, first_row, n_held = [], first_row + n_held, 0
    if n_held:
        yield held, first_row


def _one_by_one(
    file: Path, n_rows: int, names: list[str], numbers: list[int] | None = None
) -> Generator[Any, None, None]:
    """Batches of a file, or of some row groups of it.

    Asked for all row groups together, Arrow holds the whole file at the end: 672 MB of a file of
    646, and 40 MB row group by row group.
    """
    with _parquet().ParquetFile(file) as opened:
        for number in range(opened.num_row_groups) if numbers is None else numbers:
            yield from opened.iter_batches(n_rows, row_groups=[number], columns=names)


def _told(file: Path, batches: Iterator[Any]) -> Iterator[Any]:
    """The batches; what is wrong with their file is told as the loaders do."""
    while (batch := _files.parsed(NAME, file, _WHAT, lambda _: next(batches, None))) is not None:
        yield batch


def runs(some: list[Any], group: str, first_row: int, last: Any) -> tuple[NDArray[Any], Int64Array]:
    """The ids of rows, each once, and where the rows of each begin; they rise, from `last`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.chunked_array([batch.column(group) for batch in some])
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if str(ids.type) == "string_view":  # which has no kernel of runs
        ids = ids.cast(pa.large_string())
    found = pc.run_end_encode(ids.combine_chunks(), run_end_type=pa.int64())
    keys = found.values.to_numpy(zero_copy_only=False)
    ends = found.run_ends.to_numpy()
    begins = np.append(0, ends[:-1])
    if (lost := without_id(keys)).any():
        run = int(lost.argmax())
        raise ValueError(
            f"{NAME}: `group` must name a task in every row: got {keys[run]} in row "
            f"{first_row + int(begins[run])} of column {group!r}, expected no missing id: "
            "leave these rows out"
        )
    falls = np.flatnonzero(keys[1:] <= keys[:-1]) + 1
    if last is not None and keys[0] < last:
        falls = np.zeros(1, np.int64)
    if len(falls):
        run = int(falls[0])
        before = keys[run - 1] if run else last
        raise unsorted(group, keys[run], before, first_row + int(begins[run]))
    return keys, begins


def unsorted(group: str, key: Any, before: Any, row: int) -> ValueError:
    """What is wrong with a row whose id falls."""
    return ValueError(
        f"{NAME}: `path` must be sorted by its column {group!r}, within files and from one to the "
        f"next: got {key} after {before} in row {row}, expected values that rise: sort the rows "
        "before they are written"
    )
