"""Learners to be saved, all that they show, and the header of the file."""

from __future__ import annotations

import json

import numpy as np
from cases import pack, smoothed, task_data

import aruba_fast as af

HYPERPARAMETERS = (
    {"learning_rate": 0.3},
    {"learning_rate": 0.25, "zeta": 2.0, "p": 0.4, "decay": 0.125},
    {"isotropic": True, "learning_rate": 0.1, "max_learning_rate": 0.75},
)


def trained(rng, dtype=np.float32, hyper=HYPERPARAMETERS[0]):
    tasks = pack([task_data("squared", rng, n, 5) for n in (3, 8, 1, 6, 4) * 4], dtype)
    learner = smoothed(np.zeros(5, dtype), **hyper)
    af.meta_train(tasks, learner, loss="squared", round_size=3, weights="rows")
    return learner, tasks


def state(learner):
    """Every bit that a learner shows."""
    arrays = [learner.phi, learner.learning_rate, learner.b, learner.g, learner.rho]
    counts = [learner.n_tasks, learner.n_skipped, repr(learner)]
    return [np.asarray(a).tobytes() for a in arrays] + counts


def header_of(data):
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]
