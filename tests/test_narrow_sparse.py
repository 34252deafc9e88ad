"""CSR rows of values in less than float32: the bits of the same matrix in float32.

The oracle is NumPy, which widens the values before; and the dense table of the same rows.
"""

from __future__ import annotations

import itertools
import pickle
import tracemalloc

import numpy as np
import pytest
from cases import LOSSES, OPTIONS, RULES, TASK_SIZES, labels_of, n_parameters
from narrow import KINDS, same, same_runs, table, wide
from optional import need

import aruba_fast as af

scipy_sparse = need("scipy.sparse")
csr_array = scipy_sparse.csr_array
kinds = pytest.mark.parametrize("kind", KINDS)


def matrix(values, columns, begins, shape):
    """A CSR matrix of values of any type: what SciPy computes with is not asked."""
    found = csr_array(shape, dtype=np.float32)
    found.data, found.indices, found.indptr = values, columns, begins
    return found


def rows(rng, kind, n_rows, d, most=12):
    """Values, columns, begins and shape of rows of up to `most` entries, some of none."""
    sizes = rng.integers(0, min(most, d) + 1, n_rows)
    columns = [np.sort(rng.choice(d, size, replace=False)) for size in sizes]
    columns = np.concatenate([*columns, np.zeros(0, np.int64)]).astype(np.int32)
    values, scale = table(rng, kind, (len(columns), 9))
    return (values[:, 0].copy(), columns, np.cumsum([0, *sizes]), (n_rows, d)), scale


def pair(rng, kind, loss, d, sizes=TASK_SIZES, most=12, **how):
    """The same tasks, of narrow values and of those that NumPy has widened."""
    (values, *places), scale = rows(rng, kind, sum(sizes), d, most)
    y = labels_of(loss, rng.standard_normal(sum(sizes)))
    offsets = np.cumsum([0, *sizes])
    narrow = af.Tasks(matrix(values, *places), y, offsets, **scale, **how)
    return narrow, af.Tasks(matrix(wide(values, **scale), *places), y, offsets, **how)


def run(tasks, loss="squared", **options):
    phi = np.zeros(tasks.n_features, np.float32)
    return af.run_tasks(tasks, phi, af.OGD(0.1), loss=loss, **options)


@kinds
@pytest.mark.parametrize("d", [1, 7, 40, 2000])
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
                how = {"loss": loss} | {k: v for k, v in options.items() if k != "radius"}
                runs = [af.run_tasks(tasks, phi, rule, **how) for tasks in some]
                assert same_runs(*runs)
        assert same(*(af.evaluate(tasks, phi, loss=loss) for tasks in some))
    assert np.isfinite(runs[1].loss).all()


@kinds
def test_the_same_rows_without_sparsity_agree(kind, rng):
    some = pair(rng, kind, "logistic", 50)[0]
    x = np.zeros((some.n_rows, 50), np.float32)
    sparse = some.x
    row = np.repeat(np.arange(some.n_rows), np.diff(sparse.indptr))
    x[row, sparse.indices] = wide(sparse.data, some.scale)
    dense = af.Tasks(x, some.y, np.append(some.starts, some.n_rows))
    for options in ({}, {"batch_size": 3}):
        one, other = (run(tasks, "logistic", **options) for tasks in (some, dense))
        assert np.array_equal(one.theta_hat, other.theta_hat)
    assert np.abs(one.theta_hat).max() > 0


@kinds
@pytest.mark.parametrize("options", [{}, {"batch_size": 400, "average": True}, {"n_epochs": 2}])
def test_rows_and_tasks_longer_than_what_is_widened_at_a_time(options, kind, rng):
    some = pair(rng, kind, "squared", 9000, (7, 300, 1, 2, 513), most=3000)
    phi, chosen = np.zeros(9000, np.float32), [4, 0, 2, 1, 0, 3]
    runs = [
        af.run_tasks(tasks[chosen], phi, af.OGD(0.01), loss="squared", **options) for tasks in some
    ]
    assert same_runs(*runs)
    assert np.isfinite(runs[0].loss).all()


@kinds
@pytest.mark.parametrize("round_size", [1, 7])
@pytest.mark.parametrize("loss", ["squared", "absolute", "logistic", "softmax"])
def test_learning_finds_the_same_first_rate_and_parameters(loss, round_size, kind, rng):
    learners = []
    for tasks in pair(rng, kind, loss, 60, row_weights=rng.integers(1, 4, sum(TASK_SIZES))):
        learner = af.MetaLearner(np.zeros(n_parameters(loss, 60), np.float32))
        rate = learner.first_rate(tasks, loss=loss)
        af.meta_train(tasks, learner, loss=loss, round_size=round_size, n_passes=2, seed=3)
        learners.append([learner.phi, learner.b, learner.g, learner.learning_rate, rate])
    assert all(map(same, *(map(np.asarray, found) for found in learners)))
    assert np.abs(learners[0][0]).max() > 0


@kinds
@pytest.mark.parametrize("loss", ["squared", "softmax"])
def test_what_is_solved_has_the_same_minima(loss, kind, rng):
    some = pair(rng, kind, loss, 8, (1, 3, 2, 17))
    found = [af.theory.best_in_hindsight(tasks, loss=loss, radius=2.0) for tasks in some]
    assert same(found[0].theta_star, found[1].theta_star)
    phi = np.full(n_parameters(loss, 8), 0.1, np.float32)
    assert same_runs(*(af.run_tasks(t, phi, af.Proximal(1.0), loss=loss) for t in some))


