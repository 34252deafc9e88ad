"""Tasks of data frames: pandas', Polars' and Arrow's make the same, and say the same of a fault."""

from __future__ import annotations

import datetime as dt
import decimal
import subprocess
import sys

import numpy as np
import pytest
from optional import need

import aruba_fast as af

pd, pl, pa, _ = (need(name) for name in ("pandas", "polars", "pyarrow", "narwhals"))

COLUMNS = {
    "who": ["eve", "bob", "eve", "ann", "bob"],
    "age": [7, 9, 8, 3, 1],
    "height": [1.5, 0.25, -3.0, 2.0, 0.1],
    "member": [True, False, True, True, False],
    "y": [0.5, 1.5, 2.5, 3.5, 4.5],
}
LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}
every_library = pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)


def of(frame, **choice):
    return af.Tasks.from_frame(frame, **{"target": "y", "group": "who", **choice})


def same(one, other):
    for name in ("x", "y", "starts", "stops"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.dtype == other.dtype
    assert one.keys.tolist() == other.keys.tolist()


@every_library
def test_a_frame_makes_the_tasks_that_arrays_do(make):
    tasks = of(make(COLUMNS))
    x = np.array([COLUMNS[name] for name in ("age", "height", "member")], float).T
    same(tasks, af.Tasks.from_groups(x, COLUMNS["y"], COLUMNS["who"]))
    assert tasks.feature_names == ("age", "height", "member")
    assert tasks["bob"].x.tolist() == [[9, 0.25, 0], [1, 0.1, 0]]
    assert tasks[1:].feature_names == tasks.feature_names


@every_library
def test_a_column_may_say_how_often_rows_count(make):
    counts = [1, 2, 3, 4, 5]
    tasks = of(make(COLUMNS | {"counts": counts}), row_weights="counts")
    assert tasks.feature_names == ("age", "height", "member")
    assert tasks["bob"].row_weights.tolist() == [2.0, 5.0]
    assert of(make(COLUMNS)).row_weights is None
    chosen = of(make(COLUMNS | {"counts": counts}), row_weights="counts", features=["age"])
    assert (chosen.feature_names, chosen.row_weights.sum()) == (("age",), 15.0)
    with pytest.raises(ValueError, match="`row_weights` must name a column: got 'count'"):
        of(make(COLUMNS), row_weights="count")
    for spoiled in ([1.0, None, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match=r"from_frame: `row_weights` must be finite and > 0"):
            of(make(COLUMNS | {"counts": spoiled}), row_weights="counts")
    with pytest.raises(TypeError, match="`row_weights` must hold real numbers"):
        of(make(COLUMNS), row_weights="who")


@every_library
def test_columns_are_read_block_by_block(make, monkeypatch):
    expected = of(make(COLUMNS))
    for rows in (1, 2, 3):
        monkeypatch.setattr("aruba_fast._frames.ROWS_AT_ONCE", rows)
        same(of(make(COLUMNS)), expected)
        with pytest.raises(ValueError, match=r"column 'height': got (nan|null) in row 3,"):
            of(make(COLUMNS | {"height": [1.0, 2.0, 3.0, float("nan"), 4.0]}))


@every_library
def test_features_are_the_chosen_ones_in_their_order(make):
    tasks = of(make(COLUMNS), features=["member", "age"])
    assert tasks.feature_names == ("member", "age")
    assert tasks["ann"].x.tolist() == [[1, 3]]
    assert of(make(COLUMNS), target="age", features=("y",)).y.tolist() == [3, 9, 1, 7, 8]
    for names in (
        pd.Index(["member", "age"]),
        np.array(["member", "age"]),
        iter(["member", "age"]),
    ):
        again = of(make(COLUMNS), features=names)
        same(again, tasks)
        assert list(map(type, again.feature_names)) == [str, str]


@every_library
@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["float32"], np.float32),
        (["float32", "bool", "int8", "int16", "uint8", "uint16"], np.float32),
        (["float64"], np.float64),
        (["float32", "int32"], np.float64),
        (["uint32"], np.float64),
        (["int64", "uint64"], np.float64),
    ],
)
def test_float32_is_taken_where_it_holds_every_value(make, kinds, expected):
    most = {kind: np.iinfo(kind).max if "int" in kind else 1 for kind in kinds}
    columns = {kind: np.array([0, most[kind]], kind) for kind in kinds}
    tasks = of(make({"who": [1, 2], "y": np.array([1.0, 2.0]), **columns}))
    assert tasks.dtype == expected
    np.testing.assert_array_equal(tasks.x[1], np.array(list(most.values()), expected))
    assert expected == np.result_type(np.float32, *kinds)  # NumPy's own rule


