"""Rounds of `aruba_fast.torch`: an outer optimizer, long ones, parts of many machines."""

from __future__ import annotations

import numpy as np
import pytest
from torch_models import (
    batch,
    flat,
    loss_of,
    made,
    smoothed_optimizer,
    torch,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_an_outer_optimizer_moves_the_initialization():
    """First-order MAML: rates from the statistics, phi from an optimizer of one's own."""
    model, kind = made("mlp")
    meta = smoothed_optimizer(model.parameters(), learning_rate=0.1)
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
    from aruba_fast.torch import _round

    results = []
    for at_once in (128, 3):
        monkeypatch.setattr(_round, "_TASKS_AT_ONCE", at_once)
        monkeypatch.setattr(_round, "_TASKS_AT_LEAST", at_once)
        torch.manual_seed(3)
        model, kind = made("mlp")
        meta = smoothed_optimizer(model.parameters(), learning_rate=0.1)
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
        return model, smoothed_optimizer(model.parameters(), learning_rate=0.1, isotropic=isotropic)

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
