"""ARUBA in pfl for a PyTorch model: what users teach is what one model learns."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from optional import need

import aruba_fast as af

torch = need("torch")
at = need("aruba_fast.torch")
ap = need("aruba_fast.pfl")
# ruff: noqa: E402
from pfl.aggregate.simulate import SimulatedBackend
from pfl.data.dataset import Dataset
from pfl_people import BACKENDS, D, Seen, people_of, pfl_dataset, run
from same_learner import STATE, assert_same_bits

N_USERS = 5


def users_of(rng):
    """Users of 4 to 8 rows, whose lines have slopes of their own."""
    users = {}
    for k in range(N_USERS):
        x = rng.standard_normal((4 + k, 3)).astype(np.float32)
        users[str(k)] = (x, k + x.sum(1, keepdims=True))
    return users


def net(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))


def loss_of(model, raw):
    x, y = (torch.as_tensor(part) for part in raw)
    return torch.nn.functional.mse_loss(model(x), y)


def trainer(model):
    def train(optimizer, dataset):
        for _ in range(4):
            optimizer.zero_grad()
            loss_of(model, dataset.raw_data).backward()
            optimizer.step()

    return train


def model_of(seed=1, **hyper):
    """pfl's model, which starts where net() does, over another network."""
    here = net(seed)
    meta = at.MetaOptimizer(here.parameters())
    parameters = list(net().parameters())
    phi = torch.cat([p.detach().ravel() for p in parameters]).numpy()
    sizes = [p.numel() for p in parameters]
    return ap.TorchModel(
        af.MetaLearner(phi, bound="tight", tensors=sizes, **hyper),
        meta,
        trainer(here),
        metrics={"squared error": lambda data: float(loss_of(here, data.raw_data).detach())},
    )


def alone(users, n_rounds, rate):
    model = net()
    meta = at.MetaOptimizer(model.parameters(), learning_rate=rate)
    for _ in range(n_rounds):
        for raw in users.values():
            with meta.task(weight=len(raw[0])) as optimizer:
                trainer(model)(optimizer, Dataset(raw))
        meta.step()
    return model, meta


@pytest.mark.parametrize("backend", BACKENDS)
def test_users_teach_what_one_model_learns(backend, rng):
    """To the bit."""
    users = users_of(rng)
    data = pfl_dataset(users)
    model = run(BACKENDS[backend](data, data), model_of(learning_rate=0.01), 4, cohort=N_USERS)
    assert_same_bits(model.learner, alone(users, 4, 0.01)[1].learners[0])


def test_the_first_round_finds_the_rate(rng):
    data = pfl_dataset(users_of(rng))
    model = run(SimulatedBackend(data, data), model_of(), 3, cohort=N_USERS)
    # As one model finds it, from each user, and then the middle one of theirs.
    asked = model_of()
    rates = [asked.answer([user]).rate for user, _ in data.get_cohort(N_USERS)]
    assert model.learner.initial_learning_rate == sorted(rates)[N_USERS // 2]
    assert model.learner.n_tasks == 2 * N_USERS


def test_users_are_evaluated_before_and_after_personalization(rng):
    users, told = users_of(rng), []
    for backend in BACKENDS.values():
        seen, data = Seen(), pfl_dataset(users)
        model = model_of(learning_rate=0.01)
        run(backend(data, data), model, 3, [seen], cohort=N_USERS, evaluated=N_USERS, every=2)
        told.append(seen.rounds)
    for one, other in zip(*told, strict=True):
        assert one == pytest.approx(other, rel=1e-12)
    net_alone, meta = alone(users, 2, 0.01)
    sums = np.zeros(2)
    for x, y in users.values():
        half = len(x) // 2
        held_out = (x[half:], y[half:])
        meta.restore()
        sums[0] += float(loss_of(net_alone, held_out).detach()) * len(held_out[0])
        trainer(net_alone)(meta.rule(), Dataset((x[:half], y[:half])))
        sums[1] += float(loss_of(net_alone, held_out).detach()) * len(held_out[0])
    rows = sum(len(x) - len(x) // 2 for x, _ in users.values())
    for mean, when in zip(sums / rows, ("before", "after"), strict=True):
        name = f"val population | val set | squared error {when} local training"
        np.testing.assert_allclose(told[0][2][name], mean, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_user_who_fails_or_has_nothing_harms_nobody(backend, rng):
    users = users_of(rng)
    users["1"] = (np.full((4, 3), np.inf, np.float32), users["1"][1][:4])
    users["2"] = tuple(part[:0] for part in users["2"])
    seen, data = Seen(), pfl_dataset(users)
    model = model_of(learning_rate=0.01)
    asked = {"cohort": N_USERS, "evaluated": N_USERS}
    run(BACKENDS[backend](data, data), model, 3, [seen], **asked)
    last = seen.rounds[-1]
    assert (last["ARUBA | n_tasks"], last["ARUBA | n_skipped"]) == (N_USERS - 2, 1)
    assert last["val population | val set | users not finite before local training"] == 1
    for name in STATE:
        assert np.isfinite(getattr(model.learner, name)).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"meta": 3}, TypeError, "TorchModel: `meta` must be a MetaOptimizer"),
        ({"train": 3}, TypeError, "TorchModel: `train` must be a function"),
        ({"weights": "users"}, ValueError, "TorchModel: `weights`"),
        ({"learner": af.MetaLearner(np.zeros(3))}, ValueError, "expected 26 of float32"),
    ],
)
def test_bad_input_says_so(change, error, message):
    model = net()
    given = {
        "learner": af.MetaLearner(np.zeros(26, np.float32)),
        "meta": at.MetaOptimizer(model.parameters()),
        "train": trainer(model),
    }
    with pytest.raises(error, match=message):
        ap.TorchModel(**given | change)


