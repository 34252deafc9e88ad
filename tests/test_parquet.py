"""`ParquetTasks`: files sorted by task are read in chunks, and make what the whole table makes."""

from __future__ import annotations

import datetime as dt
import itertools
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from optional import need
from test_meta_train import assert_same_bits

import aruba_fast as af
from aruba_fast.datasets import ParquetTasks

pa, _ = (need(name) for name in ("pyarrow", "narwhals"))
pq = need("pyarrow.parquet")

SIZES = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]


def table(sizes=SIZES, dtype=np.float64, label=lambda k: f"p{k:03d}"):
    """People of so many rows; the features tell the person and the row."""
    rng = np.random.default_rng(0)
    n = sum(sizes)
    who = np.repeat(np.arange(len(sizes)), sizes)
    return pa.table(
        {
            "who": [label(k) for k in who],
            "row": np.arange(n).astype(dtype),
            "noise": rng.standard_normal(n).astype(dtype),
            "flag": rng.random(n) < 0.5,
            "y": rng.standard_normal(n).astype(dtype),
        }
    )


def written(folder, rows, cuts=(), row_group=7):
    """Files of the rows between the cuts, named so that their order is that of the rows."""
    limits = [0, *cuts, rows.num_rows]
    for part, (a, b) in enumerate(itertools.pairwise(limits)):
        pq.write_table(rows.slice(a, b - a), folder / f"part-{part}.parquet", row_group)
    return folder


def reading(path, **choice):
    return ParquetTasks(path, **{"target": "y", "group": "who", **choice})


def in_memory(rows, **choice):
    return af.Tasks.from_frame(rows, **{"target": "y", "group": "who", **choice})


def assert_whole(chunks, tasks):
    """The chunks are the tasks, one after the other."""
    chunks = list(chunks)
    for name in ("x", "y", "sizes", "keys"):
        together = np.concatenate([getattr(chunk, name) for chunk in chunks])
        np.testing.assert_array_equal(together, getattr(tasks, name))
        assert together.dtype == getattr(tasks, name).dtype
    assert {chunk.feature_names for chunk in chunks} == {tasks.feature_names}
    return chunks


@pytest.mark.parametrize("batch_rows", [1, 2, 5, 9, 17, 43, 44, 1 << 20])
@pytest.mark.parametrize("cuts", [(), (8,), (1, 2, 3, 23, 24)], ids=str)
@pytest.mark.parametrize("row_group", [1, 7, 100])
def test_chunks_are_the_whole_table(batch_rows, cuts, row_group, tmp_path):
    rows = table()
    people = reading(written(tmp_path, rows, cuts, row_group), batch_rows=batch_rows)
    tasks = in_memory(rows)
    chunks = assert_whole(people, tasks)
    assert people.n_tasks == len(tasks)
    # Memory is bounded by a chunk's rows and the longest task, wherever tasks begin and end.
    assert max(chunk.n_rows for chunk in chunks) < batch_rows + max(SIZES) + 7
    assert_whole(people, tasks)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_it_tells_before_it_is_read(dtype, tmp_path):
    people = reading(written(tmp_path, table(dtype=dtype), (8,)))
    assert (
        repr(people) == f"ParquetTasks(n_files=2, n_rows=44, n_features=3, dtype={np.dtype(dtype)})"
    )
    assert (people.n_rows, people.n_features, people.dtype) == (44, 3, dtype)
    assert people.feature_names == ("row", "noise", "flag")
    assert people.n_tasks == len(SIZES)
    assert reading(tmp_path, features=["flag"]).feature_names == ("flag",)


def test_a_task_may_be_longer_than_many_chunks_and_files(tmp_path):
    rows = table([2, 50, 1, 3])
    people = reading(written(tmp_path, rows, (20, 30)), batch_rows=4)
    chunks = assert_whole(people, in_memory(rows))
    assert [chunk.sizes.tolist() for chunk in chunks if 50 in chunk.sizes]
    assert_whole(reading(written(sub(tmp_path), table([60])), batch_rows=4), in_memory(table([60])))


LABELS = {
    "int": lambda k: k - 3,
    "str": lambda k: f"{k:02d}é",
    "bytes": lambda k: bytes([k]),
    "float": lambda k: k / 2 - 1,
    "date": lambda k: dt.date(2020, 1, 1) + dt.timedelta(days=int(k)),
    "datetime": lambda k: dt.datetime(2020, 1, 1) + dt.timedelta(hours=int(k)),
    "bool": lambda k: bool(k > 4),
}


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_every_kind_of_label(label, tmp_path):
    rows = table(label=lambda k: label(int(k)))
    assert_whole(reading(written(tmp_path, rows), batch_rows=10), in_memory(rows))


