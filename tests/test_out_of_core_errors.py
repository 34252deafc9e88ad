"""What `meta_train` says of iterables that do not fit, and what it leaves as it was."""

from __future__ import annotations

import numpy as np
import pytest
from cases import smoothed
from same_learner import assert_same_bits
from test_out_of_core import Again, parts, train, whole

import aruba_fast as af


def again(value):
    return Again([value])


def with_another(tasks, x, y=None):
    return [tasks, af.Tasks(x, tasks.y if y is None else y, np.append(0, tasks.stops))]


F32 = np.zeros(3, np.float32)
V, T = ValueError, TypeError
AUTO, FIXED = {}, {"learning_rate": 0.05, "zeta": 1.0}
BAD = {
    "an iterator, twice": (lambda t: iter([t]), {"n_passes": 2}, FIXED, V,
        "`tasks` must begin again for n_passes=2: got a list_iterator, which is read once"),
    "an iterator without a number": (lambda t: iter([t]), {}, AUTO, V,
        "`n_tasks` must be given where `tasks` is read once.*a `meta_step`$"),
    "no chunk": (lambda _: [], {}, AUTO, V, "`tasks` must hold a task: got an iterable"),
    "an iterator of none": (lambda _: iter([]), {"n_tasks": 3}, AUTO, V, "must hold a task"),
    "again none": (lambda _: Again([]), {}, AUTO, V, "`tasks` must hold a task"),
    "no tasks": (lambda _: [1], {}, AUTO, T, "`tasks` must be Tasks: got 1, an int"),
    "text": (lambda _: "ab", {}, AUTO, T, r"\(chunk 0 of `tasks`\): `tasks` must be Tasks"),
    "an array": (lambda _: np.ones((2, 3)), {}, AUTO, T, "`tasks` must be Tasks: got an ndarray"),
    "a number": (lambda _: 3, {}, AUTO, T, "`tasks` must be Tasks: got 3"),
    "a function": (lambda t: lambda: iter([t]), {}, AUTO, T, "`tasks` must be Tasks: got a func"),
    "another type": (lambda t: with_another(t, t.x.astype("f4")), {}, AUTO,
        T, r"\(chunk 1 of `tasks`\): `learner` must have the type of `tasks`"),
    "another width": (lambda t: with_another(t, t.x[:, :2]), {}, AUTO,
        V, r"\(chunk 1 of `tasks`\): `learner` must have one parameter per feature"),
    "too many": (lambda t: [t], {"n_tasks": 47}, AUTO, V,
        "`tasks` must have as many tasks in a pass as was told.*: got 48, expected 47"),
    "too few": (lambda t: [t], {"n_tasks": 49}, AUTO, V, "got 48, expected 49"),
    "n_tasks 0": (again, {"n_tasks": 0}, AUTO, V, "`n_tasks` must be at least 1"),
    "n_tasks of no number": (lambda t: Again([t], "many"), {}, FIXED | {"zeta": "auto"}, T,
        "`n_tasks` must be an integer: got 'many'"),
    "history": (again, {"history": 1}, AUTO, T, "`history` must be a bool: got 1"),
    "labels of a later one": (lambda t: with_another(t, t.x, -t.y - 1),
        {"loss": "poisson"}, AUTO, V, r"\(chunk \d of `tasks`\): `y` must hold"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "how", "hyper", "kind", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_has_its_sentence_and_changes_nothing(make, how, hyper, kind, message):
    learner, twin = (af.MetaLearner(np.zeros(3), **hyper) for _ in range(2))
    with pytest.raises(kind, match=f"^meta_train.*{message}"):
        train(make(whole(how.get("loss", "squared"))), learner, **how)
    assert_same_bits(learner, twin)
    assert repr(learner) == repr(twin)


@pytest.mark.parametrize(("told", "kept"), [(30, 20), (60, 48)])
def test_a_wrong_number_is_found_and_the_chunks_before_stand(told, kept):
    one = []

    def learner():
        one.append(af.MetaLearner(np.zeros(3), learning_rate=0.05))
        return one[0]

    for give in (
        lambda chunks: train(iter(chunks), learner(), n_tasks=told),
        lambda chunks: train(Again(chunks, told), learner()),
    ):
        one.clear()
        with pytest.raises(ValueError, match=rf"got 48( or more)?, expected {told}"):
            give(parts(whole(), 8, 20))
        assert one[0].n_tasks == kept


def test_an_iterable_that_is_exhausted_is_found():
    chunks = iter(parts(whole(), 8))

    class Once:
        def __iter__(self):
            return chunks

    with pytest.raises(ValueError, match="`tasks` must hold a task"):
        train(Once(), smoothed(np.zeros(3)), n_passes=2)
