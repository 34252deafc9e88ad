"""The same tasks twice, of dense rows and of CSR rows, for the tests of the latter."""

from __future__ import annotations

import numpy as np
import reference
from cases import labels, n_parameters, single
from scipy.sparse import csr_array

import aruba_fast as af

# What a learner has learned.
STATE = ("phi", "b", "g", "learning_rate", "rho")


def rows(rng, n_rows, d, most=12, scale=0.5):
    """A dense table of rows with up to `most` entries each, and some with none."""
    x = np.zeros((n_rows, d))
    for row in x:
        n = rng.integers(0, min(most, d) + 1)
        row[rng.choice(d, n, replace=False)] = single(scale * rng.standard_normal(n))
    return x


def both(rng, loss, d, sizes, dtype, *, index=np.int32, most=12):
    """`(dense, sparse)`: Tasks of the same rows."""
    x = rows(rng, sum(sizes), d, most, 0.25 if loss == "poisson" else 0.5)
    truth = 0.5 * rng.standard_normal(n_parameters(loss, d))
    y = labels(loss, rng, reference.scores(truth, x, loss))
    offsets = np.cumsum([0, *sizes])
    sparse = csr_array(x.astype(dtype))
    sparse = csr_array(
        (sparse.data, sparse.indices.astype(index), sparse.indptr.astype(index)), sparse.shape
    )
    return af.Tasks(x.astype(dtype), y, offsets), af.Tasks(sparse, y, offsets)


def trained(tables, phi, loss, options, **hyper):
    learners = [af.MetaLearner(phi, **hyper) for _ in tables]
    histories = [
        af.meta_train(tasks, learner, loss=loss, **options)
        for tasks, learner in zip(tables, learners, strict=True)
    ]
    return learners, histories


def assert_close(one, other, tolerance):
    """Each of the state within `tolerance` of its largest, or of itself where it is a rate."""
    for name in STATE:
        values, expected = (np.asarray(getattr(k, name), np.float64) for k in (other, one))
        # Where a distance is but rounding, so is its ratio.
        if name == "rho":
            np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
            continue
        scale = np.abs(expected) if name == "learning_rate" else np.abs(expected).max(initial=1e-9)
        assert (np.abs(values - expected) <= tolerance * scale).all(), name
    for name in ("n_tasks", "n_skipped"):
        assert getattr(one, name) == getattr(other, name)
