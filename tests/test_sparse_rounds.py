"""Rounds of sparse tasks that touch many columns, which are summed in piles and in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sparse import STATE, assert_close, trained

import aruba_fast as af

pytestmark = pytest.mark.filterwarnings("ignore::aruba_fast.DivergenceWarning")

# Columns in two piles (cpp/sparse_piles.h), and more numbers in a round than are held at a time.
MANY = {"d": 5000, "entries": 300, "n_tasks": 2100, "size": 2}


def many(rng, *, d, entries, n_tasks, size, dtype=np.float32):
    n = n_tasks * size
    rows = np.sort(np.argsort(rng.random((64, d)), axis=1)[:, :entries], axis=1)
    columns = rows[rng.integers(0, len(rows), n)]
    values = (0.1 * rng.standard_normal(columns.size)).astype(dtype)
    x = csr_array((values, columns.ravel(), np.arange(0, columns.size + 1, entries)), (n, d))
    y, offsets = rng.standard_normal(n).astype(dtype), np.arange(0, n + 1, size)
    return af.Tasks(x.toarray(), y, offsets), af.Tasks(x, y, offsets)


@pytest.mark.slow
@pytest.mark.parametrize("round_size", [600, 2100])
def test_rounds_of_many_columns(round_size, rng, threads):
    tables = many(rng, **MANY)
    options = {"round_size": round_size, "weights": "rows", "meta_step": 0.5, "n_passes": 2}
    learners, _ = trained(tables, np.zeros(MANY["d"], np.float32), "squared", options)
    assert_close(*learners, 1e-4)
    found = []
    for n in (1, 3):
        threads(n)
        found.append(trained(tables[1:], np.zeros(MANY["d"], np.float32), "squared", options)[0][0])
    for name in STATE:
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


@pytest.mark.parametrize("round_size", [1, 300])
def test_a_round_that_would_overflow_changes_nothing(round_size, rng):
    shape = MANY | {"n_tasks": 600}
    for tasks in many(rng, **shape):
        start = np.zeros(shape["d"], np.float32)
        learners = [af.MetaLearner(start, learning_rate=0.05) for _ in range(2)]

        def step(n_tasks):
            return 0.5 if n_tasks <= round_size else 1e308

        with pytest.raises(ValueError, match="must leave b, g and phi finite"):
            af.meta_train(tasks, learners[0], loss="squared", round_size=round_size, meta_step=step)
        af.meta_train(
            tasks[:round_size], learners[1], loss="squared", round_size=round_size, meta_step=step
        )
        for name in STATE:
            np.testing.assert_array_equal(getattr(learners[0], name), getattr(learners[1], name))
