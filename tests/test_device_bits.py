"""Everything that computes, on a CUDA device: the workload of test_same_bits.py, hash for hash."""

from __future__ import annotations

from functools import partial

import device
import numpy as np
import pytest
import workload

import aruba_fast as af

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("on_device")]


def put(values):
    return values.to("cuda") if isinstance(values, af.Tasks) else device.array(values)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["kernels", "engine", "extremes", "reductions", "online"])
def test_the_workload_has_the_cpus_bits(part):
    run = getattr(workload, part)
    if part == "engine" and not device.REAL:
        run = partial(run, n_tasks=10)  # a warp a task: more of them are only slower to emulate
    with np.errstate(all="ignore"):
        expected = dict(run(np.random.default_rng(5)))
        got = dict(run(np.random.default_rng(5), put))
    assert len(expected) >= 10
    assert set(got) == set(expected)
    assert [what for what in expected if got[what] != expected[what]] == []
