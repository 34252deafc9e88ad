"""What the demo's methods may see: the split of the people, the scaling, the rows set aside."""

import dataclasses

import numpy as np
import pytest
from tables import small_table, written

import aruba_fast as af
from aruba_fast import datasets
from aruba_fast.datasets import _scale
from aruba_fast_reproductions import demo
from aruba_fast_reproductions.demo import protocol

ONE_SEED = demo.Settings(n_seeds=1, n_passes=2)


def load(tmp_path, **changes):
    return datasets.load_table(written(tmp_path / "t.npz", **changes))


class Seen:
    """A table as one seed should show it, and where in it the rows of a split are."""

    def __init__(self, table, seed):
        n = len(table.sizes)
        numbers = af.Tasks(np.zeros((n, 1)), np.arange(n), np.arange(n + 1)).split(0.6, seed)
        self.train, self.held_out = (part.y.astype(int).tolist() for part in numbers)
        rows = np.isin(table.task, self.train)
        x = (table.x - table.x[rows].mean(axis=0)) / table.x[rows].std(axis=0)
        x = np.column_stack([x, np.ones(len(x))]).astype(np.float32)
        self._place = {row.tobytes(): k for k, row in enumerate(x)}
        assert len(self._place) == len(x), "every row is like no other"

    def rows(self, tasks):
        """The numbers of the rows of every task."""
        found = [self._place[row.tobytes()] for row in tasks.x]
        return [found[a:b] for a, b in zip(tasks.starts, tasks.stops, strict=True)]


# ---- people and scaling --------------------------------------------------------------------------


def test_scaling_sees_only_the_meta_training_people():
    wages = datasets.load_wages()
    # A year of a person is a row like no other.
    wages = dataclasses.replace(wages, x=wages.x + 1e-6 * np.arange(4165)[:, None])
    split = protocol.prepare(wages, demo.Settings(), 3)
    seen = Seen(wages, 3)
    whole = [[7 * person + k for k in range(7)] for person in range(595)]
    assert seen.rows(split.train) == [whole[person] for person in seen.train]
    # Nobody is both, nobody is lost, and a held-out person's rows are used once.
    assert [(k, tasks.n_rows) for k, tasks in split.supports] == [(1, 238), (2, 476), (3, 714)]
    assert seen.rows(split.supports[-1][1]) == [whole[person][:3] for person in seen.held_out]
    assert seen.rows(split.query) == [whole[person][3:] for person in seen.held_out]
    changed = dataclasses.replace(
        wages, y=np.where(np.isin(wages.task, seen.train), wages.y, 5 + wages.task % 7)
    )
    others = protocol.prepare(changed, demo.Settings(), 3)
    np.testing.assert_array_equal(others.train.y, split.train.y)


def test_column_without_variance_is_dropped(tmp_path):
    x = small_table()["x"]
    x[:, 1] = 0.1
    assert protocol.feature_names(load(tmp_path, x=x)) == ["a", "c", "intercept"]


def test_column_that_varies_in_held_out_people_only(tmp_path):
    """No gradient ever reaches it in meta-training: its rate is the average one's."""
    people = load(tmp_path)
    numbers = af.Tasks(np.zeros((12, 1)), np.arange(12), np.arange(13))
    held_out = int(numbers.split(0.6, 0)[1].y[0])
    x = small_table()["x"]
    x[:, 1] = people.task == held_out
    outcome = demo.run(load(tmp_path, x=x), ONE_SEED)
    rates = outcome.rates[0]
    assert rates.min() < rates[1] < rates.max()
    assert np.isfinite(outcome["ARUBA"].error)


