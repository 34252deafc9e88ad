"""Captured graphs: a replay works in memory of its own for as long as the graph lives."""

from __future__ import annotations

import gc
import weakref
from functools import partial

import device
import numpy as np
import pytest
from cases import pack, task_data
from checkpoints import state as host_state

import aruba_fast as af
from aruba_fast._state import Hyperparameters

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
F32 = np.float32
TABLES = 32  # that are kept for calls with lists


@pytest.fixture(params=["at once", "late", "others first", "seed 3"])
def late(request):
    """The machine, under every order of its streams' work."""
    if not device.machine:
        pytest.skip("owners of memory are known on the emulated device only")
    with device.machine.schedule(request.param):
        yield device.machine


def some_tasks(rng, d=5, loss="squared"):
    return pack([task_data(loss, rng, n, d) for n in (3, 8, 1, 6, 4) * 4], F32)


# A learner with units, and one whose prior is one average task.
UNITS = {"learning_rate": 1.0, "zeta": 1.0}
LEARNERS = {"units": UNITS, "average task": {"learning_rate": 0.1}}


class Side:
    """Tasks and a learner, on the host or on the device."""

    def __init__(self, tasks, learner):
        self.tasks, self.learner = tasks, learner

    def run(self, rule=None, **how):
        rule = self.learner.rule(coef=None) if rule is None else rule
        return af.run_tasks(self.tasks, self.learner.phi, rule, loss="squared", **how)


def plain(side):
    run = side.run()
    side.learner.update(run, weights=run.weight)


def aruba_plus_plus(side):
    side.learner.update(side.run(side.learner.rule(0.5)), meta_step=0.5)


def averaged(side):
    run = side.run(average=True, batch_size=2, radius=0.5)
    side.learner.update(af.TaskRun(run.theta_bar, run.grad_sq))


def merged(side):
    parts = [side.learner.statistics(side.run()) for _ in range(3)]
    side.learner.apply(parts[0] + parts[1] + parts[2])


def of_means(side):
    """b and g as a user would take them; what is made of them goes away at once."""
    learner = side.learner
    run = side.run(af.ArubaPlusPlus._of(b=learner.b, g=learner.g, coef=0.1))
    loss = af.evaluate(side.tasks, learner.phi, loss="squared")
    learner.update(af.TaskRun(run.theta_hat, run.grad_sq, loss=loss))


def trained(side):
    af.meta_train(side.tasks, side.learner, loss="squared", round_size=7, n_passes=2, seed=3)


def weighted(side):
    """Weights in host memory: those of when it was captured."""
    side.learner.update(side.run(), weights=np.arange(1.0, 1 + len(side.tasks)))


ROUNDS = [plain, aruba_plus_plus, averaged, merged, of_means, trained, weighted]


@pytest.mark.parametrize("round", ROUNDS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "first"])
@pytest.mark.parametrize("kind", LEARNERS)
def test_a_captured_round_is_replayed_in_its_own_memory(late, round, warm, kind, rng):
    """What it used and nobody holds any more is nobody else's; the bits are those of the host."""
    if round is averaged and not warm:
        pytest.skip("phi is tested against the ball where that is asked first")
    if kind == "average task" and round in (aruba_plus_plus, of_means):
        pytest.skip("its prior is read back, and without it b and g start at nothing")
    tasks = some_tasks(rng)
    host = Side(tasks, af.MetaLearner(np.zeros(5, F32), **LEARNERS[kind], max_learning_rate=0.1))
    there = Side(tasks.to("cuda"), host.learner.to("cuda"))
    there.tasks._check_labels("run_tasks", "squared", 0)
    n_rounds = 0
    if warm:
        round(there)
        n_rounds += 1
    late.finish()
    graph = device.graph_of(partial(round, there))
    # Whoever comes gets memory of every size that the round has used, on every stream.
    new = []
    for stream in (0, 1 << 20):
        with device.stream(stream):
            new += [device.array(np.full(n, 7.0)) for n in (1, 40, 64, 100, 600, 5000) * 8]
    late.finish()
    for _ in range(3):
        graph.launch()
    late.finish()
    assert not late.take_fault()
    for _ in range(n_rounds + 3):
        round(host)
    assert host_state(there.learner.to("cpu")) == host_state(host.learner)
    for owner in new:
        np.testing.assert_array_equal(device.host(owner), 7.0)


