"""`Released`: the sums of clipped tasks with noise on them, and nothing negative among squares."""

from collections.abc import Iterable

import numpy as np

from .. import _check
from .._check import Float64Array
from ..federated import Reply, Round, _pairs
from ..federated._reply import Total
from ._mechanism import TaskPrivacy, checked_round
from ._noise import normal

_MOST_TASKS = 2**32


class Released:
    """Adds the noise of a round on the server, and returns a reply that may be seen.

    Sums of squares are not negative, and with noise they can be. To raise each release to zero
    would add some noise that never cancels, in every round anew. Instead the noisy sums are added
    up over all rounds, and what is released is by how much their largest value so far has grown:

        C_t = C_{t-1} + sum + noise,  R_t = max(R_{t-1}, C_t),  released: R_t - R_{t-1} >= 0

    This uses nothing but noisy sums, and so costs no privacy. It is too high, by about
    0.8 sigma sqrt(t) for a coordinate that is always zero, where sigma is the noise of one sum, and
    by less than sigma^2 / (2 m) for one whose sum grows by m a round, however many rounds there
    are. Measured with 1000 coordinates, noise=1.1, clips of 1, and 100 rounds of 1000 tasks, in
    parts of an average task: 0.019 too high for a coordinate that is zero and 0.004 for one that is
    0.1 (raised in each round: 0.101 and 0.060), where the noise that is left is 0.025.

    The number of tasks in a round is private, so a mean is taken over the expected one: each
    release has a weight of `n_tasks`, counts `n_tasks` tasks and none that was left out.

    A server that is started again starts with a new `Released`, which costs no privacy; but all
    releases count, those as well that were lost with the server.

    Args:
        n_tasks: Tasks that are expected in a round, >= 1, known to everybody: under `Poisson`
            sampling its rate times the number of people, under `FixedSize` its `n_sampled`.
        seed: Of the noise, for tests: whoever knows it sees through the noise. None for the
            system's secure generator.

    Attributes:
        n_rounds: Releases so far, for `epsilon`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Round
        >>> from aruba_fast.privacy import Released, TaskPrivacy
        >>> sent = Round.of(af.MetaLearner(np.zeros(2), learning_rate=0.1), version=0)
        >>> privacy = TaskPrivacy(np.ones((2, 2)), noise=1.0)
        >>> replies = [privacy.clipped(af.TaskRun(np.ones((1, 2)), np.ones((1, 2))), sent)]
        >>> released = Released(n_tasks=100)
        >>> released.release(privacy, sent, replies)
        Reply(version=0, n_tasks=100, n_skipped=0, n_parameters=2, weight=100)

    Source: Mironov, CCS 2012, for what this does not do: float64 cannot hold all numbers that
    Gaussian noise can reach, and the last digits of a release may tell more than the noise admits.
    """

    def __init__(self, n_tasks: int, *, seed: int | None = None) -> None:
        self._n_tasks = _check.integer("Released", "n_tasks", n_tasks, 1, _MOST_TASKS)
        if seed is not None:
            seed = _check.integer("Released", "seed", seed, 0)
        self._rng = None if seed is None else np.random.default_rng(seed)
        self._noisy: Float64Array | None = None
        self._told: Float64Array | None = None
        self._n_rounds = 0

    @property
    def n_rounds(self) -> int:
        return self._n_rounds

    @np.errstate(all="ignore")
    def release(self, privacy: TaskPrivacy, round: Round, replies: Iterable[Reply]) -> Reply:
        """Sums what the machines of a round have sent, and adds the noise.

        A round without any reply is released like all others: that nobody came is private too.

        Args:
            privacy: What the machines clipped with.
            round: What was sent to them.
            replies: What they sent back, of `TaskPrivacy.clipped`, perhaps none. Whether they were
                clipped cannot be seen from sums: machines are trusted in this.

        Returns:
            One reply in place of all, to be given to `Server.receive`.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: Sizes do not fit, or a reply is to another version; nothing was released.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Server
            >>> from aruba_fast.privacy import Released, TaskPrivacy
            >>> server = Server(af.MetaLearner(np.zeros(2), learning_rate=0.1))
            >>> privacy, released = TaskPrivacy(np.ones((2, 2)), noise=1.0), Released(n_tasks=1000)
            >>> server.receive(released.release(privacy, server.round(), []), "all of them")
            >>> released.n_rounds
            1
        """
        name = "Released.release"
        if not isinstance(privacy, TaskPrivacy):
            raise TypeError(f"{name}: `privacy` must be a TaskPrivacy: got {_check.shown(privacy)}")
        checked_round(name, round, privacy)
        n = round.n_parameters
        if self._noisy is None or self._told is None:
            self._noisy, self._told = np.zeros((2, n)), np.zeros((2, n))
        _check.shape(name, "round", round.phi, (self._noisy.shape[1],))
        sums = _total(name, round, replies)
        if not np.isfinite(sums).all():
            raise ValueError(f"{name}: `replies` must have sums within float64: got infinite ones")
        sums = sums + privacy.deviations * normal(sums.shape, self._rng)
        self._noisy = self._noisy + sums[:2]
        told = np.maximum(self._told, self._noisy)
        sums[:2], self._told = told - self._told, told
        self._n_rounds += 1
        counts = np.array([self._n_tasks, 0])
        return Reply._of(
            _pairs.of(sums), np.array([float(self._n_tasks), 0.0]), counts, round.version
        )


def _total(function: str, round: Round, replies: Iterable[Reply]) -> Float64Array:
    total: Total | None = None
    for reply in replies:
        if not isinstance(reply, Reply):
            raise TypeError(
                f"{function}: `replies` must be of TaskPrivacy.clipped: got {_check.shown(reply)}"
            )
        _check.shape(function, "replies", reply.sums, (3, 2, round.n_parameters))
        if reply.version != round.version:
            raise ValueError(
                f"{function}: `replies` must be to the round's phi: got version {reply.version}, "
                f"expected {round.version}; one that comes late is lost"
            )
        total = total or Total(reply)
        total.add(reply)
    if total is None:
        return np.zeros((3, round.n_parameters))
    added = total.reply()
    return np.stack([added.distance, added.grad_sq, added.delta])
