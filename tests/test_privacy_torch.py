"""Private steps of a model of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from torch_models import torch

import aruba_fast as af
import aruba_fast.torch
from aruba_fast.federated import Round, Server
from aruba_fast.privacy import RecordPrivacy
from aruba_fast.torch import MetaOptimizer, private_steps

F, N = 3, 9


def half_square(z, y):
    return (z - y).square().sum() / 2


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv1d(1, 2, 3, dtype=torch.float64),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(2 * (F - 2), 4, dtype=torch.float64),
    )


def weights(model):
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def rows(rng):
    x = torch.from_numpy(rng.standard_normal((N, 1, F)))
    return x, torch.from_numpy(rng.integers(0, 4, N))


def test_a_linear_model_answers_as_in_numpy(rng):
    model = torch.nn.Linear(F, 1, bias=False, dtype=torch.float64)
    meta = MetaOptimizer(model.parameters(), learning_rate=0.1)
    privacy = RecordPrivacy(rng.random(F) + 0.1, 2.0, n_rows=10, n_steps=4, clip=0.5)
    server = Server(af.MetaLearner(weights(model), learning_rate=0.1), privacy=privacy)
    here = server.round()
    tasks = af.Tasks(rng.standard_normal((1, N, F)), rng.standard_normal((1, N)))
    expected = privacy.answer(here, tasks, loss="squared", seed=3)
    meta.follow(here)
    with meta.task() as optimizer:
        x, y = torch.tensor(tasks.x), torch.tensor(tasks.y)[:, None]
        private_steps(optimizer, model, half_square, x, y, privacy, seed=3)
    reply = here.reply(meta.statistics())
    for name in ("delta", "distance", "grad_sq"):
        np.testing.assert_allclose(getattr(reply, name), getattr(expected, name), rtol=1e-12)
    assert server.receive(reply, "all") is None


def test_a_machine_answers_with_private_steps_and_with_no_others(rng):
    model = torch.nn.Linear(F, 1, bias=False, dtype=torch.float64)
    meta = MetaOptimizer(model.parameters())
    privacy = RecordPrivacy(rng.random(F) + 0.1, 0.5, n_rows=10, n_steps=4)
    server = Server(af.MetaLearner(weights(model), learning_rate=0.1), privacy=privacy)
    sent = Round.from_bytes(server.round().to_bytes())
    tasks = af.Tasks(rng.standard_normal((5, N, F)), rng.standard_normal((5, N)))

    def private(optimizer, task):
        x, y = torch.tensor(task.x), torch.tensor(task.y)[:, None]
        private_steps(optimizer, model, half_square, x, y, sent.privacy, seed=len(seen))
        seen.append(task)

    def forgetful(optimizer, task):
        if not seen:
            return private(optimizer, task)
        optimizer.zero_grad()
        half_square(model(torch.ones(1, F, dtype=torch.float64)), torch.ones(1, 1)).backward()
        return optimizer.step()

    seen = []
    told = meta.answer(sent, list(tasks), private)
    assert (told.n_tasks, told.weight) == (5, 5.0)
    expected = sum(privacy.answer(sent, tasks[[k]], loss="squared", seed=k).delta for k in range(5))
    np.testing.assert_allclose(told.delta, expected, rtol=1e-12)
    assert server.receive(told, "a machine") is None
    seen.clear()
    with pytest.raises(RuntimeError, match="`train` must take its steps by private_steps"):
        meta.answer(sent, list(tasks), forgetful)
    assert len(seen) == 1
    with pytest.raises(RuntimeError, match="`train` must take its steps by private_steps"):
        meta.answer(sent, list(tasks), lambda *_: None)


@pytest.mark.parametrize("at_once", [1, 2, 1 << 24])
@pytest.mark.parametrize("clip", [0.1, 1e6])
def test_gradients_of_a_network_are_clipped_row_by_row(rng, monkeypatch, clip, at_once):
    model, twin = small_network(), small_network()
    (x, y), d = rows(rng), len(weights(model))
    monkeypatch.setattr("aruba_fast.torch._private._AT_ONCE", at_once * d)
    scale = rng.random(d) + 0.1
    privacy = RecordPrivacy(scale, 0.02 / clip, n_rows=N, n_steps=3, clip=clip)
    loss = torch.nn.functional.cross_entropy
    private_steps(torch.optim.SGD(model.parameters(), lr=0.1), model, loss, x, y, privacy, seed=5)

    noise = np.random.default_rng(5).standard_normal((3, d))
    for own in noise:
        grad = 0.02 * np.sqrt(3) * np.sqrt(d) * scale * own
        for k in range(N):
            twin.zero_grad()
            loss(twin(x[k : k + 1]), y[k : k + 1]).backward()
            row = np.concatenate([p.grad.numpy().ravel() for p in twin.parameters()])
            grad += row * min(1.0, clip * np.sqrt(d) / np.linalg.norm(row / scale))
        moved = weights(twin) - 0.1 * grad / N
        torch.nn.utils.vector_to_parameters(torch.from_numpy(moved), twin.parameters())
    np.testing.assert_allclose(weights(model), weights(twin), rtol=1e-9, atol=1e-11)


def test_a_row_that_is_not_finite_counts_nothing(rng):
    x, y = rows(rng)
    x[4] = np.nan
    found = []
    for some in (slice(None), [k for k in range(N) if k != 4]):
        model = small_network()
        privacy = RecordPrivacy(np.ones(len(weights(model))), 0.2, n_rows=N)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = torch.nn.functional.cross_entropy
        private_steps(optimizer, model, loss, x[some], y[some], privacy, seed=1)
        found.append(weights(model))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_nobody_with_no_row_is_noise_alone(rng):
    model = small_network()
    before, privacy = weights(model), RecordPrivacy(np.ones(len(weights(model))), 1.0, n_rows=N)
    x, y = rows(rng)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    private_steps(optimizer, model, torch.nn.functional.cross_entropy, x[:0], y[:0], privacy)
    assert (weights(model) != before).all()


def with_batch_norm():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    privacy = RecordPrivacy(np.ones(15), 1.0, 4)
    private_steps(None, model, half_square, torch.ones(4, 2), torch.ones(4, 3), privacy)


def called(privacy, n_labels=4):
    model = torch.nn.Linear(2, 1)
    private_steps(None, model, half_square, torch.ones(4, 2), torch.ones(n_labels, 1), privacy)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (with_batch_norm, ValueError, "`model` must treat each row by itself: got BatchNorm"),
        (lambda: called(3), TypeError, "`privacy` must be a RecordPrivacy"),
        (lambda: called(RecordPrivacy(np.ones(2), 1.0, 4)), ValueError, "got 2, expected 3"),
        (lambda: called(RecordPrivacy(np.ones(3), 1.0, 4), 5), ValueError, "got 5, expected 4"),
    ],
)
def test_wrong_use_is_one_sentence(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
