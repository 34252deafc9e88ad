"""What a model sharded by FSDP2 learns from sums over all coordinates: as one that is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import ranks
from rank_sums import (
    BROKEN,
    CASES,
    N_TASKS,
    RATE,
    ROUNDS,
    SIZES,
    by_default,
    dies_late,
    everything,
    learned,
    model_of,
    replicated,
)

from aruba_fast import _core

pytestmark = pytest.mark.usefixtures("one_thread")

# Sums of terms >= 0 agree to some roundings of float64, and some rounds and roots of them too.
CLOSE = 1e-13


@pytest.fixture(scope="module")
def all_found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sums")
    return {n: ranks.run(n, everything, n, store=folder / f"store{n}") for n in SIZES}


def require_same_model(found, whole, close=CLOSE):
    assert any(not part.size for part in found[-1]["rate"]), "no shard is empty"
    for name, parts in whole.items():
        for i, expected in enumerate(parts):
            together = np.concatenate([rank[name][i] for rank in found])
            np.testing.assert_allclose(
                together, expected, rtol=close, atol=close * 1e-3, err_msg=f"{name} of {i}"
            )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", SIZES)
def test_shards_learn_what_the_whole_model_does(all_found, size, case):
    found = [rank[case] for rank in all_found[size]]
    whole, counts = learned(CASES[case])
    assert counts == (N_TASKS * ROUNDS - len(BROKEN), len(BROKEN))
    assert [its for _, its in found] == [counts] * size
    close = 2.0**-22 if case == "float32" else CLOSE
    require_same_model([state for state, _ in found], whole, close)
    if "rate" in case:  # to the bit of every part of a tensor
        for i in range(len(whole["rate"])):
            assert len({rate for state, _ in found for rate in state["rate"][i].flat}) == 1


@pytest.mark.parametrize("size", SIZES)
def test_every_rank_has_the_same_limit(all_found, size):
    told = [rank["limits"] for rank in all_found[size]]
    assert np.isfinite(told[0]).all()
    for its in told[1:]:
        np.testing.assert_array_equal(its, told[0])


def test_each_replica_of_a_sharded_model_learns_what_the_whole_model_does(tmp_path):
    found = ranks.run(4, replicated, store=tmp_path / "store")
    whole, counts = learned(RATE)
    assert [its for _, its in found] == [counts] * 4
    for replica in (found[:2], found[2:]):
        require_same_model([state for state, _ in replica], whole)


def test_who_is_left_without_the_others_sums_is_told_that_the_round_is_lost(tmp_path):
    store = tmp_path / "store"
    told, _ = ranks.run(2, dies_late, 2, store=store, timeout=10.0, dying=[1])
    assert "MetaOptimizer.step: every process of `process_group` must take part: got" in told
    assert "phi has moved and the rates have not: load the last checkpoint" in told


@pytest.mark.parametrize("size", SIZES)
def test_rounds_go_on_to_the_bit_from_files_of_the_ranks(all_found, size):
    for rank in all_found[size]:
        (found, counts), (other, again) = rank["resumed"]
        assert counts == again
        for name, parts in found.items():
            for one, two in zip(parts, other[name], strict=True):
                np.testing.assert_array_equal(one, two, err_msg=name)


@pytest.mark.parametrize("size", SIZES)
def test_all_defaults_succeed_and_find_the_first_rate_of_the_whole_model(all_found, size):
    found = [rank["defaults"] for rank in all_found[size]]
    whole, (*counts, first) = by_default(model_of())
    assert counts[0] > 0
    for _, (*own, rate) in found:
        assert own == counts
        assert rate == found[0][1][-1]
        # FSDP2 takes the mean of all ranks' gradients, that of three equal ones is rounded.
        assert rate == pytest.approx(first, rel=1e-9)
    require_same_model([state for state, _ in found], whole, 1e-6)


def bound(sizes):
    """Of the error of a sum in segments of 32 lanes, of such parts one after the other."""
    heights = [512 // 32 + 5 + math.ceil(math.ceil(n / 512) / 32) + 5 for n in sizes]
    return (max(heights) + len(sizes)) * 2.0**-53


@pytest.mark.parametrize("sizes", [[5, 0, 8], [700, 1], [511, 2, 40_000], [1] * 9])
def test_sums_of_shards_are_within_their_bound(rng, sizes):
    parts = [np.exp(10.0 * rng.standard_normal((2, n))) for n in sizes if n]
    own = [_core.sums_of_tensors(*part, _core.tensor_table([part.shape[1]])) for part in parts]
    found = np.sum(own, axis=0)[0]
    for total, of_all in zip(found, np.concatenate(parts, axis=1), strict=True):
        exact = math.fsum(of_all)
        assert abs(total - exact) <= bound(sizes) * exact
