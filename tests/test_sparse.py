"""Tasks of CSR rows are the tasks of the same rows with their zeros."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from cases import LOSSES, RULES, dtypes, n_parameters
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix
from sparse import both, rows

import aruba_fast as af

# A long one: its sums are sums of sums. Its mini-batches too.
SIZES = (1, 3, 2, 17, 8, 1, 40, 600)
OPTIONS = ({}, {"batch_size": 4}, {"n_epochs": 2}, {"batch_size": 300, "n_epochs": 2})
RUN = ("theta_hat", "grad_sq", "loss", "weight")


def assert_same_bits(one, other, names=RUN):
    for name in names:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@dtypes
@pytest.mark.parametrize("d", [3, 40, 700, 1500])  # of more than one segment, too
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("loss", LOSSES)
def test_runs_are_those_of_dense_rows_to_the_bit(loss, rule, d, dtype, rng):
    dense, sparse = both(rng, loss, d, SIZES, dtype, index=np.int64 if d == 40 else np.int32)
    n = n_parameters(loss, d)
    phi = (0.1 * rng.standard_normal(n)).astype(dtype)
    made = RULES[rule](rng, n)[1](dtype)
    for options in OPTIONS:
        runs = [af.run_tasks(tasks, phi, made, loss=loss, **options) for tasks in (dense, sparse)]
        assert_same_bits(*runs)
    for theta in (phi, runs[0].theta_hat):
        losses = [af.evaluate(tasks, theta, loss=loss) for tasks in (dense, sparse)]
        np.testing.assert_array_equal(*losses)


@dtypes
@pytest.mark.parametrize("rule", RULES)
def test_the_mean_iterate_is_that_of_dense_rows(rule, dtype, rng):
    """Within rounding: a parameter that stays counts once, not round after round."""
    dense, sparse = both(rng, "logistic", 40, SIZES, dtype)
    made = RULES[rule](rng, 40)[1](dtype)
    phi = np.full(40, 0.1, dtype)
    for options in OPTIONS:
        means = [
            af.run_tasks(tasks, phi, made, loss="logistic", average=True, **options).theta_bar
            for tasks in (dense, sparse)
        ]
        np.testing.assert_allclose(*means, rtol=0, atol=2e-6 if dtype == np.float32 else 1e-14)


def test_a_start_for_each_task(rng):
    dense, sparse = both(rng, "softmax", 30, SIZES, np.float32)
    phi = rng.standard_normal((len(dense), 90)).astype(np.float32)
    assert_same_bits(
        *(af.run_tasks(t, phi, af.OGD(0.1), loss="softmax", batch_size=3) for t in (dense, sparse))
    )


@dtypes
@pytest.mark.parametrize("loss", LOSSES)
def test_the_proximal_rule_is_that_of_dense_rows(loss, dtype, rng):
    """To rounding: sums over the columns that a task touches are of fewer terms."""
    sizes = (1, 3, 2, 17, 8, 1, 40)
    dense, sparse = both(rng, loss, 60, sizes, dtype)
    weights = 0.5 + rng.random(sum(sizes))
    offsets = np.append(0, dense.stops)
    n = n_parameters(loss, 60)
    rates = 0.1 + rng.random(n)
    rates[::7] = 0.0
    for row_weights in (None, weights):
        tables = [af.Tasks(t.x, t.y, offsets, row_weights=row_weights) for t in (dense, sparse)]
        for phi in (rng.standard_normal(n), 0.3 * rng.standard_normal((len(sizes), n))):
            start = (0.3 * phi).astype(dtype)
            for rule in (af.Proximal(0.5), af.Proximal(rates, 2.0)):
                runs = [af.run_tasks(t, start, rule, loss=loss) for t in tables]
                tolerance = 1e-5 if dtype == np.float32 else 1e-7 if loss == "absolute" else 1e-9
                for name in RUN:
                    values = [getattr(run, name) for run in runs]
                    np.testing.assert_allclose(*values, tolerance, tolerance, err_msg=name)
    touched = dense[0].x.any(axis=0)
    assert (runs[1].theta_hat[0].reshape(-1, 60) == start[0].reshape(-1, 60))[:, ~touched].all()


def test_the_proximal_rule_of_a_million_columns(rng):
    n, d = 400, 1_000_000
    x = csr_array(
        (rng.standard_normal(n * 5), rng.integers(0, d, n * 5), np.arange(0, 5 * n + 1, 5)), (n, d)
    )
    y = rng.standard_normal(n)
    y[0] = np.inf
    tasks = af.Tasks(x, y, np.arange(0, n + 1, 100))
    run = af.run_tasks(tasks, np.zeros(d), af.Proximal(10.0), loss="squared")
    assert np.isnan(run.theta_hat[0]).all()
    left = (tasks[1:].x @ run.theta_hat[1:].T)[np.arange(300), np.arange(300) // 100] - y[100:]
    assert np.square(left).mean() < 0.2


def test_squares_of_a_very_long_task(rng):
    """Of more rounds than squares are added one by one."""
    dense, sparse = both(rng, "squared", 4, (33_000,), np.float32)
    for rule in (af.OGD(0.01), af.AdaGrad(0.1, 0.5)):
        phi = np.zeros(4, np.float32)
        assert_same_bits(*(af.run_tasks(t, phi, rule, loss="squared") for t in (dense, sparse)))


@given(st.data())
def test_any_table(data):
    """Entries in any order and twice, explicit zeros, empty rows: as scipy's own dense rows."""
    n_rows, d = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 600))
    sizes = data.draw(st.lists(st.integers(0, 8), min_size=n_rows, max_size=n_rows))
    n = sum(sizes)
    columns = data.draw(st.lists(st.integers(0, d - 1), min_size=n, max_size=n))
    values = data.draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n))
    index, form = data.draw(st.sampled_from([np.int32, np.int64])), csr_array
    if data.draw(st.booleans()):
        form = csr_matrix
    x = form((n_rows, d), dtype=np.float64)
    x.data, x.indices = np.array(values, np.float64), np.array(columns, index)
    x.indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(index)
    y, group = np.arange(n_rows) % 3, np.arange(n_rows) % data.draw(st.integers(1, 4))
    before = [x.data.copy(), x.indices.copy(), x.indptr.copy()]
    sparse = af.Tasks.from_groups(x, y, group)
    for given_then, now in zip(before, (x.data, x.indices, x.indptr), strict=True):
        np.testing.assert_array_equal(given_then, now)
    dense = af.Tasks.from_groups(x.toarray(), y, group)
    np.testing.assert_array_equal(sparse.x.toarray(), dense.x)
    runs = [
        af.run_tasks(t, np.full(d, 0.25), af.OGD(0.125), loss="squared") for t in (dense, sparse)
    ]
    assert_same_bits(*runs)