GROUPS = {
    "int": [3, 1, 3],
    "str": ["b", "a", "b"],
    "bool": [True, False, True],
    "float": [0.5, -0.5, 0.5],
    "date": [dt.date(2021, 1, 1), dt.date(2020, 1, 1), dt.date(2021, 1, 1)],
    "datetime": [dt.datetime(2021, 1, 1, 5), dt.datetime(2020, 1, 1), dt.datetime(2021, 1, 1, 5)],
}


@every_library
@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_every_kind_of_group_is_found_by_its_own_value(make, group):
    tasks = of(make({"who": group, "y": [0.0, 1.0, 2.0], "x": [1.0, 2.0, 3.0]}))
    assert tasks[tasks.number(group[0])].y.tolist() == [0, 2]
    assert tasks[tasks.number(group[1])].y.tolist() == [1]


def test_categories_name_tasks():
    columns = {"who": ["b", "a", "b"], "y": [0.0, 1.0, 2.0], "x": [1.0, 2.0, 3.0]}
    for frame in (
        pd.DataFrame(columns).astype({"who": "category"}),
        pl.DataFrame(columns).cast({"who": pl.Categorical}),
        pa.table(columns | {"who": pa.array(columns["who"]).dictionary_encode()}),
    ):
        assert of(frame)["b"].y.tolist() == [0, 2]


def test_numbers_of_other_kinds_are_numbers():
    """pandas' nullable and Arrow-backed ones, decimals, columns whose names are no strings."""
    for dtype in ("Int64", "Float32", "boolean", "int64[pyarrow]", "double[pyarrow]"):
        frame = pd.DataFrame({"who": [1, 2], "y": [0.0, 1.0], "x": pd.array([1, 0], dtype=dtype)})
        assert of(frame).x.tolist() == [[1], [0]]
    tenth = [decimal.Decimal("0.1"), decimal.Decimal(2)]
    for make in (pl.DataFrame, pa.table):
        tasks = of(make({"who": [1, 2], "y": [0.0, 1.0], "x": tenth}))
        assert tasks.x.tolist() == [[0.1], [2.0]]
    frame = pd.DataFrame(np.arange(6.0).reshape(2, 3))
    tasks = af.Tasks.from_frame(frame, target=2, group=0)
    assert (tasks.x.tolist(), tasks.feature_names) == ([[1.0], [4.0]], (1,))


def test_the_index_of_pandas_is_no_feature():
    frame = pd.DataFrame(COLUMNS).sort_values("who")
    rows = pa.Table.from_pandas(frame)
    assert "__index_level_0__" in rows.column_names
    same(of(rows), of(frame))
    assert of(rows).feature_names == of(frame).feature_names == ("age", "height", "member")


def test_a_frame_is_not_held():
    frame = pd.DataFrame({"who": [1, 1], "y": [0.0, 1.0], "x": [1.0, 2.0]})
    tasks = of(frame)
    frame.loc[:, "x"] = 9.0
    assert tasks.x.tolist() == [[1.0], [2.0]]


@every_library
@pytest.mark.parametrize("column", ["age", "height", "y", "member"])
def test_a_missing_number_is_told_with_its_column_and_row(make, column):
    columns = COLUMNS | {column: [*COLUMNS[column][:3], None, None]}
    if column == "member" and make is pd.DataFrame:
        columns["member"] = pd.array(columns["member"], dtype="boolean")
    with pytest.raises(ValueError, match=r"^Tasks.from_frame: `frame` must have a number") as seen:
        of(make(columns))
    assert f"column '{column}': got null in row 3," in str(seen.value)


