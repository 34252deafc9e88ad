"""A model on one of many machines: what it answers is what the server's own learner would see."""

from __future__ import annotations

import numpy as np
import pytest
from optional import need
from same_learner import assert_same_bits

import aruba_fast as af
from aruba_fast.federated import FirstRate, Reply, Round, Server

torch = need("torch")
at = need("aruba_fast.torch")


def model_of(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))


def tasks_of(rng, n=6):
    x = torch.tensor(rng.standard_normal((n, 8, 3)), dtype=torch.float32)
    return [(one, k + one.sum(1, keepdim=True)) for k, one in enumerate(x)]


def trainer(model):
    def train(optimizer, task):
        x, y = task
        for _ in range(4):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()

    return train


def server_of(model, **hyper):
    parameters = list(model.parameters())
    phi = torch.cat([p.detach().ravel() for p in parameters]).numpy()
    sizes = [p.numel() for p in parameters]
    return Server(af.MetaLearner(phi, bound="tight", tensors=sizes, **hyper))


def test_machines_teach_what_one_model_learns(rng):
    """To the bit: the server is a learner of NumPy, the tasks are PyTorch's."""
    tasks = tasks_of(rng)
    alone, away = model_of(), model_of(1)
    meta = at.MetaOptimizer(alone.parameters(), learning_rate=0.01)
    server, there = server_of(model_of(), learning_rate=0.01), at.MetaOptimizer(away.parameters())
    for _ in range(5):
        for task in tasks:
            with meta.task(weight=2.0) as optimizer:
                trainer(alone)(optimizer, task)
        meta.step()
        for name, part in (("a", tasks[:2]), ("b", tasks[2:])):
            sent = Round.from_bytes(server.round().to_bytes())
            answer = there.answer(sent, part, trainer(away), weight=lambda _: 2.0)
            assert server.receive(answer.to_bytes(), name) is None
        assert server.close().n_tasks == 6
        assert_same_bits(server.learner, meta.learners[0])
    assert np.ptp(server.learner.learning_rate) > 0.0


def test_machines_find_the_first_rate(rng):
    tasks = tasks_of(rng)
    model = model_of()
    server, meta = server_of(model), at.MetaOptimizer(model.parameters())
    answers = [
        meta.answer(server.round(), part, trainer(model)) for part in (tasks[:1], tasks[1:], tasks)
    ]
    assert all(isinstance(answer, FirstRate) and not answer.is_limit for answer in answers)
    for name, answer in enumerate(answers):
        server.receive(answer.to_bytes(), name)
    server.close()
    rate = server.learner.initial_learning_rate
    assert rate == sorted(answer.rate for answer in answers)[1]
    twin = trainer(own_model := model_of())
    own = at.MetaOptimizer(own_model.parameters())
    while own.n_tasks == 0:
        for task in tasks:
            with own.task() as optimizer:
                twin(optimizer, task)
        own.step()
    assert 0.1 < rate / own.learners[0].initial_learning_rate < 10.0
    # Again, as if the round had been lost; and then tasks at the rate.
    again = meta.answer(Round.of(server_of(model).learner, 0), tasks[:1], trainer(model))
    assert again.rate == answers[0].rate
    assert isinstance(meta.answer(server.round(), tasks, trainer(model)), Reply)


def test_new_tasks_get_the_rule_of_the_server(rng):
    tasks = tasks_of(rng)
    model, away = model_of(), model_of(1)
    meta = at.MetaOptimizer(model.parameters(), learning_rate=0.01)
    for task in tasks:
        with meta.task() as optimizer:
            trainer(model)(optimizer, task)
    meta.step()
    learner = meta.learners[0]
    there = at.MetaOptimizer(away.parameters())
    there.follow(Round.from_bytes(Round.of(learner, 3, personal=True).to_bytes()))
    ends = []
    for one, net in ((meta, model), (there, away)):
        trainer(net)(one.rule(), tasks[0])
        ends.append([p.detach().numpy().copy() for p in net.parameters()])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_task_that_fails_is_counted_by_the_server(rng):
    x, y = tasks_of(rng, 1)[0]
    model = model_of()
    server, meta = server_of(model, learning_rate=0.01), at.MetaOptimizer(model.parameters())
    broken = (x * np.inf, y)
    server.receive(meta.answer(server.round(), [(x, y), broken], trainer(model)).to_bytes(), "a")
    report = server.close()
    assert (report.n_tasks, report.n_skipped) == (1, 1)


@pytest.mark.parametrize(
    ("sent", "error", "message"),
    [
        (b"", TypeError, "`round` must be a Round"),
        (
            np.zeros(3, np.float32),
            ValueError,
            "got 3 parameters of float32, expected 26 of float32",
        ),
        (np.zeros(26), ValueError, "got 26 parameters of float64, expected 26 of float32"),
    ],
)
def test_a_round_of_something_else_is_refused(sent, error, message):
    model = model_of()
    meta = at.MetaOptimizer(model.parameters())
    before = [p.clone() for p in model.parameters()]
    if isinstance(sent, np.ndarray):
        sent = Round.of(af.MetaLearner(sent, learning_rate=0.1), 0)
    with pytest.raises(error, match=message):
        meta.follow(sent)
    assert all(map(torch.equal, before, model.parameters()))


def test_a_number_for_the_rate_is_not_asked():
    model = model_of()
    meta = at.MetaOptimizer(model.parameters(), learning_rate=0.1)
    with pytest.raises(ValueError, match="expected learning_rate='auto'"):
        meta.follow(server_of(model).round())
    with pytest.raises(ValueError, match="`tasks` must hold a task"):
        meta.answer(server_of(model).round(), [], print)
