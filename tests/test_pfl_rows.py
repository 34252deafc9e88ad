"""Users of pfl whose rows are weighted, or CSR: what one process learns, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from optional import need
from same_learner import assert_same_bits, one_process
from scipy.sparse import csr_array

import aruba_fast as af

ap = need("aruba_fast.pfl")
from pfl_people import BACKENDS, N_USERS, D, Seen, people_of, pfl_dataset, run  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
KINDS = ("weighted", "CSR", "CSR, weighted")


def rows_of(kind, rng, dtype=np.float64):
    """The people with weights of their rows, and a half of the entries, or both."""
    tasks = people_of(rng, dtype)
    x = tasks.x * (rng.random(tasks.x.shape) < 0.5)
    weights = 0.2 + rng.random(tasks.n_rows) if "weighted" in kind else None
    offsets = np.r_[0, tasks.stops]
    return af.Tasks(csr_array(x) if "CSR" in kind else x, tasks.y, offsets, row_weights=weights)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_users_teach_what_one_process_learns(backend, kind, dtype, rng):
    people = rows_of(kind, rng, dtype)
    users = ap.People(people)
    model = ap.LinearModel(af.MetaLearner(np.zeros(D, dtype)), "squared")
    run(BACKENDS[backend](users, users), model, 4)
    assert_same_bits(model.learner, one_process(people, 3))
    assert model.learner.n_tasks == 3 * N_USERS


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_data_set_of_pfl_may_hold_weights_of_its_rows(backend, rng):
    people = rows_of("weighted", rng)
    users = pfl_dataset({str(i): (t.x, t.y, t.row_weights) for i, t in enumerate(people)})
    model = ap.LinearModel(af.MetaLearner(np.zeros(D)), "squared")
    run(BACKENDS[backend](users, users), model, 4)
    assert_same_bits(model.learner, one_process(people, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_users_are_evaluated_by_the_weights_of_their_rows(backend, kind, rng):
    people, seen = rows_of(kind, rng), Seen()
    users = ap.People(people)
    model = ap.LinearModel(af.MetaLearner(np.zeros(D)), "squared")
    run(BACKENDS[backend](users, users), model, 4, [seen], evaluated=N_USERS, every=1)
    learner, found, total = one_process(people, 2), np.zeros(2), 0.0
    for task in people:
        support, query = task.shots(max(1, task.n_rows // 2))
        theta = af.run_tasks(support, learner.phi, learner.rule(), loss="squared").theta_hat[0]
        x = query.x.toarray() if "CSR" in kind else query.x
        weights = np.ones(query.n_rows) if query.row_weights is None else query.row_weights
        for k, at in enumerate((learner.phi, theta)):
            found[k] += weights @ (0.5 * (x @ at - query.y) ** 2)
        total += weights.sum()
    for when, expected in zip(("before", "after"), found / total, strict=True):
        name = f"val population | val set | loss {when} local training"
        np.testing.assert_allclose(seen.rounds[-1][name], expected, rtol=1e-9)
