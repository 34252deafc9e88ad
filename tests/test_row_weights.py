"""Rows that count more than once, or less: `row_weights` of Tasks, against rows written down again.

Oracles: the reference's steps; whole weights are as many equal rows, where the order of rows does
not matter; of squares a weight is its root in both x and y, of distances itself.
"""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
import reference
from cases import (
    DTYPES,
    LOSSES,
    OPTIONS,
    RULES,
    RUN_TOLERANCE,
    TASK_SIZES,
    dtypes,
    labels,
    n_parameters,
    single,
    start,
    task_data,
)
from sparse import STATE, both

import aruba_fast as af

WITHOUT_SCALE = ("logistic", "poisson", "softmax")


def weighted(loss, rng, d, sizes=TASK_SIZES):
    """A list of (x, y, weights); whole weights."""
    pieces = (task_data(loss, rng, m, d) for m in sizes)
    return [(*piece, rng.integers(1, 4, len(piece[1])).astype(float)) for piece in pieces]


def pack(pieces, dtype=np.float64):
    x, y, weights = (np.concatenate([piece[i] for piece in pieces]) for i in range(3))
    offsets = np.cumsum([0] + [len(piece[1]) for piece in pieces])
    return af.Tasks(x.astype(dtype), y.astype(dtype), offsets, row_weights=weights)


def again(tasks):
    """The tasks whose rows are written down as often as they count."""
    times = tasks.row_weights.astype(int)
    offsets = np.append(0, np.cumsum(np.add.reduceat(times, tasks.starts)))
    return af.Tasks(np.repeat(tasks.x, times, axis=0), np.repeat(tasks.y, times), offsets)


@dtypes
@pytest.mark.parametrize("d", [3, 8, 19])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("loss", LOSSES)
def test_steps_are_those_of_weighted_losses(loss, rule, d, dtype, rng):
    pieces = [(x, y, single(0.5 * w)) for x, y, w in weighted(loss, rng, d)]
    n = n_parameters(loss, d)
    phi = start(rng, n)
    expected_rule, made = RULES[rule](rng, n)
    tasks = pack(pieces, dtype)
    for options in OPTIONS.values():
        run = af.run_tasks(
            tasks, phi.astype(dtype), made(dtype), loss=loss, average=True, **options
        )
        expected = reference.run_tasks(pieces, phi, expected_rule, loss=loss, **options)
        np.testing.assert_array_equal(run.weight, [w.sum() for *_, w in pieces])
        if expected.kink < 1e-5:  # a slope that jumps there: nobody knows which one
            continue
        for name in ("theta_hat", "grad_sq", "theta_bar", "loss"):
            value, wanted = getattr(run, name), getattr(expected, name)
            tolerance = 20 * RUN_TOLERANCE[dtype] * np.abs(wanted).max()
            assert (np.abs(value - wanted) <= tolerance).all(), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [2, 8, 17, 40])
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_of_one_change_no_bit(loss, d, dtype, rng):
    pieces = [(x, y, np.ones(len(y))) for x, y, _ in weighted(loss, rng, d)]
    one = pack(pieces, dtype)
    none = af.Tasks(one.x, one.y, np.append(0, one.stops))
    n = n_parameters(loss, d)
    phi, rates = np.zeros(n, dtype), (0.1 + rng.random(n)).astype(dtype)
    for rule in (af.OGD(rates), af.ArubaPlusPlus(rates, 1 + rates, 0.5), af.Proximal(0.5)):
        runs = [af.run_tasks(tasks, phi, rule, loss=loss) for tasks in (none, one)]
        for name in ("theta_hat", "grad_sq", "loss", "weight"):
            np.testing.assert_array_equal(*(getattr(run, name) for run in runs), err_msg=name)
    starts = [af.MetaLearner(phi).first_rate(tasks, loss=loss) for tasks in (none, one)]
    assert starts[0] == starts[1]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_row_that_counts_twice_is_two_rows(loss, rng):
    tasks = pack(weighted(loss, rng, 5))
    each = again(tasks)
    phi = 0.1 * rng.standard_normal(n_parameters(loss, 5))
    runs = [af.run_tasks(some, phi, af.Proximal(0.7), loss=loss) for some in (tasks, each)]
    for name in ("theta_hat", "loss", "weight"):
        np.testing.assert_allclose(*(getattr(r, name) for r in runs), 1e-8, 1e-8, err_msg=name)
    losses = [af.evaluate(some, phi, loss=loss) for some in (tasks, each)]
    np.testing.assert_allclose(*losses, 1e-12)
    best = [
        af.theory.best_in_hindsight(some, loss=loss, regularization=0.1) for some in (tasks, each)
    ]
    np.testing.assert_allclose(*(found.loss for found in best), 1e-6, 1e-8)
    sums = [af.run_tasks(some, phi, af.OGD(0.0), loss=loss) for some in (tasks, each)]
    np.testing.assert_allclose(*(run.loss for run in sums), 1e-12)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("loss", WITHOUT_SCALE)
