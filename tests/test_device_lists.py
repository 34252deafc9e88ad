"""Lists of any length on a device, through every limit in the code, and what a plan saves."""

from __future__ import annotations

import gc
import weakref

import device
import host_time
import numpy as np
import pytest
from played_torch import played
from torch_models import MetaOptimizer, torch

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
# One array has no table.
LENGTHS = [1, 2, 3]
# A table of one launch has 7.5 numbers an array; memory for it comes in powers of two from 512 on.
LENGTHS += [68, 69, 136, 137, 273, 274]
# Lists that are known to be disjoint are remembered from 16 on; they are read 16 ahead, 8 ahead.
LENGTHS += [7, 8, 9, 15, 16, 17]
# A warp of the meta-update sums 32 tensors, a block has 8 warps, a segment 512 tensors.
LENGTHS += [31, 32, 33, 255, 256, 257, 511, 512, 513, 1025]
# A block of a step has 256 threads of four float32: that much, wherever the first one lies.
SIZES = [1, 3, 4, 5, 1020, 1021, 1023, 1024, 1025, 2047, 2048, 2049]


@pytest.fixture
def on_torch():
    with played():
        yield


def some(n, size=3, seed=0):
    """As many arrays of each name; every seventh is empty."""
    rng = np.random.default_rng(seed)
    sizes = [0 if k % 7 == 5 else size for k in range(n)]
    return {
        name: [rng.random(k, np.float32) for k in sizes]
        for name in ("theta", "grad", "learning_rate", "grad_sq")
    }


def tensors(given):
    return {name: [torch.from_numpy(a.copy()) for a in arrays] for name, arrays in given.items()}


def assert_same(on_device, given):
    for name, arrays in given.items():
        found = [tensor.numpy() for tensor in on_device[name]]
        for i, (one, other) in enumerate(zip(found, arrays, strict=True)):
            assert one.tobytes() == other.tobytes(), (name, i)


def step(given):
    theta, grad, rate, grad_sq = given.values()
    af.step(theta, grad, rate, grad_sq=grad_sq)


def plan_of(given):
    theta, grad, rate, grad_sq = given.values()
    return af.StepPlan(af.step, theta, grad, rate, grad_sq=grad_sq)


@pytest.mark.usefixtures("on_torch")
@pytest.mark.parametrize("n", LENGTHS)
def test_lists_of_every_length_have_the_bits_of_the_host(n):
    given = some(n)
    on_device = tensors(given)
    device.machine.reset()
    plan = plan_of(on_device)
    for _ in range(2):
        step(given)
    step(on_device)
    plan.step()
    assert device.machine.counts()["launches"] == 2
    assert_same(on_device, given)


@pytest.mark.usefixtures("on_torch")
@pytest.mark.parametrize("size", SIZES)
def test_arrays_of_every_size_have_the_bits_of_the_host(size):
    given = some(4, size)
    # The first number of an array lies anywhere within 16 bytes.
    on_device = {
        name: [torch.zeros(size + 9)[k : k + len(a)].copy_(torch.from_numpy(a)) for k, a in
               enumerate(arrays)]
        for name, arrays in given.items()
    }  # fmt: skip
    step(given)
    plan_of(on_device).step()
    assert_same(on_device, given)


@pytest.mark.usefixtures("on_torch")
@pytest.mark.parametrize("n", [21_000, 65_537])
def test_a_step_of_very_many_tensors_is_one_launch(n):
    given = some(n, 2)
    on_device = tensors(given)
    plan = plan_of(on_device)
    device.machine.reset()
    for _ in range(2):
        step(given)
        plan.step()
    assert device.machine.counts()["launches"] == 2
    assert_same(on_device, given)


