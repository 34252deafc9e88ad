"""What `ParquetTasks` says of files that it cannot use."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from optional import need

pa, _ = (need(name) for name in ("pyarrow", "narwhals"))
pq = need("pyarrow.parquet")

from test_parquet import reading, table, written  # noqa: E402

from aruba_fast.datasets import ParquetTasks  # noqa: E402


@pytest.mark.parametrize(
    "who",
    [
        [1, 1, 2, 2, 1, 3], [3, 2, 2, 1, 1, 0], ["b", "b", "a", "c", "d", "e"],
        [1, 2, 3, 4, 5, 1], [True, True, False, True, True, True],
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_rows_that_are_not_sorted_are_refused(who, batch_rows, tmp_path):
    rows = pa.table({"who": who, "x": np.ones(6), "y": np.ones(6)})
    people = reading(written(tmp_path, rows), batch_rows=batch_rows)
    falls = next(k for k in range(1, 6) if who[k] < who[k - 1])
    sentence = (
        f"ParquetTasks: `path` must be sorted by its column 'who', within files and from one to "
        f"the next: got {who[falls]} after {who[falls - 1]} in row {falls}, expected values that "
        "rise: sort the rows before they are written"
    )
    for use in (list, lambda some: some.n_tasks):
        with pytest.raises(ValueError) as caught:
            use(people)
        assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "who",
            ["a", "a", None, None],
            r"`group` must name a task .* got None in row 2",
        ),
        (
            "who",
            [0.5, 1.5, 2.5, np.nan],
            r"`group` must name .* got nan in row 3",
        ),
        ("who", pa.array([1, 1, 1, None]), r"`group` must name a task.* in row 3 of column 'who'"),
        ("x", [1.0, 2.0, 3.0, None], r".*number in every row of column 'x': got null in row 3"),
        ("x", [1.0, 2.0, np.nan, 4.0], r".*number in every row of column 'x': got nan in row 2"),
        ("y", [True, None, True, True], r".*number in every row of column 'y': got null in row 1"),
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 100])
def test_what_is_missing_is_told_with_its_row(column, values, message, batch_rows, tmp_path):
    rows = {"who": [1, 1, 2, 2], "x": np.ones(4), "y": np.ones(4)} | {column: values}
    people = reading(written(tmp_path, pa.table(rows)), batch_rows=batch_rows)
    with pytest.raises(ValueError, match=f"^ParquetTasks: {message}"):
        list(people)


V, T = ValueError, TypeError
BAD = {
    "no path": (lambda _: ParquetTasks(3, target="y", group="who"), T, "`path`"),
    "no file": (lambda p: reading(p / "none"), FileNotFoundError, "`path`.*none"),
    "an empty folder": (lambda p: reading(sub(p)), V, "`path` must lead to Parquet files: got"),
    "an empty list": (lambda _: reading([]), V, r"`path` must lead to Parquet files: got \[\]"),
    "no Parquet": (lambda p: reading(text(p)), V, "`path` must be a Parquet file: got .*refused"),
    "target": (lambda p: reading(p, target="z"), V, "`target` must name a column: got 'z'"),
    "group": (lambda p: reading(p, group="whom"), V, "`group` must name a column.* 'who' or one"),
    "features": (lambda p: reading(p, features=["who"]), T,
        "`path` must have numbers in its features and its target: got column 'who' of String"),
    "batch_rows": (lambda p: reading(p, batch_rows=0), V, "`batch_rows` must be at least 1"),
    "another column": (lambda p: reading([p / "part-0.parquet", other(p, "row", "ROW")]), V,
        r".*files of the same columns: got 'row' of no type.*expected double as in the first"),
    "another type": (lambda p: reading([p / "part-0.parquet", other(p, "row", None)]), V,
        r".*files of the same columns: got 'row' of float in .*, expected double as in the first"),
}  # fmt: skip


def sub(folder):
    (folder / "sub").mkdir()
    return folder / "sub"


def text(folder):
    (folder / "a.parquet").write_text("no table")
    return folder / "a.parquet"


def other(folder, name, new):
    rows = table()
    if new:
        rows = rows.rename_columns([new if name == old else old for old in rows.column_names])
    else:
        rows = rows.set_column(1, name, rows[name].cast(pa.float32()))
    pq.write_table(rows, folder / "other")
    return folder / "other"


@pytest.mark.parametrize(("call", "kind", "message"), BAD.values(), ids=BAD)
def test_bad_input_has_its_sentence(call, kind, message, tmp_path):
    with pytest.raises(kind, match=f"^ParquetTasks: {message}"):
        call(written(tmp_path, table()))


def test_a_file_damaged_after_its_footer_was_read_is_told(tmp_path):
    path = written(tmp_path, table([50] * 40), row_group=1000) / "part-0.parquet"
    people = reading(path)
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match=r"^ParquetTasks: `path` must be a Parquet"):
        list(people)
    path.unlink()
    with pytest.raises(OSError, match=r"^ParquetTasks: `path` must be a Parquet"):
        list(people)


@pytest.mark.parametrize("module", ["pyarrow", "narwhals"])
def test_what_it_needs_is_asked_for_in_one_sentence(module, tmp_path):
    written(tmp_path, table())
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from aruba_fast.datasets import ParquetTasks\n"
        f"try: ParquetTasks({str(tmp_path)!r}, target='y', group='who')\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == (
        f"ParquetTasks: {module} must be installed: got no module named {module!r}, expected it "
        "from pip install 'aruba_fast[tables]'"
    )
