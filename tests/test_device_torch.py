"""The meta-state of a PyTorch model on a CUDA device: the same bits as in host memory."""

from __future__ import annotations

import copy

import device
import numpy as np
import pytest
import torch_models  # noqa: F401  (skips these tests where there is no PyTorch)

from aruba_fast._state import Hyperparameters
from aruba_fast.torch._flat import FlatState

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]
BLOCKS = [
    (37, Hyperparameters(0.1, 1.0, 1.0, 0.1, False, None)),
    (5, Hyperparameters(0.5, 2.0, 0.4, 0.0, True, 0.3)),
    (100, Hyperparameters(0.1, 1.0, 1.0, 0.0, True, None)),
]
N = sum(n for n, _ in BLOCKS)


def both(phi):
    return FlatState.first(phi, BLOCKS), FlatState.first(device.array(phi), BLOCKS)


def run_task(states, rng, bad=False):
    """A task with the same result in every state."""
    theta_hat, grad_sq = rng.standard_normal((2, N)).astype(np.float32)
    grad_sq = np.square(grad_sq)
    if bad:
        theta_hat[40] = np.nan
    for state in states:
        made = [
            device.array(v) if state.learners[0].device != "cpu" else v
            for v in (theta_hat, grad_sq)
        ]
        for row, values in zip(state.next_run(), made, strict=True):
            row[...] = values
        state.keep_run(float(1 + theta_hat[0] ** 2) if not bad else 1.0)


def assert_same(one, other):
    found = [{k: device.host(v) for k, v in s.export().items()} for s in (one, other)]
    assert found[0].keys() == found[1].keys()
    for name, values in found[0].items():
        np.testing.assert_array_equal(values, found[1][name], err_msg=name)


def test_rounds_in_blocks_have_the_same_bits(rng):
    states = both(rng.standard_normal(N).astype(np.float32))
    for meta_step in (None, 0.5):
        for k in range(4):
            run_task(states, rng, bad=k == 1)
        for state in states:
            state.apply(None, meta_step)
        assert_same(*states)
    assert states[1].learners[0].device.startswith("cuda")
    assert [learner.n_skipped for learner in states[1].learners] == [2, 2, 2]


def test_an_open_round_is_copied_and_restored(rng):
    states = both(rng.standard_normal(N).astype(np.float32))
    run_task(states, rng)
    run_task(states, rng)
    twin = copy.deepcopy(states[1])
    assert_same(states[0], twin)
    again = FlatState.first(device.array(np.zeros(N, np.float32)), BLOCKS)
    again.restore({name: device.host(v) for name, v in states[1].export().items()})
    for state in (*states, twin, again):
        state.apply(None, 1.0)
    for other in (states[1], twin, again):
        assert_same(states[0], other)
