"""CSR matrices that are none, and what does not go with sparse rows: one sentence each."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

import aruba_fast as af

GOOD = sparse.csr_array(np.eye(4, 6, dtype=np.float32))
Y = np.zeros(4, np.float32)
TASKS = af.Tasks(GOOD, Y, [0, 2, 4])
PHI = np.zeros(6, np.float32)
V, T = ValueError, TypeError


def matrix(**changes):
    """Something with the attributes of a CSR matrix, some of them wrong."""
    right = {"data": GOOD.data, "indices": GOOD.indices, "indptr": GOOD.indptr}
    return SimpleNamespace(**(right | {"format": "csr", "shape": GOOD.shape} | changes))


def tasks(x=None, y=Y, offsets=(0, 2, 4), **changes):
    return af.Tasks(matrix(**changes) if x is None else x, y, offsets)


class Raising:
    format = "csr"
    indices = indptr = shape = ()

    @property
    def data(self):
        raise OSError("no data")


def integers(*values, dtype=np.int32):
    return np.array(values, dtype)


def run(rule=None, **options):
    return af.run_tasks(TASKS, PHI, rule or af.OGD(0.1), loss="squared", **options)


def train(learner=None, **options):
    made = af.MetaLearner(PHI) if learner is None else learner
    return af.meta_train(TASKS, made, loss="squared", **options)


ROWS = [
    (
        "csc",
        lambda: tasks(GOOD.tocsc()),
        T,
        r"Tasks: `x` must be dense or CSR: got CSC, .*x\.tocsr",
    ),
    ("coo", lambda: tasks(GOOD.tocoo()), T, r"got COO, expected x\.tocsr\(\)"),
    ("lil", lambda: tasks(sparse.lil_matrix((4, 6))), T, r"got LIL, expected x\.tocsr\(\)"),
    ("no offsets", lambda: tasks(GOOD, offsets=None), V, "Tasks: `offsets` must be given with CSR"),
    ("type", lambda: tasks(GOOD.astype(np.int64)), T, "`x` must be float32 or float64: got int64"),
    (
        "complex",
        lambda: tasks(GOOD.astype(complex)),
        T,
        "`x` must be float32 or float64: got compl",
    ),
    ("shape", lambda: tasks(shape=(4,)), V, r"must have rows and columns: got shape \(4,\)"),
    ("no column", lambda: tasks(shape=(4, 0)), V, r"rows and columns: got shape \(4, 0\)"),
    ("no row", lambda: tasks(sparse.csr_array((0, 3))), V, r"rows and columns: got shape \(0, 3\)"),
    ("odd shape", lambda: tasks(shape=("a", "b")), T, "must have the attributes of a CSR matrix"),
    ("raises", lambda: tasks(Raising()), T, r"attributes of a CSR matrix: got Raising \(no data\)"),
    ("too wide", lambda: tasks(shape=(4, 2**31)), V, "numbers are int32: got 2147483648"),
    ("labels", lambda: tasks(GOOD, Y[:3]), V, r"Tasks: `y` must fit in shape: got \(3,\)"),
    ("offsets", lambda: tasks(GOOD, offsets=[0, 3]), V, "Tasks: `offsets` must run from 0 to"),
    ("groups", lambda: af.Tasks.from_groups(GOOD, Y, [1]), V, "Tasks.from_groups: `group`"),
    ("indptr size", lambda: tasks(shape=(3, 6), y=Y[:3]), V, r"n_rows \+ 1 entries: got 5"),
    (
        "indptr type",
        lambda: tasks(indptr=np.arange(5.0)),
        T,
        "`indptr` of int32 or int64: got float",
    ),
    ("indptr 2-d", lambda: tasks(indptr=GOOD.indptr[None]), T, r"`indptr` .*shape \(1, 5\)"),
    ("indptr start", lambda: tasks(indptr=integers(1, 1, 2, 3, 4)), V, "begins with 0: got 1"),
    ("indptr falls", lambda: tasks(indptr=integers(0, 2, 1, 3, 4)), V, "falls: got 2, 1 for row 1"),
    (
        "indptr end",
        lambda: tasks(indptr=integers(0, 1, 2, 3, 5)),
        V,
        "ends within.*got 5, .*most 4",
    ),
    ("short values", lambda: tasks(data=GOOD.data[:3]), V, "ends within its entries: got 4"),
    ("negative", lambda: tasks(indices=integers(0, 1, -1, 3)), V, "are columns: got -1 in row 2"),
    ("beyond", lambda: tasks(indices=integers(0, 1, 2, 6)), V, "got 6 in row 3, expected 0 to 5"),
    (
        "beyond int32",
        lambda: tasks(indices=integers(0, 1, 2**32, 3, dtype=np.int64)),
        V,
        "got 4294967296 in row 2",
    ),
    (
        "indices type",
        lambda: tasks(indices=np.zeros(4, np.uint8)),
        T,
        "`indices` of int32 or int64",
    ),
    ("device", lambda: TASKS.to("cuda"), T, r"Tasks.to: `device` must be 'cpu' .*x\.toarray\(\)"),
    (
        "radius",
        lambda: run(radius=1.0),
        V,
        "run_tasks: `radius` must be None: got 1.0 for tasks of CSR",
    ),
    (
        "train radius",
        lambda: train(radius=1.0),
        V,
        "meta_train: `radius` must be None: got 1.0 for tasks",
    ),
    ("simplex", lambda: run(af.EG(0.1)), V, "run_tasks: `rule` must move no coordinate without a"),
    (
        "decay",
        lambda: train(af.MetaLearner(PHI, decay=0.1)),
        V,
        "meta_train: `learner` must not forget: got decay=0.1 for tasks of CSR rows",
    ),
    (
        "tensors",
        lambda: train(af.MetaLearner(PHI, tensors=[2, 4])),
        V,
        "meta_train: `learner` must have one prior: got 2 tensors for tasks of CSR rows",
    ),
    (
        "proximal",
        lambda: run(af.Proximal(np.eye(6))),
        V,
        "`rule` must have a rate for each parameter: got a matrix for tasks of CSR rows, expected "
        "their diagonal",
    ),
    (
        "meta_fit",
        lambda: af.meta_fit(TASKS, loss="squared"),
        V,
        "meta_fit: `tasks` must have dense rows: got entries for tasks of CSR rows, expected x.to",
    ),
    (
        "simplex learner",
        lambda: af.theory.SimplexLearner(6).run(TASKS, loss="squared"),
        V,
        "`rule` must move no coordinate without a gradient: got EG.* for tasks of CSR rows",
    ),
]


@pytest.mark.parametrize(
    ("call", "kind", "message"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS]
)
def test_bad_input_is_refused_in_one_sentence(call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "must" in str(caught.value)


def test_a_memoryview_is_no_sparse_matrix():
    """It has a format, too."""
    x = memoryview(np.ones((4, 6)))
    assert af.Tasks(x, Y, [0, 4]).n_features == 6


def test_a_learner_that_is_refused_is_not_changed():
    learner = af.MetaLearner(PHI, decay=0.1)
    with pytest.raises(ValueError, match="forget"):
        train(learner)
    assert learner.n_tasks == 0
