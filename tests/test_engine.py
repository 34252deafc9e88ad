"""The task engine against the oracle: every loss, rule, option and dimension on ragged tasks.

Gradients of `absolute` and `hinge` jump where a row is met exactly. A rounding error there may
choose the other side, rightly, and the runs part. Data are therefore drawn until the oracle's own
run keeps every row at least KINK away from its jump: far more than rounding can move a score.
"""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

import numpy as np
import pytest
import reference
from cases import (
    DIMENSIONS,
    DTYPES,
    LOSSES,
    OPTIONS,
    RULES,
    RUN_TOLERANCE,
    TASK_SIZES,
    dtypes,
    n_parameters,
    pack,
    single,
    start,
    task_data,
)
from hypothesis import assume, given
from hypothesis import strategies as st

import aruba_fast as af
from aruba_fast.rules import Rule

KINK = 1e-4
losses = pytest.mark.parametrize("loss", LOSSES)
rules = pytest.mark.parametrize("rule", RULES)


@lru_cache(maxsize=1)
def case(loss, rule, sizes, d, options):
    """Tasks, initialization, both rules, and the oracle's run; the same for both types."""
    rng = np.random.default_rng([LOSSES.index(loss), list(RULES).index(rule), d, len(sizes)])
    size = n_parameters(loss, d)
    phi = start(rng, size)
    oracle, subject = RULES[rule](rng, size)
    pieces, runs = [], []
    for n_rows in sizes:
        for _ in range(200):
            piece = task_data(loss, rng, n_rows, d)
            run = reference.run_task(*piece, phi, oracle, loss=loss, **dict(options))
            if run.kink > KINK:
                break
        else:
            raise AssertionError("no data without a row near its kink: this case tests nothing")
        pieces.append(piece)
        runs.append(run)
    return pieces, phi, subject, runs


def assert_runs_agree(run, expected, phi, tolerance, what=""):
    """Error relative to the largest coordinate of the task; iterates never count as tiny."""
    for k, task in enumerate(expected):
        for name in ("theta_hat", "theta_bar", "grad_sq", "loss"):
            exact = np.asarray(getattr(task, name))
            got = np.asarray(getattr(run, name))[k].astype(np.float64)
            scale = np.abs(exact).max()
            if name.startswith("theta"):
                scale = max(scale, np.abs(phi).max())
            error = np.abs(got - exact).max()
            assert error <= tolerance * scale, f"{what} task {k} {name}: {error / scale:.2g}"


def check(loss, rule, sizes, d, options):
    pieces, phi, subject, expected = case(loss, rule, sizes, d, tuple(options.items()))
    for dtype in DTYPES:
        tasks = pack(pieces, dtype)
        run = af.run_tasks(
            tasks, phi.astype(dtype), subject(dtype), loss=loss, average=True, **options
        )
        assert (run.theta_hat.dtype, run.grad_sq.dtype, run.loss.dtype) == (dtype, dtype, float)
        np.testing.assert_array_equal(run.weight, sizes)
        assert_runs_agree(run, expected, phi, RUN_TOLERANCE[dtype], f"d={d} {dtype.__name__}")


def test_every_rule_of_the_library_is_in_the_table(rng):
    """But exponentiated gradient, which lives on the simplex and is tested there."""
    found = {type(make(rng, 3)[1](np.float32)) for make in RULES.values()}
    assert found == set(get_args(Rule)) - {af.EG, af.Proximal}


@losses
@rules
@pytest.mark.parametrize("option", OPTIONS)
def test_ragged_tasks_of_every_dimension(loss, rule, option):
    dimensions = {"plain": DIMENSIONS, "all": DIMENSIONS[1::2]}.get(option, DIMENSIONS[::3])
    for d in dimensions:
        check(loss, rule, TASK_SIZES, d, OPTIONS[option])