@kinds
@pytest.mark.parametrize(
    "choice",
    [
        lambda t: t[[3, 0, 3]],
        lambda t: t[2:9],
        lambda t: t[t.sizes > 2].shots(2)[1],
        lambda t: list(t.rounds(7, seed=2))[1],
        lambda t: t.to("cpu"),
        lambda t: pickle.loads(pickle.dumps(t[[5, 1]])),
    ],
    ids=["list", "slice", "shots", "round", "copy", "pickle"],
)
def test_every_choice_of_tasks_holds_the_same_rows(choice, kind, rng):
    narrow, whole = map(choice, pair(rng, kind, "squared", 30))
    assert narrow.x.data.dtype.name == kind
    assert same(wide(narrow.x.data, narrow.scale), whole.x.data)
    assert np.array_equal(narrow.x.indices, whole.x.indices)
    assert same_runs(run(narrow), run(whole))


@kinds
def test_groups_come_in_any_order(kind, rng):
    (values, *places), scale = rows(rng, kind, 50, 20)
    group = rng.integers(0, 5, 50)
    narrow = af.Tasks.from_groups(matrix(values, *places), np.ones(50), group, **scale)
    whole = af.Tasks.from_groups(matrix(wide(values, **scale), *places), np.ones(50), group)
    assert repr(narrow).startswith("Tasks(n_tasks=5, n_rows=50, n_features=20, dtype=float32, f")
    assert same_runs(run(narrow), run(whole))


@kinds
def test_columns_in_any_order_are_sorted_and_the_values_with_them(kind, rng):
    (values, columns, begins, shape), scale = rows(rng, kind, 40, 30)
    y, offsets = np.ones(40), [0, 13, 40]
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in itertools.pairwise(begins)])
    mixed = matrix(values[order], columns[order], begins, shape)
    one = af.Tasks(mixed, y, offsets, **scale)
    other = af.Tasks(matrix(values, columns, begins, shape), y, offsets, **scale)
    assert same(one.x.data, other.x.data)
    assert same_runs(run(one), run(other))
    assert same(mixed.data, values[order])


@kinds
def test_values_are_neither_copied_nor_widened(kind, rng):
    (values, *places), scale = rows(rng, kind, 4000, 50_000, most=100)
    x = matrix(values, *places)
    tracemalloc.start()
    tasks = af.Tasks(x, np.zeros(4000), np.arange(0, 4001, 40), **scale)
    found = af.evaluate(tasks, np.zeros(50_000, np.float32), loss="squared")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found.any()
    assert np.shares_memory(tasks._x, values)
    assert (
        most < values.nbytes + 200_000 + 4 * 50_000
    )  # labels and limits; where entries are is ours


def test_words_in_documents_count_what_they_count_in_float32(rng):
    counts = csr_array(rng.poisson(0.3, (60, 300)).astype(np.uint8))
    y, offsets = rng.integers(0, 2, 60), np.arange(0, 61, 6)
    narrow = af.Tasks(counts, y, offsets, scale=1)
    whole = af.Tasks(counts.astype(np.float32), y, offsets)
    assert narrow.x.data.nbytes * 4 == whole.x.data.nbytes
    assert same_runs(run(narrow, "logistic"), run(whole, "logistic"))


def test_rows_without_an_entry():
    empty = matrix(np.zeros(0, np.uint8), np.zeros(0, np.int32), np.zeros(5, np.int64), (4, 3))
    found = run(af.Tasks(empty, np.ones(4), [0, 1, 4], scale=1))
    assert not found.theta_hat.any()
    assert found.loss.tolist() == [0.5, 1.5]


TWICE = (np.array([1, 2, 3]), np.array([5, 1, 5], np.int32), np.array([0, 0, 3]), (2, 9))


def twice(kind):
    return matrix(TWICE[0].astype(KINDS[kind]), *TWICE[1:])


def tasks_of(x, **how):
    return af.Tasks(x, np.ones(x.shape[0]), [0, x.shape[0]], **how)


REFUSED = {
    "bytes alone": (
        lambda: tasks_of(csr_array(np.eye(4, dtype=np.uint8))),
        TypeError,
        "Tasks: `x` must be float32 or float64, or uint8 with a `scale`: got uint8, expected ",
    ),
    "scale of floats": (
        lambda: tasks_of(csr_array(np.eye(4)), scale=0.5),
        ValueError,
        "Tasks: `scale` must be None but for uint8 `x`: got 0.5 for float64, expected None",
    ),
    "bytes of one place": (
        lambda: tasks_of(twice("uint8"), scale=1),
        ValueError,
        "Tasks: `x` must have a column once in each row of less than float32: got 5 twice in row "
        "1, expected x.astype(np.float32), whose values are added up",
    ),
    "halves of one place": (
        lambda: tasks_of(twice("float16")),
        ValueError,
        "got 5 twice in row 1",
    ),
    "other integers": (
        lambda: tasks_of(csr_array(np.eye(4, dtype=np.int16))),
        TypeError,
        "Tasks: `x` must be float32 or float64: got int16, expected",
    ),
    "a device": (
        lambda: tasks_of(csr_array(np.eye(4, dtype=np.uint8)), scale=1).to("cuda"),
        TypeError,
        "Tasks.to: `device` must be 'cpu' for tasks of CSR rows",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_one_sentence(case):
    call, error, message = REFUSED[case]
    with pytest.raises(error) as refused:
        call()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
