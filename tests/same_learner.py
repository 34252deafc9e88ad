"""What of two learners must be the same bits, and the learner that others are compared with."""

from __future__ import annotations

import numpy as np

import aruba_fast as af

STATE = ("phi", "learning_rate", "b", "g", "rho", "n_tasks", "n_skipped")


def assert_same_bits(one, other):
    for name in STATE:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def one_process(tasks, n_rounds, *, loss="squared", weighted=True, meta_step=None, **hyper):
    """Learns from rounds of all tasks, from the first rate that their rows tell."""
    learner = af.MetaLearner(np.zeros(tasks.n_features, tasks.dtype), **hyper)
    learner.first_rate(tasks, loss=loss)
    for _ in range(n_rounds):
        run = af.run_tasks(tasks, learner.phi, learner.rule(None), loss=loss)
        learner.update(run, weights=run.weight if weighted else None, meta_step=meta_step)
    return learner
