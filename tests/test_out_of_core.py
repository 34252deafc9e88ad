"""`meta_train` over chunks: the bits of one `Tasks`; what does not fit has its sentence."""

from __future__ import annotations

import itertools
import weakref

import numpy as np
import pytest
from cases import smoothed, task_data
from same_learner import assert_same_bits

import aruba_fast as af

LOSSES = ("squared", "absolute", "poisson")
SIZES = [1 + k % 5 for k in range(48)]


def whole(loss="squared", dtype=np.float64, d=3):
    rng = np.random.default_rng(7)
    pieces = [task_data(loss, rng, n, d) for n in SIZES]
    x, y = (np.concatenate(some) for some in zip(*pieces, strict=True))
    return af.Tasks(x.astype(dtype), y, np.cumsum([0, *SIZES]))


def parts(tasks, *cuts):
    """Tables of their own, as a reader makes them."""
    limits = [0, *cuts, len(tasks)]
    views = [tasks[a:b] for a, b in itertools.pairwise(limits)]
    return [af.Tasks(v.x.copy(), v.y, np.append(0, v.stops)) for v in views]


class Again:
    """What can be iterated again, and counts how often; it may know its `n_tasks`."""

    def __init__(self, chunks, n_tasks=None):
        self.chunks, self.n_begun = chunks, 0
        if n_tasks is not None:
            self.n_tasks = n_tasks

    def __iter__(self):
        self.n_begun += 1
        yield from self.chunks


def train(tasks, learner=None, **how):
    learner = learner or af.MetaLearner(np.zeros(3))
    how = {"loss": "squared", "round_size": 4, **how}
    return af.meta_train(tasks, learner, **how), learner


