"""Tables of columns that stay narrow: as the same in memory, and nothing is rounded unasked."""

from __future__ import annotations

import numpy as np
import pytest
from narrow import KINDS, same, same_runs
from optional import need

import aruba_fast as af
from aruba_fast.datasets import ParquetTasks

pd, pl, pa, _ = (need(name) for name in ("pandas", "polars", "pyarrow", "narwhals"))
pq = need("pyarrow.parquet")

LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}
every_library = pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
kinds = pytest.mark.parametrize("kind", KINDS)
SIZES = (3, 1, 4, 1, 5, 9, 2, 6)


def columns(rng, dtype=np.int64, n_features=3):
    """People of so many rows; whole numbers, which every narrow type holds."""
    n = sum(SIZES)
    found = {"who": np.repeat(np.arange(len(SIZES)), SIZES), "y": rng.standard_normal(n)}
    names = [f"x{j}" for j in range(n_features)]
    return found | {name: rng.integers(0, 256, n).astype(dtype) for name in names}


def how(kind):
    return {"dtype": kind} | ({"scale": 1 / 255} if kind == "uint8" else {})


def of(frame, **choice):
    return af.Tasks.from_frame(frame, **{"target": "y", "group": "who", **choice})


def of_arrays(table, kind):
    x = np.array([values for name, values in table.items() if name[0] == "x"]).T
    scale = how(kind).get("scale")
    return af.Tasks.from_groups(x.astype(KINDS[kind]), table["y"], table["who"], scale=scale)


def run(tasks):
    return af.run_tasks(tasks, np.zeros(tasks.n_features, np.float32), af.OGD(1e-3), loss="huber")


@every_library
@kinds
@pytest.mark.parametrize("given", [np.int64, np.uint8, np.float64, np.float32])
def test_a_frame_makes_what_narrow_arrays_make(given, kind, make, rng):
    table = columns(rng, given)
    tasks, expected = of(make(table), **how(kind)), of_arrays(table, kind)
    assert tasks.x.dtype == KINDS[kind]
    assert (tasks.dtype, tasks.scale) == (np.float32, expected.scale)
    assert tasks.feature_names == ("x0", "x1", "x2")
    assert same(tasks.x, expected.x)
    assert same(tasks.y, expected.y)
    assert same_runs(run(tasks), run(expected))


@every_library
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32"])
def test_other_numbers_are_rounded_to_nearest(kind, make, rng):
    table = columns(rng) | {"x1": rng.standard_normal(sum(SIZES))}
    found = of(make(table), dtype=kind, features=["x1"]).x
    expected = table["x1"].astype(KINDS.get(kind, kind))
    assert same(found.ravel(), expected)


@pytest.mark.parametrize("given", [np.int16, np.uint8, np.float16])
def test_without_a_type_all_is_as_it_was(given, rng):
    tasks = of(pd.DataFrame(columns(rng, given)))
    assert tasks.x.dtype == tasks.dtype == np.float32
    assert tasks.scale is None
    assert of(pd.DataFrame(columns(rng, np.int64))).x.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float16, np.dtype("f2"), "float16"])
def test_a_type_may_be_given_as_numpy_takes_it(dtype, rng):
    assert of(pd.DataFrame(columns(rng)), dtype=dtype).x.dtype == np.float16


@kinds
def test_arrows_halves_and_bytes_stay_what_they_are(kind, rng):
    given = "uint8" if kind == "uint8" else "float16"
    table = pa.table(columns(rng, given))
    assert str(table.schema.field("x0").type) == {"uint8": "uint8"}.get(given, "halffloat")
    tasks = of(table, **how(kind))
    assert same_runs(run(tasks), run(of_arrays(columns_of(table), kind)))


def columns_of(table):
    return {name: table.column(name).to_numpy() for name in table.column_names}


