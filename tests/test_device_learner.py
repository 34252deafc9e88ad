"""Learners, tasks, runs and statistics on a CUDA device: as in host memory, bit for bit."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import device
import numpy as np
import pytest
from cases import RULES, dtypes, pack, task_data
from checkpoints import HYPERPARAMETERS, trained
from checkpoints import state as host_state

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
hypers = pytest.mark.parametrize("hyper", HYPERPARAMETERS, ids=["plain", "decay", "isotropic"])


def state(learner):
    """Every bit that a learner shows, wherever it lives."""
    return host_state(learner.to("cpu"))


def some_tasks(rng, dtype=np.float32, loss="squared", d=5):
    return pack([task_data(loss, rng, n, d) for n in (3, 8, 1, 6, 4) * 4], dtype)


def _keep(seen, *report):
    seen.append(report)


def equal(got, expected):
    np.testing.assert_array_equal(device.host(got), device.host(expected), strict=True)


@dtypes
@hypers
def test_the_online_loop_in_python(dtype, hyper, rng):
    """run_tasks, update and rule, round after round; a learner on either side."""
    tasks = some_tasks(rng, dtype)
    twins = [(tasks, af.MetaLearner(np.zeros(5, dtype), **hyper))]
    twins.append((tasks.to("cuda"), af.MetaLearner(device.array(np.zeros(5, dtype)), **hyper)))
    for its_tasks, learner in twins:
        for round in its_tasks.rounds(6, n_passes=2, seed=0):
            rule = learner.rule(coef=None)
            run = af.run_tasks(round, learner.phi, rule, loss="squared", average=True)
            learner.update(run, weights=run.weight, meta_step=0.5)
    (host, expected), (there, got) = twins
    assert state(got) == state(expected)
    assert got.device == there.device == "cuda:0"
    assert (expected.device, expected.n_tasks) == ("cpu", 40)
    for coef in ("auto", 0.0, 0.3):
        runs = [
            af.run_tasks(its_tasks, learner.phi, learner.rule(coef), loss="squared", average=True)
            for its_tasks, learner in twins
        ]
        for name in ("theta_hat", "grad_sq", "theta_bar", "loss", "weight"):
            equal(getattr(runs[1], name), getattr(runs[0], name))
    losses = [
        af.evaluate(t, ran.theta_hat, loss="squared")
        for t, ran in zip((host, there), runs, strict=True)
    ]
    equal(losses[1], losses[0])


@dtypes
@hypers
@pytest.mark.parametrize(
    "how",
    [
        {"round_size": 1, "seed": 1},
        {"round_size": 7, "weights": "rows", "meta_step": 0.5, "n_passes": 2},
        {"round_size": 20, "meta_step": lambda n: 1 / n},
        {"round_size": 3, "radius": 0.5, "batch_size": 2, "n_epochs": 2},
    ],
    ids=["one by one", "rows", "function", "radius"],
)
def test_meta_train(dtype, hyper, how, rng):
    tasks = some_tasks(rng, dtype)
    host = af.MetaLearner(np.zeros(5, dtype), **hyper)
    there = host.to("cuda")
    expected = af.meta_train(tasks, host, loss="squared", **how)
    got = af.meta_train(tasks.to("cuda"), there, loss="squared", **how)
    assert state(there) == state(host)
    for name in ("loss", "task", "skipped"):
        equal(getattr(got, name), getattr(expected, name))
    assert repr(got) == repr(expected)


def test_diverging_tasks_are_skipped_and_counted(rng):
    x = rng.standard_normal((30, 4)).astype(np.float32)
    x[7] = np.nan
    tasks = af.Tasks(x, np.ones(30), range(0, 31, 3))
    host = af.MetaLearner(np.zeros(4, np.float32), learning_rate=0.1)
    there = host.to("cuda")
    for its_tasks, learner in ((tasks, host), (tasks.to("cuda"), there)):
        history = af.meta_train(its_tasks, learner, loss="squared", round_size=4)
        assert device.host(history.skipped).tolist() == [k == 2 for k in range(10)]
        rule = learner.rule(coef=None)
        learner.update(af.run_tasks(its_tasks, learner.phi, rule, loss="squared"))
        assert (learner.n_tasks, learner.n_skipped) == (18, 2)
    assert state(there) == state(host)


def test_progress_and_exceptions_leave_whole_rounds(rng):
    """What stopped the loop is raised; every round before it was learned from, nothing after."""
    tasks = some_tasks(rng)
    reports = []

    class EnoughError(Exception):
        pass

    def meta_step(n_tasks):
        reports.append(n_tasks)
        if n_tasks > 12:
            raise EnoughError
        return 0.5

    learners = [
        af.MetaLearner(np.zeros(5, np.float32)),
        af.MetaLearner(np.zeros(5, np.float32)).to("cuda"),
    ]
    for its_tasks, learner in zip((tasks, tasks.to("cuda")), learners, strict=True):
        with pytest.raises(EnoughError):
            af.meta_train(its_tasks, learner, loss="squared", round_size=4, meta_step=meta_step)
        seen = []
        report = partial(_keep, seen)
        af.meta_train(its_tasks, learner, loss="squared", progress=report)
        assert seen[-1] == (20, 20)
    assert reports == [4, 8, 12, 16] * 2
    assert state(learners[1]) == state(learners[0])


@hypers
def test_statistics_of_parts(hyper, rng):
    """Merged on the device, on the host, or half and half: the same pairs of float64."""
    theta_hat, grad_sq = rng.standard_normal((2, 9, 33)).astype(np.float32)
    grad_sq **= 2
    weights = 1.0 + rng.integers(0, 9, 9)
    host = af.MetaLearner(np.zeros(33, np.float32), **hyper)
    there = host.to("cuda")

    def parts(learner, put):
        return [
            learner.statistics(af.TaskRun(put(theta_hat[i:j]), put(grad_sq[i:j])), w)
            for i, j, w in ((0, 4, weights[:4]), (4, 5, put(weights[4:5])), (5, 9, None))
        ]

    expected, got = parts(host, np.array), parts(there, device.array)
    back = [part.to("cpu") for part in got]
    for total in (sum(got), sum(back).to("cuda"), got[0] + sum(back[1:]).to("cuda")):
        assert total.device == "cuda:0"
        for name in ("sums", "weight_sum", "counts", "distance", "grad_sq", "theta_sum"):
            equal(getattr(total, name), getattr(sum(expected), name))
    assert (total.n_tasks, total.n_skipped, total.weight) == (9, 0, sum(expected).weight)
    host.apply(sum(expected))
    there.apply(sum(got))
    assert state(there) == state(host)
    given = af.TaskStatistics(total.sums, total.weight_sum, total.n_tasks, total.n_skipped)
    equal(given.sums, total.sums)


@dtypes
@hypers
def test_checkpoints_are_the_same_bytes(dtype, hyper, rng, tmp_path):
    host, tasks = trained(rng, dtype, hyper)
    there = host.to("cuda")
    host.save(tmp_path / "host")
    there.save(tmp_path / "device")
    assert (tmp_path / "device").read_bytes() == (tmp_path / "host").read_bytes()
    resumed = af.MetaLearner.load(tmp_path / "device")
    assert resumed.device == "cpu"
    learners = [host, there, resumed.to("cuda")]
    for learner in learners:
        its_tasks = tasks if learner is host else tasks.to("cuda")
        af.meta_train(its_tasks, learner, loss="squared", round_size=4)
    assert state(learners[0]) == state(learners[1]) == state(learners[2])


def test_copies_and_pickles_stay_on_the_device(rng):
    learner = trained(rng)[0].to("cuda")
    before = state(learner)
    copies = [copy.copy(learner), copy.deepcopy(learner), pickle.loads(pickle.dumps(learner))]
    run = af.TaskRun(
        device.array(np.ones((2, 5), np.float32)), device.array(np.ones((2, 5), np.float32))
    )
    for other in copies:
        assert (other.device, state(other)) == ("cuda:0", before)
        other.update(run)
        assert state(other) != before
    assert state(learner) == before
    part = learner.statistics(run)
    for other in (copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        assert other.device == "cuda:0"
        equal(other.sums, part.sums)


def test_what_repr_tells(rng):
    learner, tasks = trained(rng)
    pairs = [(learner, learner.to("cuda")), (tasks, tasks.to("cuda"))]
    run = af.TaskRun(np.ones((2, 5), np.float32), np.ones((2, 5), np.float32))
    there = af.TaskRun(device.array(run.theta_hat), device.array(run.grad_sq))
    pairs += [(run, there), (learner.statistics(run), pairs[0][1].statistics(there))]
    for on_host, on_device in pairs:
        assert repr(on_device) == repr(on_host).removesuffix(")") + ", device='cuda:0')"
    for coef in ("auto", None, 0.5):
        assert repr(pairs[0][1].rule(coef)) == repr(learner.rule(coef))


@pytest.mark.parametrize("rule", RULES)
@dtypes
def test_rules_hold_device_arrays(rule, dtype, rng):
    subject = RULES[rule](rng, 5)[1](dtype)
    tasks, phi = some_tasks(rng, dtype), np.zeros(5, dtype)
    there = copy.copy(subject)
    names = {"ogd_vector": ("learning_rate",), "aruba++": ("b", "g")}.get(rule, ())
    if names:
        fields = {"coef": 0.5} if rule == "aruba++" else {}
        there = type(subject)(**{n: device.array(getattr(subject, n)) for n in names}, **fields)
    expected = af.run_tasks(tasks, phi, subject, loss="squared")
    got = af.run_tasks(tasks.to("cuda"), device.array(phi), there, loss="squared")
    equal(got.theta_hat, expected.theta_hat)
    equal(got.grad_sq, expected.grad_sq)


def test_tasks_of_device_arrays(rng):
    x, y = rng.standard_normal((12, 3)).astype(np.float32), rng.integers(0, 2, 12)
    group = np.array(list("abcabcaabbcc"))
    host = af.Tasks.from_groups(x, y, group)
    there = af.Tasks.from_groups(device.array(x), device.array(y), group)
    dense = af.Tasks(device.array(x.reshape(4, 3, 3)), device.array(y.reshape(4, 3)))
    equal(dense.x, x)
    assert dense.starts.tolist() == [0, 3, 6, 9]
    for subject in (there, host.to("cuda"), there.to("cuda")):
        equal(subject.x, host.x)
        equal(subject.y, host.y)
        assert (subject.starts == host.starts).all()
        assert (len(subject), subject.n_rows, subject.dtype) == (3, 12, np.float32)
    for mine, its in ((there[1:], host[1:]), (there.shots(2)[1], host.shots(2)[1])):
        assert mine.device == "cuda:0"
        runs = [
            af.run_tasks(t, put(np.zeros(3, np.float32)), af.OGD(0.5), loss="logistic")
            for t, put in ((mine, device.array), (its, np.array))
        ]
        equal(runs[0].theta_hat, runs[1].theta_hat)
    offsets = af.Tasks(device.array(x), device.array(y), device.array(np.array([0, 5, 12])))
    assert offsets.sizes.tolist() == [5, 7]
    back = there.to("cpu")
    assert back.device == "cpu"
    equal(back.x, host.x)


def test_labels_are_checked_on_the_device_once(rng):
    x = device.array(rng.standard_normal((6, 2)).astype(np.float32))
    tasks = af.Tasks(x, device.array(np.array([0, 1, 1, 0, 2, 1.0])), [0, 3, 6])
    phi = device.array(np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"run_tasks: `y` must hold the labels 0 and 1.*2.*row 4"):
        af.run_tasks(tasks, phi, af.OGD(0.1), loss="logistic")
    if device.machine:
        device.machine.reset()
        for tasks_of_round in tasks.rounds(1):
            af.run_tasks(tasks_of_round, phi, af.OGD(0.1), loss="squared")
        assert device.machine.counts()["synchronizations"] == 0
        wide = device.array(np.zeros(6, np.float32))
        for tasks_of_round in tasks.rounds(1):
            af.run_tasks(tasks_of_round, wide, af.OGD(0.1), loss="softmax")
        assert device.machine.counts()["synchronizations"] == 1


def test_a_round_can_be_captured(rng):
    """run_tasks, update: no call in them waits for the device, nothing is read back."""
    if not device.machine:
        pytest.skip("capture is asserted on the emulated device; `make bench-gpu` replays graphs")
    tasks = some_tasks(rng).to("cuda")
    learner = af.MetaLearner(np.zeros(5, np.float32), learning_rate=1.0, zeta=1.0).to("cuda")

    def round():
        run = af.run_tasks(tasks, learner.phi, learner.rule(None), loss="squared")
        learner.update(run, weights=run.weight)
        af.run_tasks(tasks, learner.phi, learner.rule(0.5), loss="squared")

    round()
    device.machine.reset()
    device.graph_of(round)
    counts = device.machine.counts()
    assert counts["synchronizations"] == 0
    assert counts["launches"] > 3
