"""SuperLink and three SuperNodes on loopback: the same bits, and what is killed is not lost."""

from __future__ import annotations

import numpy as np
import pytest
from flower_nodes import Deployment
from optional import need
from same_learner import assert_same_bits, one_process
from test_flower import environment

import aruba_fast as af
from aruba_fast.federated import Server

need("aruba_fast.flower")


@pytest.fixture
def deployment(tmp_path):
    made = Deployment(tmp_path, environment(tmp_path))
    try:
        yield made
    finally:
        made.end()


def version_of(deployment):
    return Server.load(deployment.state).version if deployment.state.exists() else -1


def twin_of(rounds):
    """What a server learns of the nodes that each round has."""
    from flower_people import D, of_node

    twin = Server(af.MetaLearner(np.zeros(D)))
    for nodes in rounds:
        for k in nodes:
            twin.receive(twin.round().answer(of_node(k, 3), loss="squared"), str(k))
        twin.close()
    return twin


@pytest.mark.slow
def test_nodes_and_servers_that_are_killed(deployment):
    """One node dies in the middle of a round; the server dies in another, and goes on."""
    from flower_people import people

    for k in range(3):
        deployment.node(k)
    # The first three rounds: nothing happens.
    deployment.run(rounds=3)
    deployment.wait(lambda: version_of(deployment) == 3)
    assert_same_bits(Server.load(deployment.state).learner, one_process(people(), 2))
    # In round 3 node 2 is killed while it runs its tasks. In round 4, which lasts long on node 1,
    # the app of the server is killed, and begun again.
    (deployment.folder / "trouble-2-3").write_text("100")
    (deployment.folder / "trouble-1-4").write_text("100")
    deployment.run(rounds=6, timeout=10.0)
    deployment.wait((deployment.folder / "trouble-2-3.begun").exists)
    deployment.kill("node-2")
    deployment.wait((deployment.folder / "trouble-1-4.begun").exists)
    assert version_of(deployment) == 4
    deployment.kill_server_app()
    deployment.kill("node-1")  # still at work for the server that is no more
    deployment.node(1)
    deployment.node(2)
    deployment.run(rounds=6, timeout=20.0)
    deployment.wait(lambda: version_of(deployment) == 6)
    server = Server.load(deployment.state)
    everybody = [0, 1, 2]
    assert_same_bits(server.learner, twin_of([everybody] * 3 + [[0, 1]] + [everybody] * 2).learner)
    assert server.learner.n_tasks == 2 * 24 + 16 + 2 * 24
