"""`Tasks`: what groups, rounds, splits, shots and indices select."""

from __future__ import annotations

import numpy as np
import pytest
from buffers import snapshot
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


# ---- what is refused -----------------------------------------------------------------------------

F32, V, T, NAN = np.float32, ValueError, TypeError, float("nan")
X, Y = np.ones((6, 3), F32), np.ones(6, F32)
TWO = af.Tasks(X, Y, [0, 2, 6])
REFUSED = [
    ("x int", lambda: af.Tasks(X.astype(int), Y, [0, 6]), T, "Tasks: `x`.*int64"),
    ("x complex", lambda: af.Tasks(X.astype(complex), Y, [0, 6]), T, "Tasks: `x`.*complex128"),
    ("x byte-swapped", lambda: af.Tasks(X.astype(">f4"), Y, [0, 6]), T, "Tasks: `x`.*byte order"),
    ("x 0-d", lambda: af.Tasks(F32(1), Y, [0, 6]), V, r"Tasks: `x`.*\(\)"),
    ("x 1-d", lambda: af.Tasks(Y, Y, [0, 6]), V, r"Tasks: `x`.*\(6,\)"),
    ("x dense 2-d", lambda: af.Tasks(X, Y), V,
     r"Tasks: `x`.*\[n_tasks, m, n_features\] without `offsets`; else give them or take Tasks"),
    ("x dense beside offsets", lambda: af.Tasks(X[None], Y[None], [0, 6]), V,
     r"Tasks: `x`.*\(1, 6, 3\), expected \[n_rows, n_features\] beside `offsets`; else leave"),
    ("x no rows", lambda: af.Tasks(X[:0], Y[:0], [0, 0]), V, "Tasks: `x`.*empty"),
    ("x no features", lambda: af.Tasks(X[:, :0], Y, [0, 6]), V, "Tasks: `x`.*empty"),
    ("x masked", lambda: af.Tasks(np.ma.array(X, mask=X > 0), Y, [0, 6]), V, "Tasks: `x`.*masked"),
    ("x masked list", lambda: af.Tasks(
        [np.ma.array(X, mask=X > 0), X], [Y, Y]), V, "Tasks: `x`.*masked"),
    ("y masked", lambda: af.Tasks(X, np.ma.masked_less(Y, 2), [0, 6]), V, "Tasks: `y`.*masked"),
    ("offsets masked", lambda: af.Tasks(X, Y, np.ma.array([0, 3, 6], mask=[0, 1, 0])), V,
     "Tasks: `offsets`.*masked"),
    ("index masked", lambda: TWO[np.ma.array([0, 1], mask=[0, 1])], V, "Tasks: `index`.*masked"),
    ("x ragged list", lambda: af.Tasks([[1.0], [1.0, 2.0]], [1, 2], [0, 2]), V, "Tasks: `x`"),
    ("y length", lambda: af.Tasks(X, Y[:5], [0, 6]), V, r"Tasks: `y`.*\(5,\).*\(6,\)"),
    ("y 2-d", lambda: af.Tasks(X, Y[:, None], [0, 6]), V, "Tasks: `y`"),
    ("y text", lambda: af.Tasks(X, list("abcdef"), [0, 6]), T, "Tasks: `y`.*real"),
    ("y complex", lambda: af.Tasks(X, Y * 1j, [0, 6]), T, "Tasks: `y`.*complex"),
    ("offsets float", lambda: af.Tasks(X, Y, [0.0, 6.0]), T, "Tasks: `offsets`.*integers"),
    ("offsets bool", lambda: af.Tasks(X[:1], Y[:1], [False, True]), T, "Tasks: `offsets`.*bool"),
    ("offsets 0-d", lambda: af.Tasks(X, Y, 6), V, "Tasks: `offsets`"),
    ("offsets 2-d", lambda: af.Tasks(X, Y, [[0, 6]]), V, "Tasks: `offsets`"),
    ("offsets empty", lambda: af.Tasks(X, Y, np.zeros(0, int)), V, "Tasks: `offsets`.*0 values"),
    ("offsets one", lambda: af.Tasks(X, Y, [0]), V, "Tasks: `offsets`.*1 values"),
    ("offsets first", lambda: af.Tasks(X, Y, [1, 6]), V, "Tasks: `offsets`.*got 1 at 0"),
    ("offsets last", lambda: af.Tasks(X, Y, [0, 7]), V, "Tasks: `offsets`.*got 7.*expected 6"),
    ("offsets of sizes", lambda: af.Tasks(X, Y, [2, 4]), V,
     r"Tasks: `offsets`.*got 2 at 0, expected 0; of the sizes of tasks, np.append\(0, np.cumsum"),
    ("offsets short", lambda: af.Tasks(X, Y, [0, 5]), V, "Tasks: `offsets`.*got 5"),
    ("offsets negative", lambda: af.Tasks(X, Y, [0, -1, 6]), V, "Tasks: `offsets`.*0, -1"),
    ("offsets unsorted", lambda: af.Tasks(X, Y, [0, 4, 2, 6]), V, "Tasks: `offsets`.*4, 2.*task 1"),
    ("offsets empty task", lambda: af.Tasks(X, Y, [0, 2, 2, 6]), V, "Tasks: `offsets`.*task 1"),
    (
        "offsets wrap",
        lambda: af.Tasks(X, Y, np.array([0, 2**63 + 1, 6], np.uint64)), V, "Tasks: `offsets`",
    ),
    ("groups of no rows", lambda: af.Tasks.from_groups(X[:0], Y[:0], []), V, "from_groups: `x`"),
    ("groups y", lambda: af.Tasks.from_groups(X, Y[:2], Y), V, r"from_groups: `y`.*\(2,\)"),
    ("groups x", lambda: af.Tasks.from_groups(X[0], Y, Y), V, r"from_groups: `x`.*\(3,\)"),
    ("group length", lambda: af.Tasks.from_groups(X, Y, [1, 2]), V, "from_groups: `group`"),
    ("group 2-d", lambda: af.Tasks.from_groups(X, Y, np.ones((6, 1))), V, "from_groups: `group`"),
    ("index float", lambda: TWO[0.5], T, "Tasks: `index`"),
    ("index range", lambda: TWO[2], IndexError, "Tasks: `index`"),
    ("index mask length", lambda: TWO[np.array([True])], IndexError, "Tasks: `index`"),
    ("index slice", lambda: TWO["0":], T, "Tasks: `index`.*slice"),
    ("index step", lambda: TWO[::0], V, "Tasks: `index`.*step"),
    ("index of nothing", lambda: TWO[[]], V, "Tasks: `index`.*at least 1"),
    ("index text", lambda: TWO["first"], T, "Tasks: `index`.*<U5"),
    ("index nothing", lambda: TWO[:0], V, "Tasks: `index`.*at least 1"),
    ("round_size 0", lambda: list(TWO.rounds(0)), V, "Tasks.rounds: `round_size`"),
    ("round_size float", lambda: list(TWO.rounds(1.0)), T, "Tasks.rounds: `round_size`"),
    ("n_passes 0", lambda: list(TWO.rounds(1, n_passes=0)), V, "Tasks.rounds: `n_passes`"),
    ("seed negative", lambda: list(TWO.rounds(1, seed=-1)), V, "Tasks.rounds: `seed`"),
    ("split 0", lambda: TWO.split(0.0), V, "Tasks.split: `fraction`.*got 0"),
    ("split 1", lambda: TWO.split(1.0), V, "Tasks.split: `fraction`.*got 1"),
    ("split nan", lambda: TWO.split(NAN), V, "Tasks.split: `fraction`.*nan"),
    ("split of one", lambda: TWO[0].split(0.5), V, "Tasks.split.*1 task"),
    ("shots 0", lambda: TWO.shots(0), V, "Tasks.shots: `m`"),
    ("shots all", lambda: TWO.shots(2), V,
     r"Tasks.shots: `m`.*task 0 of 2 rows, expected m < 2, or .*: tasks\[tasks.sizes > 2\]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_bad_input_has_its_sentence(call, error, message):
    before = snapshot([X, Y, TWO.y, TWO.starts, TWO.stops])
    with pytest.raises(error, match=message):
        call()
    assert snapshot([X, Y, TWO.y, TWO.starts, TWO.stops]) == before
