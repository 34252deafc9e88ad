"""One table: whatever engine runs the tasks, the learner is that of one process.

Nodes of Flower's own are in test_flower.py (its simulation) and test_flower_nodes.py (a SuperLink
and three SuperNodes), networks on several processes in test_torch_distributed.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from optional import need
from same_learner import STATE, one_process

import aruba_fast as af
from aruba_fast.federated import FixedPoint, Reply, Round, Server
from aruba_fast.privacy import TaskPrivacy

D, N_PEOPLE, N_ROUNDS = 6, 60, 4
STEP = 0.5


@pytest.fixture
def people(rng):
    sizes = rng.integers(2, 7, N_PEOPLE)
    group = np.repeat(np.arange(N_PEOPLE), sizes)
    x = rng.standard_normal((len(group), D))
    own = 1.0 + np.linspace(0.0, 1.0, D) * rng.standard_normal((N_PEOPLE, D))
    return af.Tasks.from_groups(x, np.einsum("ij,ij->i", x, own[group]), group)


# How people are hidden, with noise that can be made again.
HIDDEN = TaskPrivacy(np.full((2, D), 0.2), 2.0, N_PEOPLE, seed=1)


def first(hidden=None):
    return af.MetaLearner(np.zeros(D), learning_rate="auto" if hidden is None else 0.02)


def server_of(hidden=None):
    return Server(first(hidden), meta_step=STEP, privacy=hidden)


def one_call(people, _):
    learner = first()
    how = {"round_size": N_PEOPLE, "n_passes": N_ROUNDS, "weights": "rows", "meta_step": STEP}
    af.meta_train(people, learner, loss="squared", **how)
    return learner


def by_server(people, _, hidden=None, form="pairs", n_machines=7):
    server = server_of(hidden)
    parts = np.array_split(np.arange(len(people)), n_machines)
    for _ in range(1 + N_ROUNDS):
        for name, part in reversed(list(enumerate(parts))):
            answer = Round.from_bytes(server.round().to_bytes()).answer(
                people[part], loss="squared"
            )
            told = answer.to_bytes(form) if isinstance(answer, Reply) else answer.to_bytes()
            assert server.receive(told, name) is None
        server.close()
    return server.learner


def by_sums_that_nobody_sees_the_parts_of(people, _):
    server = server_of()
    for number in range(1 + N_ROUNDS):
        answers = [server.round().answer(part, loss="squared") for part in people.rounds(10)]
        if number < 2:  # the rate, and what an average task has
            for name, answer in enumerate(answers):
                server.receive(answer, name)
        else:
            form = FixedPoint.of(server.learner, 6, bits=28, clip=300.0, most_weight=100.0)
            words = sum(form.encode(one, seed=k)[0] for k, one in enumerate(answers))
            assert server.receive(form.decode(words, server.version), "all") is None
        server.close()
    return server.learner


def by_dask(people, folder):
    need("pyarrow")
    distributed = need("distributed")
    import pyarrow as pa
    from pyarrow import parquet

    table = {"who": np.repeat(np.arange(N_PEOPLE), people.stops - people.starts), "y": people.y}
    table |= {f"x{j}": people.x[:, j] for j in range(D)}
    parquet.write_table(pa.table(table), folder / "people.parquet", row_group_size=50)
    files = af.datasets.ParquetTasks(folder / "people.parquet", target="y", group="who")
    learner = first()
    with distributed.Client(n_workers=4, processes=False, dashboard_address=":0") as client:
        how = {"round_size": N_PEOPLE, "n_passes": N_ROUNDS, "weights": "rows", "meta_step": STEP}
        need("aruba_fast.dask").meta_train(files, learner, loss="squared", client=client, **how)
    return learner


def by_pfl(people, _, hidden=None, backend="ArubaBackend"):
    pfl = need("aruba_fast.pfl")
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl_people import run

    kind = pfl.ArubaBackend if backend == "ArubaBackend" else SimulatedBackend
    model = pfl.LinearModel(first(hidden), "squared", meta_step=STEP, privacy=hidden)
    data = pfl.People(people)
    run(kind(data, data), model, 1 + N_ROUNDS, cohort=N_PEOPLE)
    return model.learner


def by_pfl_loop(people, folder, hidden=None):
    return by_pfl(people, folder, hidden, backend="SimulatedBackend")


def by_flower(people, _, hidden=None):
    flower = need("aruba_fast.flower")
    from test_flower_strategy import Grid, node_of

    parts = np.array_split(np.arange(len(people)), 5)
    grid = Grid({k: node_of(k, people[part]) for k, part in enumerate(parts)})
    strategy = flower.ArubaStrategy(server_of(hidden), form="pairs")
    strategy.start(grid, num_rounds=1 + N_ROUNDS, timeout=1)
    return strategy.server.learner


def rounded(form):
    return lambda people, folder, hidden=None: by_server(people, folder, hidden, form)


def one_machine(people, folder, hidden=None):
    return by_server(people, folder, hidden, n_machines=1)


def by_torch(people, _, hidden=None):
    """Machines whose model is PyTorch's, and steps those of the linear model."""
    need("torch")
    import torch

    from aruba_fast.torch import MetaOptimizer

    weight = torch.nn.Parameter(torch.zeros(D, dtype=torch.float64))
    meta, server = MetaOptimizer([weight]), server_of(hidden)

    def train(optimizer, task):
        for x, y in zip(torch.tensor(task.x), torch.tensor(task.y), strict=True):
            optimizer.zero_grad()
            ((x @ weight - y).square() / 2).backward()
            optimizer.step()

    for _ in range(1 + N_ROUNDS):
        sent = Round.from_bytes(server.round().to_bytes())
        for name, part in enumerate(np.array_split(np.arange(len(people)), 3)):
            told = meta.answer(sent, [people[[k]] for k in part], train)
            assert server.receive(told, name) is None
        server.close()
    return server.learner


