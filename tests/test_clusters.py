"""The recipes of docs/clusters.md, run as they stand there: the bits of one process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from documentation import ROOT, require_page
from optional import need
from same_learner import assert_same_bits
from test_parquet import in_memory, table, written

import aruba_fast as af

SIZES = [7] * 60
STAND_IN = '''
import pickle



class Sent:
    """A copy of what was sent, made where it is read."""

    def __init__(self, value):
        self.data = pickle.dumps(value)

    value = property(lambda self: pickle.loads(self.data))


class SparkContext:
    getOrCreate = classmethod(lambda cls: cls())
    broadcast = staticmethod(Sent)

    def parallelize(self, items, n_partitions):
        self.items = [pickle.loads(pickle.dumps(item)) for item in items]
        assert len(self.items) == n_partitions
        return self

    def map(self, function):
        self.items = [pickle.dumps(function(item)) for item in self.items]
        return self

    def collect(self):
        return [pickle.loads(item) for item in self.items]
'''


def recipe(name):
    require_page("docs/clusters.md")
    page = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
    return re.search(rf"^```python {name}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def folder(tmp_path):
    """Three files of whole people."""
    (tmp_path / "people").mkdir()
    written(tmp_path / "people", table(SIZES), [7 * 20, 7 * 45])
    return tmp_path


@pytest.mark.parametrize("engine", ["ray", "spark"])
def test_a_recipe_learns_what_one_process_learns(engine, folder):
    if engine == "ray":
        need("ray")
    elif find_spec("pyspark") is None:
        (folder / "pyspark.py").write_text(STAND_IN)
    (folder / "recipe.py").write_text(recipe(f"people_on_{engine}.py"))
    run = subprocess.run(
        [sys.executable, "recipe.py"],
        cwd=folder,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "ARUBA_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    people = in_memory(table(SIZES))
    alone = af.MetaLearner(np.zeros(people.n_features))
    alone.first_rate(people[:20], loss="squared")
    for _ in range(10):
        ran = af.run_tasks(people, alone.phi, alone.rule(coef=None), loss="squared")
        alone.apply(alone.statistics(ran))
    assert_same_bits(af.MetaLearner.load(folder / "learner.safetensors"), alone)