RNG = np.random.default_rng(5)
SHARES = RNG.dirichlet(np.ones(9), 60) * 100
VARYING = [
    ("constant", np.full(60, 0.1), False),
    ("zeros", np.zeros(60), False),
    ("shares", np.where(np.arange(60) % 2, SHARES.sum(axis=1), 100 + 6e-14), False),
    ("shares of 1", (SHARES / 100).sum(axis=1), False),
    ("shares in float32", SHARES.astype("f4").sum(axis=1), False),
    ("huge, rounded", 1e300 * (1 + 1e-16 * np.arange(60)), False),
    ("tiny, rounded", 1e-300 * (0.1 + 1e-17 * np.arange(60)), False),
    ("year", 1976.0 + np.arange(60) % 7, True),
    ("milliseconds", 1.7e12 + np.arange(60), True),
    ("nanoseconds", 1.7e18 + 1e6 * np.arange(60), True),
    ("integers of float32", 2.0**24 - np.arange(60) % 2, True),
    ("latitude", np.float32(52.5) + np.float32(1e-2) * RNG.random(60, np.float32), True),
    ("tiny", 1e-300 * RNG.random(60), True),
    ("subnormal", 5e-324 * np.arange(60), True),
    ("huge", 1e308 * RNG.random(60), True),
    ("huge of both signs", 1.7e308 * np.sign(RNG.random(60) - 0.5), True),
    ("one of many", (np.arange(60) == 7) * 1e-9, True),
]


@pytest.mark.parametrize(
    ("column", "expected"), [r[1:] for r in VARYING], ids=[r[0] for r in VARYING]
)
def test_what_varies_by_rounding_only_does_not_vary(column, expected):
    column = np.asarray(column, np.float64)[:, None]
    assert _scale.varying(column).tolist() == [expected]
    found = _scale.standardized(column, np.ones(60, bool))
    if expected:
        np.testing.assert_allclose([found.mean(), found.std()], [0.0, 1.0], atol=1e-4)
    else:
        assert np.abs(found).max() <= 1e-4 * np.abs(column).max()


def test_power_of_two_rounds_nothing(rng):
    x = rng.standard_normal((60, 3)) * [1.0, 3e5, 7e-9] + [2.0, -1.0, 1.0]
    rows = rng.random(60) < 0.6
    expected = (x - x[rows].mean(axis=0)) / x[rows].std(axis=0)
    np.testing.assert_array_equal(_scale.standardized(x, rows), expected)


def test_shares_are_no_feature(tmp_path):
    x = small_table()["x"]
    x[:, 2] = SHARES.sum(axis=1)
    table = load(tmp_path, x=x)
    assert protocol.feature_names(table) == ["a", "b", "intercept"]
    assert demo.run(table, ONE_SEED).features == ("a", "b", "intercept")