def test_categories_and_views_of_strings_name_tasks(tmp_path):
    rows = table()
    for kind in (pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()):
        column = rows["who"].cast(kind) if kind != pa.dictionary(pa.int32(), pa.string()) else (
            rows["who"].combine_chunks().dictionary_encode())  # fmt: skip
        people = reading(written(tmp_path, rows.set_column(0, "who", column)), batch_rows=10)
        assert_whole(people, in_memory(rows))


def test_files_are_read_in_the_order_of_their_names_or_as_given(tmp_path):
    rows = table()
    written(tmp_path, rows, (11, 23))
    parts = [tmp_path / f"part-{k}.parquet" for k in range(3)]
    (tmp_path / "notes.txt").write_text("no table")
    for path in (tmp_path, str(tmp_path), parts, tuple(map(str, parts))):
        assert_whole(reading(path), in_memory(rows))
    with pytest.raises(ValueError, match="must be sorted by its column 'who', within files and"):
        list(reading(parts[::-1]))
    assert_whole(reading(parts[0]), in_memory(rows.slice(0, 11)))


def test_training_has_the_bits_of_the_table_in_memory(tmp_path):
    rows = table([5, 7, 3] * 40)
    people = reading(written(tmp_path, rows, (333,)), batch_rows=64)
    learners = [af.MetaLearner(np.zeros(3)) for _ in range(2)]
    histories = [
        af.meta_train(tasks, learner, loss="squared", n_passes=2)
        for tasks, learner in zip((people, in_memory(rows)), learners, strict=True)
    ]
    assert_same_bits(*learners)
    np.testing.assert_array_equal(histories[0].loss, histories[1].loss)
    np.testing.assert_array_equal(histories[0].task, histories[1].task)


def test_the_next_chunk_is_read_while_one_is_worked_on(tmp_path, monkeypatch):
    begun = [threading.Event() for _ in range(20)]
    made = ParquetTasks._read
    monkeypatch.setattr(
        ParquetTasks, "_read", lambda self, *a: (begun[a[3] // 10].set(), made(self, *a))
    )
    people = reading(written(tmp_path, table([10] * 12), row_group=10), batch_rows=10)
    before = threading.active_count()
    chunks = iter(people)
    next(chunks)
    assert begun[2].wait(20)  # a chunk is known to be whole by the rows after it
    assert not begun[4].is_set(), "and no more than one is read ahead"
    chunks.close()
    assert threading.active_count() == before


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
            r"`group` must name a task .* got None in row 2 ",
        ),
        (
            "who",
            [0.5, 1.5, 2.5, np.nan],
            r"`group` must name .* got nan in row 3 ",
        ),
        ("who", pa.array([1, 1, 1, None]), r"`group` must name a task.* in row 3 of column 'who'"),
        ("x", [1.0, 2.0, 3.0, None], r".*number in every row of column 'x': got null in row 3 "),
        ("x", [1.0, 2.0, np.nan, 4.0], r".*number in every row of column 'x': got nan in row 2 "),
        ("y", [True, None, True, True], r".*number in every row of column 'y': got null in row 1 "),
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


# The most memory that this process has ever had: that of `resource` begins with its parent's.
STREAMED = """
import re, sys
import numpy as np, aruba_fast as af, pyarrow as pa, pyarrow.parquet as pq
from aruba_fast.datasets import ParquetTasks

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10

folder, n_files = sys.argv[1], int(sys.argv[2])
rng, n, d = np.random.default_rng(0), 100_000, 16
for file in range(n_files):
    x = {f"x{k}": rng.standard_normal(n) for k in range(d)}
    who = (file * n + np.arange(n)) // 17
    rows = pa.table({"who": who, "y": x["x0"] + 1, **x})
    pq.write_table(rows, f"{folder}/{file:03d}.parquet", 20_000)
people = ParquetTasks(folder, target="y", group="who", batch_rows=20_000)
learner = af.MetaLearner(np.zeros(d))
af.meta_train(people, learner, loss="squared", history=False)
assert learner.n_tasks == people.n_tasks == -(-n_files * n // 17)
print(peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_files(tmp_path):
    peaks = []
    for n_files in (1, 8):
        folder = tmp_path / str(n_files)
        folder.mkdir()
        command = [sys.executable, "-c", STREAMED, str(folder), str(n_files)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        peaks.append(int(run.stdout))
    in_memory = 8 * 100_000 * 18 * 8 >> 20  # 109 MB
    assert peaks[1] < peaks[0] + in_memory / 3, peaks
