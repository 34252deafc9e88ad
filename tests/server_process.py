"""A server that runs rounds until it is killed: `python server_process.py FILE N_ROUNDS`."""

import sys
from pathlib import Path

import numpy as np
from test_server import D, one_round, people_of

import aruba_fast as af
from aruba_fast.federated import Server


def people():
    return people_of(np.random.default_rng(3))


if __name__ == "__main__":
    path, n_rounds = Path(sys.argv[1]), int(sys.argv[2])
    learner = af.MetaLearner(np.zeros(D))
    server = Server.load(path) if path.exists() else Server(learner, path=path)
    while server.version < n_rounds:
        one_round(server, people())
        print(server.version, flush=True)
