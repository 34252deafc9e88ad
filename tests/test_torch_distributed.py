"""Tasks of a round spread over processes: the bits of one process that runs them in order."""

from __future__ import annotations

import numpy as np
import pytest
import ranks
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