def test_choices_of_tasks_are_those_of_dense_ones(rng):
    dense, sparse = both(rng, "squared", 20, (5, 4, 6, 9, 5, 7), np.float64)
    choices = {
        "one": lambda tasks: tasks[2],
        "some": lambda tasks: tasks[[4, 0, 4]],
        "slice": lambda tasks: tasks[1:4],
        "shots": lambda tasks: tasks.shots(2)[0],
        "rest": lambda tasks: tasks.shots(2)[1],
        "split": lambda tasks: tasks.split(0.5)[1],
        "round": lambda tasks: list(tasks.rounds(2, seed=3))[1],
        "pickle": lambda tasks: pickle.loads(pickle.dumps(tasks[[3, 1]])),
        "to": lambda tasks: tasks[1:5].to("cpu"),
    }
    for name, choose in choices.items():
        one, other = choose(dense), choose(sparse)
        np.testing.assert_array_equal(other.x.toarray(), one.x, err_msg=name)
        for field in ("y", "starts", "stops", "sizes", "n_rows", "n_features", "dtype"):
            np.testing.assert_array_equal(getattr(other, field), getattr(one, field))
        assert_same_bits(
            *(af.run_tasks(t, np.zeros(20), af.OGD(0.1), loss="squared") for t in (one, other))
        )
    assert len(pickle.dumps(sparse[:1])) < len(pickle.dumps(sparse)) / 2
    assert "n_features=20" in repr(sparse)


@dtypes
def test_a_task_that_is_no_number_is_lost_as_a_dense_one(dtype, rng):
    dense, _ = both(rng, "squared", 30, (4, 5, 6, 3), dtype, most=8)
    for value, row in ((np.nan, 5), (np.inf, 11)):
        x = dense.x.copy()
        x[row, 7] = value
        y, offsets = dense.y, np.array([0, 4, 9, 15, 18])
        tables = af.Tasks(x, y, offsets), af.Tasks(csr_array(x), y, offsets)
        for options in ({}, {"batch_size": 2, "average": True}):
            runs = [
                af.run_tasks(t, np.zeros(30, dtype), af.OGD(0.1), loss="squared", **options)
                for t in tables
            ]
            assert_same_bits(*runs, ("theta_hat", "grad_sq"))
            assert (~np.isfinite(runs[1].theta_hat)).all(axis=1).sum() == 1
        learners = [af.MetaLearner(np.zeros(30, dtype)) for _ in tables]
        seen = [
            af.meta_train(t, one, loss="squared").skipped
            for t, one in zip(tables, learners, strict=True)
        ]
        np.testing.assert_array_equal(*seen)
        assert seen[0].sum() == 1
        assert learners[1].n_skipped == 1


