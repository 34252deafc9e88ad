"""`aruba-fast shakespeare --nodes`: Flower's nodes train, and the bits are those of one process."""

from __future__ import annotations

import os
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from adaptations import ends_like_one_that_was_not_stopped
from optional import need
from roles import SMALL, write_play
from test_cli import aruba_fast
from test_flower_strategy import Grid, of_a_run

flower = need("aruba_fast.flower")
need("torch")
from aruba_fast import checkpoint  # noqa: E402
from aruba_fast.torch import MetaOptimizer  # noqa: E402
from aruba_fast_reproductions.files import read_json  # noqa: E402
from aruba_fast_reproductions.shakespeare import (  # noqa: E402
    SCALES,
    Method,
    ShakespeareJob,
)
from aruba_fast_reproductions.shakespeare import flower as ours  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
N_NODES = 2
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def test_flowers_simulation_trains_to_the_bits_of_one_process(tmp_path, monkeypatch):
    """From the rate that its nodes have found on."""
    need("ray")
    for name, value in QUIET.items():
        monkeypatch.setitem(os.environ, name, value)
    play, n_rounds = write_play(tmp_path / "play.npz", longer=8), 4
    options = {"methods": "aruba", "rounds": n_rounds, "seeds": 1, "nodes": N_NODES}
    options |= {"data": play, "out": tmp_path}
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    run = aruba_fast("shakespeare", *words)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "ARUBA" in run.stdout
    (file,) = tmp_path.glob("aruba-seed0.json")
    found = read_json("shakespeare", file, {})
    assert found["about"]["nodes"] == str(N_NODES)
    assert found["n_tasks"] == SCALES["laptop"].n_clients * (n_rounds - 1)

    job = ShakespeareJob(Method.of("aruba"), 0, SCALES["laptop"], tmp_path, play)
    roles = job.problem()
    meta = MetaOptimizer(roles.network.parameters(), learning_rate=found["first_rate"])
    for number in range(1, n_rounds):
        for task in roles.tasks(number):
            with meta.task(weight=task.weight) as optimizer:
                for loss in task.losses(roles.network):
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        meta.step(meta_step=1.0)
    saved = checkpoint.read(tmp_path / "aruba-seed0.safetensors", "Run")[0]
    for name, own in meta.state_dict()["state"].items():
        np.testing.assert_array_equal(saved[f"meta.{name}"], own.numpy(), err_msg=name)


def test_an_interrupted_job_ends_like_one_that_was_not(tmp_path, monkeypatch):
    of_a_run(monkeypatch)
    play = write_play(tmp_path / "play.npz")

    def grid(job):
        def node(k, message):
            place = {"partition-id": k, "num-partitions": N_NODES}
            return app(message, SimpleNamespace(node_config=place, node_id=k))

        app = flower.client_app(partial(ours.answer, job))
        return Grid({k: partial(node, k) for k in range(N_NODES)})

    monkeypatch.setattr(
        ours,
        "simulated",
        lambda job, n_nodes, run: run(
            partial(ours.FlowerTraining, grid=grid(job), n_nodes=n_nodes)
        ),
    )
    method = Method.of("aruba")
    ends_like_one_that_was_not_stopped(
        lambda folder: ShakespeareJob(method, 0, SMALL, folder, play, nodes=N_NODES),
        tmp_path,
        (1, 9, 25),
    )


def test_rates_that_are_not_learned_need_no_nodes(tmp_path):
    run = aruba_fast("shakespeare", "--nodes", 2, "--data", write_play(tmp_path / "play.npz"))
    assert run.returncode == 1
    assert "shakespeare: `methods` must learn their rates where `nodes` train: got" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