@every_library
def test_a_nan_is_a_missing_number_wherever_it_stands(make):
    """pandas does not tell it from null, so that nobody may."""
    frame = make(COLUMNS | {"height": [1.0, float("nan"), 2.0, 3.0, 4.0]})
    with pytest.raises(ValueError, match=r"column .height.: got (nan|null) in row 1"):
        of(frame)
    assert of(make(COLUMNS | {"height": [1.0, np.inf, 2.0, 3.0, 4.0]})).n_rows == 5


@every_library
def test_a_row_without_an_id_is_refused(make):
    frame = make(COLUMNS | {"who": ["eve", None, "eve", "ann", "bob"]})
    with pytest.raises(ValueError, match=r"Tasks.from_frame: `group` must name a task.* in row 1"):
        of(frame)


V, T = ValueError, TypeError
BAD = [
    ({"target": "z"}, V, r"`target` must name a column: got 'z', a str, expected 'who', 'age', "),
    ({"target": ["y"]}, V, "`target` must name a column: got a list"),
    ({"group": "whom"}, V, r"`group` must name a column: got 'whom', a str, expected 'who' or one"),
    ({"group": None}, V, "`group` must name a column: got None"),
    ({"features": "age"}, T, "`features` must be a list of columns: got 'age', a str"),
    ({"features": 3}, T, "`features` must be a list of columns: got 3"),
    ({"features": ["agee"]}, V, "`features` must name a column: got 'agee', a str, expected 'age'"),
    ({"features": []}, V, "`features` must be different columns.*: got none"),
    ({"features": ["age", "age"]}, V, "`features` must be different .*: got 'age' twice"),
    ({"features": ["age", "y"]}, V, "`features` must be .*: got the target among them"),
    ({"features": ["who"]}, T, "`frame` must have numbers.*: got column 'who' of String, expected "
     r"features=\[...\] without it, or numbers made of it, by pandas.get_dummies or scikit-learn"),
    ({"target": "who", "group": "age"}, T, "`frame` must have numbers.*: got column 'who'"),
]  # fmt: skip


@every_library
@pytest.mark.parametrize(("choice", "kind", "message"), BAD, ids=[str(row[0]) for row in BAD])
def test_a_bad_choice_of_columns_has_its_sentence(make, choice, kind, message):
    with pytest.raises(kind, match=rf"^Tasks.from_frame: {message}"):
        of(make(COLUMNS), **choice)


@pytest.mark.parametrize(
    "frame",
    [
        np.ones((2, 3)), COLUMNS, None, 3, "people.csv", pl.DataFrame(COLUMNS).lazy(),
        pd.Series([1.0]), pd.DataFrame(np.ones((2, 2)), columns=["y", "y"]),
    ],
    ids=lambda frame: type(frame).__name__,
)  # fmt: skip
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(TypeError, match=r"^Tasks.from_frame: `frame` must be a data frame") as seen:
        of(frame)
    assert "\n" not in str(seen.value)
    assert ("of .collect()" in str(seen.value)) == (type(frame) is pl.LazyFrame)


@every_library
def test_a_frame_without_rows_is_refused(make):
    empty = make(COLUMNS)[:0] if make is not pa.table else pa.table(COLUMNS).slice(0, 0)
    with pytest.raises(ValueError, match=r"Tasks.from_frame: `x` must not be empty"):
        of(empty)


def test_narwhals_is_asked_for_in_one_sentence():
    code = (
        "import sys; sys.modules['narwhals'] = None\n"
        "import aruba_fast as af\n"
        "try: af.Tasks.from_frame(1, target='y', group='who')\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == (
        "Tasks.from_frame: narwhals must be installed: got no module named 'narwhals', "
        "expected it from pip install 'aruba_fast[tables]'"
    )