@pytest.mark.slow
@losses
@rules
@pytest.mark.parametrize("d", [4, 40])
@pytest.mark.parametrize(
    ("option", "n_rows"),
    [
        ({}, 1000),
        ({"batch_size": 4}, 4000),
        ({"n_epochs": 4, "radius": 1.0}, 250),
    ],
    ids=["rounds", "batches", "epochs_in_a_ball"],
)
def test_a_thousand_rounds(loss, rule, d, option, n_rows):
    check(loss, rule, (n_rows, n_rows // 4), d, option)


@given(st.data())
def test_any_sizes_and_options(data):
    """Whatever the sizes and options are: float64, where a kink is met by chance only."""
    loss, rule = data.draw(st.sampled_from(LOSSES)), data.draw(st.sampled_from(list(RULES)))
    d, sizes = data.draw(st.integers(1, 40)), data.draw(st.lists(st.integers(1, 25), max_size=9))
    options = {
        "batch_size": data.draw(st.integers(1, 30)),
        "n_epochs": data.draw(st.integers(1, 3)),
        "radius": data.draw(st.none() | st.floats(0.51, 3.0)),
    }
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    sizes = [1, *sizes]
    phi = start(rng, n_parameters(loss, d))
    oracle, subject = RULES[rule](rng, len(phi))
    pieces = [task_data(loss, rng, n, d) for n in sizes]
    expected = [reference.run_task(x, y, phi, oracle, loss=loss, **options) for x, y in pieces]
    assume(min(run.kink for run in expected) > 1e-9)
    tasks = pack(pieces, np.float64)
    run = af.run_tasks(tasks, phi, subject(np.float64), loss=loss, average=True, **options)
    assert_runs_agree(run, expected, phi, 1e-12)


@pytest.mark.parametrize("n_classes", [2, 5, 10, 41])
@pytest.mark.parametrize("d", [1, 8, 37])
def test_softmax_of_many_classes(n_classes, d, rng):
    phi, rate = start(rng, n_classes * d), 0.5
    pieces = []
    for n_rows in TASK_SIZES:
        x = single(rng.standard_normal((n_rows, d)) / np.sqrt(d))
        pieces.append((x, rng.integers(0, n_classes, n_rows).astype(np.float64)))
    options = {"loss": "softmax", "batch_size": 2, "radius": 0.75}
    expected = [reference.run_task(x, y, phi, reference.OGD(rate), **options) for x, y in pieces]
    for dtype in DTYPES:
        run = af.run_tasks(
            pack(pieces, dtype), phi.astype(dtype), af.OGD(rate), average=True, **options
        )
        assert_runs_agree(run, expected, phi, RUN_TOLERANCE[dtype])


@losses
@dtypes
def test_every_task_may_start_elsewhere(loss, dtype, rng):
    d = 6
    phi = rng.standard_normal((5, n_parameters(loss, d))).astype(dtype)
    pieces = [task_data(loss, rng, n, d) for n in (3, 1, 4, 1, 5)]
    together = af.run_tasks(pack(pieces, dtype), phi, af.OGD(0.25), loss=loss, average=True)
    for k, piece in enumerate(pieces):
        alone = af.run_tasks(pack([piece], dtype), phi[k], af.OGD(0.25), loss=loss, average=True)
        for name in ("theta_hat", "grad_sq", "theta_bar", "loss"):
            np.testing.assert_array_equal(getattr(together, name)[k], getattr(alone, name)[0])
    moved = np.abs(together.theta_hat - phi).max(axis=1)
    assert (moved > 0).sum() >= 3


@losses
@rules
@dtypes
@pytest.mark.parametrize("d", [1, 4, 8, 17, 100])
def test_a_task_does_not_see_its_neighbours(loss, rule, dtype, d, rng):
    """Alone, in another order, or among others: the same bits for every task."""
    size = n_parameters(loss, d)
    pieces = [task_data(loss, rng, n, d) for n in TASK_SIZES * 2]
    phi = start(rng, size).astype(dtype)
    its_rule = RULES[rule](rng, size)[1](dtype)
    options = {"loss": loss, "batch_size": 3, "n_epochs": 2, "radius": 0.9, "average": True}
    tasks = pack(pieces, dtype)
    whole = af.run_tasks(tasks, phi, its_rule, **options)
    order = rng.permutation(len(pieces))
    parts = [([k], tasks[int(k)]) for k in (0, 3, 12)] + [(order, tasks[order])]
    for chosen, part in parts:
        run = af.run_tasks(part, phi, its_rule, **options)
        for name in ("theta_hat", "grad_sq", "theta_bar", "loss"):
            np.testing.assert_array_equal(getattr(run, name), getattr(whole, name)[chosen])


@dtypes
def test_dense_tasks_are_tasks_with_equal_offsets(dtype, rng):
    x = rng.standard_normal((9, 6, 5)).astype(dtype)
    y = rng.standard_normal((9, 6)).astype(dtype)
    ragged = af.Tasks(x.reshape(54, 5), y.ravel(), np.arange(0, 55, 6))
    runs = [
        af.run_tasks(tasks, np.zeros(5, dtype), af.OGD(0.1), loss="squared")
        for tasks in (af.Tasks(x, y), ragged)
    ]
    np.testing.assert_array_equal(runs[0].theta_hat, runs[1].theta_hat)
    assert runs[0].theta_hat.any()
    assert runs[0].theta_bar is None


@losses
@dtypes
def test_rate_zero_moves_nothing_and_evaluate_is_the_mean_loss(loss, dtype, rng):
    d = 7
    pieces = [task_data(loss, rng, n, d) for n in TASK_SIZES]
    theta = single(rng.standard_normal((len(pieces), n_parameters(loss, d))))
    tasks = pack(pieces, dtype)
    run = af.run_tasks(tasks, theta.astype(dtype), af.OGD(0.0), loss=loss, average=True)
    np.testing.assert_array_equal(run.theta_hat, theta.astype(dtype))
    np.testing.assert_allclose(run.theta_bar, theta, rtol=1e-5 if dtype == np.float32 else 1e-14)
    for at in (theta, theta[0]):
        means = af.evaluate(tasks, at.astype(dtype), loss=loss)
        rows = [at if at.ndim == 1 else at[k] for k in range(len(pieces))]
        exact = [
            reference.loss_and_grad(t, x, y, loss)[0]
            for t, (x, y) in zip(rows, pieces, strict=True)
        ]
        assert means.dtype == np.float64
        np.testing.assert_allclose(means, exact, rtol=RUN_TOLERANCE[dtype], atol=1e-7)


@losses
def test_a_task_without_features_keeps_its_start_to_the_bit(loss, rng):
    """x = 0: no gradient, so the iterate is phi and the squares are zero, exactly."""
    d = 9
    _, y = task_data(loss, rng, 20, d)
    phi = rng.standard_normal(n_parameters(loss, d)).astype(np.float32)
    tasks = pack([(np.zeros((20, d)), y)], np.float32)
    for rule in (af.OGD(0.3), af.AdaGrad(0.3, 0.5), RULES["aruba++"](rng, len(phi))[1](None)):
        run = af.run_tasks(tasks, phi, rule, loss=loss, n_epochs=2)
        np.testing.assert_array_equal(run.theta_hat[0], phi)
        assert not run.grad_sq.any()


@losses
@rules
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_poisoned_task_says_so_and_harms_no_other(loss, rule, bad, rng):
    d = 3
    pieces = [task_data(loss, rng, 6, d) for _ in range(20)]
    phi = np.full(n_parameters(loss, d), 0.1, np.float32)
    options = {"loss": loss, "radius": 1.0, "average": True}
    its_rule = RULES[rule](rng, len(phi))[1](np.float32)
    clean = af.run_tasks(pack(pieces, np.float32), phi, its_rule, **options)
    pieces[7][0][2, 1] = bad
    run = af.run_tasks(pack(pieces, np.float32), phi, its_rule, **options)
    others = np.arange(20) != 7
    for name in ("theta_hat", "grad_sq", "theta_bar", "loss"):
        np.testing.assert_array_equal(getattr(run, name)[others], getattr(clean, name)[others])
    assert not (np.isfinite(run.theta_hat[7]).all() and np.isfinite(run.grad_sq[7]).all())


def test_a_diverging_task_ends_in_something_that_is_not_finite(rng):
    """Never a finite number by accident: divergence must be seen by the statistics."""
    x, y = task_data("squared", rng, 5000, 4)
    tasks = pack([(x, y)], np.float32)
    run = af.run_tasks(tasks, np.zeros(4, np.float32), af.OGD(100.0), loss="squared")
    assert not (np.isfinite(run.theta_hat).all() and np.isfinite(run.grad_sq).all())
    assert not np.isfinite(run.loss[0])


@dtypes
def test_one_giant_task_among_small_ones(dtype):
    """A million rows is one task, in order, on one thread."""
    n = 1_000_000
    x = np.ones((n + 3, 1), dtype)
    y = np.full(n + 3, 0.5, dtype)
    tasks = af.Tasks(x, y, [0, 1, 2, n + 2, n + 3])
    run = af.run_tasks(tasks, np.zeros(1, dtype), af.OGD(0.5), loss="squared", average=True)
    np.testing.assert_array_equal(run.theta_hat[[0, 1, 3], 0], [0.25, 0.25, 0.25])
    # 0.5 (1 - 2^-i): after 60 rounds nothing moves any more.
    assert run.theta_hat[2, 0] == 0.5
    assert run.loss[2] == pytest.approx(0.5 * 0.25 / (1 - 0.25), rel=1e-6)
    assert run.theta_bar[2, 0] == pytest.approx(0.5 * (1 - 2 / n), rel=1e-4)


@dtypes
@pytest.mark.parametrize("own_rates", [False, True])
def test_a_huge_step_is_projected(dtype, own_rates):
    """The square of its norm overflows."""
    size = dtype(1e17 if dtype == np.float32 else 1e152)
    rate = np.full(2, 1e3, dtype) if own_rates else 1e3
    tasks = af.Tasks(np.array([[size, 0]], dtype), np.ones(1, dtype), [0, 1])
    run = af.run_tasks(tasks, np.zeros(2, dtype), af.OGD(rate), loss="absolute", radius=0.75)
    assert np.isfinite(run.grad_sq).all()
    np.testing.assert_allclose(run.theta_hat, [[0.75, 0.0]], rtol=4 * np.finfo(dtype).eps)
