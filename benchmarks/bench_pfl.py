"""How long does a round of pfl, or of Flower, take for each user, when users are small?"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from race import Arrays, Entrant, Work, cases, measure, need

import aruba_fast as af
from aruba_fast.federated import Round, Server

N_USERS, M, D = 2000, 4, 8


class Inputs(NamedTuple):
    """People of a few rows, and a server that knows how far they go."""

    tasks: af.Tasks
    learner: af.MetaLearner


def inputs() -> Inputs:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N_USERS, M, D))
    own = 1.0 + 0.3 * rng.standard_normal((N_USERS, D))
    y = np.einsum("tmd,td->tm", x, own) + 0.1 * rng.standard_normal((N_USERS, M))
    tasks, learner = af.Tasks(x, y), af.MetaLearner(np.zeros(D), learning_rate=0.05)
    run = af.run_tasks(tasks, learner.phi, learner.rule(None), loss="squared")
    learner.update(run, weights=run.weight)
    return Inputs(tasks, learner)


def copy_of(learner: af.MetaLearner) -> af.MetaLearner:
    copy = af.MetaLearner.__new__(af.MetaLearner)
    copy.__setstate__(learner.__getstate__())
    return copy


def sums(told: Iterable[np.ndarray]) -> Arrays:
    """What a learner takes in of a round."""
    return dict(zip(("distance", "grad_sq", "delta"), told, strict=True))


def engine(i: Inputs) -> Entrant:
    """`run_tasks` and its sums: what has to be computed."""
    sent, last = Round.of(i.learner, 0), []

    def run() -> None:
        last[:] = [sent.answer(i.tasks, loss="squared")]

    return Entrant(run, lambda: sums([last[0].distance, last[0].grad_sq, last[0].delta]))


def in_pfl(i: Inputs, backend: str, data: str, algorithm: str = "ours") -> Entrant:
    """A round of a whole cohort by one of pfl's backends or ours."""
    need("pfl")
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.common_types import Population
    from pfl.context import CentralContext
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam.base import AlgorithmHyperParams, ModelHyperParams

    from aruba_fast.pfl import ArubaAlgorithm, ArubaBackend, LinearModel, People

    asked = CentralContext(
        0, False, N_USERS, Population.TRAIN, AlgorithmHyperParams(), ModelHyperParams()
    )
    if data == "People":
        users = People(i.tasks)
    else:
        rows = {k: (task.x, task.y) for k, task in enumerate(i.tasks)}
        users = FederatedDataset.from_slices(rows, get_user_sampler("minimize_reuse", list(rows)))
    runs = {"pfl": SimulatedBackend, "ours": ArubaBackend}[backend](users, users)
    model = LinearModel(copy_of(i.learner), "squared")
    does = ArubaAlgorithm() if algorithm == "ours" else no_algorithm(i)
    last = []

    def run() -> None:
        last[:] = [runs.gather_results(model, does, central_context=asked)[0]]

    return Entrant(run, lambda: sums(last[0].get_weights()[1]))


def no_algorithm(i: Inputs):
    """Users do nothing but to send what they know already: pfl's own share of the time."""
    from pfl.algorithm.base import FederatedAlgorithm
    from pfl.metrics import Metrics
    from pfl.stats import MappedVectorStatistics

    told = {key: value / N_USERS for key, value in expected(i).items()}

    class NoAlgorithm(FederatedAlgorithm):
        def simulate_one_user(self, *asked):
            del asked
            return MappedVectorStatistics(dict(told)), Metrics()

        def get_next_central_contexts(self, *args, **kwargs):
            raise NotImplementedError

        def process_aggregated_statistics(self, *args):
            raise NotImplementedError

    return NoAlgorithm()


@cache
def on_nodes(n_nodes: int) -> list[af.Tasks]:
    """The users of each node, as one of Flower's processes makes them once."""
    tasks = inputs().tasks
    return [tasks[users] for users in np.array_split(np.arange(N_USERS), n_nodes)]


def of_node(sent: Round, context):
    place, n_nodes = (int(context.node_config[k]) for k in ("partition-id", "num-partitions"))
    return sent.answer(on_nodes(n_nodes)[place], loss="squared")


def simulation(n_nodes: int, pipe) -> None:
    """Flower's simulation, which runs a round whenever it is told to, in a process of its own."""
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    from aruba_fast.flower import ArubaStrategy, client_app

    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # Ray's processes import this file
    logging.getLogger("flwr").setLevel(logging.WARNING)
    app = ServerApp()

    @app.main()
    def main(grid, _):
        first = inputs().learner
        strategy = ArubaStrategy(Server(copy_of(first)), min_nodes=n_nodes, form="pairs")
        while True:
            pipe.recv()
            strategy.server = Server(copy_of(first), meta_step=1.0)
            strategy.start(grid, num_rounds=1, timeout=600)
            now = strategy.server.learner
            pipe.send([now.b - first.b, now.g - first.g, M * N_USERS * (now.phi - first.phi)])

    run_simulation(app, client_app(of_node), n_nodes)


def in_flower(n_nodes: int, _: Inputs) -> Entrant:
    """A round of all nodes of Flower's simulation, which has begun and knows their names."""
    need("flwr")
    need("ray")
    spawn, last = get_context("spawn"), []
    ours, theirs = spawn.Pipe()
    spawn.Process(target=simulation, args=(n_nodes, theirs), daemon=True).start()

    def run() -> None:
        ours.send("a round")
        last[:] = ours.recv()

    return Entrant(run, lambda: sums(last))


def expected(i: Inputs) -> Arrays:
    """In NumPy, each user by itself: steps, and then the shortening of who goes too far."""
    phi, rate = i.learner.phi, np.broadcast_to(i.learner.learning_rate, D)
    limit = Round.of(i.learner, 0).limit
    out = {name: np.zeros(D) for name in ("distance", "grad_sq", "delta")}
    for task in i.tasks:
        theta, squares = phi.copy(), np.zeros(D)
        for x, y in zip(task.x, task.y, strict=True):
            gradient = (x @ theta - y) * x
            theta -= rate * gradient
            squares += gradient**2
        spread = ((theta - phi) ** 2 / rate + rate * squares).sum()
        assert spread <= limit, "this benchmark has nobody who goes too far"
        out["distance"] += 0.5 * (theta - phi) ** 2
        out["grad_sq"] += squares
        out["delta"] += M * (theta - phi)
    return out


WORKS = [
    Work(
        f"a round of pfl, {N_USERS} users of {M} rows, d = {D}",
        inputs,
        expected,
        {
            "ours": lambda i: in_pfl(i, "ours", "People"),
            "the engine alone": engine,
            "ours, users of pfl": lambda i: in_pfl(i, "ours", "pfl"),
            "pfl's loop, ARUBA": lambda i: in_pfl(i, "pfl", "pfl"),
            "pfl's loop, no algorithm": lambda i: in_pfl(i, "pfl", "pfl", "none"),
            "Flower's simulation, 20 nodes": partial(in_flower, 20),
            "Flower's simulation, 200 nodes": partial(in_flower, 200),
        },
        n_bytes=8 * N_USERS * (M * (D + 1) + 2 * D),
        at_least={"pfl's loop, ARUBA": 100.0, "pfl's loop, no algorithm": 100.0},
        tolerance=1e-9,
        n_units=N_USERS,
        unit="user",
    )
]


@cases(*WORKS)
def test_pfl(benchmark, work, name):
    measure(benchmark, work, name)