def test_what_is_written_to_the_matrix_later(rng):
    """Values change, as those of dense rows do; indices are the tasks' own."""
    x = csr_array(rows(rng, 10, 50))
    tasks = af.Tasks(x, np.ones(10), [0, 4, 10])
    before = af.run_tasks(tasks, np.zeros(50), af.OGD(0.1), loss="squared")
    x.indices[:], x.indptr[:] = 2**30, 2**30
    assert_same_bits(before, af.run_tasks(tasks, np.zeros(50), af.OGD(0.1), loss="squared"))
    x.data *= 2.0
    after = af.run_tasks(tasks, np.zeros(50), af.OGD(0.1), loss="squared")
    assert not np.array_equal(before.theta_hat, after.theta_hat)
    with pytest.raises(ValueError, match="read-only"):
        tasks.x.data[0] = 1


@dtypes
@pytest.mark.parametrize("loss", LOSSES)
def test_the_first_rate_is_that_of_dense_rows(loss, dtype, rng):
    dense, sparse = both(rng, loss, 60, SIZES, dtype)
    phi = (0.1 * rng.standard_normal(n_parameters(loss, 60))).astype(dtype)
    for choose in (lambda t: t, lambda t: t[[5, 2]]):
        rates = [af.MetaLearner(phi).first_rate(choose(t), loss=loss) for t in (dense, sparse)]
        np.testing.assert_allclose(rates[1], rates[0], rtol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_best_in_hindsight_is_that_of_dense_rows(loss, rng):
    dense, sparse = both(rng, loss, 25, (4, 1, 9, 15), np.float64, most=5)
    best = [af.theory.best_in_hindsight(t, loss=loss, regularization=0.1) for t in (dense, sparse)]
    np.testing.assert_allclose(best[1].loss, best[0].loss, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(best[1].theta_star, best[0].theta_star, atol=2e-4)
    assert (best[1].gap < 1e-7).all()
    run = af.run_tasks(sparse, np.zeros(best[0].theta_star.shape[1]), af.OGD(0.1), loss=loss)
    assert (af.theory.regret(run, best[1]) > -1.0).all()


def test_an_empty_task_has_a_best_parameter():
    tasks = af.Tasks(csr_array((3, 4)), [1.0, 2.0, 3.0], [0, 3])
    best = af.theory.best_in_hindsight(tasks, loss="squared")
    np.testing.assert_array_equal(best.theta_star, 0)
    np.testing.assert_allclose(best.loss, 7.0)


def test_rows_of_a_feature_hasher():
    """Words of messages, hashed: tasks are their writers."""
    text = pytest.importorskip("sklearn.feature_extraction")
    words = [["free", "money"], ["hello", "you"], ["money", "now"], ["hello", "now"]] * 6
    x = text.FeatureHasher(2**18, input_type="string", dtype=np.float32).transform(words)
    y = np.array([1, 0, 1, 0] * 6)
    tasks = af.Tasks.from_groups(x, y, np.repeat(["ada", "bob", "cid"], 8))
    learner = af.MetaLearner(np.zeros(2**18, np.float32))
    af.meta_train(tasks, learner, loss="logistic", n_passes=20)
    assert af.evaluate(tasks, learner.phi, loss="logistic").max() < 0.4
    assert np.count_nonzero(learner.b) == 5


def test_a_full_matrix_learns_from_them_as_from_dense_rows(rng):
    learners = [af.theory.FullMatrixLearner(np.zeros(6), learning_rate=0.1) for _ in range(2)]
    tables = both(rng, "squared", 6, (5, 4, 6), np.float64)
    for learner, tasks in zip(learners, tables, strict=True):
        learner.update(learner.run(tasks, loss="squared", batch_size=2))
    np.testing.assert_array_equal(learners[1].H, learners[0].H)


def test_arrays_that_are_not_aligned(rng):
    """As a record or a file may have them: read as if they were."""

    def shifted(array):
        memory = np.zeros(array.nbytes + 1, np.uint8)
        memory[1:] = np.frombuffer(array.tobytes(), np.uint8)
        return memory[1:].view(array.dtype)

    dense, _ = both(rng, "squared", 20, (3, 4, 5), np.float64)
    x = csr_array(dense.x)
    matrix = csr_array(x)
    for name, kind in (("data", np.float64), ("indices", np.int64), ("indptr", np.int64)):
        setattr(matrix, name, shifted(getattr(x, name).astype(kind)))
        assert not getattr(matrix, name).flags.aligned
    tasks = af.Tasks(matrix, dense.y, np.append(dense.starts, len(dense.y)))
    np.testing.assert_array_equal(tasks.x.toarray(), dense.x)
    run = [af.run_tasks(t, np.zeros(20), af.OGD(0.1), loss="squared") for t in (dense, tasks)]
    np.testing.assert_array_equal(run[1].theta_hat, run[0].theta_hat)
