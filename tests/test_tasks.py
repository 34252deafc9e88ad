"""`Tasks`: what groups, rounds, splits, shots and indices select."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aruba_fast as af


def numbered(sizes, d=2, dtype=np.float64):
    """Tasks whose y is the number of the row and whose x names the task."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    x = np.repeat(np.arange(len(sizes)), sizes)[:, None] * np.ones(d)
    return af.Tasks(x.astype(dtype), np.arange(offsets[-1]), offsets)


def rows_of(tasks):
    """The rows of every task, as lists of their numbers."""
    bounds = zip(tasks.starts, tasks.stops, strict=True)
    return [tasks.y[start:stop].astype(int).tolist() for start, stop in bounds]


def names_of(tasks):
    return tasks.x[tasks.starts, 0].astype(int).tolist()


SIZES = (3, 1, 4, 1, 5, 9, 2, 6)
TASKS = numbered(SIZES)


def test_sizes_and_attributes():
    assert (len(TASKS), TASKS.n_rows, TASKS.n_features) == (8, 31, 2)
    assert (TASKS.x.shape, TASKS.y.shape, TASKS.dtype) == ((31, 2), (31,), np.float64)
    np.testing.assert_array_equal(TASKS.stops - TASKS.starts, SIZES)
    np.testing.assert_array_equal(TASKS.sizes, SIZES)
    assert TASKS.starts.dtype == TASKS.stops.dtype == np.int64
    assert rows_of(TASKS)[2] == [4, 5, 6, 7]
    assert repr(TASKS) == "Tasks(n_tasks=8, n_rows=31, n_features=2, dtype=float64)"


def test_dense_tasks(rng):
    x, y = rng.standard_normal((4, 3, 2)), rng.standard_normal((4, 3))
    tasks = af.Tasks(x, y)
    for k in range(4):
        rows = slice(tasks.starts[k], tasks.stops[k])
        np.testing.assert_array_equal(tasks.x[rows], x[k])
        np.testing.assert_array_equal(tasks.y[rows], y[k])
    assert np.shares_memory(tasks.x, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("labels", [bool, np.uint8, np.int64, np.float32, np.float64, np.float16])
def test_labels_take_the_type_of_the_features(dtype, labels):
    tasks = af.Tasks(np.ones((4, 1), dtype), np.array([0, 1, 1, 0], labels), [0, 4])
    assert tasks.y.dtype == dtype
    np.testing.assert_array_equal(tasks.y, [0, 1, 1, 0])


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, list, tuple])
def test_offsets_of_any_integer_type(kind):
    values = [0, 2, 5]
    offsets = kind(values) if kind in (list, tuple) else np.array(values, kind)
    assert rows_of(af.Tasks(np.ones((5, 1)), np.arange(5), offsets)) == [[0, 1], [2, 3, 4]]


@given(st.lists(st.sampled_from(["eve", "bob", "ann", "joe"]), min_size=1, max_size=30))
def test_groups_are_collected_in_sorted_order_and_their_rows_stay_in_theirs(people):
    n = len(people)
    tasks = af.Tasks.from_groups(np.arange(n)[:, None] * 1.0, np.arange(n), people)
    expected = [[i for i in range(n) if people[i] == who] for who in sorted(set(people))]
    assert rows_of(tasks) == expected
    np.testing.assert_array_equal(tasks.x[:, 0], tasks.y)


def test_sorted_groups_are_not_copied():
    x = np.ones((4, 2))
    assert np.shares_memory(af.Tasks.from_groups(x, np.ones(4), [1, 1, 7, 9]).x, x)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [0]),
        (-1, [7]),
        (np.int64(3), [3]),
        (slice(2, 5), [2, 3, 4]),
        (slice(None, None, -2), [7, 5, 3, 1]),
        ([5, 0, 5], [5, 0, 5]),
        (np.array([1, -1], np.int8), [1, 7]),
        (np.arange(8) % 2 == 0, [0, 2, 4, 6]),
        ([True] + [False] * 6 + [True], [0, 7]),
    ],
    ids=str,
)
def test_indexing(index, expected):
    part = TASKS[index]
    assert names_of(part) == expected
    assert rows_of(part) == [rows_of(TASKS)[k] for k in expected]


def test_views_of_views_and_iteration():
    part = TASKS[2:][::-1][[0, 3]]
    assert names_of(part) == [7, 4]
    assert part.n_rows == 6 + 5
    assert [rows_of(one)[0] for one in TASKS] == rows_of(TASKS)


@given(st.integers(1, 12), st.integers(1, 3), st.none() | st.integers(0, 100))
def test_rounds_visit_every_task_once_a_pass_and_never_cross_one(round_size, n_passes, seed):
    rounds = [names_of(part) for part in TASKS.rounds(round_size, n_passes=n_passes, seed=seed)]
    a_pass = -(-len(TASKS) // round_size)
    assert len(rounds) == n_passes * a_pass
    rng = np.random.default_rng(seed)
    for number in range(n_passes):
        mine = rounds[number * a_pass : (number + 1) * a_pass]
        assert all(len(part) == round_size for part in mine[:-1])
        order = range(8) if seed is None else rng.permutation(8)
        assert [k for part in mine for k in part] == list(order)


@given(st.floats(0.01, 0.99), st.integers(0, 1000))
def test_splits_are_by_whole_tasks_and_repeatable(fraction, seed):
    train, test = TASKS.split(fraction, seed=seed)
    assert sorted(names_of(train) + names_of(test)) == list(range(8))
    assert names_of(train) == sorted(names_of(train))
    assert abs(len(train) - 8 * fraction) <= 1
    again = TASKS.split(fraction, seed=seed)
    assert [names_of(part) for part in again] == [names_of(train), names_of(test)]


def test_another_seed_is_another_split():
    assert len({tuple(names_of(TASKS.split(0.5, seed=seed)[0])) for seed in range(20)}) > 10


def test_shots():
    tasks = numbered((3, 5, 4))
    first, rest = tasks.shots(2)
    assert rows_of(first) == [[0, 1], [3, 4], [8, 9]]
    assert rows_of(rest) == [[2], [5, 6, 7], [10, 11]]
    assert rows_of(rest[1].shots(1)[1]) == [[6, 7]]


def test_a_strided_table_is_copied_once_and_not_changed(rng):
    wide = rng.standard_normal((6, 8))
    tasks = af.Tasks(wide[:, ::2], np.zeros(6), [0, 6])
    np.testing.assert_array_equal(tasks.x, wide[:, ::2])
    assert not np.shares_memory(tasks.x, wide)


def test_representations_name_what_matters():
    """Rule, hyperparameters, sizes, type."""
    for text, parts in (
        (repr(af.OGD(0.25)), ("OGD", "0.25")),
        (repr(af.OGD(np.full(7, 0.5, np.float32))), ("float32", "7", "0.5")),
        (repr(af.AdaGrad(0.25, 1e-6)), ("AdaGrad", "0.25", "1e-06")),
        (repr(af.ArubaPlusPlus([1.0, 2.0], [3.0, 4.0], 0.75)), ("ArubaPlusPlus", "2", "0.75")),
        (
            repr(af.MetaLearner(np.zeros(5, np.float32), learning_rate=0.3, p=0.4)),
            ("MetaLearner", "5", "float32", "0.3", "0.4"),
        ),
        (repr(af.TaskRun(np.ones((4, 3)), np.ones((4, 3)))), ("TaskRun", "4", "3", "float64")),
    ):
        assert all(part in text for part in parts), text
