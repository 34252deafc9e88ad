"""`Unbiased`: replies of private rows without what their noise adds to the squares."""

from collections.abc import Iterable

import numpy as np

from .. import _check
from ..federated import Reply, Round
from ._mechanism import checked_round
from ._record import RecordPrivacy
from ._released import sums_of, total_of
from ._squares import Squares


class Unbiased:
    """Takes the known biases off the replies of `RecordPrivacy`, on the server.

    Noise makes a task's squares too large by what `RecordPrivacy.biases` says, often by more than
    they are. It is subtracted from the sums of all rounds so far, and not from a task or a round,
    where most of the differences would be negative and could not be told. What is left is uncertain
    by V, of noise of variance s^2 in a task's delta and sigma^2 in each of its gradients

        V_b = sum_k (1/2 s^4) + 2 s^2 b,    V_g = sum_k (2 n_steps sigma^4) + 4 sigma^2 g

    and is told as `Released` tells its sums. The step of phi stays as it is: noise is nothing there
    in the mean. All this uses replies alone, and so costs no privacy.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Server
        >>> from aruba_fast.privacy import RecordPrivacy, Unbiased
        >>> server = Server(af.MetaLearner(np.zeros(2), learning_rate=0.1))
        >>> privacy, unbiased = RecordPrivacy(np.ones(2), noise=20.0, n_rows=50), Unbiased()
        >>> tasks = af.Tasks(np.ones((30, 50, 2)), np.ones((30, 50)))
        >>> replies = [privacy.answer(server.round(), tasks, loss="squared", seed=0)]  # elsewhere
        >>> told = unbiased.reply(privacy, server.round(), replies)
        >>> server.receive(told, "all of them")
        >>> bool((told.grad_sq < replies[0].grad_sq).all())
        True
    """

    def __init__(self) -> None:
        self._squares: Squares | None = None

    @np.errstate(all="ignore")
    def reply(self, privacy: RecordPrivacy, round: Round, replies: Iterable[Reply]) -> Reply:
        """Sums what the machines of a round have sent, without the biases.

        Args:
            privacy: What the machines answered with, the same for all.
            round: What was sent to them.
            replies: What they sent back, at least one.

        Returns:
            One reply in place of all, to be given to `Server.receive`.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: Sizes do not fit, a reply is to another version, or there is none.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> from aruba_fast.privacy import RecordPrivacy, Unbiased
            >>> sent = Round.of(af.MetaLearner(np.zeros(1), learning_rate=0.5), version=3)
            >>> privacy = RecordPrivacy(np.ones(1), noise=1.0, n_rows=9)
            >>> tasks = af.Tasks(np.ones((7, 9, 1)), np.ones((7, 9)))
            >>> Unbiased().reply(privacy, sent, [privacy.answer(sent, tasks, loss="squared")])
            Reply(version=3, n_tasks=7, n_skipped=0, n_parameters=1, weight=7)
        """
        name = "Unbiased.reply"
        if not isinstance(privacy, RecordPrivacy):
            raise TypeError(
                f"{name}: `privacy` must be a RecordPrivacy: got {_check.shown(privacy)}, expected "
                "what the machines answered with"
            )
        checked_round(name, round, len(privacy.scale))
        squares = self._squares or Squares(round.n_parameters)
        _check.shape(name, "round", round.phi, squares.told.shape[1:])
        total = total_of(name, round, replies)
        if total is None:
            raise ValueError(f"{name}: `replies` must hold a reply: got none, expected at least 1")
        sums, biases = sums_of(total), privacy.biases(round)
        left = sums[:2] - total.n_tasks * biases
        # Of 1/2 X^2 and of the sum of n_steps X^2, X normal, with what is left as its mean.
        alone = total.n_tasks * 2.0 * biases**2 / np.array([[1.0], [privacy.n_steps]])
        beside = 4.0 * biases * np.maximum(left, 0.0) / np.array([[1.0], [privacy.n_steps]])
        sums[:2] = squares.tell(left, alone + beside)
        self._squares = squares
        pairs = np.stack([sums, np.zeros(sums.shape)], axis=1)
        return Reply._of(pairs, total.weight_sum.copy(), total.counts.copy(), round.version)
