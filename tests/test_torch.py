"""`aruba_fast.torch` against NumPy's learner, bit for bit, and against the equations in float64."""

from __future__ import annotations

import numpy as np
import pytest
import reference_meta
from cases import smoothed
from torch_models import (
    MODELS,
    Twin,
    assert_same_bits,
    batch,
    flat,
    flat_gradients,
    loss_of,
    made,
    smoothed_optimizer,
    torch,
    train,
    trainable,
)

import aruba_fast as af

models = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@models
@pytest.mark.parametrize("isotropic", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_model_equals_numpy(name, isotropic, dtype):
    model, kind = made(name, dtype)
    hyper = {"learning_rate": 0.25, "zeta": 0.5, "p": 0.4, "decay": 0.1, "isotropic": isotropic}
    meta, twin = smoothed_optimizer(model.parameters(), **hyper), Twin(model, **hyper)
    train(meta, model, kind, twin=twin)
    rates = flat(meta.learning_rate)
    np.testing.assert_array_equal(rates, np.broadcast_to(twin.learner.learning_rate, rates.shape))
    assert [r.shape for r in meta.learning_rate] == [p.shape for p in meta.parameters]


@models
def test_float64_follows_the_equations(name):
    """The reference's formulas: theta - eta grad, sums of squares, b, g and phi of a round."""
    model, kind = made(name, torch.float64)
    meta = smoothed_optimizer(model.parameters(), learning_rate=0.1, zeta=2.0, p=0.4)
    oracle = reference_meta.MetaLearner(flat(trainable(model)), learning_rate0=0.1, zeta=2.0, p=0.4)
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
    meta = smoothed_optimizer(model.parameters(), learning_rate=0.2)
    train(meta, model, kind)
    learner = meta.learners[0]
    theta, before = learner.phi.copy(), [learner.phi.copy(), learner.b, learner.g]
    b, g = (v.astype(np.float32) for v in (learner.b, learner.g))
    optimizer = meta.rule(coef=coef)
    for _ in range(4):
        optimizer.zero_grad()
        loss_of(model, *batch(kind)).backward()
        af.aruba_step(theta, flat_gradients(model), b, g, coef=coef)
        optimizer.step()
    np.testing.assert_array_equal(flat(trainable(model)), theta)
    for old, new in zip(before, (learner.phi, learner.b, learner.g), strict=True):
        np.testing.assert_array_equal(old, new)
    meta.rule()
    np.testing.assert_array_equal(flat(trainable(model)), learner.phi)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_has_float32_masters(half):
    """Parameters and gradients of 16 bits; what is learned is float32, and steps are not lost."""
    model, kind = made("mlp", half)
    meta = smoothed_optimizer(model.parameters(), learning_rate=1e-4)
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
    meta = smoothed_optimizer(groups, learning_rate=0.1)
    learners = [
        smoothed(flat(body.parameters()), learning_rate=0.5),
        smoothed(
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


def test_neighbours_with_the_same_settings_are_one_block():
    """Groups that differ in nothing learn what no groups learn."""
    learned = []
    for groups in (
        lambda m: m.parameters(),
        lambda m: [{"params": m[0].parameters()}, {"params": m[2].parameters()}],
    ):
        torch.manual_seed(3)
        model, kind = made("mlp")
        learned.append(smoothed_optimizer(groups(model), learning_rate=0.1))
        with learned[-1].task() as optimizer:
            loss_of(model, *batch(kind)).backward()
            optimizer.step()
        learned[-1].step()
    assert [len(meta.learners) for meta in learned] == [1, 1]
    assert_same_bits(*(meta.learners[0] for meta in learned))


def test_a_rate_for_every_tensor():
    model, kind = made("mlp")
    meta = smoothed_optimizer(model.parameters(), learning_rate=0.1, isotropic="tensor")
    alone = [smoothed(flat([p]), learning_rate=0.1, isotropic=True) for p in model.parameters()]
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
    assert len({rate.unique().item() for rate in meta.learning_rate}) == 4


def test_frozen_and_unused_parameters_stay():
    model, kind = made("tied")
    model.head.bias.requires_grad_(False)
    bias = model.head.bias.clone()
    meta = smoothed_optimizer(model.parameters(), learning_rate=0.1)
    assert len(meta.parameters) == 2
    train(meta, model, kind)
    rates = dict(zip(("unused", "tied"), meta.learning_rate, strict=True))
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
        meta = smoothed_optimizer(table.parameters(), learning_rate=0.1)
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
        meta = smoothed_optimizer(run.parameters(), learning_rate=0.1)
        train(meta, run, kind)
        results.append(meta.learners[0])
    torch._dynamo.reset()
    assert_same_bits(*results)


def test_a_closure_is_evaluated_with_gradients():
    model, kind = made("mlp")
    meta = smoothed_optimizer(model.parameters(), learning_rate=0.1)
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
    meta = smoothed_optimizer([weight])
    with meta.task() as optimizer:
        loss = weight.square().sum()
        weight.grad = torch.ones(3)
        optimizer.step()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_accumulation_then_unscaling_then_clipping():
    """One gradient a step: the sum of the backward passes, unscaled, clipped, then squared."""
    model, kind = made("mlp")
    meta, twin = smoothed_optimizer(model.parameters()), Twin(model)
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
