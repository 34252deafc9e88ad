"""What a server writes and what it sends out: read again as it was, or refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import server_process
from same_learner import assert_same_bits
from test_server import D, one_round, people_of, started, told

import aruba_fast as af
from aruba_fast.federated import Round, Server


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def refused(read, message):
    """Whether reading fails, and in one way."""
    try:
        read()
    except ValueError as error:
        return message in str(error) or pytest.fail(str(error))
    return False


@pytest.mark.parametrize("hyper", [{}, {"zeta": 1.0, "learning_rate": 0.1}])
def test_a_server_goes_on_from_its_file(hyper, rng, tmp_path):
    people = people_of(rng)
    path = tmp_path / "state"
    server = Server(af.MetaLearner(np.zeros(D), **hyper), path=path)
    for _ in range(6):
        late = told(server, people[:2])
        one_round(server, people[2:])
        twin = Server.load(path)
        assert twin.version == server.version
        assert_same_bits(twin.learner, server.learner)
        assert server.receive(late, "late") == twin.receive(late, "late")
        assert_same_bits(one_after(twin, people), one_after(server, people))


def one_after(server, people):
    one_round(server, people[2:])
    return server.learner


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "state"
    af.MetaLearner(np.zeros(D)).save(path)
    with pytest.raises(ValueError, match=r"Server.load: `path` must be what a server has written"):
        Server.load(path)
    Server(af.MetaLearner(np.zeros(D)), path=path)
    data, places = path.read_bytes(), range(0, path.stat().st_size, 7)
    first = Server(af.MetaLearner(np.zeros(D))).round()

    def read():
        assert Server.load(path).round() == first  # a letter of who wrote it

    n_refused = 0
    for at in places:
        path.write_bytes(flipped(data, at))
        n_refused += refused(read, "Server.load: `path` must be what a server has written")
    assert n_refused > 0.9 * len(places)


def test_rounds_come_back_as_they_went(rng):
    people = people_of(rng)
    server = started(people)
    for personal in (False, True):
        sent = server.round(personal=personal)
        back = Round.from_bytes(sent.to_bytes())
        assert back == sent
        assert (back.personal is not None) == personal
    assert back.personal == server.learner.rule()
    asking = Server(af.MetaLearner(np.zeros(2, np.float32))).round(personal=True)
    assert Round.from_bytes(asking.to_bytes()) == asking
    data = sent.to_bytes()
    n_refused = 0

    def read(damaged):
        assert Round.from_bytes(damaged) == sent

    for at in (places := range(0, len(data), 5)):
        damaged = flipped(data, at)
        n_refused += refused(
            lambda d=damaged: read(d), "Round.from_bytes: `data` must be what to_bytes wrote"
        )
    assert n_refused > 0.9 * len(places)


def test_a_server_that_is_killed_at_any_moment_goes_on(rng, tmp_path):
    """Kill -9 in the course of 20 rounds: the file is that of a whole round, always."""
    path, reached = tmp_path / "state", 0
    twin = Server(af.MetaLearner(np.zeros(D)))
    script = [sys.executable, str(Path(__file__).with_name("server_process.py")), str(path), "20"]
    while reached < 20:
        with subprocess.Popen(
            script,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        ) as process:
            for _ in range(rng.integers(1, 4)):
                if not process.stdout.readline():
                    break
            time.sleep(rng.uniform(0.0, 2e-3))  # a round takes about one
            process.kill()
        server = Server.load(path)
        assert server.version > reached
        reached = server.version
        while twin.version < reached:
            one_round(twin, server_process.people())
        assert_same_bits(server.learner, twin.learner)
        assert len(list(tmp_path.iterdir())) <= 2  # beside it what a kill has left
