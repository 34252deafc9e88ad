"""Streams that work late, in any order: nothing is read before it is there or after it is gone."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import device
import numpy as np
import pytest
from cases import pack, task_data
from checkpoints import state as host_state
from device import stream as on
from foreign import Capsule, Described, Interface

import aruba_fast as af
from aruba_fast import _arrays

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
F32 = np.float32
SCHEDULES = list(device.Machine.SCHEDULES)
OURS, THEIRS, OTHER = 4096, 8192, 12288
MOST = 32  # tables that are kept for calls with lists


@pytest.fixture(params=SCHEDULES)
def late(request):
    """The machine, under every order of its streams' work."""
    if not device.machine:
        pytest.skip("the order of streams can be chosen on the emulated device only")
    with device.machine.schedule(request.param):
        yield device.machine


def there(values):
    """On the device, and known to be there by every stream."""
    made = device.array(np.asarray(values, F32))
    device.machine.finish()
    return made


class Lent(Capsule):
    """An array of a library with a stream of its own, THEIRS, that it tells nobody; as JAX's."""

    def __init__(self, values):
        with on(THEIRS):
            super().__init__(device.array(np.asarray(values, F32)))

    def __dlpack__(self, *, stream, **keywords):
        with on(THEIRS) as theirs:
            event = theirs.record()
        on(0 if stream == 1 else stream).wait_event(event)
        return super().__dlpack__(stream=stream, **keywords)


class Tensor(Capsule):
    """What PyTorch's tensors look like here: its current stream is THEIRS."""

    def contiguous(self):
        with on(THEIRS):
            return Tensor(self.array.copy())


class TensorOfNow(Described, Tensor):
    """The same with the exchange API."""


@pytest.fixture
def torch(monkeypatch):
    current = SimpleNamespace(cuda_stream=THEIRS)
    module = SimpleNamespace(Tensor=Tensor, cuda=SimpleNamespace(current_stream=lambda _: current))
    monkeypatch.setitem(sys.modules, "torch", module)


FORMS = {
    "interface": lambda values: Interface(made_by_them(values), stream=THEIRS),
    "dlpack": Lent,
    "torch": lambda values: Tensor(made_by_them(values)),
    "torch of now": lambda values: TensorOfNow(made_by_them(values)),
    "torch of now, strided": lambda values: TensorOfNow(made_by_them(np.repeat(values, 2))[::2]),
    "torch, strided": lambda values: Tensor(made_by_them(np.repeat(values, 2))[::2]),
    "torch, transposed": lambda values: Tensor(made_by_them(values.reshape(4, -1)).T),
}


def made_by_them(values):
    with on(THEIRS):
        return device.array(np.asarray(values, F32))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("torch")
def test_what_another_stream_makes_is_there(late, form):
    """Its gradient is still being made, or copied to contiguous memory, when the step is asked."""
    values = np.arange(12, dtype=F32)
    shape = (3, 4) if form == "torch, transposed" else (12,)
    theta = there(np.ones(shape))
    grad = FORMS[form](values)
    with on(OURS):
        af.step(theta, grad, 0.5)
    expected = values.reshape(4, 3).T if form == "torch, transposed" else values
    np.testing.assert_array_equal(device.host(theta), 1 - 0.5 * expected)
    assert not late.take_fault()


@pytest.mark.usefixtures("torch")
def test_cupys_strided_arrays_beside_a_tensor_of_pytorch(late):
    """The copy is CuPy's, on its stream; the step runs on PyTorch's."""
    theta = Tensor(there(np.ones(6)))
    with on(OURS):
        af.step(theta, device.array(np.arange(12, dtype=F32))[::2], 0.5)
    np.testing.assert_array_equal(device.host(theta.array), 1 - np.arange(0, 6, 1.0))
    assert not late.take_fault()


def is_overwritten_by_them(array):
    with on(THEIRS) as theirs:
        array.fill(np.nan)
        theirs.synchronize()


