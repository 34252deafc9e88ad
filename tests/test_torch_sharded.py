"""A model sharded by FSDP2: the bits of one that is not, each rank with its own shards."""

from __future__ import annotations

import numpy as np
import pytest
import ranks
from rank_shards import (
    CASES,
    KEPT,
    N_TASKS,
    OF_SIZE,
    ROUNDS,
    all_cases,
    learned,
    model_of,
    refusals,
    watched,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def all_found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return {n: ranks.run(n, all_cases, n, store=folder / f"store{n}") for n in OF_SIZE}


@pytest.mark.parametrize(("size", "case"), [(n, case) for n in OF_SIZE for case in OF_SIZE[n]])
def test_shards_have_the_bits_of_the_whole_model(all_found, size, case):
    found = all_found[size]
    whole, counts = learned(model_of(), CASES[case][0], None, CASES[case][1])
    assert counts == (ROUNDS * N_TASKS - 1, 1)
    assert any(not part.size for part in found[-1][case][0]["model"]), "no shard is empty"
    for rank in found:
        assert rank[case][1] == counts
    for name in (*KEPT, "model", "rule"):
        for i, expected in enumerate(whole[name]):
            together = np.concatenate([rank[case][0][name][i] for rank in found])
            np.testing.assert_array_equal(together, expected, err_msg=f"{name} of parameter {i}")


def test_what_shards_cannot_do_is_refused(tmp_path):
    in_part = "MetaOptimizer: `params` must all be sharded over one dimension of one mesh where"
    messages = [
        *[("ValueError", in_part)] * 3,
        ("ValueError", "MetaOptimizer: `learning_rate` must be 'auto' for all groups of sharded"),
        ("ValueError", "MetaOptimizer.statistics: the model must be whole on this process: got"),
        *[("ValueError", "must run the same tasks from the same state: got other tasks")] * 2,
    ]
    for told, same in ranks.run(2, refusals, 2, store=tmp_path / "store"):
        assert same
        for raised, (kind, message) in zip(told, messages, strict=True):
            assert raised is not None, message
            assert raised[0] == kind
            assert message in raised[1]


def test_a_step_of_shards_asks_pytorch_for_no_operator_and_tells_autograd(tmp_path):
    """DTensor's dispatch costs tens of microseconds a parameter."""
    for operators, told, empty, error in ranks.run(2, watched, 2, store=tmp_path / "store"):
        assert operators == []
        for (outer, inner), nothing in zip(told, empty, strict=True):
            assert outer == 2
            assert inner == (0 if nothing else 2)
        assert "modified by an inplace operation" in error
