"""The command `diagnose`: tables and pictures of saved learners and models."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from optional import need
from PIL import Image

import aruba_fast as af


def command(*arguments):
    program = "from aruba_fast_reproductions.cli import main; main()"
    given = [sys.executable, "-c", program, "diagnose", *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True)


def test_the_command_shows_and_draws_a_learner(tmp_path):
    learner = af.MetaLearner(np.zeros(40), learning_rate=0.1, zeta=1e3)
    for _ in range(100):
        learner.update(af.TaskRun(np.full((1, 40), 0.1), np.ones((1, 40))))
    learner.save(tmp_path / "learner.safetensors")
    done = command(tmp_path / "learner.safetensors", "--figure", tmp_path / "rates.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == str(learner.diagnose()).split()
    with Image.open(tmp_path / "rates.png") as picture:
        assert picture.width > 1000
        assert len(picture.getcolors(1 << 16)) > 10


def test_the_command_shows_and_draws_a_model(tmp_path):
    torch = need("torch")
    from aruba_fast.torch import MetaOptimizer

    torch.manual_seed(0)
    layers = torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)
    model = torch.nn.Sequential(*layers)
    groups = [
        {"params": layers[0].named_parameters(), "max_learning_rate": 9.0},
        {"params": layers[1].named_parameters()},
    ]
    meta = MetaOptimizer(groups)
    for _ in range(55):
        with meta.task() as optimizer:
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.randn(5, 3)).square().sum().backward()
                optimizer.step()
    meta.step()
    meta.save(tmp_path / "model.safetensors")
    found = meta.diagnose()
    assert [tensor.name for tensor in found.tensors] == ["weight", "bias"] * 2
    assert found.first_rate > 0.0
    done = command(tmp_path / "model.safetensors", "--figure", tmp_path / "rates.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == str(found).split()
    assert (tmp_path / "rates.png").read_bytes()[:4] == b"\x89PNG"
    alone = MetaOptimizer(model.parameters(), learning_rate=0.5).diagnose()
    assert [tensor.name for tensor in alone.tensors] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint of anything"])
def test_a_file_that_is_none_is_refused_in_one_sentence(content, tmp_path):
    (tmp_path / "other").write_bytes(content)
    for path in (tmp_path / "other", tmp_path / "absent"):
        done = command(path)
        assert done.returncode == 1
        assert len(done.stderr.strip().split("\n")) == 1
        assert path.name in done.stderr
    done = command(tmp_path / "other", "--figure", tmp_path / "rates.doc")
    assert "must end in a format" in done.stderr
