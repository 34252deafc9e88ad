"""ARUBA in pfl: its loop, a whole cohort at once, and one process learn the same."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
from documentation import run_examples
from optional import need

import aruba_fast as af

ap = need("aruba_fast.pfl")
# ruff: noqa: E402
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints, WeightByUser
from pfl.callback.central_evaluation import CentralEvaluationCallback
from pfl.data.dataset import Dataset
from pfl_people import (
    BACKENDS,
    N_USERS,
    D,
    Seen,
    alone,
    model_of,
    people_of,
    pfl_dataset,
    run,
    users_of,
)
from same_learner import STATE, assert_same_bits


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", ["People", "of pfl"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_users_teach_what_one_process_learns(backend, data, dtype, loss, rng):
    """To the bit, from `learning_rate="auto"` on, in whatever order users come."""
    people = people_of(rng, dtype, loss)
    users = ap.People(people) if data == "People" else pfl_dataset(users_of(people))
    model = run(BACKENDS[backend](users, users), model_of(dtype, loss))
    assert_same_bits(model.learner, alone(people, loss=loss))
    assert (model.version, model.learner.n_tasks) == (6, 5 * N_USERS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_users_may_weigh_the_same(backend, rng):
    people = people_of(rng)
    users = ap.People(people)
    model = run(BACKENDS[backend](users, users), model_of(weights=None, hyper={"zeta": 1.0}))
    assert_same_bits(model.learner, alone(people, weighted=False, zeta=1.0))


def test_cohorts_are_the_same_for_both_backends(rng):
    people = people_of(rng)
    models = [
        run(backend(users := ap.People(people, seed=3), users), model_of(), cohort=7)
        for backend in BACKENDS.values()
    ]
    assert_same_bits(models[0].learner, models[1].learner)
    assert models[0].learner.n_tasks == 5 * 7
    other = run(SimulatedBackend(users := ap.People(people, seed=4), users), model_of(), cohort=7)
    assert not np.array_equal(other.learner.phi, models[0].learner.phi)


@pytest.mark.parametrize(
    ("weighting", "weighted"), [(WeightByUser, False), (WeightByDatapoints, True)]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_pfl_move_phi_alone(backend, weighting, weighted, rng):
    """b and g are sums over users, whatever they weigh; phi is within rounding by division."""
    people = people_of(rng)
    data = pfl_dataset(users_of(people))
    model = run(BACKENDS[backend](data, data, [weighting()]), model_of())
    expected = alone(people, weighted=weighted)
    for name in STATE:
        np.testing.assert_allclose(
            getattr(model.learner, name), getattr(expected, name), rtol=1e-14, err_msg=name
        )
    other = alone(people, weighted=not weighted)
    assert np.abs(other.phi - expected.phi).max() > 1e-4


def test_vectors_are_rounded_once(rng):
    """What pfl sends between processes, or adds noise to; a clone keeps the pairs."""
    people = people_of(rng)
    model = model_of(hyper={"learning_rate": 0.05})
    reply = model.answer(list_of(people))
    told = ap.ArubaStatistics(reply)
    back = told.from_weights(*told.get_weights()).reply
    exact = reply.sums.astype(np.longdouble).sum(axis=1)
    assert np.all(np.abs(back.sums[:, 0] - exact) <= 2.0**-53 * np.abs(exact))
    assert (back.n_tasks, back.weight) == (reply.n_tasks, reply.weight)
    assert told.num_parameters == sum(map(len, told.get_weights()[1])) == 3 * D
    noisy = told.apply(lambda weights: [w - 2.0 * abs(w) for w in weights]).reply
    assert not noisy.distance.any()
    assert not noisy.grad_sq.any()
    np.testing.assert_array_equal(noisy.delta < 0.0, reply.delta != 0.0)


def list_of(people):
    return [Dataset(raw) for raw in users_of(people).values()]


# ---- evaluation ----


@pytest.mark.parametrize("backend", BACKENDS)
def test_users_are_evaluated_before_and_after_personalization(backend, rng):
    people, seen = people_of(rng), Seen()
    users = ap.People(people)
    asked = {"evaluated": N_USERS, "every": 2}
    model = run(BACKENDS[backend](users, users), model_of(), 5, [seen], **asked)
    names = [
        f"val population | val set | loss {when} local training" for when in ("before", "after")
    ]
    assert [names[0] in metrics for metrics in seen.rounds] == [False, False, True, False, True]
    # As the learner was when it was asked: one round before the last.
    learner = alone(people, 4)
    before, after, rows = 0.0, 0.0, 0
    for task in people:
        support, query = task.shots(max(1, len(task.y) // 2))
        ran = af.run_tasks(support, learner.phi, learner.rule(), loss="squared")
        before += af.evaluate(query, learner.phi, loss="squared")[0] * query.n_rows
        after += af.evaluate(query, ran.theta_hat, loss="squared")[0] * query.n_rows
        rows += query.n_rows
    np.testing.assert_allclose(seen.rounds[4][names[0]], before / rows, rtol=1e-12)
    np.testing.assert_allclose(seen.rounds[4][names[1]], after / rows, rtol=1e-12)
    assert model.learner.n_tasks == 4 * N_USERS


def test_pfl_evaluates_the_model_on_rows_of_its_own(rng):
    people, seen = people_of(rng), Seen()
    rows = Dataset((people.x, people.y))
    users = ap.People(people)
    callbacks = [CentralEvaluationCallback(rows), seen]
    run(ap.ArubaBackend(users, users), model_of(), 4, callbacks)
    phi = alone(people, 4).phi
    expected = 0.5 * np.mean((people.x @ phi - people.y) ** 2)
    # pfl itself takes such metrics through float32.
    np.testing.assert_allclose(seen.rounds[3]["Central val | loss"], expected, rtol=1e-6)


def test_both_backends_tell_the_same(rng):
    people, told = people_of(rng), []
    for backend in BACKENDS.values():
        seen, users = Seen(), ap.People(people)
        run(backend(users, users), model_of(), 4, [seen], cohort=9, evaluated=5)
        told.append(seen.rounds)
    for one, other in zip(*told, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("name", ap.__all__)
def test_the_examples_of_a_docstring_run(name):
    if name == "TorchModel":
        need("torch")
    assert run_examples(name, inspect.getdoc(getattr(ap, name)))


def test_without_pfl_the_extra_is_named():
    code = (
        "import sys; sys.modules['pfl'] = None\n"
        "try:\n    import aruba_fast.pfl\nexcept ImportError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'aruba_fast[pfl]'" in found.stdout
