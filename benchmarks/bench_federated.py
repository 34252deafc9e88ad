"""What does a server pay for a reply, and a round for its people in one shard, in many, alone?"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need

import aruba_fast as af
from aruba_fast.federated import Round, Server

N_REPLIES = 10


class Replies(NamedTuple):
    """Where the tasks of some machines have ended, one task each."""

    theta_hat: np.ndarray
    grad_sq: np.ndarray


def replies(d: int) -> Replies:
    rng = np.random.default_rng(d)
    shape = (N_REPLIES, d)
    return Replies(rng.standard_normal(shape, np.float32), rng.random(shape, np.float32))


def mean_of(i: Replies) -> Arrays:
    return {"phi": i.theta_hat.mean(axis=0, dtype=np.float64)}


def ours(form: str, i: Replies) -> Entrant:
    """Distances, squared gradients and steps, checked; rates and phi learned from them."""
    d = i.theta_hat.shape[1]
    zero = np.zeros(d, np.float32)
    sent = Round.of(af.MetaLearner(zero, learning_rate=1.0), 0)
    runs = [af.TaskRun(theta[None], square[None]) for theta, square in zip(*i, strict=True)]
    told = [sent.reply(run).to_bytes(form, seed=k) for k, run in enumerate(runs)]
    last: list[Server] = []

    def run() -> None:
        server = Server(af.MetaLearner(zero, learning_rate=1.0), meta_step=1.0, max_age=0)
        for sender, data in enumerate(told):
            assert server.receive(data, sender) is None
        server.close()
        last[:] = [server]

    return Entrant(run, lambda: {"phi": last[0].learner.phi})


def with_flower(i: Replies) -> Entrant:
    """FedAvg's mean of the models that nodes send, from the bytes on; it learns no rates."""
    need("flwr")
    from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
    from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

    records = [
        RecordDict(
            {"arrays": ArrayRecord({"phi": Array(theta)}), "metrics": MetricRecord({"n": 1})}
        )
        for theta in i.theta_hat
    ]
    last: Arrays = {}

    def run() -> None:
        last["phi"] = aggregate_arrayrecords(records, "n")["phi"].numpy()

    return Entrant(run, lambda: last)


class People(NamedTuple):
    """People of few rows, and the rate they are run at."""

    x: np.ndarray
    y: np.ndarray
    rate: float = 0.01


def people(n: int, d: int) -> People:
    rng = np.random.default_rng(n)
    return People(rng.standard_normal((n, 7, d)), rng.standard_normal((n, 7)))


def fedavg(i: People) -> Arrays:
    """The mean of where everybody ends, in NumPy."""
    theta = np.zeros((len(i.x), i.x.shape[2]))
    for step in range(i.x.shape[1]):
        x = i.x[:, step]
        theta -= i.rate * ((x * theta).sum(1) - i.y[:, step])[:, None] * x
    return {"phi": theta.mean(axis=0)}


def in_shards(n_shards: int, i: People) -> Entrant:
    """All that happens: a round goes out, machines run their people, replies come back as bytes."""
    tasks = af.Tasks(i.x, i.y)
    shards = [tasks[part] for part in np.array_split(np.arange(len(tasks)), n_shards)]
    last: list[Server] = []

    def run() -> None:
        learner = af.MetaLearner(np.zeros(i.x.shape[2]), learning_rate=i.rate)
        server = Server(learner, meta_step=1.0)
        sent = server.round().to_bytes()
        for sender, shard in enumerate(shards):
            told = Round.from_bytes(sent).answer(shard, loss="squared")
            server.receive(told.to_bytes("float32"), sender)
        server.close()
        last[:] = [server]

    return Entrant(run, lambda: {"phi": last[0].learner.phi})


def engine(i: People) -> Entrant:
    """In one process, without a wire."""
    tasks = af.Tasks(i.x, i.y)
    last: list[af.MetaLearner] = []

    def run() -> None:
        learner = af.MetaLearner(np.zeros(i.x.shape[2]), learning_rate=i.rate)
        told = af.run_tasks(tasks, learner.phi, learner.rule(None), loss="squared")
        learner.update(told, weights=told.weight, meta_step=1.0)
        last[:] = [learner]

    return Entrant(run, lambda: {"phi": last[0].phi})


N_PEOPLE, D = 2000, 8
WORKS = [
    *(
        Work(
            f"{N_REPLIES} replies of {d} coordinates",
            partial(replies, d),
            mean_of,
            {
                "ours, float32": partial(ours, "float32"),
                "ours, pairs": partial(ours, "pairs"),
                "ours, bfloat16": partial(ours, "bfloat16"),
                "Flower's FedAvg": with_flower,
            },
            n_bytes=12 * d * N_REPLIES,
            tolerance=2.0**-7,
            n_units=N_REPLIES,
            unit="reply",
        )
        for d in (8, 10_000, 1_000_000)
    ),
    Work(
        f"a round of {N_PEOPLE} people of 7 rows and {D} features",
        partial(people, N_PEOPLE, D),
        fedavg,
        {
            "the engine": engine,
            "one shard": partial(in_shards, 1),
            "20 shards": partial(in_shards, 20),
            "a machine each": partial(in_shards, N_PEOPLE),
        },
        n_bytes=8 * N_PEOPLE * 7 * (D + 1),
        tolerance=1e-5,
        n_units=N_PEOPLE,
        unit="person",
    ),
]


@cases(*WORKS)
def test_federated(benchmark, work, name):
    measure(benchmark, work, name)
