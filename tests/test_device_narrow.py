"""Tables in less than float32 on a CUDA device: the bits of host memory, and no copy in float32."""

from __future__ import annotations

import pickle

import device
import numpy as np
import pytest
from cases import LOSSES, OPTIONS, TASK_SIZES, n_parameters
from narrow import KINDS, pair, same, table

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
kinds = pytest.mark.parametrize("kind", KINDS)
# Lanes of a team, of a warp and of a block; what registers hold no more.
DIMENSIONS = (1, 8, 31, 32, 33, 64, 129, 512, 513, 4097)


def start(tasks, loss, rng):
    phi = rng.standard_normal(n_parameters(loss, tasks.n_features))
    return (0.5 * phi / np.linalg.norm(phi)).astype(np.float32)


def same_runs(there, expected):
    parts = ("theta_hat", "grad_sq", "theta_bar", "loss", "weight")
    return all(same(device.host(getattr(there, p)), getattr(expected, p)) for p in parts)


def runs_alike(tasks, loss, rule, phi, there=None, **options):
    there = tasks.to("cuda") if there is None else there
    got = af.run_tasks(there, device.array(phi), rule(device.array), loss=loss, **options)
    return same_runs(got, af.run_tasks(tasks, phi, rule(np.asarray), loss=loss, **options))


@kinds
@pytest.mark.parametrize("d", DIMENSIONS)
def test_runs_have_the_bits_of_host_memory(d, kind, rng):
    sizes = TASK_SIZES[:9] if d < 100 else (3, 1, 5)
    for loss in LOSSES:
        if loss == "softmax" and d > 600:
            continue
        tasks = pair(rng, kind, loss, d, sizes)[0]
        phi = start(tasks, loss, rng)
        rules = [lambda _: af.OGD(0.3), lambda _: af.AdaGrad(0.1, 1e-6), lambda _: af.Adam(0.1)]
        rates = rng.random(len(phi)).astype(np.float32)
        rules.append(lambda put, rates=rates: af.OGD(put(rates)))
        for i, options in enumerate(({"average": True}, *OPTIONS.values())):
            assert runs_alike(tasks, loss, rules[i % len(rules)], phi, **options)


@kinds
def test_learning_adapting_and_evaluating_have_them_too(kind, rng):
    for loss, d in (("logistic", 19), ("squared", 130), ("softmax", 7)):
        host = pair(rng, kind, loss, d)[0]
        found = []
        for tasks, put in ((host, np.asarray), (host.to("cuda"), device.array)):
            phi = put(np.zeros(n_parameters(loss, d), np.float32))
            learner = af.MetaLearner(phi)
            first = learner.first_rate(tasks, loss=loss)
            af.meta_train(tasks, learner, loss=loss, round_size=7, n_passes=2, seed=3)
            theta = af.adapt(tasks, learner.phi, learner.rule(), loss=loss)
            losses = af.evaluate(tasks, theta, loss=loss)
            state = (learner.phi, learner.b, learner.g, theta, losses, np.asarray(first))
            found.append([np.asarray(device.host(part)) for part in state])
        assert all(map(same, *found))
        assert np.abs(found[0][0]).max() > 0


@kinds
@pytest.mark.parametrize(
    "choice",
    [
        lambda t: t[[3, 0, 3]],
        lambda t: t.split(0.5, seed=1)[1],
        lambda t: t[t.sizes > 2].shots(2)[1],
        lambda t: list(t.rounds(7, seed=2))[1],
        lambda t: pickle.loads(pickle.dumps(t[[5, 1]])),
        lambda t: t.to("cpu").to("cuda"),
    ],
    ids=["list", "split", "shots", "round", "pickle", "there and back"],
)
def test_every_choice_of_tasks_holds_the_same_rows(choice, kind, rng):
    host = pair(rng, kind, "squared", 9)[0]
    there = choice(host.to("cuda"))
    host = choice(host) if "to" not in choice.__code__.co_names else host
    assert there.device == "cuda:0"
    assert repr(there) == repr(host).removesuffix(")") + ", device='cuda:0')"
    assert same(device.host(there.x), host.x)
    assert there.scale == host.scale
    assert runs_alike(host, "squared", lambda _: af.OGD(0.1), start(host, "squared", rng), there)


@kinds
def test_arrays_on_the_device_are_shared(kind, rng):
    x, scale = table(rng, kind, (7, 6, 33))
    there = device.array(x)
    tasks = af.Tasks(there, device.array(np.ones((7, 6))), **scale)
    host = af.Tasks(x, np.ones((7, 6)), **scale)
    assert tasks.x.data.ptr == there.data.ptr
    assert tasks.dtype == np.float32
    rule, phi = (lambda _: af.OGD(0.1)), start(host, "squared", rng)
    assert runs_alike(host, "squared", rule, phi, tasks)
    group = rng.integers(0, 3, 42)
    mixed = [
        af.Tasks.from_groups(put(x.reshape(42, 33)), put(np.ones(42)), group, **scale)
        for put in (np.asarray, device.array)
    ]
    assert runs_alike(mixed[0], "squared", rule, phi, mixed[1])