def test_a_fit_by_counts_is_that_of_so_many_rows(loss, covariance, rng):
    tasks = pack(weighted(loss, rng, 3, sizes=(3, 4, 5, 6) * 10))
    fits = [af.meta_fit(some, loss=loss, covariance=covariance) for some in (tasks, again(tasks))]
    for name in ("phi", "learning_rate", "evidence"):
        np.testing.assert_allclose(*(getattr(fit, name) for fit in fits), 1e-7, 1e-9, err_msg=name)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_fit_of_squares_is_that_of_rows_of_unequal_variance(covariance, rng):
    tasks = pack(weighted("squared", rng, 4, sizes=(3, 6, 9) * 12))
    root = np.sqrt(tasks.row_weights)
    offsets = np.append(0, tasks.stops)
    other = af.Tasks(tasks.x * root[:, None], tasks.y * root, offsets)
    fits = [af.meta_fit(some, loss="squared", covariance=covariance) for some in (tasks, other)]
    for name in ("phi", "learning_rate", "scale", "evidence"):
        np.testing.assert_allclose(*(getattr(fit, name) for fit in fits), 1e-8, 1e-9, err_msg=name)
    runs = [
        af.run_tasks(some, fits[0].phi, fits[0].rule(), loss="squared") for some in (tasks, other)
    ]
    for name in ("theta_hat", "grad_sq", "loss"):
        np.testing.assert_allclose(*(getattr(r, name) for r in runs), 1e-9, 1e-9, err_msg=name)


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_the_unit_of_weights_is_that_of_the_scale(loss, rng):
    """Thousand times the weights: the same spread of people, and the same people."""
    tasks = pack(weighted(loss, rng, 4, sizes=(3, 6, 9) * 12))
    more = af.Tasks(
        tasks.x, tasks.y, np.append(0, tasks.stops), row_weights=1024 * tasks.row_weights
    )
    one, other = (af.meta_fit(some, loss=loss) for some in (tasks, more))
    np.testing.assert_allclose(other.scale, 1024 * one.scale, 1e-6)
    np.testing.assert_allclose(1024 * other.learning_rate, one.learning_rate, 1e-6, 1e-9)
    np.testing.assert_allclose(other.phi, one.phi, 1e-6, 1e-9)


def test_on_the_simplex_a_weight_is_the_unit_of_a_distance(rng):
    pieces = weighted("absolute", rng, 6)
    tasks, w = pack(pieces), np.concatenate([w for *_, w in pieces])
    other = af.Tasks(tasks.x * w[:, None], tasks.y * w, np.append(0, tasks.stops))
    phi = np.full(6, 1 / 6)
    for options in ({}, {"batch_size": 4, "n_epochs": 2}):
        runs = [
            af.run_tasks(t, phi, af.EG(0.3), loss="absolute", **options) for t in (tasks, other)
        ]
        for name in ("theta_hat", "grad_sq", "loss"):
            np.testing.assert_allclose(*(getattr(r, name) for r in runs), 1e-10, 1e-12)


