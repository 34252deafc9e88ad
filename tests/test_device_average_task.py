"""Learners whose prior is one average task, on a CUDA device: as in host memory, bit for bit."""

from __future__ import annotations

import copy
import pickle

import device
import numpy as np
import pytest
from cases import dtypes, pack, task_data
from checkpoints import state as host_state

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
D = 5
HYPERS = {
    "defaults": {},
    "isotropic": {"isotropic": True},
    "tight": {"bound": "tight", "max_learning_rate": 0.4},
    "scalar": {"train": "scalar"},
    "decay": {"decay": 0.1},
    "one rate, tight, decay": {"isotropic": True, "bound": "tight", "decay": 0.25},
}
hypers = pytest.mark.parametrize("hyper", HYPERS.values(), ids=HYPERS)


def state(learner):
    """Every bit that a learner shows, and what its next tasks may spread."""
    here = learner.to("cpu")
    return [*host_state(here), here._arrays["limit"].tobytes()]


def equal(got, expected):
    np.testing.assert_array_equal(device.host(got), device.host(expected), strict=True)


def some_tasks(rng, dtype, spoiled=None, loss="squared"):
    """20 tasks; a row of the tenth is so long that it diverges, or holds a nan."""
    data = [task_data(loss, rng, n, D) for n in (3, 8, 1, 6, 4) * 4]
    if spoiled is not None:
        data[9][0][-1] *= spoiled
    return pack(data, dtype)


def pair(tasks, hyper):
    """The same tasks and a learner of them, in host memory and on the device."""
    phi = np.zeros(D, tasks.dtype)
    return [
        (tasks, af.MetaLearner(phi, **hyper)),
        (tasks.to("cuda"), af.MetaLearner(device.array(phi), **hyper)),
    ]


def same_rules(one, other):
    for coef in ("auto", None, 0.0, 0.3):
        rules = [learner.rule(coef) for learner in (one, other)]
        assert type(rules[0]) is type(rules[1])
        for name in ("learning_rate", "b", "g", "coef"):
            equal(*(getattr(rule, name, None) for rule in rules))


