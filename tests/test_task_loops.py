"""Loops that do nothing but steps, a way for each width of rows, against the one that does all."""

from __future__ import annotations

import numpy as np
import pytest
from cases import (
    DIMENSIONS,
    LOSSES,
    RULES,
    TASK_SIZES,
    dtypes,
    n_parameters,
    pack,
    start,
    task_data,
)

import aruba_fast as af


@dtypes
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("d", [*DIMENSIONS, 129, 600])
def test_what_else_is_wanted_does_not_change_the_steps(loss, rule, dtype, d, rng):
    """Many tasks and few, so that slots are empty; one of them is infinite in its last row."""
    pieces = [task_data(loss, rng, n, d) for n in TASK_SIZES * 2]
    pieces[4][0][-1, d // 2] = np.inf
    phi = start(rng, n_parameters(loss, d)).astype(dtype)
    its_rule = RULES[rule](rng, len(phi))[1](dtype)
    for some in (pieces, pieces[:5]):
        tasks = pack(some, dtype)
        only = af.run_tasks(tasks, phi, its_rule, loss=loss, n_epochs=2)
        more = af.run_tasks(tasks, phi, its_rule, loss=loss, n_epochs=2, average=True)
        for name in ("theta_hat", "grad_sq", "loss"):
            np.testing.assert_array_equal(getattr(only, name), getattr(more, name))