@dtypes
@pytest.mark.parametrize("loss", LOSSES)
def test_sparse_rows_have_weights_too(loss, dtype, rng):
    sizes = (1, 3, 2, 17, 8, 40)
    dense, sparse = both(rng, loss, 30, sizes, dtype)
    weights = single(0.25 + rng.random(sum(sizes)))
    offsets = np.append(0, dense.stops)
    dense, sparse = (af.Tasks(t.x, t.y, offsets, row_weights=weights) for t in (dense, sparse))
    n = n_parameters(loss, 30)
    phi = (0.1 * rng.standard_normal(n)).astype(dtype)
    for options in ({}, {"batch_size": 4}):
        runs = [af.run_tasks(t, phi, af.OGD(0.2), loss=loss, **options) for t in (dense, sparse)]
        for name in ("theta_hat", "grad_sq", "loss", "weight"):
            np.testing.assert_array_equal(*(getattr(run, name) for run in runs), err_msg=name)
    losses = [af.evaluate(t, phi, loss=loss) for t in (dense, sparse)]
    np.testing.assert_allclose(*losses, 1e-6 if dtype == np.float32 else 1e-14)
    rates = [af.MetaLearner(phi).first_rate(t, loss=loss) for t in (dense, sparse)]
    np.testing.assert_allclose(*rates, 1e-6)
    best = [af.theory.best_in_hindsight(t, loss=loss, radius=2.0).loss for t in (dense, sparse)]
    np.testing.assert_allclose(*best, 1e-6, 1e-9)
    for round_size in (1, 3):
        learners = [af.MetaLearner(phi, learning_rate=0.1) for _ in range(2)]
        for learner, tasks in zip(learners, (dense, sparse), strict=True):
            af.meta_train(tasks, learner, loss=loss, round_size=round_size, weights="rows")
        for name in STATE:
            values = [getattr(learner, name) for learner in learners]
            np.testing.assert_allclose(*values, 1e-4 if dtype == np.float32 else 1e-9, 1e-6, name)


@pytest.mark.parametrize("rule", ["descent", "proximal"])
@pytest.mark.parametrize("weights", [None, "rows"])
def test_the_online_loop_has_them(weights, rule, rng):
    tasks = pack([(x, y, w * rng.random()) for x, y, w in weighted("logistic", rng, 6)])
    options = {} if rule == "proximal" else {"batch_size": 3, "n_epochs": 2}
    native, loop = (af.MetaLearner(np.zeros(6)) for _ in range(2))
    af.meta_train(
        tasks, native, loss="logistic", rule=rule, round_size=4, weights=weights, **options
    )
    loop.first_rate(tasks, loss="logistic", rule=rule)
    visited = 0
    for some in tasks.rounds(4):
        within = loop.proximal() if rule == "proximal" else loop.rule(coef=None)
        run = af.run_tasks(some, loop.phi, within, loss="logistic", **options)
        step = 1 - visited / len(tasks)
        loop.update(run, weights=None if weights is None else run.weight, meta_step=step)
        visited += len(some)
    for name in STATE:
        np.testing.assert_array_equal(getattr(native, name), getattr(loop, name), err_msg=name)


CURVATURES = {"squared": 1.0, "huber": 1.0, "logistic": 0.25, "softmax": 0.5, "hinge": 1.0}


@pytest.mark.parametrize("loss", CURVATURES)
def test_the_first_rate_is_that_of_the_steepest_row(loss, rng):
    x, weights = rng.standard_normal((3000, 40)), np.exp(rng.standard_normal(3000))
    y = labels(loss, rng, reference.scores(np.zeros(n_parameters(loss, 40)), x, loss))
    bend = CURVATURES[loss] * weights * np.square(x).sum(axis=1)
    parts = np.arange(0, 3001, 500)
    tasks = af.Tasks(x, y, np.arange(0, 3001, 3), row_weights=weights)
    chunks = [
        af.Tasks(x[a:b], y[a:b], np.arange(0, b - a + 1, 2), row_weights=weights[a:b])
        for a, b in pairwise(parts)
    ]
    for given in (tasks, chunks):
        learner = af.MetaLearner(np.zeros(n_parameters(loss, 40)))
        np.testing.assert_allclose(learner.first_rate(given, loss=loss), 1 / bend.max(), 1e-12)
        rate = learner.first_rate(given, loss=loss, rule="proximal")
        np.testing.assert_allclose(rate, 40 / bend.mean(), 1e-12)


