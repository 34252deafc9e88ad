"""Flower's own engines run the rounds: what is learned is what one process learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from optional import need
from same_learner import assert_same_bits, one_process

import aruba_fast as af
from aruba_fast.federated import Server

flower = need("aruba_fast.flower")
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def environment(folder, **more):
    path = os.pathsep.join([str(Path(__file__).parent), str(folder)])
    return {**os.environ, **QUIET, "PYTHONPATH": path, "ARUBA_TEST_FOLDER": str(folder), **more}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "trouble-1-4").write_text("raise")
    script = str(Path(__file__).with_name("flower_simulated.py"))
    done = subprocess.run(
        [sys.executable, script, str(folder)],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads((folder / "told.json").read_text()), done.stderr


def test_a_simulation_learns_what_one_process_learns(simulated):
    """Up to the round in which a node fails; the first one has found the rate."""
    folder, told, _ = simulated
    assert [report["n_tasks"] for report in told["reports"]] == [0, 24, 24, 24, 18, 24]
    twin = Server(af.MetaLearner(np.zeros(6)))
    from flower_people import of_node, people

    for version in range(6):
        for k in range(4):
            if (k, version) != (1, 4):
                twin.receive(twin.round().answer(of_node(k, 4), loss="squared"), str(k))
        twin.close()
        if version == 3:
            assert_same_bits(twin.learner, one_process(people(), 3))
    server = Server.load(folder / "all")
    assert_same_bits(server.learner, twin.learner)
    np.testing.assert_array_equal(told["phi"], server.learner.phi)


def test_a_node_that_raises_is_counted_and_said(simulated):
    _, told, log = simulated
    report = told["reports"][4]
    assert (report["n_replies"], report["n_failed"]) == (3, 1)
    assert report["reasons"] == ["1: " + report["reasons"][0][3:]]
    assert "the disk is full" in report["reasons"][0]
    assert "\n" not in report["reasons"][0]
    assert "1: " in log


def test_people_are_served_better_after_some_steps_of_their_own(simulated):
    _, told, _ = simulated
    assert set(told["metrics"]) == {"2", "4", "6"}
    before = [told["metrics"][k]["before"] for k in ("2", "4", "6")]
    assert all(told["metrics"][k]["after"] < told["metrics"][k]["before"] for k in ("2", "4"))
    assert before[2] < before[0]


def test_the_same_seed_asks_the_same_nodes(simulated):
    _, told, _ = simulated
    assert told["one"] == told["two"]
    assert told["one"] != told["phi"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"server": 3}, TypeError, "`server` must be a Server"),
        ({"n_nodes": 0}, ValueError, "ArubaStrategy: `n_nodes`"),
        ({"min_nodes": 0}, ValueError, "ArubaStrategy: `min_nodes`"),
        ({"form": "float8"}, ValueError, "ArubaStrategy: `form`"),
        ({"evaluate_every": -1}, ValueError, "ArubaStrategy: `evaluate_every`"),
        ({"seed": -1}, ValueError, "ArubaStrategy: `seed`"),
    ],
)
def test_bad_settings_say_so(arguments, error, message):
    with pytest.raises(error, match=message):
        flower.ArubaStrategy(**{"server": Server(af.MetaLearner(np.zeros(2)))} | arguments)


@pytest.mark.parametrize("argument", ["answer", "evaluate", "name"])
def test_an_app_is_made_of_functions(argument):
    with pytest.raises(TypeError, match=f"client_app: `{argument}` must be a function: got 3"):
        flower.client_app(**{"answer": print} | {argument: 3})
