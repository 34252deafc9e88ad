"""`aruba_fast.torch` against NumPy's learner, bit for bit, and against the equations in float64."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from torch_models import (
    MODELS,
    Twin,
    assert_same_bits,
    batch,
    flat,
    flat_gradients,
    loss_of,
    torch,
    train,
    trainable,
)

import aruba_fast as af
from aruba_fast.torch import MetaOptimizer

models = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def made(name, dtype=None):
    build, kind = MODELS[name]
    model = build()
    return model.to(dtype) if dtype else model, kind


@models
@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_model_equals_numpy(name, isotropic, dtype):
    model, kind = made(name, dtype)
    hyper = {"learning_rate": 0.25, "zeta": 0.5, "p": 0.4, "decay": 0.1, "isotropic": isotropic}
    meta, twin = MetaOptimizer(model.parameters(), **hyper), Twin(model, **hyper)
    train(meta, model, kind, twin=twin)
    rates = flat(meta.learning_rates())
    np.testing.assert_array_equal(rates, np.broadcast_to(twin.learner.learning_rate, rates.shape))
    assert [r.shape for r in meta.learning_rates()] == [p.shape for p in meta.parameters]


@models
def test_float64_follows_the_equations(name):
    """The reference's formulas: theta - eta grad, sums of squares, b, g and phi of a round."""
    model, kind = made(name, torch.float64)
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1, zeta=2.0, p=0.4)
    oracle = reference.MetaLearner(flat(trainable(model)), learning_rate0=0.1, zeta=2.0, p=0.4)
    for _ in range(3):
        hats, squares = [], []
        for _ in range(3):
            theta, grad_sq = oracle.phi.copy(), np.zeros_like(oracle.phi)
            with meta.task() as optimizer:
                for _ in range(3):
                    optimizer.zero_grad()
                    loss_of(model, *batch(kind, torch.float64)).backward()
                    grad = flat_gradients(model)
                    theta, grad_sq = theta - oracle.learning_rate * grad, grad_sq + grad**2
                    optimizer.step()
            hats.append(theta)
            squares.append(grad_sq)
        meta.step(0.5)
        oracle.update(np.stack(hats), np.stack(squares), meta_step=0.5)
    learner = meta.learners[0]
    for key in ("phi", "b", "g", "learning_rate"):
        got, expected = getattr(learner, key), getattr(oracle, key)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12, err_msg=key)


@models
@pytest.mark.parametrize("coef", [0.0, 0.3])
def test_aruba_plus_plus(name, coef):
    """The meta-learned rate first, then lowered by the task's own gradients; nothing is learned."""
    model, kind = made(name)
    meta = MetaOptimizer(model.parameters(), learning_rate=0.2)
    train(meta, model, kind)
    learner = meta.learners[0]
    theta, before = learner.phi.copy(), [learner.phi.copy(), learner.b, learner.g]
    b, g = (v.astype(np.float32) for v in (learner.b, learner.g))
    optimizer = meta.optimizer(coef=coef)
    for _ in range(4):
        optimizer.zero_grad()
        loss_of(model, *batch(kind)).backward()
        af.aruba_step(theta, flat_gradients(model), b, g, coef=coef)
        optimizer.step()
    np.testing.assert_array_equal(flat(trainable(model)), theta)
    for old, new in zip(before, (learner.phi, learner.b, learner.g), strict=True):
        np.testing.assert_array_equal(old, new)
    meta.optimizer()
    np.testing.assert_array_equal(flat(trainable(model)), learner.phi)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_has_float32_masters(half):
    """Parameters and gradients of 16 bits; what is learned is float32, and steps are not lost."""
    model, kind = made("mlp", half)
    meta = MetaOptimizer(model.parameters(), learning_rate=1e-4)
    twin = Twin(model, learning_rate=1e-4)
    for _ in range(2):
        with meta.task() as optimizer:
            twin.start()
            for _ in range(3):
                optimizer.zero_grad()
                loss_of(model, *batch(kind, half)).backward()
                assert all(p.grad.dtype == half for p in model.parameters())
                twin.step()
                optimizer.step()
                np.testing.assert_array_equal(
                    flat(trainable(model)),
                    torch.from_numpy(twin.theta).to(half).float().numpy(),
                )
            twin.end(1.0)
        meta.step(0.5)
        twin.update(0.5)
    assert_same_bits(meta.learners[0], twin.learner)
    assert (meta.learners[0].rho > 0).any(), "steps below half an ulp of the parameters moved them"