@dtypes
@hypers
@pytest.mark.parametrize("spoiled", [None, 300.0, np.nan], ids=["clean", "diverging", "nan"])
@pytest.mark.parametrize("merged", [False, True], ids=["update", "merged"])
def test_the_online_loop_in_python(dtype, hyper, spoiled, merged, rng):
    twins = pair(some_tasks(rng, dtype, spoiled), hyper)
    rates = [learner.first_rate(tasks, loss="squared") for tasks, learner in twins]
    assert rates[1] == rates[0] == twins[1][1].initial_learning_rate
    assert state(twins[1][1]) == state(twins[0][1])
    same_rules(*(learner for _, learner in twins))
    for tasks, learner in twins:
        for round in tasks.rounds(6, n_passes=2, seed=0):
            run = af.run_tasks(round, learner.phi, learner.rule(coef=None), loss="squared")
            if not merged:
                learner.update(run, weights=run.weight)
                continue
            halves = [
                af.TaskRun(run.theta_hat[half], run.grad_sq[half])
                for half in (slice(0, len(run) // 2), slice(len(run) // 2, None))
            ]
            learner.apply(sum(learner.statistics(half) for half in halves), meta_step=0.5)
    (_, expected), (_, got) = twins
    assert state(got) == state(expected)
    assert got.n_skipped == (2 if np.isnan(spoiled or 0.0) else 0)
    same_rules(expected, got)


@dtypes
@hypers
@pytest.mark.parametrize("spoiled", [300.0, np.nan], ids=["diverging", "nan"])
@pytest.mark.parametrize(
    "how",
    [
        {"round_size": 1, "seed": 1},
        {"round_size": 7, "weights": "rows", "n_passes": 3, "seed": 2},
        {"round_size": 20, "n_passes": 2, "meta_step": lambda n: 1 / n},
        {"round_size": 3, "radius": 0.5, "batch_size": 2, "n_epochs": 2, "meta_step": 0.5},
    ],
    ids=["one by one", "rows", "function", "radius"],
)
def test_meta_train(dtype, hyper, spoiled, how, rng):
    """It finds the first rate by itself, and its steps fall over all passes."""
    twins = pair(some_tasks(rng, dtype, spoiled), hyper)
    for _ in range(2):  # the second call goes on where the first one ends
        histories = [af.meta_train(t, learner, loss="squared", **how) for t, learner in twins]
        for name in ("loss", "task", "skipped"):
            equal(getattr(histories[1], name), getattr(histories[0], name))
        assert state(twins[1][1]) == state(twins[0][1])
    same_rules(*(learner for _, learner in twins))


def test_a_diverging_task_is_shortened(rng):
    """Without a limit, of a learner with units, the same task decides over all rates."""
    tasks = some_tasks(rng, np.float64)
    _, learner = pair(tasks, {})[1]
    there = tasks.to("cuda")
    af.meta_train(there, learner, loss="squared", round_size=5)
    assert np.isfinite(device.host(learner._arrays["limit"]))
    run = af.run_tasks(there, learner.phi, learner.rule(None), loss="squared")
    theta_hat, grad_sq = device.host(run.theta_hat), device.host(run.grad_sq)
    theta_hat[9] += 1e6
    grad_sq[9] *= 1e12
    phi, rate = device.host(learner.phi), device.host(learner.learning_rate)
    spread = ((theta_hat - phi) ** 2 / rate + rate * grad_sq).sum(axis=1)
    by = np.minimum(1.0, np.sqrt(device.host(learner._arrays["limit"]) / spread))
    assert by[9] < 1e-3
    long = af.TaskRun(device.array(theta_hat), device.array(grad_sq))
    statistics = learner.statistics(long)
    expected = ((by[:, None] * (theta_hat - phi)) ** 2 / 2).sum(axis=0)
    np.testing.assert_allclose(device.host(statistics.distance), expected, rtol=1e-12)
    expected = (by[:, None] ** 2 * grad_sq).sum(axis=0)
    np.testing.assert_allclose(device.host(statistics.grad_sq), expected, rtol=1e-12)


@dtypes
@pytest.mark.parametrize("loss", ["logistic", "absolute", "poisson", "huber"])
def test_first_rate_reads_the_rows_back(dtype, loss, rng):
    twins = pair(some_tasks(rng, dtype, loss=loss), {})
    rates = [learner.first_rate(tasks, loss=loss) for tasks, learner in twins]
    assert rates[1] == rates[0]
    for tasks, learner in twins:
        assert (
            learner.first_rate(tasks[:3], loss=loss) != 0.0
        )  # nothing was learned: it may start anew
    assert state(twins[1][1]) == state(twins[0][1])


@dtypes
@hypers
def test_it_moves_is_saved_and_copied(dtype, hyper, rng, tmp_path):
    tasks = some_tasks(rng, dtype)
    (_, host), (there, got) = pair(tasks, hyper)
    for learner in (host, got):  # before it knows its rate, too
        learner.save(tmp_path / learner.device[:4])
    assert (tmp_path / "cuda").read_bytes() == (tmp_path / "cpu").read_bytes()
    af.meta_train(tasks, host, loss="squared", round_size=4)
    moved = host.to("cuda")
    moved.save(tmp_path / "cuda")
    host.save(tmp_path / "cpu")
    assert (tmp_path / "cuda").read_bytes() == (tmp_path / "cpu").read_bytes()
    others = [
        moved,
        af.MetaLearner.load(tmp_path / "cuda").to("cuda"),
        copy.deepcopy(moved),
        pickle.loads(pickle.dumps(moved)),
        moved.to("cpu").to("cuda"),
    ]
    af.meta_train(tasks, host, loss="squared", round_size=4)
    for learner in others:
        assert learner.device == "cuda:0"
        af.meta_train(there, learner, loss="squared", round_size=4)
        assert state(learner) == state(host)


def test_without_a_first_rate(rng):
    (_, host), (there, got) = pair(some_tasks(rng, np.float32), {})
    for learner in (host, got):
        with pytest.raises(ValueError, match=r"rule: the first learning rate must be known"):
            learner.rule()
        assert learner.initial_learning_rate is None
    assert not device.host(got.learning_rate).any()
    ones = np.ones((2, D), np.float32)
    host.update(af.TaskRun(ones, ones))
    got.update(af.TaskRun(device.array(ones), device.array(ones)))
    assert state(got) == state(host)
    same_rules(host, got)
    assert len(af.run_tasks(there, got.phi, got.rule(), loss="squared")) == 20


def test_no_wait_for_the_device(rng):
    """Once the rate is known: nothing of a round asks the device."""
    if not device.machine:
        pytest.skip("waits are counted on the emulated device only")
    there, learner = pair(some_tasks(rng, np.float32), {})[1]
    learner.first_rate(there, loss="squared")
    af.run_tasks(there, learner.phi, learner.rule(None), loss="squared")  # labels, offsets
    device.machine.reset()
    run = af.run_tasks(there, learner.phi, learner.rule(None), loss="squared")
    learner.update(run)
    learner.apply(learner.statistics(run))
    assert device.machine.counts()["synchronizations"] == 0