def test_statistics_are_tensors_where_pfl_computes_with_pytorch():
    """pfl knows one framework in a process, so that this is a process of its own."""
    code = """
        import numpy as np, torch, aruba_fast as af
        import pfl.model.pytorch  # from now on pfl's framework is PyTorch
        from aruba_fast.pfl import ArubaStatistics
        from aruba_fast.federated import Round
        from pfl.privacy.gaussian_mechanism import GaussianMechanism

        rng = np.random.default_rng(0)
        sent = Round.of(af.MetaLearner(np.zeros(4), learning_rate=0.5), 0)
        run = af.TaskRun(rng.standard_normal((9, 4)), rng.standard_normal((9, 4)) ** 2)
        told = ArubaStatistics(sent.reply(run))
        known, vectors = told.get_weights()
        assert all(v.dtype == torch.float64 for v in (known, *vectors))
        back = told.from_weights(known, vectors).reply
        assert np.array_equal(back.delta, told.reply.delta)
        assert (back.n_tasks, back.weight) == (9, 9.0)
        clipped, _ = GaussianMechanism(1e-3, 1.0).constrain_sensitivity(told)
        norm = np.sqrt(sum(float((v**2).sum()) for v in clipped.get_weights()[1]))
        assert abs(norm - 1e-3) < 1e-9
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_processes_of_pfl_learn_the_same(tmp_path):
    """Between them pfl sends float32, and each ends where one process does, within that."""
    script = tmp_path / "worker.py"
    script.write_text(
        textwrap.dedent("""
        import sys, numpy as np, torch
        import pfl.model.pytorch
        import aruba_fast as af
        from aruba_fast.pfl import ArubaBackend, People
        from pfl_people import model_of, people_of, run

        users = People(people_of(np.random.default_rng(0)))
        backend = ArubaBackend(users, users)
        model = run(backend, model_of(hyper={"learning_rate": 0.05}), 5, evaluated=10)
        model.learner.save(f"{sys.argv[1]}/{torch.distributed.get_rank()}")
        """)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run(
        [*command, "--nproc-per-node", "2", str(script), str(tmp_path)],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    one, other = (af.MetaLearner.load(tmp_path / rank) for rank in "01")
    assert_same_bits(one, other)
    people = people_of(np.random.default_rng(0))
    expected = af.MetaLearner(np.zeros(D), learning_rate=0.05)
    for _ in range(5):
        ran = af.run_tasks(people, expected.phi, expected.rule(None), loss="squared")
        expected.update(ran, weights=ran.weight)
    assert one.n_tasks == expected.n_tasks
    for name in STATE:
        np.testing.assert_allclose(getattr(one, name), getattr(expected, name), rtol=1e-6)