def assert_same_history(one, other):
    for name in ("loss", "task", "skipped"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


CUTS = [(), (4,), (4, 8, 40), (44,), tuple(range(4, 48, 4))]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize("given", [list, tuple, Again])
def test_chunks_have_the_bits_of_one_table(loss, cuts, given, monkeypatch):
    """Nothing is given: the first rate and the steps of phi are those of all tasks."""
    monkeypatch.setattr("aruba_fast._first_rate._NUMBERS", 30)  # many blocks, across chunks
    tasks = whole(loss)
    expected, one = train(tasks, loss=loss, n_passes=3, weights="rows")
    history, other = train(given(parts(tasks, *cuts)), loss=loss, n_passes=3, weights="rows")
    assert_same_bits(one, other)
    assert one.learning_rate.tolist() == other.learning_rate.tolist()
    assert_same_history(history, expected)


def test_an_iterator_has_the_bits_of_one_table_once_the_rate_is_known():
    tasks = whole()
    learners = [af.MetaLearner(np.zeros(3), learning_rate=0.05) for _ in range(3)]
    expected, _ = train(tasks, learners[0])
    history, _ = train(iter(parts(tasks, 8, 20)), learners[1], n_tasks=48)
    assert_same_history(history, expected)
    assert_same_bits(*learners[:2])
    learner = af.MetaLearner(np.zeros(3))
    learner.first_rate(tasks, loss="squared")
    _, automatic = train(tasks)
    train((chunk for chunk in parts(tasks, 8, 20)), learner, n_tasks=48)
    assert_same_bits(learner, automatic)


def test_an_iterator_tells_the_first_rate_by_its_first_chunk():
    chunks = parts(whole(), 8, 20)
    rate = af.MetaLearner(np.zeros(3)).first_rate(chunks[0], loss="squared")
    known = af.MetaLearner(np.zeros(3), learning_rate=rate)
    expected, _ = train(chunks, known)
    history, learner = train(iter(chunks), n_tasks=48)
    assert_same_history(history, expected)
    assert_same_bits(learner, known)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_first_rate_does_not_depend_on_chunks(loss, monkeypatch):
    tasks = whole(loss)
    for numbers in (9, 30, 1 << 16):
        monkeypatch.setattr("aruba_fast._first_rate._NUMBERS", numbers)
        rates = {
            af.MetaLearner(np.full(3, 0.1)).first_rate(some, loss=loss)
            for some in (tasks, parts(tasks, 5), parts(tasks, 1, 2, 47), iter(parts(tasks, 31)))
        }
        assert len(rates) == 1


def test_rounds_do_not_cross_chunks():
    tasks = whole()
    one, other = (af.MetaLearner(np.zeros(3), learning_rate=0.05, zeta=1.0) for _ in range(2))
    train(parts(tasks, 7, 20), one, seed=3)
    rng = np.random.default_rng(3)
    for chunk in parts(tasks, 7, 20):
        order = rng.permutation(len(chunk))
        for first in range(0, len(chunk), 4):
            part = chunk[order[first : first + 4]]
            other.update(af.run_tasks(part, other.phi, other.rule(coef=None), loss="squared"))
    assert_same_bits(one, other)


def test_a_history_counts_over_all_chunks():
    history, _ = train(parts(whole(), 4, 20), seed=0, n_passes=2)
    for first in (0, 48):
        numbers = history.task[first : first + 48]
        assert sorted(numbers) == list(range(48))
        assert sorted(numbers[:4]) == [0, 1, 2, 3]
    assert set(history.task[4:20]) == set(range(4, 20))


def test_a_history_of_unknown_length_is_put_together():
    learner = smoothed(np.zeros(3), learning_rate=0.05)
    expected, _ = train(whole(), smoothed(np.zeros(3), learning_rate=0.05))
    history, _ = train(iter(parts(whole(), 8, 20, 24)), learner)
    assert_same_history(history, expected)


@pytest.mark.parametrize("given", [lambda t: t, lambda t: parts(t, 8), lambda t: iter(parts(t, 8))])
def test_without_history_nothing_is_kept(given):
    expected, one = train(whole(), smoothed(np.zeros(3), learning_rate=0.05))
    tasks = given(whole())
    history, other = train(tasks, smoothed(np.zeros(3), learning_rate=0.05), history=False)
    assert (len(expected), len(history), repr(history)) == (
        48,
        0,
        "History(n_tasks=0, n_skipped=0)",
    )
    assert_same_bits(one, other)


def test_a_pass_is_spent_only_where_something_has_to_be_found():
    chunks = parts(whole(), 8, 20)
    known = {"learning_rate": 0.05}
    for n_begun, source, hyper, how in (
        (1 + 2, Again(chunks), {}, {}),  # the rate, and the number of tasks with it
        (1 + 2, Again(chunks, 48), {}, {}),
        (1 + 2, Again(chunks), known, {}),
        (2, Again(chunks, 48), known, {}),
        (2, Again(chunks), known, {"n_tasks": 48}),
        (2, Again(chunks), known, {"meta_step": 0.5}),
    ):
        train(source, af.MetaLearner(np.zeros(3), **hyper), n_passes=2, **how)
        assert source.n_begun == n_begun


@pytest.mark.parametrize("total", [48, None])
def test_progress_counts_over_chunks(total):
    seen = []
    how = {"n_tasks": total} if total else {"meta_step": 0.5}
    train(iter(parts(whole(), 8, 20)), progress=lambda *numbers: seen.append(numbers), **how)
    assert [done for done, _ in seen][-1] == 48
    assert {8, 20, 48} <= {done for done, _ in seen}
    assert {of for _, of in seen} == {total}


def test_a_bar_counts_over_chunks(capfd):
    train(parts(whole(), 8, 20), progress=True)
    train(iter(parts(whole(), 8, 20)), meta_step=0.5, progress=True)
    shown = capfd.readouterr().err
    assert "48/48" in shown
    assert "48task" in shown


def fails_after(n_chunks, error):
    yield from parts(whole(), 8, 20, 30)[:n_chunks]
    raise error


@pytest.mark.parametrize("error", [RuntimeError("disk"), KeyboardInterrupt(), ValueError("odd")])
def test_what_the_iterable_raises_comes_out_and_complete_rounds_stand(error):
    one, other = (smoothed(np.zeros(3), learning_rate=0.05) for _ in range(2))
    with pytest.raises(type(error)) as caught:
        train(fails_after(2, error), one)
    assert caught.value is error
    train(parts(whole(), 8, 20)[:2], other)
    assert_same_bits(one, other)
    train(whole(), one)
    assert one.n_tasks == 20 + 48


def test_an_iterator_that_was_begun_here_is_ended_here():
    ended = []

    class Files:
        n_tasks = 48

        def __iter__(self):
            try:
                yield from parts(whole(), 8, 20)
            finally:
                ended.append(True)

    def stop(*_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough") as held:
        train(Files(), smoothed(np.zeros(3)), progress=stop)
    assert ended == [True]
    del held


def test_two_chunks_are_in_memory_at_most():
    """Of a generator: the one that is trained on, and the one that is made."""
    alive, most = weakref.WeakSet(), []

    def made():
        for chunk in parts(whole(), *range(4, 48, 4)):
            one = af.Tasks(chunk.x.copy(), chunk.y, np.append(0, chunk.stops))
            alive.add(one)
            most.append(len(alive))
            yield one
            del one

    train(made(), smoothed(np.zeros(3)))
    assert max(most) <= 2
    assert len(most) == 12


@pytest.mark.usefixtures("on_device")
def test_chunks_on_a_device_have_the_same_bits():
    tasks = whole()
    expected, one = train(tasks, n_passes=2)
    for given in (list, Again, lambda some: iter(some)):
        there = given([chunk.to("cuda") for chunk in parts(tasks, 8, 20)])
        how = {"n_tasks": 48} if given not in (list, Again) else {"n_passes": 2}
        learner = af.MetaLearner(np.zeros(3)).to("cuda")
        history, _ = train(there, learner, **how)
        assert not isinstance(history.loss, np.ndarray)
        if given in (list, Again):
            np.testing.assert_array_equal(history.loss.get(), expected.loss)
            assert_same_bits(learner.to("cpu"), one)
