"""`Unbiased`: replies of private rows without what their noise adds to the squares."""

from typing import Protocol

import numpy as np

from .._check import Float64Array
from ..federated import Round, _pairs
from ..federated._reply import Reply
from ._rounds import sums_of
from ._squares import Squares


class _Bias(Protocol):
    """What is needed of a `RecordPrivacy`."""

    n_steps: int

    def biases(self, round: Round) -> Float64Array:
        """How much too large a task's squares are, [2, n_parameters]."""


class Unbiased(Squares):
    """Takes the known biases off the replies of `RecordPrivacy`, on the server.

    Args:
        n_parameters: Coordinates.
    """

    @np.errstate(all="ignore")
    def reply(self, privacy: _Bias, round: Round, total: Reply | None) -> Reply | None:
        """The sum of the replies to a round, without the biases; None of none."""
        if total is None:
            return None
        sums, biases = sums_of(total), privacy.biases(round)
        left = sums[:2] - total.n_tasks * biases
        # Of 1/2 X^2 and of the sum of n_steps X^2, X normal, with what is left as its mean.
        alone = total.n_tasks * 2.0 * biases**2 / np.array([[1.0], [privacy.n_steps]])
        beside = 4.0 * biases * np.maximum(left, 0.0) / np.array([[1.0], [privacy.n_steps]])
        sums[:2] = self.tell(left, alone + beside)
        return Reply._of(_pairs.of(sums), total.weight_sum, total.counts, round.version)