@kinds
def test_tensors_of_pytorch_are_shared(kind, rng):
    from played_torch import played
    from torch_models import torch

    x, scale = table(rng, kind, (7, 6, 33))
    tensor = torch.from_numpy(x if kind == "uint8" else x.astype(np.float32))
    tensor = tensor.to(getattr(torch, kind))
    host = af.Tasks(tensor, np.ones((7, 6)), **scale)
    with played():
        tasks = af.Tasks(tensor, device.array(np.ones((7, 6))), **scale)
        assert tasks.device == "cuda:0"
        assert tasks.x.dtype.name == kind
        assert tasks.x.data.ptr == tensor.data_ptr()
        phi = start(host, "squared", rng)
        assert runs_alike(host, "squared", lambda _: af.OGD(0.1), phi, tasks)


@kinds
@pytest.mark.parametrize("d", [64, 4200])
def test_no_table_in_float32_is_made(d, kind, rng):
    if device.REAL:
        pytest.skip("allocations are counted on the emulated device only")
    import emulated_cupy

    n_rows = 2**17 // d * 8
    x, scale = table(rng, kind, (n_rows, d))
    host = af.Tasks(x, np.zeros(n_rows), np.arange(0, n_rows + 1, n_rows // 4), **scale)
    there, learner = host.to("cuda"), af.MetaLearner(device.array(np.zeros(d, np.float32)))
    taken = []

    def allocate(n_bytes):
        taken.append(n_bytes)
        return emulated_cupy.allocate(n_bytes)

    emulated_cupy.cupy.cuda.set_allocator(allocate)
    try:
        af.run_tasks(there, learner.phi, af.OGD(0.1), loss="squared")
        once = sum(taken)
        taken.clear()
        af.meta_train(there, learner, loss="squared", round_size=2) if d == 64 else None
    finally:
        emulated_cupy.cupy.cuda.set_allocator(emulated_cupy.allocate)
    # Results of four tasks, and two rows for each.
    assert 0 < once < 4 * 5 * d * 4 + 4096 < x.nbytes
    assert sum(taken) < x.nbytes / 4


@kinds
@pytest.mark.parametrize("schedule", ["late", "seed 3"])
def test_a_graph_reads_the_table_when_it_runs(schedule, kind, rng):
    if device.REAL:
        pytest.skip("streams are late on the emulated device only")
    host = pair(rng, kind, "squared", 9, (3, 1, 5))[0]
    phi, rule = np.zeros(9, np.float32), af.OGD(0.1)
    with device.machine.schedule(schedule):
        there, begin = host.to("cuda"), device.array(phi)
        af.run_tasks(there, begin, rule, loss="squared")  # what is made once is made now
        runs = []
        graph = device.graph_of(
            lambda: runs.append(af.run_tasks(there, begin, rule, loss="squared"))
        )
        with device.stream(8192) as other:
            graph.launch(other)
            other.synchronize()
        found = device.host(runs[0].theta_hat)
    assert same(found, af.run_tasks(host, phi, rule, loss="squared").theta_hat)


def refused(error, message, call):
    with pytest.raises(error) as raised:
        call()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_parameters_are_float32(kind, rng):
    tasks = pair(rng, kind, "squared", 5, (2, 1))[0].to("cuda")
    for dtype, got in ((KINDS[kind], kind), (np.float64, "float64")):
        phi = device.array(np.zeros(5, dtype))
        refused(
            TypeError,
            f"got {got}",
            lambda phi=phi: af.run_tasks(tasks, phi, af.OGD(0.1), loss="squared"),
        )
    learner = af.MetaLearner(device.array(np.zeros(5)))
    refused(
        TypeError,
        "`learner` must have the type of `tasks`: got float64, expected float32",
        lambda: af.meta_train(tasks, learner, loss="squared"),
    )


def test_what_is_refused_is_said_in_one_sentence(monkeypatch):
    y = device.array(np.ones((4, 2)))
    for dtype, scale, error, message in (
        (np.uint8, None, TypeError, "or uint8 with a `scale`: got uint8, expected x.astype"),
        (np.uint8, 0.0, ValueError, "Tasks: `scale` must be"),
        (np.float16, 0.5, ValueError, "`scale` must be None but for uint8 `x`: got 0.5"),
        (np.int8, 0.5, TypeError, "`x` must be float32 or float64: got int8"),
    ):
        x = device.array(np.ones((4, 2, 3), dtype))
        refused(error, message, lambda x=x, scale=scale: af.Tasks(x, y, scale=scale))
    import cupy

    monkeypatch.setattr(cupy, "__version__", "13.6.0")
    half = af.Tasks(np.ones((4, 2, 3), KINDS["bfloat16"]), np.ones((4, 2)))
    refused(
        ImportError,
        "Tasks.to: `x` must not be of bfloat16 on a CUDA device before CuPy 14: got CuPy 13.6.0, "
        "expected a newer one, or x as float16",
        lambda: half.to("cuda"),
    )
