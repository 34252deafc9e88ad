"""Faults of rounds over processes: all ranks are told, none has learned anything."""

from __future__ import annotations

import numpy as np
import pytest
import ranks
from rank_faults import (
    DEATHS,
    FAULTS,
    SIZE,
    after_a_death,
    again_after_a_refusal,
    all_faults,
    goes_on_without,
)
from rank_rounds import dist, made, one_task

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return ranks.run(SIZE, all_faults, store=tmp_path_factory.mktemp("faults") / "store")


@pytest.mark.parametrize("fault", [fault.__name__ for fault in FAULTS])
def test_all_ranks_are_told_and_nothing_is_learned(found, fault):
    kinds, message = {f.__name__: told for f, told in FAULTS.items()}[fault]
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    for rank in range(SIZE):
        raised, same = found[rank][fault]
        assert raised is not None, f"rank {rank} was told nothing"
        assert raised[0] in {kind.__name__ for kind in kinds}, raised
        assert message in raised[1]
        assert same, f"rank {rank} has changed"


def test_tasks_of_a_step_that_was_refused_still_wait(tmp_path):
    model, meta = made(learning_rate=0.1)
    for number in range(SIZE):
        one_task(meta, model, number)
    meta.step(0.5)
    for phi, n_tasks in ranks.run(SIZE, again_after_a_refusal, store=tmp_path / "store"):
        np.testing.assert_array_equal(phi, meta.learners[0].phi)
        assert n_tasks == SIZE


@pytest.mark.parametrize("number", range(len(DEATHS)), ids=[death.__name__ for death in DEATHS])
def test_a_rank_that_dies_is_an_error_of_the_others_and_changes_nothing(number, tmp_path):
    dead, message = list(DEATHS.values())[number]
    timeout = 10.0
    found = ranks.run(
        SIZE, after_a_death, number, store=tmp_path / "store", timeout=timeout, dying=[dead]
    )
    for rank in {*range(SIZE)} - {dead}:
        raised, same, seconds = found[rank]
        assert raised is not None, f"rank {rank} was told nothing"
        assert raised[0] == "RuntimeError"
        assert message in raised[1]
        assert same
        assert seconds < timeout + 5


@pytest.mark.parametrize("group", [object, 3, dist.GroupMember.NON_GROUP_MEMBER], ids=str)
@pytest.mark.parametrize("call", ["step", "task"])
def test_what_is_no_group_is_refused(group, call):
    model, meta = made(learning_rate=0.1)
    one_task(meta, model, 0)
    message = rf"MetaOptimizer.{call}: `process_group` must be a group that this process is in: got"
    with pytest.raises(TypeError, match=message):
        meta.step(process_group=group) if call == "step" else one_task(meta, model, 1, group)
    meta.step()
    assert meta.n_tasks == 1


def test_the_others_go_on_in_a_group_of_their_own(tmp_path):
    model, meta = made(learning_rate=0.1)
    for number in (0, 2):
        one_task(meta, model, number)
    meta.step(0.5)
    found = ranks.run(SIZE, goes_on_without, store=tmp_path / "store", timeout=10, dying=[1])
    for rank in (0, 2):
        np.testing.assert_array_equal(found[rank][0], meta.learners[0].phi)
        assert found[rank][1] == 2
