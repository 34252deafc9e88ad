"""Tasks of a round spread over processes: the bits of one process that runs them in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import ranks
from documentation import ROOT, require_page
from rank_rounds import CASES, SIZES, all_sizes, states

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return ranks.run(7, all_sizes, store=tmp_path_factory.mktemp("ranks") / "store")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", SIZES)
def test_every_rank_has_the_bits_of_one_process(found, size, case):
    hyper, rounds = CASES[case]
    alone = states(hyper, rounds, lambda first, n: range(first, first + n))
    if case.startswith("search"):
        assert alone[0]["first"][0] == 0.0 < alone[-1]["first"][0]
        assert alone[-1]["counts"].any()
    else:
        assert alone[-1]["counts"][0].sum() == sum(rounds)
        assert alone[-1]["counts"][0, 1] > 0
    for rank in range(size):
        for number, (its, own) in enumerate(zip(found[rank][size, case], alone, strict=True)):
            for name, values in own.items():
                np.testing.assert_array_equal(
                    its[name], values, err_msg=f"{name}, rank {rank}, round {number}"
                )


def test_the_example_writes_the_same_file_on_one_process_and_on_two(tmp_path):
    """The script of the page, started as a reader starts it."""
    require_page("docs/torch.md")
    page = (ROOT / "docs/torch.md").read_text()
    found = re.search(r"^```python few_shot.py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    written, lines = [], []
    for size in (1, 2):
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / "few_shot.py").write_text(found[1])
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        for _ in range(3):
            run = subprocess.run(
                [*torchrun, f"--nproc-per-node={size}", "few_shot.py"],
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=120,
            )
            # Seen once in many runs: a rank of PyTorch's own aborts while it takes its group down.
            if "terminate called without an active exception" not in run.stderr:
                break
        assert run.returncode == 0, run.stderr
        written.append((folder / "meta.safetensors").read_bytes())
        lines.append(re.fullmatch(r"error ([\d.]+) on new tasks, after (\d+)\n", run.stdout))
    assert written[0] == written[1]
    for line in lines:
        assert 500 < int(line[2]) <= 600
        assert float(line[1]) < 2.5  # an untrained one has 4
