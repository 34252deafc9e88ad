"""A training of a few numbers, and jobs for the processes of `workers`, which import this file."""

import os
import time

import numpy as np

from aruba_fast_reproductions.runs import Run


class Walk:
    """A random walk with a memory: every round depends on all before it, and on its own number."""

    def __init__(self, seed=0, seconds=0.0):
        self.seed, self.seconds = seed, seconds
        self.position, self.n_visits = np.zeros(3), 0

    def round(self, number):
        time.sleep(self.seconds)
        step = np.random.default_rng([self.seed, number]).standard_normal(3)
        self.position = 0.9 * self.position + step
        self.n_visits += 1

    def state(self):
        return {"position": self.position}, {"n_visits": self.n_visits}

    def restore(self, arrays, facts):
        if set(arrays) != {"position"}:
            raise ValueError("it has no position")
        self.position, self.n_visits = arrays["position"].copy(), facts["n_visits"]


class WalkJob:
    """Runs a walk; its path says where."""

    def __init__(self, path, seed=0, n_rounds=20, seconds=0.0):
        self.path, self.seed, self.n_rounds, self.seconds = path, seed, n_rounds, seconds

    def __call__(self, progress, stop):
        walk = Walk(self.seed, self.seconds)
        run = Run(walk, self.path, {"seed": self.seed}, self.n_rounds)
        run.finish(stop, progress)
        return self.seed, walk.position.tolist(), os.getpid()


class Failing:
    """A job that raises, after a while."""

    def __init__(self, error, seconds=0.0):
        self.error, self.seconds = error, seconds

    def __call__(self, _progress, _stop):
        time.sleep(self.seconds)
        raise self.error


class Dying:
    """A job whose process is gone."""

    def __call__(self, _progress, _stop):
        os._exit(3)
