"""`Released`: the sums of clipped tasks with noise on them, and nothing negative among squares."""

from typing import Protocol

import numpy as np

from .._check import Float64Array
from ..federated import Round, _pairs
from ..federated._reply import Reply
from ._noise import normal
from ._rounds import sums_of
from ._squares import Squares


class _Noise(Protocol):
    """What a release needs of a `TaskPrivacy`."""

    n_tasks: int

    @property
    def deviations(self) -> Float64Array:
        """Standard deviations of the noise, [3, n_parameters]."""


class Released(Squares):
    """Adds the noise of a round on the server: what comes out may be seen, as often as one likes.

    The number of tasks in a round is private, so a mean is taken over the expected one: each
    release has a weight of `n_tasks`, counts `n_tasks` tasks and none that was left out. A round
    without any reply is released like all others: that nobody came is private too.

    Args:
        n_parameters: Coordinates.
        seed: Of the noise, for tests; None for the system's secure generator.
    """

    def __init__(self, n_parameters: int, seed: int | None) -> None:
        super().__init__(n_parameters)
        self._rng = None if seed is None else np.random.default_rng(seed)

    @np.errstate(all="ignore")
    def reply(self, privacy: _Noise, round: Round, total: Reply | None) -> Reply:
        """The sum of the replies to a round, with noise."""
        sums = np.zeros((3, round.n_parameters)) if total is None else sums_of(total)
        sums = sums + privacy.deviations * normal(sums.shape, self._rng)
        sums[:2] = self.tell(sums[:2], privacy.deviations[:2] ** 2)
        weight, counts = np.array([float(privacy.n_tasks), 0.0]), np.array([privacy.n_tasks, 0])
        return Reply._of(_pairs.of(sums), weight, counts, round.version)
