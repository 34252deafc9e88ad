"""`MetaOptimizer` with nothing given: its first tasks find the first rate, and nothing else."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from optional import need
from torch_models import Twin, assert_same_bits, batch, flat, learning, loss_of, train, trainable

import aruba_fast as af

torch = need("torch")
from aruba_fast.torch import MetaOptimizer  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

MOST = 51  # tasks of a search: 17 rates, three times


def bowl(n=20, *, unit=1.0, scale=1.0, seed=0):
    """A parameter, and a task around it: 1/2 unit |(w - target) / scale|^2."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n, generator=generator, dtype=torch.float64)
    weight = torch.nn.Parameter(scale * start)

    def task(meta, n_steps=6):
        target = start + 3 * torch.randn(n, generator=generator, dtype=torch.float64)
        with meta.task() as optimizer:
            for _ in range(n_steps):
                optimizer.zero_grad()
                (0.5 * unit * (weight / scale - target).square().sum()).backward()
                optimizer.step()

    return weight, task


def first_rate(meta):
    return meta.learners[0].initial_learning_rate


def search(meta, task):
    """Runs tasks until the first rate is known; returns how many."""
    for k in range(MOST):
        if first_rate(meta) is not None:
            return k
        task(meta)
    assert first_rate(meta) is not None
    return MOST


def test_the_first_tasks_find_the_first_rate_and_do_nothing_else():
    weight, task = bowl()
    meta = MetaOptimizer([weight])
    start = weight.detach().clone()
    n_tasks = 0
    while first_rate(meta) is None:
        assert (meta.learning_rate[0] == 0.0).all()
        task(meta)
        n_tasks += 1
        if n_tasks % 5 == 0:
            meta.step(1.0)
        assert (weight == start).all()
        assert (meta.n_tasks, meta.statistics().n_tasks) == (0, 0)
    assert 20 <= n_tasks <= MOST
    rate = first_rate(meta)
    assert 0.05 < rate < 2.0  # the limit of this loss is 2
    assert (meta.learning_rate[0] == rate).all()
    task(meta)
    assert meta.statistics().n_tasks == 1
    meta.step()
    assert meta.n_tasks == 1
    assert (weight != start).any()
    with pytest.raises(RuntimeError, match="the round must hold a task: got none"):
        meta.step()


@pytest.mark.parametrize("name", ["mlp", "conv", "channels_last", "lstm", "tied", "transposed"])
@pytest.mark.parametrize("hyper", [{}, {"isotropic": "tensor"}, {"train": "scalar"}], ids=str)
def test_what_follows_is_numpys_learner_bit_for_bit(name, hyper):
    model, kind, meta = learning(name, learning_rate="auto", zeta="auto", **hyper)

    def task(meta):
        with meta.task() as optimizer:
            for _ in range(3):
                optimizer.zero_grad()
                loss_of(model, *batch(kind, trainable(model)[0].dtype)).backward()
                optimizer.step()

    search(meta, task)
    sizes = [p.numel() for p in trainable(model) if p.numel()]
    its = {**hyper, "isotropic": True} if hyper.get("isotropic") else hyper
    rate = first_rate(meta)
    twin = Twin(model, learning_rate=rate, zeta="auto", bound="tight", tensors=sizes, **its)
    train(meta, model, kind, meta_step=0.5, twin=twin)
    train(meta, model, kind, rounds=2, meta_step=None, twin=twin)
    rule = twin.learner.rule()
    meta.rule()
    b, g = (flat(meta._active._rates), flat(meta._active._sums))
    np.testing.assert_array_equal(b, rule.b.astype(b.dtype))
    np.testing.assert_array_equal(g, rule.g.astype(g.dtype))
    assert meta._active._coef == rule.coef == 4 * meta.n_tasks  # the tight bound