def test_mixed_types_and_groups_are_learned_by_themselves():
    """A group a learner; a bfloat16 head beside a float32 body."""
    body, head = torch.nn.Linear(5, 4), torch.nn.Linear(4, 3).to(torch.bfloat16)
    groups = [
        {"params": body.parameters(), "learning_rate": 0.5},
        {"params": head.parameters(), "isotropic": True, "max_learning_rate": 0.05},
    ]
    meta = MetaOptimizer(groups, learning_rate=0.1)
    learners = [
        af.MetaLearner(flat(body.parameters()), learning_rate=0.5),
        af.MetaLearner(
            flat(head.parameters()), learning_rate=0.1, isotropic=True, max_learning_rate=0.05
        ),
    ]
    runs = [[], []]
    with meta.task() as optimizer:
        states = [(x.phi.copy(), np.zeros_like(x.phi)) for x in learners]
        for _ in range(3):
            optimizer.zero_grad()
            x, y = batch("vector")
            torch.nn.functional.cross_entropy(head(body(x).bfloat16()).float(), y).backward()
            for module, learner, state in zip((body, head), learners, states, strict=True):
                af.step(state[0], flat_gradients(module), learner.learning_rate, grad_sq=state[1])
            optimizer.step()
    meta.step()
    for learner, state, got, run in zip(learners, states, meta.learners, runs, strict=True):
        run.append(state)
        learner.update(af.TaskRun(state[0][None], state[1][None]))
        assert_same_bits(got, learner)


def test_a_rate_for_every_tensor():
    model, kind = made("mlp")
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1, isotropic="tensor")
    alone = [
        af.MetaLearner(flat([p]), learning_rate=0.1, isotropic=True) for p in model.parameters()
    ]
    with meta.task() as optimizer:
        states = [(x.phi.copy(), np.zeros_like(x.phi)) for x in alone]
        loss_of(model, *batch(kind)).backward()
        for p, learner, state in zip(model.parameters(), alone, states, strict=True):
            af.step(state[0], flat([p.grad]), learner.learning_rate, grad_sq=state[1])
        optimizer.step()
    meta.step()
    for learner, state, got in zip(alone, states, meta.learners, strict=True):
        learner.update(af.TaskRun(state[0][None], state[1][None]))
        assert_same_bits(got, learner)
    assert len({rate.unique().item() for rate in meta.learning_rates()}) == 4


def test_frozen_and_unused_parameters_stay():
    model, kind = made("tied")
    model.head.bias.requires_grad_(False)
    bias = model.head.bias.clone()
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1)
    assert len(meta.parameters) == 2
    train(meta, model, kind)
    rates = dict(zip(("unused", "tied"), meta.learning_rates(), strict=True))
    assert (rates["unused"] == np.float32(0.1)).all()
    assert (rates["tied"] != np.float32(0.1)).any()
    assert torch.equal(model.head.bias, bias)
    assert torch.equal(model.unused, torch.ones(4))
    assert model.head.weight is model.characters.weight


def test_sparse_gradients_are_the_dense_ones():
    results = []
    for sparse in (False, True):
        torch.manual_seed(1)
        table = torch.nn.Embedding(11, 3, sparse=sparse)
        meta = MetaOptimizer(table.parameters(), learning_rate=0.1)
        with meta.task() as optimizer:
            for _ in range(2):
                optimizer.zero_grad()
                table(torch.tensor([1, 4, 4])).square().sum().backward()
                optimizer.step()
        meta.step()
        results.append(meta.learners[0])
    assert_same_bits(*results)


def test_a_compiled_model_learns_the_same():
    results = []
    for compiled in (False, True):
        torch.manual_seed(1)
        model, kind = made("mlp")
        run = torch.compile(model, backend="aot_eager") if compiled else model
        meta = MetaOptimizer(run.parameters(), learning_rate=0.1)
        train(meta, run, kind)
        results.append(meta.learners[0])
    torch._dynamo.reset()
    assert_same_bits(*results)


def test_a_closure_is_evaluated_with_gradients():
    model, kind = made("mlp")
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1)
    x, y = batch(kind)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        return loss

    with meta.task() as optimizer, torch.no_grad():
        first, second = optimizer.step(closure), optimizer.step(closure)
    assert second < first


