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
from same_learner import assert_same_bits

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
    alone = tmp_path / "alone"
    alone.mkdir()
    assert_whole(reading(written(alone, table([60])), batch_rows=4), in_memory(table([60])))


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