def spoiled(name, value, row=31):
    values = small_table()[name]
    values.flat[row * (values.size // 60)] = value
    return {name: values}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("value", [1.79e308, -1e308, 1e200, 1e100, 1e20])
@pytest.mark.parametrize(("name", "shown"), [("y", "`y`"), ("x", "`x`, 'a'")])
def test_a_number_beside_which_the_others_are_one_is_refused(tmp_path, name, shown, value, seed):
    """Whether its person is held out or not: it would make every error of the seed 0.0000."""
    table = load(tmp_path, **spoiled(name, value))
    with pytest.raises(
        ValueError, match=r"^demo: `table` must have numbers of one scale: got "
    ) as caught:
        demo.run(table, demo.Settings(n_seeds=1, n_passes=1, first_seed=seed))
    assert f"{abs(value):g} in {shown}" in str(caught.value)


@pytest.mark.parametrize("factor", [1e-307, 1e-160, 1e160, 1e306])
def test_units_of_any_size_are_the_same_table(tmp_path, factor):
    """Squares of such numbers leave float64."""
    plain = small_table()
    power = 2.0 ** np.round(np.log2(factor))
    scaled = load(tmp_path, x=plain["x"] * power, y=plain["y"] * power)
    expected, found = (demo.run(t, ONE_SEED).as_json() for t in (load(tmp_path), scaled))
    assert found == expected


# ---- rows to adapt on and to be tested on --------------------------------------------------------


def test_people_with_too_few_rows_are_counted_not_tested(tmp_path):
    task = np.concatenate([[0, 1, 2], np.repeat(np.arange(3, 12), 6), [11] * 3]).astype(np.int32)
    outcome = demo.run(load(tmp_path, task=task), demo.Settings(n_seeds=4, n_passes=1, shots=2))
    assert outcome.n_too_short > 0
    assert outcome.n_tested + outcome.n_too_short == 4 * 5


# Rows of 12 people of 5, and how many of them each sets aside.
ASIDE = {
    "equal": [2] * 12,
    "unequal": [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4],
    "some have none to be tested on": [2, 0] * 6,
    "some have none to adapt on": [3, 5, 2] * 4,
    "one row of one person": [1] * 11 + [4],
}


@pytest.mark.parametrize("shots", [None, 1, 2])
@pytest.mark.parametrize("aside", ASIDE.values(), ids=ASIDE)
def test_people_adapt_on_the_others_and_are_tested_on_the_rows_set_aside(tmp_path, aside, shots):
    test = np.concatenate([RNG.permutation(np.arange(5) < n) for n in aside])
    table = load(tmp_path, test=test.astype(int))
    settings = demo.Settings(n_seeds=1, n_passes=1, shots=shots)
    limit = 5 - min(aside) if shots is None else shots
    assert protocol.choose_shots(table, settings) == limit
    own = [np.flatnonzero((table.task == k) & ~table.test)[:limit].tolist() for k in range(12)]
    set_aside = [np.flatnonzero((table.task == k) & table.test).tolist() for k in range(12)]
    n_tested, n_few = 0, 0
    for seed in range(3):
        seen, split = Seen(table, seed), protocol.prepare(table, settings, seed)
        kept = [person for person in seen.held_out if own[person] and set_aside[person]]
        assert seen.rows(split.supports[-1][1]) == [own[person] for person in kept]
        assert seen.rows(split.query) == [set_aside[person] for person in kept]
        assert split.train.n_rows == 5 * 7
        assert split.n_too_short == 5 - len(split.query)
        for k, tasks in split.supports:
            assert tasks.sizes.tolist() == np.minimum(k, split.supports[-1][1].sizes).tolist()
        n_tested += len(split.query)
        n_few += int((split.supports[-1][1].sizes < limit).sum())
    outcome = demo.run(table, dataclasses.replace(settings, n_seeds=3))
    assert (outcome.n_tested, outcome.n_few) == (n_tested, n_few)
    assert np.isfinite(outcome["ARUBA"].errors).all()


IMPOSSIBLE = [
    ({}, {"shots": 5}, "demo: `shots` must leave a row to be tested on: got 5, expected at most 4"),
    ({"task": np.zeros(60, int), "task_names": np.array(["a"])}, {}, "people to hold out: got 1"),
    ({"y": np.ones(60)}, {}, "demo: `table` must have a target that varies: got a constant `y`"),
    ({"y": SHARES.sum(axis=1)}, {}, "must have a target that varies: got a constant `y`"),
    ({"task": np.repeat([0, 1], [55, 5]), "task_names": np.array(["a", "b"])}, {"shots": 6}, "no "),
    ({"test": np.tile([0, 0, 0, 1, 1], 12)}, {"shots": 4}, "got 4, expected at most 3, for the"),
    ({"test": np.ones(60)}, {}, "got 0, expected at most 0, for the other rows are set aside"),
    ({"test": np.arange(60) == 0}, {}, "must leave people to be tested: got 5, of which no "),
]


@pytest.mark.parametrize(("changes", "settings", "message"), IMPOSSIBLE)
def test_impossible_table_is_refused(tmp_path, changes, settings, message):
    with pytest.raises(ValueError) as caught:
        demo.run(load(tmp_path, **changes), demo.Settings(n_seeds=1, n_passes=1, **settings))
    assert str(caught.value).startswith("demo: `")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"n_seeds": 0}, ValueError), ({"shots": 1.5}, TypeError), ({"train_share": 1}, ValueError)],
)
def test_impossible_settings_are_refused(changes, error):
    with pytest.raises(error, match=r"^demo: `"):
        demo.Settings(**changes)