# The engine, and how far from one process its learner may be: of each number, relative to itself.
ENGINES = {
    "meta_train": (one_call, 0.0),
    "a server and seven machines": (by_server, 0.0),
    "replies as float32": (rounded("float32"), 1e-6),
    "replies as bfloat16": (rounded("bfloat16"), 0.02),
    "fixed point": (by_sums_that_nobody_sees_the_parts_of, 1e-4),
    "Flower's strategy": (by_flower, 0.0),
    "pfl's loop": (by_pfl_loop, 0.0),
    "pfl, whole cohorts": (by_pfl, 0.0),
    "Dask, four workers": (by_dask, 0.0),
}


# The same for people who are hidden, beside a server with one machine.
HIDING = {
    "seven machines": (by_server, 0.0),
    "replies as float32": (rounded("float32"), 1e-5),
    "replies as bfloat16": (rounded("bfloat16"), 0.05),
    "PyTorch": (by_torch, 1e-9),
    "Flower's strategy": (by_flower, 0.0),
    "pfl's loop": (by_pfl_loop, 0.0),
    "pfl, whole cohorts": (by_pfl, 0.0),
}


@pytest.fixture
def flowers(monkeypatch, request):
    """What Flower's strategy needs of a run, where there is none."""
    if "Flower" in request.node.callspec.params["engine"]:
        need("aruba_fast.flower")
        from test_flower_strategy import of_a_run

        of_a_run(monkeypatch)


@pytest.mark.usefixtures("flowers")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_learner_is_that_of_one_process(engine, people, tmp_path):
    run, bound = ENGINES[engine]
    assert_like(run(people, tmp_path), one_process(people, N_ROUNDS, meta_step=STEP), bound)


@pytest.mark.usefixtures("flowers")
@pytest.mark.parametrize("engine", HIDING)
def test_people_are_hidden_alike(engine, people, tmp_path):
    run, bound = HIDING[engine]
    there, here = run(people, tmp_path, HIDDEN), one_machine(people, tmp_path, HIDDEN)
    assert here.n_tasks == N_PEOPLE * (1 + N_ROUNDS)
    assert_like(there, here, bound)


def assert_like(there, here, bound):
    for name in STATE:
        one, other = getattr(there, name), getattr(here, name)
        if bound:
            np.testing.assert_allclose(one, other, bound, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)
