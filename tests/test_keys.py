"""Labels of tasks: kept by every choice, found by every kind of key, close ones told."""

from __future__ import annotations

import copy
import datetime as dt
import pickle

import numpy as np
import pytest
from test_ids import DISTINCT

import aruba_fast as af

PEOPLE = ["eve", "bob", "eve", "ann", "bob", "eve"]
DAYS = np.array(["2021-03-01", "2020-01-01", "2021-03-01"], "M8[D]")


def people():
    return af.Tasks.from_groups(np.arange(12.0).reshape(6, 2), np.arange(6), PEOPLE)


def test_the_label_of_a_task_is_its_group():
    tasks = people()
    assert tasks.keys.tolist() == ["ann", "bob", "eve"]
    assert tasks["eve"].y.tolist() == [0, 2, 5]
    assert tasks["eve"].keys.tolist() == ["eve"]
    assert [tasks.number(key) for key in tasks.keys] == [0, 1, 2]
    assert tasks[np.str_("bob")].y.tolist() == [1, 4]
    with pytest.raises(ValueError, match="read-only"):
        tasks.keys[0] = "x"
    assert tasks.feature_names is None


def test_tasks_that_are_numbered_have_no_labels():
    tasks = af.Tasks(np.ones((2, 3, 1)), np.ones((2, 3)))
    for some in (tasks, tasks[1:], pickle.loads(pickle.dumps(tasks)), tasks.to("cpu")):
        assert some.keys is None
        assert some.feature_names is None
    with pytest.raises(TypeError, match="`index` must select tasks"):
        tasks["eve"]
    with pytest.raises(ValueError, match=r"Tasks.number: `self` must have labels: .*from_groups"):
        tasks.number("eve")


CHOICES = {
    "one": lambda t: t[1],
    "backwards": lambda t: t[::-1],
    "mask": lambda t: t[t.sizes > 1],
    "twice": lambda t: t[[2, 0, 2]],
    "view of a view": lambda t: t[1:][::-1][[0]],
    "shots": lambda t: t[1:].shots(1)[0],
    "other rows": lambda t: t[1:].shots(1)[1],
    "split": lambda t: t.split(0.5)[1],
    "a round": lambda t: next(t.rounds(2, seed=3)),
    "iteration": lambda t: list(t)[2],
}
TRAVELS = {
    "stays": lambda t: t,
    "pickle": lambda t: pickle.loads(pickle.dumps(t)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "to": lambda t: t.to("cpu"),
}


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
@pytest.mark.parametrize("travel", TRAVELS.values(), ids=TRAVELS)
def test_a_choice_has_its_own_labels(choose, travel):
    tasks = people()
    # Rows tell whose they are: the oracle knows no label but the given ones.
    chosen = travel(choose(tasks))
    rows = [task.y.astype(int).tolist() for task in chosen]
    assert chosen.keys.tolist() == [PEOPLE[some[0]] for some in rows]
    assert [{PEOPLE[row] for row in some} for some in rows] == [{key} for key in chosen.keys]
    for key in set(chosen.keys):
        number = chosen.number(key)
        assert number == chosen.keys.tolist().index(key)
        assert chosen[str(key)].y.tolist() == chosen[number].y.tolist()


def test_a_pickle_of_before_labels_loads():
    tasks = people()
    state = tasks.__getstate__()
    again = af.Tasks.__new__(af.Tasks)
    again.__setstate__(state[:4])
    assert again.keys is None
    assert again.y.tolist() == tasks.y.tolist()


@pytest.mark.parametrize("group", DISTINCT.values(), ids=DISTINCT)
def test_every_kind_of_label_finds_its_task(group):
    tasks = af.Tasks.from_groups(np.ones((3, 1)), np.arange(3), group)
    for row, key in enumerate(group):
        assert tasks[tasks.number(key)].y.tolist() == [row]
        number = tasks.keys.tolist().index(key) if not isinstance(key, np.void) else None
        assert number in (None, tasks.number(key))


@pytest.mark.parametrize(
    "key",
    [
        np.datetime64("2021-03-01"),
        np.datetime64("2021-03-01T00", "h"),
        dt.date(2021, 3, 1),
        dt.datetime(2021, 3, 1),
        "2021-03-01",
    ],
    ids=repr,
)
@pytest.mark.parametrize("unit", ["D", "us", "ns"])
def test_a_date_is_found_in_whatever_unit(key, unit):
    tasks = af.Tasks.from_groups(np.ones((3, 1)), np.arange(3), DAYS.astype(f"M8[{unit}]"))
    assert tasks[tasks.number(key)].y.tolist() == [0, 2]
    with pytest.raises(KeyError, match="`key` must be the label of a task"):
        tasks.number(np.datetime64("2021-03-01T05", "h"))


def test_a_duration_is_found():
    tasks = af.Tasks.from_groups(np.ones((2, 1)), [0, 1], np.array([60, 120], "m8[s]"))
    assert tasks.number(dt.timedelta(minutes=2)) == 1


@pytest.mark.parametrize(
    ("find", "sentence"),
    [
        (lambda: people()["evee"],
         "Tasks: `index` must be the label of a task: got 'evee', a str, "
         "expected 'eve' or one of 2 more"),
        (lambda: people().number("zoe"),
         "Tasks.number: `key` must be the label of a task: got 'zoe', a str, "
         "expected 'ann', 'bob' or one of 1 more"),
        (lambda: people()[:1].number(3),
         "Tasks.number: `key` must be the label of a task: got 3, an int, expected 'ann'"),
    ],
)  # fmt: skip
def test_an_unknown_label_is_told_with_close_ones(find, sentence, monkeypatch):
    monkeypatch.setattr("aruba_fast._keys._SHOWN", 2)
    with pytest.raises(KeyError) as caught:
        find()
    assert caught.value.args == (sentence,)


def test_a_close_label_of_very_many_is_found():
    ids = np.array([f"p{k:06d}" for k in range(50_000)])
    tasks = af.Tasks.from_groups(np.ones((len(ids), 1), np.float32), np.zeros(len(ids)), ids)
    with pytest.raises(KeyError, match="'p012345'"):
        tasks["p0123455"]
    assert tasks["p012345"].keys.tolist() == ["p012345"]


class Strange:
    def __hash__(self):
        raise RuntimeError("out of order")


@pytest.mark.parametrize("key", [[], {}, Strange()], ids=["list", "dict", "raises"])
def test_what_cannot_be_hashed_is_refused(key):
    with pytest.raises(TypeError, match=r"Tasks.number: `key` must be hashable"):
        people().number(key)


@pytest.mark.usefixtures("on_device")
def test_labels_travel_to_a_device_and_back():
    there = people()[::-1].to("cuda")
    assert there.keys.tolist() == ["eve", "bob", "ann"]
    assert there["bob"].to("cpu").y.tolist() == [1, 4]
    assert there["bob"].to("cpu").keys.tolist() == ["bob"]
