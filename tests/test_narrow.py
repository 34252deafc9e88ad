"""Tables in less than float32: the bits of the same table in float32, by whatever reads it.

The oracle is NumPy, which widens the table before; every loop, rule, loss and instruction set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

import narrow
import numpy as np
import pytest
from cases import LOSSES, OPTIONS, RULES, TASK_SIZES, n_parameters
from narrow import DIMENSIONS, KINDS, pair, same, same_runs

import aruba_fast as af

kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_runs_have_the_bits_of_float32(loss, d, kind, rng, threads):
    some = pair(rng, kind, loss, d)
    assert some[0].dtype == np.float32
    size = n_parameters(loss, d)
    phi = (0.1 * rng.standard_normal(size)).astype(np.float32)
    for n in (1, 3):
        threads(n)
        for make in RULES.values():
            rule = make(rng, size)[1](np.float32)
            for options in ({"average": True}, *OPTIONS.values()):
                how = {"loss": loss} | options | ({"radius": 10.0} if "radius" in options else {})
                runs = [af.run_tasks(tasks, phi, rule, **how) for tasks in some]
                assert np.isfinite(runs[1].loss).all()
                assert same_runs(*runs)
        assert same(*(af.evaluate(tasks, phi, loss=loss) for tasks in some))


@kinds
@pytest.mark.parametrize("options", [{}, {"batch_size": 400, "average": True}, {"n_epochs": 2}])
def test_long_tasks_in_any_choice_and_order_have_them_too(options, kind, rng):
    some = pair(rng, kind, "squared", 40, (700, 3, 900, 1, 513, 64))
    phi, chosen = np.zeros(40, np.float32), [4, 0, 2, 1, 0]
    runs = [
        af.run_tasks(tasks[chosen], phi, af.OGD(0.1), loss="squared", **options) for tasks in some
    ]
    assert same_runs(*runs)


@kinds
@pytest.mark.parametrize("rule", [af.EG(0.5), af.OGD(0.2), af.Proximal(1.0)], ids=str)
@pytest.mark.parametrize("d", [2, 19, 300])
def test_weighted_rows_and_other_rules(d, rule, kind, rng):
    some = pair(rng, kind, "logistic", d, row_weights=rng.integers(1, 4, sum(TASK_SIZES)))
    phi = np.full(d, 1 / d, np.float32)
    assert same_runs(*(af.run_tasks(tasks, phi, rule, loss="logistic") for tasks in some))


@kinds
@pytest.mark.parametrize("rule", ["descent", "proximal"])
@pytest.mark.parametrize("loss", ["squared", "absolute", "logistic", "softmax"])
def test_learning_finds_the_same_first_rate_and_parameters(loss, rule, kind, rng):
    learners = []
    for tasks in pair(rng, kind, loss, 19):
        learner = af.MetaLearner(np.zeros(n_parameters(loss, 19), np.float32))
        rate = learner.first_rate(tasks, loss=loss)
        af.meta_train(tasks, learner, loss=loss, rule=rule, round_size=7, n_passes=2, seed=3)
        learners.append([learner.phi, learner.b, learner.g, learner.learning_rate, rate])
    assert all(map(same, *(map(np.asarray, found) for found in learners)))
    assert np.abs(learners[0][0]).max() > 0


@kinds
@pytest.mark.parametrize("loss", ["squared", "hinge", "softmax"])
def test_what_is_solved_has_the_same_minima(loss, kind, rng):
    found = [
        af.theory.best_in_hindsight(tasks, loss=loss, radius=2.0)
        for tasks in pair(rng, kind, loss, 5, (1, 3, 2, 17, 40))
    ]
    assert same(found[0].theta_star, found[1].theta_star)
    assert same(found[0].loss, found[1].loss)


@kinds
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_fitted_population_is_the_same(loss, kind, rng):
    found = [af.meta_fit(tasks, loss=loss) for tasks in pair(rng, kind, loss, 5)]
    assert same(found[0].phi, found[1].phi)
    assert same(found[0].learning_rate, found[1].learning_rate)


@kinds
def test_every_number_is_widened_as_numpy_does(kind):
    narrow.require_every_number(kind)


@cache
def found(isa, n_threads):
    """What `narrow` finds in a process of that instruction set and number of threads."""
    chosen = {"ARUBA_ISA": isa, "ARUBA_NUM_THREADS": str(n_threads)}
    done = subprocess.run(
        [sys.executable, narrow.__file__],
        env=os.environ | chosen,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["isa"] == isa
    return result["hash"]


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512", "neon"])
def test_every_instruction_set_widens_alike(isa, n_threads):
    if isa not in af.info()["isas"]:
        pytest.skip(f"{isa} is not compiled for or cannot run on this machine")
    assert found(isa, n_threads) == found("baseline", 1)
