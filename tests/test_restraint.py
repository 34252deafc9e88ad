"""Tasks that are not finite lower every rate, until others count."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from cases import HYPERPARAMETERS, fake_run

import aruba_fast as af


@pytest.mark.parametrize(
    "hyper", [h for h in HYPERPARAMETERS if "max_learning_rate" not in h], ids=str
)
def test_tasks_that_are_not_finite_lower_every_rate(hyper, rng):
    """As ten average ones each that had gradients and did not move; tasks that count undo it."""
    learner = af.MetaLearner(np.zeros(19), **hyper)
    learner.update(fake_run(rng, 8, 19))
    free, n_skipped = copy.deepcopy(learner), 0
    for more in (1, 3, 400):
        n_skipped += more
        nan = np.full((more, 19), np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", af.DivergenceWarning)
            learner.update(af.TaskRun(nan, nan))
        for name in ("phi", "b", "g", "rho", "n_tasks"):
            np.testing.assert_array_equal(getattr(learner, name), getattr(free, name))
        by = max(np.exp(-5 * n_skipped / 8), 2.0**-20)
        np.testing.assert_allclose(learner.learning_rate, by * free.learning_rate, rtol=1e-14)
        for coef in ("auto", 3.0):
            one, other = learner.rule(coef), free.rule(coef)
            np.testing.assert_allclose(one.b, by**2 * other.b, rtol=1e-14)
            np.testing.assert_array_equal(one.g, other.g)
    lowered = learner.learning_rate
    learner.update(fake_run(rng, 2_000, 19))
    assert np.all(learner.learning_rate > 1e3 * lowered)


def test_before_any_task_counts_and_with_units_no_rate_is_lowered():
    nan = af.TaskRun(np.full((1, 2), np.nan), np.ones((1, 2)))
    for hyper in ({}, {"zeta": 1.0}):
        learner = af.MetaLearner(np.zeros(2), learning_rate=0.5, **hyper)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", af.DivergenceWarning)
            learner.update(nan)
            assert learner.learning_rate.tolist() == [0.5, 0.5]
            learner.update(af.TaskRun([[1.0, 1.0]], [[4.0, 4.0]]))
            of_one = learner.learning_rate.copy()
            learner.update(nan)
        assert (learner.learning_rate < of_one).all() == (not hyper)
