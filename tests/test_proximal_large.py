"""The proximal rule where parameters are many: memory by rows, and a sentence where that is not."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import aruba_fast as af


def test_a_hundred_thousand_parameters(rng):
    """By rows, which are few: no matrix of parameters by parameters is there."""
    d = 100_000
    x, y = rng.standard_normal((2, 3, d)), rng.standard_normal((2, 3))
    phi, rates = 0.01 * rng.standard_normal(d), rng.random(d) / d
    found = af.run_tasks(af.Tasks(x, y), phi, af.Proximal(rates), loss="squared").theta_hat
    for each, label, theta in zip(x, y, found, strict=True):
        inner = np.eye(3) + (each * rates) @ each.T
        expected = phi + rates * (each.T @ np.linalg.solve(inner, label - each @ phi))
        np.testing.assert_allclose(theta, expected, rtol=1e-9, atol=1e-12)


TOO_LARGE = """
import resource
import numpy as np, aruba_fast as af

x = np.ones((1, 2, 60_000))
tasks = af.Tasks(x, np.ones((1, 2)))
resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
try:
    af.run_tasks(tasks, np.zeros(60_000), af.Proximal(0.1), loss="absolute")
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer reserves more than any limit")
def test_a_task_that_is_too_large_to_be_solved():
    done = subprocess.run([sys.executable, "-c", TOO_LARGE], capture_output=True, text=True)
    assert "run_tasks: `tasks` must be small enough to be solved: got 60000 param" in done.stdout
    assert "GiB, expected fewer features or rows, or a rule that takes steps" in done.stdout
