"""The first learning rate: by hand, against each loss's own steps, and who starts with it."""

from __future__ import annotations

import numpy as np
import pytest
from cases import dtypes

import aruba_fast as af

# The rate of each loss on rows x = (3, 4), (1, 0) with these labels, at phi = (0.1, 0.2), by hand.
FIRST = {
    "squared": ([2.0, -1.0], 1 / 25),
    "huber": ([2.0, -1.0], 1 / 25),
    "absolute": ([2.0, -1.0], ((2 - 1.1) + 1.1) / 2 / 25),
    "logistic": ([0, 1], 4 / 25),
    "hinge": ([-1, 1], 1 / 25),
    "poisson": ([2, 70], 1 / 75.10414599),  # max(25 max(e^1.1, 2), 70)
    "softmax": ([0, 1], 2 / 25),
}


@dtypes
@pytest.mark.parametrize("loss", FIRST)
def test_the_first_rate_by_hand(loss, dtype):
    y, expected = FIRST[loss]
    phi = np.array([0.1, 0.2] * (2 if loss == "softmax" else 1), dtype)
    tasks = af.Tasks(np.array([[[3, 4], [1, 0]]], dtype), [y])
    learner = af.MetaLearner(phi)
    rate = learner.first_rate(tasks, loss=loss)
    assert rate == pytest.approx(expected, rel=1e-6)
    assert learner.initial_learning_rate == rate == dtype(rate)
    assert (learner.learning_rate == dtype(rate)).all()


@pytest.mark.parametrize("loss", FIRST)
def test_no_row_alone_goes_beyond_its_least(loss, rng):
    """A step at the first rate makes no row's loss larger."""
    d = 4
    for _ in range(20):
        x = rng.standard_normal((30, 1, d)) * np.exp(rng.standard_normal((30, 1, 1)))
        y = {"logistic": rng.integers(0, 2, (30, 1)), "hinge": rng.choice([-1, 1], (30, 1)),
             "softmax": rng.integers(0, 3, (30, 1)), "poisson": rng.poisson(3, (30, 1))}.get(
            loss, rng.standard_normal((30, 1)))  # fmt: skip
        phi = 0.3 * rng.standard_normal(3 * d if loss == "softmax" else d)
        tasks = af.Tasks(x, y)
        rate = af.MetaLearner(phi).first_rate(tasks, loss=loss)
        run = af.run_tasks(tasks, phi, af.OGD(rate), loss=loss)
        after = af.evaluate(tasks, run.theta_hat, loss=loss)
        if loss == "absolute":  # by the mean way that the scores have to go
            assert after.mean() < run.loss.mean()
        else:
            assert (after <= run.loss * (1 + 1e-12)).all()


def test_the_first_rate_of_rows_that_say_nothing(rng):
    x = rng.standard_normal((5, 3, 2))
    x[1, 2] = np.inf
    rate = af.MetaLearner(np.zeros(2)).first_rate(af.Tasks(x, np.ones((5, 3))), loss="squared")
    kept = x[np.isfinite(x).all(axis=2)]
    assert rate == pytest.approx(1 / (kept**2).sum(axis=1).max(), rel=1e-14)
    for scale, expected in ((0.0, 1.0), (1e-150, 5e299), (1e200, 1.0)):
        rate = af.MetaLearner(np.zeros(2)).first_rate(
            af.Tasks(np.full((1, 1, 2), scale), [[0.0]]), loss="squared"
        )
        assert rate == pytest.approx(expected), scale


def test_only_the_chosen_tasks_are_looked_at(rng):
    x = rng.standard_normal((6, 4, 2))
    x[[1, 4]] *= 1e3
    tasks = af.Tasks(x, np.ones((6, 4)))
    rate = af.MetaLearner(np.zeros(2)).first_rate(tasks[[0, 3, 5]], loss="squared")
    assert rate == pytest.approx(1 / (x[[0, 3, 5]] ** 2).sum(axis=-1).max(), rel=1e-14)


def test_who_has_a_rate_keeps_it():
    tasks = af.Tasks(np.ones((2, 3, 2)), np.ones((2, 3)))
    given = af.MetaLearner(np.zeros(2), learning_rate=0.125)
    assert given.first_rate(tasks, loss="squared") == 0.5
    assert given.initial_learning_rate == 0.125
    found = af.MetaLearner(np.zeros(2))
    assert found.initial_learning_rate is None
    assert found.learning_rate.tolist() == [0.0, 0.0]
    with pytest.raises(
        ValueError, match=r"MetaLearner.rule: the first learning rate must be known"
    ):
        found.rule()
    found.update(af.TaskRun([[1.0, 3.0]], [[4.0, 4.0]]))  # whose rate somebody else chose
    assert (found.learning_rate > 0).all()
    before = found.learning_rate
    found.first_rate(tasks, loss="squared")
    np.testing.assert_array_equal(found.learning_rate, before)


def test_a_smoothing_with_a_rate_from_the_rows():
    """`zeta` a number, and the rate "auto": as if the rate had been given."""
    tasks = af.Tasks(np.ones((4, 3, 2)), np.ones((4, 3)))
    found, given = (af.MetaLearner(np.zeros(2), zeta=1.0, learning_rate=r) for r in ("auto", 0.5))
    for learner in (found, given):
        af.meta_train(tasks, learner, loss="squared", n_passes=2)
    for name in ("phi", "learning_rate", "b", "g"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given, name))
    unknown = af.MetaLearner(np.zeros(2), zeta=1.0)
    with pytest.raises(ValueError, match=r"MetaLearner.update: the first learning rate must be"):
        unknown.update(af.TaskRun([[1.0, 3.0]], [[4.0, 4.0]]))
    with pytest.raises(ValueError, match=r"MetaLearner.apply: the first learning rate must be"):
        unknown.apply(given.statistics(af.TaskRun([[1.0, 3.0]], [[4.0, 4.0]])))