@pytest.mark.parametrize("form", ["interface", "torch", "torch, strided", "torch of now"])
@pytest.mark.usefixtures("torch")
def test_what_is_read_is_not_overwritten_before(late, form):
    """The stream that made it goes on when the call is done."""
    theta, grad = there(np.ones(8)), FORMS[form](np.arange(8, dtype=F32))
    with on(OURS):
        af.step(theta, grad, 0.5)
    is_overwritten_by_them(grad.array)
    np.testing.assert_array_equal(device.host(theta), 1 - 0.5 * np.arange(8))
    assert not late.take_fault()


def test_not_even_when_the_call_fails_in_its_middle(late):
    """Float32 and float64 are two launches; the second one's table cannot be copied."""
    float32 = [there(np.ones(8)), there(np.ones(8))]
    float64 = [device.array(np.ones(8)), device.array(np.ones(8))]
    grads = [Interface(made_by_them(np.arange(8)), stream=THEIRS) for _ in range(2)]
    late.finish()
    with on(OURS):
        af.step(float32, grads, 0.0)
        late.fail_next("cudaMemcpyAsync", 719)
        with pytest.raises(af.CudaError, match="719"):
            af.step([*float32, *float64], [*grads, *[a.copy() for a in float64]], 0.5)
    is_overwritten_by_them(grads[0].array)
    np.testing.assert_array_equal(device.host(float32[0]), 1 - 0.5 * np.arange(8))
    assert not late.take_fault()


def their_memory_is_used_anew():
    """As soon as they may, on their stream."""
    made_by_them(np.full(64, 7.0))
    with on(THEIRS) as theirs:
        theirs.synchronize()


def step_with(lent):
    theta = there(np.ones(64))
    with on(OURS):
        af.step(theta, lent(), 0.5)
        their_memory_is_used_anew()
    return theta, np.full(64, -0.5)


def list_with(lent):
    thetas = [there(np.ones(64)), there(np.ones(64))]
    with on(OURS):
        af.step(thetas, [lent(), lent()], 0.5)
        their_memory_is_used_anew()
    return thetas[1], np.full(64, -0.5)


def update_with(lent):
    with on(OURS):
        learner = af.MetaLearner(there(np.zeros(64)))
        both = [lent(), lent()]
        for array in both:
            array.array = array.array.reshape(1, 64)
        learner.update(af.TaskRun(*both))
        del both, array
        their_memory_is_used_anew()
        return learner.phi, np.full(64, 3.0)


def tasks_with(lent):
    x = lent()
    x.array = x.array.reshape(32, 2)
    with on(OURS):
        tasks = af.Tasks.from_groups(x, there(np.ones(32)), np.arange(32) % 2)
        del x
        their_memory_is_used_anew()
        return tasks.x, np.full((32, 2), 3.0)


@pytest.mark.parametrize("use", [step_with, list_with, update_with, tasks_with])
def test_memory_that_was_lent_is_kept_until_the_device_is_done(late, use):
    got, expected = use(lambda: Lent(np.full(64, 3.0)))
    np.testing.assert_array_equal(device.host(got), expected)
    assert not late.take_fault()


def test_memory_that_was_lent_is_given_back(late):
    """By the next call once the device is done with it."""
    theta, lent = there(np.ones(64)), [Lent(np.ones(64)) for _ in range(20)]
    before = [sys.getrefcount(each.array) for each in lent]
    for each in lent:
        af.step(theta, each, 0.5)
    late.finish()
    af.step(theta, there(np.ones(64)), 0.5)
    after = [sys.getrefcount(each.array) for each in lent]
    assert after == before


def test_a_table_is_not_overwritten_while_any_stream_needs_it(late):
    """Used on two streams, the second of which is done first; then many others want its place."""
    lists = [[there(np.full(40, k)) for k in (1, 2)] for _ in range(2 * MOST + 2)]
    theta, grad = lists.pop(), [there(np.ones(40)), there(np.ones(40))]
    for stream in (OURS, OTHER):
        with on(stream) as now:
            af.step(theta, grad, 0.5)
    now.synchronize()
    with on(THEIRS) as theirs:
        for other in lists:
            af.step(other, grad, 0.5)
            theirs.synchronize()
    for got in lists:
        np.testing.assert_array_equal(device.host(got[0]), 0.5)
    np.testing.assert_array_equal(device.host(theta[0]), 0.0)
    assert not late.take_fault()


