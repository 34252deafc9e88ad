"""An app of Flower's: people on nodes, as a user would write it; run by the tests of `flower`."""

import os
import time
from pathlib import Path

import numpy as np
from flwr.serverapp import ServerApp

import aruba_fast as af
from aruba_fast.federated import Server
from aruba_fast.flower import ArubaStrategy, client_app

D = 6


def people():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 5, D))
    own = 1.0 + 0.3 * rng.standard_normal((24, D))
    return af.Tasks(x, np.einsum("tij,tj->ti", x, own))


def of_node(k, n):
    return people()[np.array_split(np.arange(24), n)[k]]


def _place(context):
    return int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])


def answer(round, context):
    k, n = _place(context)
    trouble = Path(os.environ["ARUBA_TEST_FOLDER"]) / f"trouble-{k}-{round.version}"
    if trouble.exists():
        what = trouble.read_text()
        trouble.rename(trouble.with_suffix(".begun"))
        if what == "raise":
            raise RuntimeError("the disk is full")
        time.sleep(float(what))
    return round.answer(of_node(k, n), loss="squared")


def evaluate(round, context):
    tasks = of_node(*_place(context))
    run = af.run_tasks(tasks, round.phi, round.personal, loss="squared")
    return {
        "before": af.evaluate(tasks, round.phi, loss="squared").mean(),
        "after": af.evaluate(tasks, run.theta_hat, loss="squared").mean(),
        "num-examples": len(tasks),
    }


def strategy_of(path, **options):
    """That of a server which goes on from its file, if there is one."""
    learner = af.MetaLearner(np.zeros(D))
    server = Server.load(path) if Path(path).exists() else Server(learner, path=path)
    return ArubaStrategy(server, form="pairs", **options)


client = client_app(answer, evaluate)
server = ServerApp()


@server.main()
def main(grid, context):
    config = context.run_config
    strategy = strategy_of(config["path"], min_nodes=config["nodes"])
    strategy.start(
        grid,
        num_rounds=config["rounds"] - strategy.server.version,
        timeout=config["timeout"],
    )
