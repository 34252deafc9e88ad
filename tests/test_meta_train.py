"""`meta_train`: the online loop in native code is the Python loop, and the equations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import reference_meta
from cases import LOSSES, dtypes, n_parameters, pack, smoothed, task_data
from same_learner import assert_same_bits

import aruba_fast as af


@dtypes
@pytest.mark.parametrize("round_size", [1, 3, 8, 100])
@pytest.mark.parametrize("rule", ["descent", "proximal"])
@pytest.mark.parametrize("loss", LOSSES)
def test_meta_train_is_the_python_loop_bit_for_bit(loss, rule, round_size, dtype, rng):
    d = 5
    pieces = [task_data(loss, rng, n, d) for n in (1, 9, 4, 30, 2, 7, 12, 5, 1, 8, 3)]
    pieces[4][0][0, 0] = np.nan  # one task is to be skipped in both
    tasks, size = pack(pieces, dtype), n_parameters(loss, d)
    proximal = rule == "proximal"
    how = {} if proximal else {"batch_size": 2, "n_epochs": 2, "radius": 1.5}
    for weights, meta_step, hyper in (
        (None, None, {"learning_rate": 0.5}),
        ("rows", 0.5, {"isotropic": True}),
        ("rows", None, {"max_learning_rate": 0.7, "decay": 0.1}),
        (None, lambda n_tasks: 1.0 / np.sqrt(n_tasks), {"p": 0.4, "bound": "tight"}),
        (None, 0.2, {"train": "scalar"}),
    ):
        native, loop = (smoothed(np.zeros(size, dtype), **hyper) for _ in range(2))
        history = af.meta_train(
            tasks,
            native,
            loss=loss,
            round_size=round_size,
            n_passes=3,
            seed=5,
            rule=rule,
            weights=weights,
            meta_step=meta_step,
            **how,
        )
        losses = []
        for part in tasks.rounds(round_size, n_passes=3, seed=5):
            within = loop.proximal() if proximal else loop.rule(coef=None)
            run = af.run_tasks(part, loop.phi, within, loss=loss, **how)
            loop.update(run, weights=run.weight if weights else None, meta_step=meta_step)
            losses.append(run.loss)
        assert_same_bits(native, loop)
        np.testing.assert_array_equal(history.loss, np.concatenate(losses))
        assert native.n_skipped == 3 == history.skipped.sum()
        assert native.n_tasks == 30
        assert (history.task[history.skipped.astype(bool)] == 4).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_meta_train_against_the_oracle(loss, rng):
    d = 4
    pieces = [task_data(loss, rng, n, d) for n in (5, 9, 2, 14, 7, 1, 6)] * 3
    learner = smoothed(np.zeros(n_parameters(loss, d)), learning_rate=0.25, p=0.4)
    oracle = reference_meta.MetaLearner(np.zeros(n_parameters(loss, d)), learning_rate0=0.25, p=0.4)
    history = af.meta_train(
        pack(pieces, np.float64), learner, loss=loss, round_size=4, weights="rows", batch_size=3
    )
    losses = reference_meta.meta_train(
        pieces,
        oracle,
        order=range(len(pieces)),
        round_size=4,
        weights="rows",
        loss=loss,
        batch_size=3,
    )
    np.testing.assert_array_equal(history.task, np.arange(len(pieces)))
    np.testing.assert_allclose(history.loss, losses, rtol=1e-11)
    for name in ("phi", "b", "g", "rho"):
        np.testing.assert_allclose(getattr(learner, name), getattr(oracle, name), rtol=1e-11)


def test_a_view_is_trained_as_its_own_tasks(rng):
    """Selected, reordered and repeated tasks of a table: as if they were a table of their own."""
    pieces = [task_data("squared", rng, n, 3) for n in (4, 1, 7, 3, 5)]
    chosen = [3, 0, 3, 4]
    learners = [smoothed(np.zeros(3), learning_rate=0.5) for _ in range(2)]
    tables = (pack(pieces, np.float64)[chosen], pack([pieces[k] for k in chosen], np.float64))
    histories = [
        af.meta_train(table, learner, loss="squared", round_size=2, n_passes=2, seed=1)
        for table, learner in zip(tables, learners, strict=True)
    ]
    assert_same_bits(*learners)
    np.testing.assert_array_equal(histories[0].loss, histories[1].loss)
    np.testing.assert_array_equal(histories[0].task, histories[1].task)


def test_passes_may_be_trained_one_by_one(rng):
    tasks = pack([task_data("logistic", rng, 6, 4) for _ in range(10)], np.float32)
    whole, parts = (smoothed(np.zeros(4, np.float32)) for _ in range(2))
    history = af.meta_train(tasks, whole, loss="logistic", round_size=4, n_passes=3)
    pieces = [af.meta_train(tasks, parts, loss="logistic", round_size=4) for _ in range(3)]
    assert_same_bits(whole, parts)
    np.testing.assert_array_equal(history.loss, np.concatenate([p.loss for p in pieces]))


def test_training_lowers_the_loss_of_later_tasks(rng):
    """The point of it all, on tasks with a common center far from the first phi."""
    center = np.array([2.0, -1.0, 3.0])
    pieces = []
    for _ in range(200):
        x = rng.standard_normal((10, 3))
        pieces.append((x, x @ (center + 0.1 * rng.standard_normal(3))))
    learner = smoothed(np.zeros(3), learning_rate=0.05)
    history = af.meta_train(pack(pieces, np.float64), learner, loss="squared")
    assert history.loss[100:].mean() < 0.05 * history.loss[:5].mean()
    np.testing.assert_allclose(learner.phi, center, atol=0.2)


def nothing_at_first(n_tasks):
    return None if n_tasks < 6 else 0.25


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(
    "meta_step",
    [None, lambda _: None, nothing_at_first, 0, 0.5, np.float32(0.5), lambda _: np.float64(0.5)],
    ids=["None", "returns None", "at first None", "0", "0.5", "float32", "returns float64"],
)
def test_every_meta_step_is_that_of_the_loop(device, meta_step, rng, request):
    if device == "cuda":
        request.getfixturevalue("on_device")
    tasks = pack([task_data("squared", rng, 4, 3) for _ in range(9)], np.float64).to(device)
    native, loop = (smoothed(np.zeros(3)).to(device) for _ in range(2))
    af.meta_train(tasks, native, loss="squared", round_size=3, meta_step=meta_step)
    for part in tasks.rounds(3):
        loop.update(
            af.run_tasks(part, loop.phi, loop.rule(coef=None), loss="squared"), meta_step=meta_step
        )
    assert_same_bits(native.to("cpu"), loop.to("cpu"))


WRONG = [True, np.bool_(False), np.array(0.5), np.ones(1), "0.5", 1j, -0.5, np.nan, np.inf, [0.5]]


@pytest.mark.parametrize("returned", [False, True])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_what_update_refuses_meta_train_and_apply_refuse(value, returned, rng):
    tasks = pack([task_data("squared", rng, 4, 3) for _ in range(4)], np.float64)
    learner = smoothed(np.zeros(3))
    run = af.run_tasks(tasks, learner.phi, learner.rule(coef=None), loss="squared")
    meta_step = (lambda _: value) if returned else value
    said = set()
    for call in (
        lambda: learner.update(run, meta_step=meta_step),
        lambda: learner.apply(learner.statistics(run), meta_step),
        lambda: af.meta_train(tasks, learner, loss="squared", meta_step=meta_step),
    ):
        with pytest.raises((TypeError, ValueError), match=r"`meta_step` must") as caught:
            call()
        said.add((caught.type, str(caught.value).split(": ", 1)[1]))
    assert len(said) == 1
    assert learner.n_tasks == 0


@pytest.mark.parametrize(
    ("dtype", "larger"), [(np.float64, 20), (np.float64, 100), (np.float32, 10), (np.float32, 20)]
)
@pytest.mark.parametrize("n_rows", [20, 300])
def test_a_rate_that_blows_up_the_first_task_already_is_said(rng, dtype, larger, n_rows):
    """What the first tasks lose is no measure then: it is 1e33 and more."""
    x = rng.standard_normal((60, n_rows, 4)) * [1.0, larger, 1.0, 1.0]
    tasks = af.Tasks(x.astype(dtype), (x[:, :, 0] + x[:, :, 2]).astype(dtype))
    learner = af.MetaLearner(np.zeros(4, dtype), learning_rate=0.1)
    with pytest.warns(af.DivergenceWarning, match="expected a smaller `learning_rate`"):
        af.meta_train(tasks, learner, loss="squared")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        af.meta_train(tasks, af.MetaLearner(np.zeros(4, dtype)), loss="squared", n_passes=2)


@pytest.mark.parametrize("how", [{}, {"batch_size": 7}, {"n_epochs": 5}, {"round_size": 20}])
def test_long_tasks_whose_losses_add_up_are_no_divergence(rng, how):
    sizes = rng.choice([2, 4000], 60)
    x = rng.standard_normal((sizes.sum(), 3))
    tasks = af.Tasks(x, x.sum(axis=1), np.append(0, np.cumsum(sizes)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        af.meta_train(tasks, af.MetaLearner(np.zeros(3)), loss="squared", **how)
        learner = af.MetaLearner(np.zeros(3), learning_rate=0.05)
        af.meta_train(tasks, learner, loss="squared", **how)
