"""`Released`: the sums of clipped tasks with noise on them, and nothing negative among squares."""

from collections.abc import Iterable

import numpy as np

from .. import _check
from .._check import Float64Array
from ..federated import Reply, Round, _pairs
from ..federated._reply import Total
from ._mechanism import TaskPrivacy, checked_round
from ._noise import normal
from ._squares import Squares

_MOST_TASKS = 2**32


class Released:
    """Adds the noise of a round on the server, and returns a reply that may be seen.

    Sums of squares are not negative, and with noise they can be. To raise each release to zero
    would add some noise that never cancels, in every round anew. Instead noisy sums are added up
    over all rounds, and what is released is how they have grown, as far as they are known: where
    coordinates differ by less than the noise, their mean is told for each. With C for the noisy
    sums so far, V for the variance of their noise, and m for the mean of C over coordinates,

        tau^2 = mean((C - m)^2 - V),  w = tau^2 / (tau^2 + V),  E = m + w (C - m)

    is made positive and of the mean m again, and what is released is by how much its largest value
    so far has grown. This uses nothing but noisy sums, and so costs no privacy. Little noise leaves
    a rate to each coordinate, much noise one rate to all. Measured with 1000 coordinates, of which
    half have nothing and half twice the mean, in parts of the mean: with noise of 5 in each round's
    sums, what is told of 10 rounds is 0.01 too high and wrong by 0.9; the largest sum so far
    without the above would be 0.7 too high and wrong by 1.4, sums raised to zero in each round 1.6
    and 1.9. With noise of 1 and 100 rounds these are 0.01 and 0.13, 0.04 and 0.10, 0.21 and 0.30.

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
        self._squares: Squares | None = None
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
        checked_round(name, round, privacy.spread.shape[1])
        self._squares = self._squares or Squares(round.n_parameters)
        _check.shape(name, "round", round.phi, self._squares.told.shape[1:])
        total = total_of(name, round, replies)
        sums = np.zeros((3, round.n_parameters)) if total is None else sums_of(total)
        sums = sums + privacy.deviations * normal(sums.shape, self._rng)
        sums[:2] = self._squares.tell(sums[:2], privacy.deviations[:2] ** 2)
        self._n_rounds += 1
        counts = np.array([self._n_tasks, 0])
        return Reply._of(
            _pairs.of(sums), np.array([float(self._n_tasks), 0.0]), counts, round.version
        )


def total_of(function: str, round: Round, replies: Iterable[Reply]) -> Reply | None:
    """The sum of the replies to a round; None of none."""
    total: Total | None = None
    for reply in replies:
        if not isinstance(reply, Reply):
            raise TypeError(f"{function}: `replies` must be Replies: got {_check.shown(reply)}")
        _check.shape(function, "replies", reply.sums, (3, 2, round.n_parameters))
        if reply.version != round.version:
            raise ValueError(
                f"{function}: `replies` must be to the round's phi: got version {reply.version}, "
                f"expected {round.version}; one that comes late is lost"
            )
        total = total or Total(reply)
        total.add(reply)
    if total is None:
        return None
    added = total.reply()
    if not np.isfinite(added.sums).all():
        raise ValueError(f"{function}: `replies` must have sums within float64: got infinite ones")
    return added


def sums_of(reply: Reply) -> Float64Array:
    """Distance, grad_sq and delta, [3, n_parameters]."""
    return np.stack([reply.distance, reply.grad_sq, reply.delta])