def iterates(unit, scale):
    """phi in units of `scale` after a search and some rounds."""
    weight, task = bowl(unit=unit, scale=scale)
    meta = MetaOptimizer([weight])
    search(meta, task)
    for k in range(6):
        for _ in range(3):
            task(meta, 2 + k)
        meta.step(0.5)
    optimizer = meta.rule()
    weight.grad = torch.ones_like(weight) * unit / scale
    optimizer.step()
    return np.concatenate([meta.learners[0].phi, weight.detach().numpy()]) / scale


def test_units_are_of_no_interest():
    """Powers of two change no bit; other units what rounding does."""
    usual = iterates(1.0, 1.0)
    for unit, scale in ((2.0**-12, 1.0), (2.0**13, 1.0)):
        np.testing.assert_allclose(iterates(unit, scale), usual, rtol=1e-13)
    for unit, scale in ((1e-4, 1.0), (1e4, 1.0), (1.0, 1e-4), (1.0, 1e4), (0.3, 7.0)):
        np.testing.assert_allclose(iterates(unit, scale), usual, rtol=1e-8)


@pytest.mark.parametrize("way", ["state_dict", "file", "pickle", "copy"])
@pytest.mark.parametrize("after", [1, 15, 60])
def test_it_resumes_in_the_middle_of_a_search_and_after(way, after, tmp_path):
    weight, task = bowl(seed=1)
    meta = MetaOptimizer([weight])
    for k in range(after):
        task(meta)
        if k % 7 == 6:
            meta.step(0.5)
    others = {}
    if way == "state_dict":
        other = bowl(seed=1)[0]
        others[MetaOptimizer([other])] = other
        next(iter(others)).load_state_dict(meta.state_dict())
    elif way == "file":
        other = bowl(seed=2)[0]
        others[MetaOptimizer([other])] = other
        meta.save(tmp_path / "meta")
        next(iter(others)).load(tmp_path / "meta")
    else:
        make = copy.deepcopy if way == "copy" else lambda pair: pickle.loads(pickle.dumps(pair))
        made, other = make((meta, weight))
        others[made] = other
    (other, its_weight), seed = next(iter(others.items())), 5
    for each, own in ((meta, weight), (other, its_weight)):
        torch.manual_seed(seed)
        for _ in range(50):
            with each.task() as optimizer:
                for _ in range(4):
                    optimizer.zero_grad()
                    (own - torch.randn(20)).square().sum().backward()
                    optimizer.step()
        each.step(0.5)
    assert first_rate(meta) == first_rate(other) is not None
    assert_same_bits(meta.learners[0], other.learners[0])


def test_a_task_of_one_step_tells_nothing():
    weight, task = bowl()
    meta = MetaOptimizer([weight])
    start = weight.detach().clone()
    for _ in range(9):
        task(meta, n_steps=1)
    assert (weight == start).all()
    with pytest.raises(RuntimeError, match="task: tasks must tell the first rate: got 10 in turn"):
        task(meta, n_steps=1)
    assert (weight == start).all()
    search(meta, task)
    task(meta, n_steps=1)


def test_tasks_without_a_gradient_are_told_of():
    weight, task = bowl()
    meta = MetaOptimizer([weight])

    def silent(factor):
        with meta.task() as optimizer:
            for _ in range(3):
                optimizer.zero_grad()
                (factor * weight.sum()).backward()
                optimizer.step()

    for k in range(9):
        silent(0.0 if k % 2 else torch.nan)
    with pytest.raises(RuntimeError, match="got 10 in turn of less than 2 steps, or without a fin"):
        silent(0.0)
    search(meta, task)


def test_another_optimizer_needs_no_first_rate():
    """Its distances and gradients tell the rates at once."""
    weight, _ = bowl()
    meta = MetaOptimizer([weight])
    with meta.task(optimizer=torch.optim.SGD([weight], lr=0.25)) as sgd:
        for target in (1.0, 2.0):
            sgd.zero_grad()
            (weight - target).square().sum().backward()
            sgd.step()
    meta.step()
    learner = meta.learners[0]
    b, g = (v + v.mean() for v in (learner.b, learner.g))
    np.testing.assert_allclose(learner.learning_rate, np.sqrt(b / g), rtol=1e-13)
    with meta.task() as optimizer:  # at these rates
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert meta.statistics().n_tasks == 1


