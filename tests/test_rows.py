"""What a choice of tasks has for itself: its own rows, copied only when they are asked for."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from itertools import pairwise

import device
import numpy as np
import pytest

import aruba_fast as af

SIZES = (3, 1, 4, 1, 5, 9, 2, 6)
OFFSETS = np.concatenate([[0], np.cumsum(SIZES)])
ROWS = [list(range(a, b)) for a, b in pairwise(OFFSETS)]


def numbered():
    """Tasks whose y, and whose first feature, is the number of the row."""
    x = np.arange(OFFSETS[-1])[:, None] * [1.0, 2.0]
    return af.Tasks(x, np.arange(OFFSETS[-1]), OFFSETS)


# Name, what is chosen, the rows of every chosen task, whether they are side by side in the table.
CHOICES = [
    ("all", lambda t: t, ROWS, True),
    ("one", lambda t: t[4], [ROWS[4]], True),
    ("last", lambda t: t[-1], [ROWS[7]], True),
    ("slice", lambda t: t[2:5], ROWS[2:5], True),
    ("backwards", lambda t: t[::-1], ROWS[::-1], False),
    ("stride", lambda t: t[1::3], ROWS[1::3], False),
    ("mask", lambda t: t[t.sizes > 3], [ROWS[k] for k in (2, 4, 5, 7)], False),
    ("mask of neighbours", lambda t: t[np.arange(8) < 2], ROWS[:2], True),
    ("list, one twice", lambda t: t[[5, 0, 5]], [ROWS[5], ROWS[0], ROWS[5]], False),
    ("view of a view", lambda t: t[2:][::-1][[0, 3]], [ROWS[7], ROWS[4]], False),
    ("shots", lambda t: t[[0, 2]].shots(2)[0], [ROWS[0][:2], ROWS[2][:2]], False),
    ("other rows", lambda t: t[4:6].shots(3)[1], [ROWS[4][3:], ROWS[5][3:]], False),
    ("other rows of one", lambda t: t[5].shots(4)[1], [ROWS[5][4:]], True),
    ("a round", lambda t: next(t.rounds(3)), ROWS[:3], True),
    ("iteration", lambda t: list(t)[6], [ROWS[6]], True),
]
IDS = [row[0] for row in CHOICES]


@pytest.mark.parametrize(("choose", "rows", "side_by_side"), [r[1:] for r in CHOICES], ids=IDS)
def test_a_choice_has_its_own_rows(choose, rows, side_by_side):
    tasks = numbered()
    chosen = choose(tasks)
    flat = [row for task in rows for row in task]
    assert chosen.y.tolist() == flat
    np.testing.assert_array_equal(chosen.x, np.array(flat)[:, None] * [1.0, 2.0])
    bounds = zip(chosen.starts, chosen.stops, strict=True)
    assert [chosen.y[a:b].tolist() for a, b in bounds] == rows
    assert chosen.starts.dtype == chosen.stops.dtype == np.int64
    assert chosen.sizes.tolist() == [len(task) for task in rows]
    assert chosen.n_rows == len(chosen.x) == len(chosen.y)
    assert np.shares_memory(chosen.x, tasks.x) == side_by_side
    for array in (chosen.x, chosen.y, chosen.starts, chosen.stops):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize("choose", [r[1] for r in CHOICES], ids=IDS)
def test_a_choice_runs_as_its_own_rows_would(choose):
    """Whether they were looked at before or not."""
    chosen, seen = choose(numbered()), choose(numbered())
    alone = af.Tasks(seen.x.copy(), seen.y, np.append(0, seen.stops))
    for loss in ("squared", "absolute"):
        runs = [
            af.run_tasks(tasks, np.zeros(2), af.OGD(1e-4), loss=loss)
            for tasks in (chosen, seen, alone)
        ]
        for run in runs[1:]:
            for name in ("theta_hat", "grad_sq", "loss", "weight"):
                np.testing.assert_array_equal(getattr(run, name), getattr(runs[0], name))
    best = [
        af.theory.best_in_hindsight(t, loss="squared", radius=9.0) for t in (chosen, seen, alone)
    ]
    for other in best[1:]:
        np.testing.assert_array_equal(other.theta_star, best[0].theta_star)
    learners = [af.theory.FullMatrixLearner(np.zeros(2)) for _ in range(2)]
    for learner, tasks in zip(learners, (chosen, alone), strict=True):
        learner.update(learner.run(tasks, loss="absolute", batch_size=2))
    np.testing.assert_array_equal(learners[0].H, learners[1].H)


@pytest.mark.parametrize("choose", [r[1] for r in CHOICES], ids=IDS)
@pytest.mark.parametrize(
    "travel",
    [lambda t: pickle.loads(pickle.dumps(t)), copy.copy, copy.deepcopy, lambda t: t.to("cpu")],
)
def test_a_choice_travels_alone(choose, travel):
    chosen, there = choose(numbered()), travel(choose(numbered()))
    for name in ("x", "y", "starts", "stops", "sizes"):
        np.testing.assert_array_equal(getattr(there, name), getattr(chosen, name))
    assert len(there._x) == chosen.n_rows
    assert repr(there) == repr(chosen)


def test_a_pickle_of_one_task_of_many_is_small():
    tasks = af.Tasks(np.ones((10_000, 10, 10)), np.ones((10_000, 10)))
    assert len(pickle.dumps(tasks[17])) < 3000
    assert len(pickle.dumps(tasks[[17, 4, 9000]])) < 5000


def test_choosing_and_running_copies_no_row(rng):
    tasks = af.Tasks(rng.standard_normal((400, 50, 100)), rng.standard_normal((400, 50)))
    phi, size = np.zeros(100), tasks.x.nbytes
    tracemalloc.start()
    try:
        for part in (tasks[::-1], tasks[tasks.sizes > 3], *tasks.split(0.5), *tasks.shots(9)):
            af.evaluate(part, phi, loss="squared")
        for part in tasks.rounds(50, n_passes=2, seed=0):
            af.run_tasks(part, phi, af.OGD(0.01), loss="squared")
        af.meta_train(tasks[::-2], af.MetaLearner(phi, learning_rate=1e-3), loss="squared")
        _, peak = tracemalloc.get_traced_memory()
        before_copies = peak
        assert len(tasks[::-1].x) == tasks.n_rows
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert before_copies < 0.2 * size
    assert peak > size, "what is measured sees a copy"


def test_rows_are_not_replaced():
    tasks = numbered()[2:4]
    for name in ("x", "y", "starts", "stops", "sizes"):
        with pytest.raises(AttributeError):
            setattr(tasks, name, getattr(tasks, name))


@pytest.mark.usefixtures("on_device")
def test_a_choice_on_a_device_has_its_own_rows():
    for _, choose, rows, _ in CHOICES:
        chosen = choose(numbered().to("cuda"))
        flat = [row for task in rows for row in task]
        assert device.host(chosen.y).tolist() == flat
        np.testing.assert_array_equal(device.host(chosen.x)[:, 0], flat)
        there, back = choose(numbered()).to("cuda"), chosen.to("cpu")
        assert (there.device, back.device) == ("cuda:0", "cpu")
        assert len(there._x) == len(back._x) == len(flat)
        runs = [
            af.run_tasks(tasks, put(np.zeros(2)), af.OGD(1e-4), loss="squared")
            for tasks, put in (
                (chosen, device.array),
                (there, device.array),
                (back, np.array),
                (choose(numbered()), np.array),
            )
        ]
        for run in runs[:-1]:
            np.testing.assert_array_equal(device.host(run.theta_hat), runs[-1].theta_hat)