def test_a_captured_model_is_replayed_in_its_own_memory(late, rng):
    """The meta-state of a PyTorch model: blocks with a learner each, cut out of the sums."""
    blocks = [(3, Hyperparameters(0.1, 1.0, 1.0, 0.1, False, None)),
              (4, Hyperparameters(0.5, 2.0, 0.4, 0.0, True, 0.3))]  # fmt: skip
    phi, theta_hat, grad_sq = rng.standard_normal((3, 7)).astype(F32)
    pytest.importorskip("torch")
    from aruba_fast.torch._flat import FlatState

    states = [FlatState.first(phi, blocks), FlatState.first(device.array(phi), blocks)]
    made = [theta_hat, np.square(grad_sq)]
    results = [made, [device.array(values) for values in made]]
    late.finish()

    def round(state, result):
        for row, values in zip(state.next_run(), result, strict=True):
            row[...] = values
        state.keep_run(2.0)
        state.apply(None, 0.5)

    graph = device.graph_of(lambda: round(states[1], results[1]))
    new = [device.array(np.full(n, 7.0)) for n in (1, 40, 100) * 8]
    late.finish()
    graph.launch()
    graph.launch()
    for _ in range(2):
        round(states[0], results[0])
    there = {name: device.host(values) for name, values in states[1].arrays.items()}
    assert not late.take_fault()
    for name, values in states[0].arrays.items():
        np.testing.assert_array_equal(there[name], values, err_msg=name)
    for owner in new:
        np.testing.assert_array_equal(device.host(owner), 7.0)


def test_memory_of_a_graph_is_given_back(late, rng):
    """When it is gone, by the next call; a round that is captured again needs no more."""
    import emulated_cupy

    tasks = some_tasks(rng)
    side = Side(tasks.to("cuda"), af.MetaLearner(np.zeros(5, F32), **UNITS).to("cuda"))
    plain(side)
    late.finish()
    made = weakref.WeakSet()
    taken = emulated_cupy.Owned.__init__

    def counted(self, pointer):
        taken(self, pointer)
        made.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulated_cupy.Owned, "__init__", counted)
        graph = device.graph_of(partial(merged, side))
        gc.collect()
        assert len(made) >= 9  # sums, weight and counts of three parts, and what is scribbled on
        graph.launch()
        del graph
        late.finish()
        plain(side)
        late.finish()
        plain(side)
        gc.collect()
        assert len(made) == 0


def lists(n_lists, n=3):
    made = [[device.array(np.full(40, k, F32)) for k in range(n)] for _ in range(2 * n_lists)]
    device.machine.finish()
    return list(zip(made[::2], made[1::2], strict=True))


def test_tables_of_graphs_come_back(late):
    """A hundred graphs, one after another, take the place of one."""
    ((theta, grad),) = lists(1)

    def step():
        af.step(theta, grad, 0.5)

    for turn in range(100):
        if turn == 2:
            late.reset()
        graph = device.graph_of(step)
        graph.launch()
        late.finish()
        del graph
    assert late.counts()["allocations"] == 0
    np.testing.assert_array_equal(device.host(theta[1]), 1 - 0.5 * 100)


def test_tables_of_graphs_leave_room_for_others(late):
    """More graphs than tables that are kept; loops with many lists still copy none twice."""
    graphs = []
    for theta, grad in lists(2 * TABLES):
        graphs.append(device.graph_of(partial(af.step, theta, grad, 0.5)))
    loops = lists(TABLES // 2)
    for turn in range(3):
        if turn == 2:
            late.reset()
        for theta, grad in loops:
            af.step(theta, grad, 0.5)
        late.finish()
    assert late.counts()["copies"] == 0
    for graph in graphs:
        graph.launch()
    late.finish()
    for theta, _ in loops:
        np.testing.assert_array_equal(device.host(theta[2]), 2 - 3.0)


def test_offsets_that_another_stream_still_copies(late, rng):
    """A capture cannot wait for an event of before: the host does."""
    host = some_tasks(rng)
    tasks, phi, rule = host.to("cuda"), device.array(np.zeros(5, F32)), af.OGD(0.1)
    late.finish()
    with device.stream(4096):
        af.run_tasks(tasks, phi, rule, loss="squared")
    runs = []
    graph = device.graph_of(lambda: runs.append(af.run_tasks(tasks, phi, rule, loss="squared")))
    with device.stream(8192) as other:
        graph.launch(other)
        other.synchronize()
    expected = af.run_tasks(host, np.zeros(5, F32), rule, loss="squared")
    np.testing.assert_array_equal(device.host(runs[0].theta_hat), expected.theta_hat)


def test_arrays_of_streams_that_are_not_captured(late):
    """Nothing waits for them in a graph; no stream joins a capture that does not leave it again."""
    from foreign import Interface

    theta, grad = (device.array(np.ones(8, F32)) for _ in range(2))
    late.finish()
    graph = device.graph_of(lambda: af.step(theta, Interface(grad, stream=8192), 0.5))
    graph.launch()
    np.testing.assert_array_equal(device.host(theta), 0.5)