def test_autograd_knows_that_a_step_wrote():
    """Values saved for a backward pass are not used after they have changed."""
    weight = torch.nn.Parameter(torch.ones(3))
    meta = MetaOptimizer([weight])
    with meta.task() as optimizer:
        loss = weight.square().sum()
        weight.grad = torch.ones(3)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_accumulation_then_unscaling_then_clipping():
    """One gradient a step: the sum of the backward passes, unscaled, clipped, then squared."""
    model, kind = made("mlp")
    meta, twin = MetaOptimizer(model.parameters()), Twin(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    batches = [batch(kind) for _ in range(3)]
    with meta.task() as optimizer:
        twin.start()
        for x, y in batches:
            scaler.scale(loss_of(model, x, y)).backward()
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        assert norm > 0.1
        twin.step()
        scaler.step(optimizer)
        scaler.update()
        twin.end(1.0)
    assert np.sqrt(twin.grad_sq.sum()) == pytest.approx(0.1, rel=1e-4)
    meta.step()
    twin.update(None)
    assert_same_bits(meta.learners[0], twin.learner)


def test_an_outer_optimizer_moves_the_initialization():
    """First-order MAML: rates from the statistics, phi from an optimizer of one's own."""
    model, kind = made("mlp")
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1)
    outer = torch.optim.SGD(model.parameters(), lr=0.5)
    with meta.task() as optimizer:
        loss_of(model, *batch(kind)).backward()
        optimizer.step()
        grads = torch.autograd.grad(loss_of(model, *batch(kind)), list(model.parameters()))
    meta.step(meta_step=0.0)
    phi, rate = meta.learners[0].phi.copy(), meta.learners[0].learning_rate.copy()
    for p, grad in zip(model.parameters(), grads, strict=True):
        p.grad = grad
    outer.step()
    moved = flat(model.parameters())
    meta.adopt()
    assert (moved != phi).any()
    np.testing.assert_array_equal(meta.learners[0].phi, moved)
    np.testing.assert_array_equal(meta.learners[0].learning_rate, rate)
    with meta.task():
        np.testing.assert_array_equal(flat(model.parameters()), moved)


def test_long_rounds_are_summed_in_parts(monkeypatch):
    """More tasks than are kept at once: the sums of parts, which agree within an ulp."""
    from aruba_fast.torch import _flat

    results = []
    for at_once in (128, 3):
        monkeypatch.setattr(_flat, "_TASKS_AT_ONCE", at_once)
        monkeypatch.setattr(_flat, "_TASKS_AT_LEAST", at_once)
        torch.manual_seed(3)
        model, kind = made("mlp")
        meta = MetaOptimizer(model.parameters(), learning_rate=0.1)
        for _ in range(8):
            with meta.task() as optimizer:
                loss_of(model, *batch(kind)).backward()
                optimizer.step()
        meta.step()
        results.append(meta.learners[0])
    for key in ("b", "g", "phi"):
        np.testing.assert_array_almost_equal_nulp(*(getattr(r, key) for r in results), nulp=1)
    assert results[1].n_tasks == 8


@pytest.mark.parametrize("isotropic", [False, "tensor"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_parts_of_two_machines_are_one_round(cut, isotropic):
    """Parts of one size and of two, tasks of different weight; tensors of one size, and others."""

    def machine():
        torch.manual_seed(5)
        layers = torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 5)
        model = torch.nn.Sequential(*layers)
        return model, MetaOptimizer(model.parameters(), learning_rate=0.1, isotropic=isotropic)

    tasks = [(weight, *batch("vector")) for weight in (3.0, 1.0, 2.0, 5.0)]

    def run(model, meta, mine):
        for weight, x, y in mine:
            with meta.task(weight=weight) as optimizer:
                loss_of(model, x, y).backward()
                optimizer.step()
        return meta.statistics()

    (model, whole), one, other, (_, server) = machine(), machine(), machine(), machine()
    run(model, whole, tasks)
    whole.step(0.7)
    merged = run(*one, tasks[:cut]) + run(*other, tasks[cut:])
    for meta in (one[1], server):  # the server has run no task of its own
        meta.step(0.7, statistics=merged)
        for found, expected in zip(meta.learners, whole.learners, strict=True):
            for key in ("b", "g", "phi", "learning_rate"):
                pair = (getattr(learner, key) for learner in (found, expected))
                np.testing.assert_array_almost_equal_nulp(*pair, nulp=1)
            assert found.n_tasks == 4
        assert meta.statistics().n_tasks == 0
