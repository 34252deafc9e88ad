"""A small table of people in the schema of `aruba_fast.datasets`, to spoil in any way wanted."""

import json

import numpy as np


def small_table(n_tasks=12, size=5, seed=0, **changes):
    """People whose slopes agree and whose intercepts differ."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), size)
    x = rng.standard_normal((len(task), 3))
    y = x @ [1.0, -1.0, 0.5] + rng.standard_normal(n_tasks)[task]
    arrays = {
        "x": x,
        "y": y,
        "task": task.astype(np.int32),
        "task_names": np.array([f"person {k}" for k in range(n_tasks)]),
        "feature_names": np.array(["a", "b", "c"]),
        "info": np.array(json.dumps({"source": "made up"})),
    }
    return {name: value for name, value in (arrays | changes).items() if value is not None}


def written(path, **changes):
    np.savez(path, **small_table(**changes))
    return path