def some_tasks(rng, d):
    return pack([task_data("logistic", rng, n, d) for n in (3, 8, 1, 6, 4) * 4], F32)


@pytest.mark.parametrize(
    "how", [{"zeta": 1.0}, {"zeta": 1.0, "decay": 0.1}, {"max_learning_rate": 0.05}, {"decay": 0.1}]
)
def test_a_whole_run_is_the_same_in_every_order(late, how, rng):
    """Each part on another stream, with an event between: the bits of the host."""
    tasks = some_tasks(rng, 5)
    how = {"learning_rate": 1.0, **how}
    twins = [(tasks, af.MetaLearner(np.zeros(5, F32), **how))]
    twins.append((tasks.to("cuda"), af.MetaLearner(device.array(np.zeros(5, F32)), **how)))
    late.finish()
    for its_tasks, learner in twins:
        for k, round in enumerate(its_tasks.rounds(6, n_passes=2, seed=0)):
            with on((OURS, OTHER)[k % 2]) as now:
                run = af.run_tasks(round, learner.phi, learner.rule(0.5), loss="logistic")
                learner.update(run, weights=run.weight, meta_step=0.5)
                event = now.record()
            on((OTHER, OURS)[k % 2]).wait_event(event)
        with on(OURS if k % 2 else OTHER):
            af.meta_train(its_tasks, learner, loss="logistic", round_size=4)
            parts = [learner.statistics(run), learner.statistics(run)]
            learner.apply(parts[0] + parts[1])
            late.finish()
    assert host_state(twins[1][1].to("cpu")) == host_state(twins[0][1])


def test_offsets_are_on_the_device_before_another_stream_reads_them(late, rng):
    """They are copied once, on the stream that is current then; no user knows of that copy."""
    host = some_tasks(rng, 5)
    tasks, phi, rule = host.to("cuda"), there(np.zeros(5)), af.OGD(0.1)
    late.finish()
    runs = []
    for stream in (OURS, OTHER, OURS):
        with on(stream):
            runs.append(af.run_tasks(tasks, phi, rule, loss="squared"))
    late.synchronize(OTHER)
    expected = af.run_tasks(host, np.zeros(5, F32), rule, loss="squared")
    for run in runs:
        np.testing.assert_array_equal(device.host(run.theta_hat), expected.theta_hat)
    assert not late.take_fault()


def test_offsets_are_kept_while_another_stream_reads_them(late, rng):
    """They are of the pool of the stream that was current at first, which takes them back."""
    host = some_tasks(rng, 5)
    tasks, phi, rule = host.to("cuda"), there(np.zeros(5)), af.OGD(0.1)
    late.finish()
    with on(OURS) as ours:
        round = tasks[2:]
        af.run_tasks(round, phi, rule, loss="squared")
        ours.synchronize()
        with on(OTHER):
            run = af.run_tasks(round, phi, rule, loss="squared")
        del round
        new = [device.array(np.full(18, 7.0)) for _ in range(8)]
        ours.synchronize()
    expected = af.run_tasks(host[2:], np.zeros(5, F32), rule, loss="squared")
    np.testing.assert_array_equal(device.host(run.theta_hat), expected.theta_hat)
    assert len(new) == 8
    assert not late.take_fault()


def test_cupys_work_on_a_stream_of_another_library_is_in_order_with_its_own(late):
    """What `MetaOptimizer` does on PyTorch's stream, and what a user asks of its learners after."""
    with on(OURS):
        learner = af.MetaLearner(device.array(np.zeros(4, F32)))
        run = af.TaskRun(device.array(np.ones((2, 4), F32)), device.array(np.ones((2, 4), F32)))
        with _arrays.on_stream(0, THEIRS):
            learner.update(run)
        assert learner.n_tasks == 2
        np.testing.assert_array_equal(learner.phi.get(), 1.0)
    assert not late.take_fault()
