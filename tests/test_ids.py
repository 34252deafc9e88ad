"""Ids of tasks: a row without one is refused whatever says so, and no two ids become one."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid

import numpy as np
import pytest

import aruba_fast as af

NAN = float("nan")
DAY = dt.date(2020, 1, 1)
Colour = enum.Enum("Colour", "red blue")


def tasks_of(group, n_rows=3):
    return af.Tasks.from_groups(np.ones((n_rows, 2)), np.arange(n_rows), group)


def objects(values):
    """An array of them, also where NumPy would make a table of tuples."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def strings(missing):
    return np.array(["a", missing, "a"], np.dtypes.StringDType(na_object=missing))


MISSING = {
    "list of None": ["a", None, "a"],
    "list of nan": [1.0, NAN, 1.0],
    "list of str and nan": ["a", NAN, "a"],
    "tuple of int and None": (1, None, 1),
    "object nan": np.array([1, NAN, 1], object),
    "object None": np.array(["a", None, "a"], object),
    "object nan of NumPy": np.array([1, np.float32(NAN), 1], object),
    "object NaT": np.array([1, np.datetime64("NaT"), 1], object),
    "object tuple": objects([("a", 1), ("b", NAN), ("a", 1)]),
    "object text": np.array(["a", "<NA>", "a"], object),
    "float16": np.array([1, NAN, 1], np.float16),
    "float32": np.array([1, NAN, 1], np.float32),
    "float64": np.array([1, NAN, 1]),
    "long double": np.array([1, NAN, 1], np.longdouble),
    "complex": np.array([1, complex(NAN, 0), 1]),
    "complex, imaginary": np.array([1, complex(0, NAN), 1]),
    "str": np.array(["a", NAN, "a"]),
    "bytes": np.array([b"a", NAN, b"a"], "S8"),
    "date": np.array(["2020", "NaT", "2020"], "M8[D]"),
    "duration": np.array([1, "NaT", 1], "m8[s]"),
    "masked int": np.ma.array([1, 2, 1], mask=[0, 1, 0]),
    "masked str": np.ma.array(["a", "b", "a"], mask=[0, 1, 0]),
    "masked object": np.ma.array(["a", 1, "a"], object, mask=[0, 1, 0]),
    "masked in a list": [np.ma.masked, 1, 2],
    "structured": np.array([(1, 1.0), (2, NAN), (1, 1.0)], [("a", int), ("b", float)]),
    "decimal": [decimal.Decimal(1), decimal.Decimal("nan"), decimal.Decimal(1)],
}


def pandas_and_polars():
    """The same of libraries that NumPy asks for an array; each is made when it is asked for."""
    pd = pytest.importorskip("pandas")
    dates = pd.to_datetime(["2020-01-01", None, "2020-01-01"])
    yield from {
        "Int64": pd.array([1, None, 1], dtype="Int64"),
        "series of Int64": pd.Series([1, None, 1], dtype="Int64"),
        "Float64": pd.array([1.5, None, 1.5], dtype="Float64"),
        "boolean": pd.array([True, None, True], dtype="boolean"),
        "string": pd.array(["a", None, "a"], dtype="string"),
        "str": pd.Series(["a", None, "a"]),
        "object": pd.Series(["a", None, "a"], dtype=object),
        "NA": [1, pd.NA, 1],
        "NaT": np.array([pd.Timestamp("2020"), pd.NaT, pd.Timestamp("2020")], object),
        "category": pd.Categorical(["a", None, "a"]),
        "category of int": pd.Series([1, None, 1]).astype("category"),
        "dates": dates,
        "dates with a zone": pd.Series(dates.tz_localize("Europe/Berlin")),
        "index of dates with a zone": dates.tz_localize("UTC"),
        "durations": pd.to_timedelta(["1D", None, "1D"]),
        "periods": pd.PeriodIndex(["2020-01", None, "2020-01"], freq="M"),
        "series of periods": pd.Series(pd.PeriodIndex(["2020-01", None, "2020-01"], freq="M")),
        "intervals": pd.IntervalIndex.from_tuples([(0, 1), NAN, (0, 1)]),
        "several keys": pd.MultiIndex.from_tuples([(1, "a"), (NAN, "b"), (1, "a")]),
        "sparse": pd.arrays.SparseArray([1, NAN, 1]),
        "as text": pd.Series([1, None, 1], dtype="Int64").astype(str),
    }.items()