@kinds
@pytest.mark.parametrize("batch_rows", [1, 7, 1 << 20])
def test_files_are_read_in_chunks_that_stay_narrow(batch_rows, kind, rng, tmp_path):
    table = pa.table(columns(rng))
    pq.write_table(table.slice(0, 12), tmp_path / "a.parquet", 5)
    pq.write_table(table.slice(12), tmp_path / "b.parquet", 5)
    people = ParquetTasks(tmp_path, target="y", group="who", batch_rows=batch_rows, **how(kind))
    assert people.dtype == np.float32
    assert f"dtype=float32, features={kind}" in repr(people)
    expected = of(table, **how(kind))
    chunks = list(people)
    assert all(chunk.x.dtype == KINDS[kind] for chunk in chunks)
    assert same(np.concatenate([chunk.x for chunk in chunks]), expected.x)
    learners = []
    for tasks in (people, expected):
        learner = af.MetaLearner(np.zeros(3, people.dtype))
        af.meta_train(tasks, learner, loss="huber", round_size=1)
        learners.append(learner)
    assert same(*(learner.phi for learner in learners))
    assert same(*(learner.learning_rate for learner in learners))


def frame(**changed):
    values = {"who": [1, 1, 2], "y": [0.0, 1.0, 2.0], "x": [1, 2, 3]}
    return pd.DataFrame(values | changed)


REFUSED = {
    "no scale": (
        lambda: of(frame(), dtype="uint8"),
        "Tasks.from_frame: `scale` must be given with `dtype` uint8 and no other: got uint8 "
        "and None, expected 1 for counts, 1 / 255 for pixels",
    ),
    "a scale of halves": (
        lambda: of(frame(), dtype="float16", scale=0.5),
        "`scale` must be given with `dtype` uint8 and no other: got float16 and 0.5, a float, "
        "expected None",
    ),
    "a scale of the columns' own type": (
        lambda: of(frame(), scale=0.5),
        "`scale` must be given with `dtype` uint8 and no other: got None and 0.5, a float, "
        "expected None",
    ),
    "no scale at all": (
        lambda: of(frame(), dtype="uint8", scale=0.0),
        "Tasks.from_frame: `scale` must be",
    ),
    "another type": (
        lambda: of(frame(), dtype="int8"),
        "Tasks.from_frame: `dtype` must be a type of features: got 'int8', a str, expected "
        "one of float64, float32, bfloat16, float16, uint8, or None for that of the columns",
    ),
    "no type": (
        lambda: of(frame(), dtype=7),
        "Tasks.from_frame: `dtype` must be a type of features: got 7",
    ),
    "more than a byte": (
        lambda: of(frame(x=[1, 256, 3]), dtype="uint8", scale=1),
        "Tasks.from_frame: `frame` must have numbers that uint8 holds in column 'x': got 256 in "
        "row 1, expected whole numbers from 0 to 255, or another `dtype`",
    ),
    "less than nothing": (
        lambda: of(frame(x=[1, 2, -1]), dtype="uint8", scale=1),
        "got -1 in row 2, expected whole numbers",
    ),
    "half of one": (
        lambda: of(frame(x=[1, 0.5, 3]), dtype="uint8", scale=1),
        "got 0.5 in row 1, expected whole numbers",
    ),
    "nothing": (
        lambda: of(pl.DataFrame(frame(x=[1, 2, np.nan]).to_dict("list")), dtype="uint8", scale=1),
        "must have a number in every row of column 'x': got nan in row 2",
    ),
    "more than a half": (
        lambda: of(frame(x=[1, 2, 70000]), dtype="float16"),
        "must have numbers that float16 holds in column 'x': got 70000 in row 2, expected at most "
        "65504, or another `dtype`",
    ),
    "more than a float": (
        lambda: of(frame(x=[1, 2, -1e300]), dtype="float32"),
        "must have numbers that float32 holds in column 'x': got -1e+300 in row 2, expected at "
        "most 3.4",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_one_sentence(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match="must") as refused:
        call()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_name_the_row_of_a_number_that_is_too_large(tmp_path):
    pq.write_table(pa.table({"who": [1, 2, 3], "y": [0.0] * 3, "x": [1, 2, 300]}), tmp_path / "a")
    people = ParquetTasks(
        tmp_path / "a", target="y", group="who", batch_rows=1, dtype="uint8", scale=1
    )
    with pytest.raises(
        ValueError, match=r"ParquetTasks: `path` must .* got 300 in row 2, expected"
    ):
        list(people)