def test_rules_before_the_first_rate_is_known():
    weight, task = bowl()
    meta = MetaOptimizer([weight])
    task(meta)
    for coef in ("auto", None, 1.0):
        with pytest.raises(ValueError, match="rule: the first learning rate must be known: got 'a"):
            meta.rule(coef)
    search(meta, task)
    meta.rule().step  # noqa: B018
    weight.grad = torch.ones_like(weight)
    before = weight.detach().clone()
    meta._active.step()
    torch.testing.assert_close(weight.detach(), before - first_rate(meta))
    with pytest.raises(TypeError, match="rule: `coef` must be a real number: got 'best'"):
        meta.rule("best")


def test_a_group_whose_rate_is_given_keeps_it_during_the_search():
    weight, task = bowl()
    bias = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    groups = [{"params": [weight]}, {"params": [bias], "learning_rate": 0.125}]
    meta = MetaOptimizer(groups)
    while first_rate(meta) is None:
        assert (meta.learning_rate[1] == 0.125).all()
        task(meta)
    assert first_rate(meta) != 0.125
    assert meta.learners[1].initial_learning_rate == 0.125
    # A block that has learned nothing keeps its rate in a rule for new tasks.
    task(meta)
    meta.step()
    optimizer = meta.rule()
    bias.grad = torch.full_like(bias, 100.0)
    for _ in range(3):
        optimizer.step()
    torch.testing.assert_close(bias.detach(), torch.full_like(bias, -37.5))


def test_no_task_weighs_more_than_ten_over_all_groups():
    """One that diverges in one block is shortened in the other one, too."""
    a, b = (torch.nn.Parameter(torch.zeros(n, dtype=torch.float64)) for n in (5, 4))
    groups = [{"params": [a]}, {"params": [b], "max_learning_rate": 100.0}]
    meta = MetaOptimizer(groups, learning_rate=0.5)

    def task(*grads):
        with meta.task() as optimizer:
            for _ in range(2):
                a.grad, b.grad = (torch.full_like(p, g) for p, g in zip((a, b), grads, strict=True))
                optimizer.step()

    for _ in range(4):
        task(1.0, 1.0)
    meta.step(0.0)
    rates = [rate[0].item() for rate in meta.learning_rate]
    task(1000.0, 1.0)
    sums = meta.statistics()
    of_one = sum(n * (1.0 / rate + 2.0 * rate) for n, rate in zip((5, 4), rates, strict=True))
    of_long = 5 * 6 * rates[0] * 1e6 + 4 * 6 * rates[1]
    share = 10 * of_one / of_long
    np.testing.assert_allclose(sums.grad_sq, share * np.repeat([2e6, 2.0], [5, 4]), rtol=1e-12)
    moved = -2 * np.sqrt(share) * np.repeat([1000 * rates[0], rates[1]], [5, 4])
    np.testing.assert_allclose(sums.theta_sum, moved, rtol=1e-12)


@pytest.mark.parametrize("zeta", [1.0, "auto"])
def test_numbers_mean_what_they_meant(zeta):
    """With a zeta, the bound is that of the blog, and nothing is shortened."""
    weight, _ = bowl()
    meta = MetaOptimizer([weight], learning_rate=0.5, zeta=zeta)
    assert meta.learners[0].bound == ("tight" if zeta == "auto" else "blog")
    assert MetaOptimizer([weight], zeta=zeta, bound="blog").learners[0].bound == "blog"
    with pytest.raises(ValueError, match="MetaOptimizer: `bound` must be known: got 'loose'"):
        MetaOptimizer([weight], zeta=zeta, bound="loose")
    with pytest.raises(ValueError, match="MetaOptimizer: `train` must be known"):
        MetaOptimizer([weight], train="all")
    assert isinstance(meta.learners[0], af.MetaLearner)