def refused_for_want_of_an_id(group):
    with pytest.raises(ValueError, match=r"^Tasks.from_groups: `group` must ") as caught:
        tasks_of(group)
    text = str(caught.value)
    assert "leave these rows out" in text
    assert "masked" in text or "in row 1 (1 such row)" in text


@pytest.mark.parametrize("group", MISSING.values(), ids=MISSING)
def test_a_row_without_an_id_is_refused(group):
    refused_for_want_of_an_id(group)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs NumPy 2")
@pytest.mark.parametrize("missing", [NAN, None])
def test_a_row_without_an_id_among_strings_of_any_length_is_refused(missing):
    refused_for_want_of_an_id(strings(missing))


def test_a_row_without_an_id_is_refused_from_pandas():
    n_kinds = 0
    for name, group in pandas_and_polars():
        n_kinds += 1
        try:
            refused_for_want_of_an_id(group)
        except BaseException as error:
            raise AssertionError(name) from error
    assert n_kinds > 20


def test_every_row_without_an_id_is_counted():
    with pytest.raises(ValueError, match=r"got None in row 2 \(3 such rows\)"):
        tasks_of(["a", "b", None, "a", None, None], 6)


# Ids that NumPy alone would round, join, or sort wrongly; and those of other libraries' types.
DISTINCT = {
    "integers beyond float64": [2**53 + 1, 2**53, 0.5],
    "integers beyond 64 bits": [2**64 + 1, 2**64, 0],
    "integers beyond int64, and -1": [2**63, 2**63 + 1, -1],
    "words that are no id elsewhere": np.array(["None", "", "NaN"]),
    "sets": [frozenset([1]), frozenset([2]), frozenset([1, 2])],
    "tuples": objects([(1, "b"), (1, "a"), (0, "z")]),
    "dates": [DAY, DAY.replace(year=1999), DAY.replace(year=2001)],
    "uuid": [uuid.UUID(int=3), uuid.UUID(int=1), uuid.UUID(int=2)],
    "infinite": np.array([np.inf, -np.inf, 0]),
    "masked, but nowhere": np.ma.array([3, 1, 2], mask=[0, 0, 0]),
    "structured": np.array([(2, "a"), (1, "b"), (1, "a")], [("k", int), ("s", "U1")]),
}


@pytest.mark.parametrize("group", DISTINCT.values(), ids=DISTINCT)
def test_different_ids_are_different_tasks(group):
    assert tasks_of(group).sizes.tolist() == [1, 1, 1]
    whole = isinstance(group, np.ndarray)
    both = tasks_of(np.concatenate([group, group]) if whole else objects([*group, *group]), 6)
    assert both.sizes.tolist() == [2, 2, 2]
    assert all(later == first + 3 for first, later in both.y.reshape(3, 2))


def test_objects_make_the_tasks_that_numbers_do(rng):
    numbers = rng.integers(0, 20, 200)
    expected = tasks_of(numbers, 200)
    pairs = objects([(k, "x") for k in numbers.tolist()])
    for group in (numbers.astype(object), numbers.tolist(), pairs):
        found = tasks_of(group, 200)
        assert found.sizes.tolist() == expected.sizes.tolist()
        assert found.y.tolist() == expected.y.tolist()


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ([1, "1", 2], "sortable: got int, str"),
        (["a", b"a", "b"], "sortable: got bytes, str"),
        ([{}, {}, {}], "hashable: got dict"),
        (np.array([[1], [2, 3], [1]], object), "hashable: got list"),
        ([slice(0, 1)] * 3, "(hashable|sortable): got slice"),
        ([Colour.red, Colour.blue, Colour.red], "sortable: got Colour"),
    ],
)
def test_ids_that_make_no_order_are_refused(group, message):
    with pytest.raises(TypeError, match=rf"^Tasks.from_groups: `group` must be {message}"):
        tasks_of(group)