def rounds(n, size, n_tasks=2, dtype=None):
    """Two rounds: phi, the rates and how many tasks there were."""
    torch.manual_seed(n)
    weights = [torch.nn.Parameter(torch.rand(size, dtype=dtype)) for _ in range(n)]
    meta = MetaOptimizer(weights, learning_rate=0.1)
    for _ in range(2):
        for _ in range(n_tasks):
            with meta.task() as optimizer:
                for _ in range(2):
                    for weight, grad in zip(weights, torch.rand(n, size, dtype=dtype), strict=True):
                        weight.grad = grad
                    optimizer.step()
        meta.step()
    told = [*weights, *meta.learning_rate]
    return torch.cat([t.detach().float() for t in told]).numpy(), meta.n_tasks


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("n", LENGTHS)
def test_rounds_of_models_of_every_length_have_the_bits_of_the_host(n, dtype):
    expected, n_tasks = rounds(n, 3, dtype=dtype)
    with played():
        found, on_device = rounds(n, 3, dtype=dtype)
    assert found.tobytes() == expected.tobytes()
    assert n_tasks == on_device == 4


def test_a_round_of_very_many_tensors_has_the_bits_of_the_host():
    expected, _ = rounds(65_000, 1, n_tasks=1)
    with played():
        found, _ = rounds(65_000, 1, n_tasks=1)
    assert found.tobytes() == expected.tobytes()


# ---- what a plan keeps ---------------------------------------------------------------------------


def copies_of(call):
    device.machine.reset()
    call()
    return device.machine.counts()["copies"]


@pytest.mark.usefixtures("on_torch")
def test_the_table_is_copied_again_only_where_an_address_has_changed():
    given = tensors(some(20))
    plan = plan_of(given)
    assert copies_of(plan.step) == 1
    assert copies_of(plan.step) == 0
    first, second = ([torch.rand_like(grad) for grad in given["grad"]] for _ in range(2))
    assert copies_of(lambda: plan.step(first)) == 1
    assert copies_of(lambda: plan.step(second)) == 1
    assert copies_of(lambda: plan.step(first)) == 0, "what was seen lately is still there"
    given["theta"][3].data = torch.rand(3)
    assert copies_of(plan.step) == 1
    assert copies_of(plan.step) == 0


@pytest.mark.usefixtures("on_torch")
def test_tasks_of_a_model_go_on_with_one_table():
    weights = [torch.nn.Parameter(torch.rand(4)) for _ in range(6)]
    meta = MetaOptimizer(weights, learning_rate=0.1)
    grads = [torch.rand(4) for _ in weights]
    counts = []
    for _ in range(3):
        with meta.task() as optimizer:
            for weight, grad in zip(weights, grads, strict=True):
                weight.grad = grad
            counts.append(copies_of(optimizer.step))
    assert counts == [1, 0, 0]


@pytest.mark.usefixtures("on_torch")
def test_a_plan_steps_on_the_stream_that_is_current_and_within_graphs():
    given = some(5)
    on_device = tensors(given)
    plan = plan_of(on_device)
    plan.step()
    with device.stream(77):
        plan.step()
        assert device.machine.last_launch() == (0, 77)
    graph = device.graph_of(plan.step)
    for _ in range(2):
        graph.launch()
    device.machine.finish()
    plan.step()
    for _ in range(5):
        step(given)
    assert_same(on_device, given)


@pytest.mark.usefixtures("on_torch")
def test_a_plan_that_its_tensors_hold_is_collected():
    given = tensors(some(3))
    given["theta"][0].plan = plan_of(given)
    given["theta"][0].plan.step()
    gone = weakref.ref(given["theta"][0])
    del given
    gc.collect()
    assert gone() is None


@pytest.mark.usefixtures("on_torch")
def test_gradients_in_host_memory_are_refused_by_a_plan():
    on_device = tensors(some(3))
    plan = plan_of(on_device)
    plan.step()
    before = on_device["theta"][0].clone()
    with pytest.raises(TypeError, match=r"^StepPlan.step: `grad\[0\]` must live on the device"):
        plan.step([np.zeros(3, np.float32)] * 3)
    assert torch.equal(before, on_device["theta"][0])


def test_the_time_of_the_host_is_measured_where_kernels_do_nothing(monkeypatch):
    if device.REAL:
        pytest.skip("of the emulated device only")
    weights = []
    monkeypatch.setattr(host_time, "least", lambda call, _: call() or weights.append(call) or 1.0)
    assert host_time.of_device(5, 1) == (1.0, 1.0)
    moved = [p for call in weights for group in call.__self__.param_groups for p in group["params"]]
    assert len(moved) == 10