def test_chunks_with_and_without_weights_are_one_table(rng):
    pieces = weighted("squared", rng, 5, sizes=(4,) * 8)
    plain = [(x, y, np.ones(4)) for x, y, _ in pieces[4:]]
    whole = pack(pieces[:4] + plain)
    x, y, _ = (np.concatenate([piece[i] for piece in plain]) for i in range(3))
    chunks = [pack(pieces[:4]), af.Tasks(x, y, np.arange(0, 17, 4))]
    rates = [af.MetaLearner(np.zeros(5)).first_rate(t, loss="squared") for t in (whole, chunks)]
    assert rates[0] == rates[1]


@pytest.mark.parametrize(
    "travel",
    [
        lambda t: t,
        lambda t: pickle.loads(pickle.dumps(t)),
        copy.deepcopy,
        lambda t: t.to("cpu"),
    ],
    ids=["stays", "pickle", "deepcopy", "to"],
)
@pytest.mark.parametrize(
    "choose",
    [
        lambda t: t,
        lambda t: t[::-1],
        lambda t: t[[3, 0, 3]],
        lambda t: t[5],
        lambda t: t[t.sizes > 2].shots(2)[1],
        lambda t: t.split(0.5)[0],
    ],
    ids=["all", "backwards", "list", "one", "shots", "split"],
)
def test_a_choice_keeps_the_weights_of_its_rows(choose, travel, rng):
    """Rows tell what their weights are: the first feature does."""
    sizes = (3, 1, 4, 1, 5, 9)
    weights = rng.permutation(sum(sizes)) + 1.0
    x = np.column_stack([weights, np.ones(len(weights))])
    tasks = af.Tasks(x, weights, np.cumsum([0, *sizes]), row_weights=weights)
    chosen = travel(choose(tasks))
    np.testing.assert_array_equal(chosen.row_weights, chosen.y)
    assert not chosen.row_weights.flags.writeable
    run = af.run_tasks(chosen, np.zeros(2), af.OGD(0.0), loss="squared")
    np.testing.assert_array_equal(run.weight, [task.y.sum() for task in chosen])


def test_groups_carry_their_weights():
    group = ["b", "a", "b", "c", "a"]
    tasks = af.Tasks.from_groups(np.ones((5, 1)), np.arange(5.0), group, row_weights=range(1, 6))
    np.testing.assert_array_equal(tasks.row_weights, tasks.y + 1)
    assert tasks["b"].row_weights.tolist() == [1.0, 3.0]
    assert af.Tasks.from_groups(np.ones((5, 1)), np.arange(5.0), group).row_weights is None


def test_the_caller_may_write_to_theirs_afterwards():
    weights = np.array([[1.0, 2.0], [3.0, 4.0]])
    tasks = af.Tasks(np.ones((2, 2, 1)), np.ones((2, 2)), row_weights=weights)
    weights[:] = np.nan
    assert tasks.row_weights.tolist() == [1.0, 2.0, 3.0, 4.0]


BAD = [
    ([1.0, 0.0, 1.0], ValueError, r"`row_weights` must be finite and > 0 everywhere: got 0.0 at 1"),
    ([1.0, -1.0, 1.0], ValueError, "got -1.0 at 1"),
    ([1.0, np.nan, 1.0], ValueError, "got nan at 1"),
    ([1.0, np.inf, 1.0], ValueError, "got inf at 1"),
    ([1.0, 1.0], ValueError, "`row_weights` must .*(3,)"),
    (2.0, ValueError, "`row_weights` must"),
    (["a", "b", "c"], TypeError, "`row_weights` must hold real numbers"),
]


@pytest.mark.parametrize(("weights", "error", "message"), BAD, ids=[str(row[0]) for row in BAD])
def test_bad_weights_are_refused(weights, error, message):
    for make in (
        lambda: af.Tasks(np.ones((3, 1)), np.ones(3), [0, 3], row_weights=weights),
        lambda: af.Tasks.from_groups(np.ones((3, 1)), np.ones(3), [1, 1, 2], row_weights=weights),
    ):
        with pytest.raises(error, match=message):
            make()


def test_a_device_has_none():
    tasks = af.Tasks(np.ones((2, 1)), np.ones(2), [0, 2], row_weights=[1.0, 2.0])
    with pytest.raises(TypeError, match="must be 'cpu' for tasks of rows with weights: got 'cuda'"):
        tasks.to("cuda")
