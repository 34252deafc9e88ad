"""Runs Flower's simulation in a process of its own: `python flower_simulated.py FOLDER`."""

import json
import sys
from pathlib import Path

from flower_people import client, strategy_of
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation

folder = Path(sys.argv[1])
all_of_them = ServerApp()
told = {}


@all_of_them.main()
def _all(grid, _):
    strategy = strategy_of(folder / "all", evaluate_every=2, min_nodes=4)
    result = strategy.start(grid, num_rounds=6, timeout=60)
    told["reports"] = [vars(report) for report in strategy.reports]
    told["metrics"] = {k: dict(v) for k, v in result.evaluate_metrics_clientapp.items()}
    told["phi"] = result.arrays["phi"].numpy().tolist()
    # Once more, with a few nodes a round and the same seed: the same ones.
    for name in ("one", "two"):
        strategy = strategy_of(folder / name, n_nodes=2, min_nodes=4, seed=7)
        strategy.start(grid, num_rounds=4, timeout=60)
        told[name] = strategy.server.learner.phi.tolist()


if __name__ == "__main__":
    resources = {"client_resources": {"num_cpus": 0.5}}
    run_simulation(all_of_them, client, num_supernodes=4, backend_config=resources)
    (folder / "told.json").write_text(json.dumps(told))
