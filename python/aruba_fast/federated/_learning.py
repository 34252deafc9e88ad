"""What a server lets its machines know, believes of their replies, and learns from them."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from .. import _check
from ..learner import MetaLearner
from ._private import Hidden, Ledger, Privacy
from ._reply import Reply
from ._round import Round
from ._stored import Sent

# What rounding a reply to 16 bits, up or down, may add to how far its tasks have spread.
_ROUNDED = 1.0 + 2.0**-6


class Openly:
    """Replies are learned from as they are; what comes late moves phi by a share.

    Args:
        function: Name of the public function, for messages.
        max_age: How many rounds a reply may be late.
        share: How much of its weight in the step of phi it keeps then; None for 1 / (1 + age).
        sent: What went out with the versions that replies are taken to.
    """

    hidden: Hidden | None = None

    def __init__(
        self, function: str, max_age: int, share: Callable[[int], float] | None, sent: Sent
    ) -> None:
        self.max_age = _check.integer(function, "max_age", max_age, 0)
        if share is not None and not callable(share):
            raise TypeError(
                f"{function}: `share` must be a function: got {_check.shown(share)}, expected one "
                "of the age in rounds, as lambda age: 0.5**age"
            )
        self._share = _equal_share if share is None else share
        self.sent = sent

    def begun(self, plain: Round) -> Round:
        """What goes out, of a round as the learner has it."""
        for old in [version for version in self.sent if version < plain.version - self.max_age]:
            del self.sent[old]
        if plain.limit is not None:
            self.sent[plain.version] = (plain.rates(), plain.limit)
        return plain

    @np.errstate(all="ignore")
    def unfit(self, reply: Reply) -> str | None:
        """Why no machine can have sent a reply."""
        # Where nothing is known of that version any more, nothing limits it.
        rates, limit = self.sent.get(reply.version, (np.ones(1), np.inf))
        if np.isfinite(limit):
            # Whoever ran them has shortened each task to the limit.
            spread = (2.0 * reply.distance / rates + rates * reply.grad_sq)[rates > 0.0].sum()
            if not spread <= _ROUNDED * limit * reply.n_tasks:
                return f"its tasks spread to {spread:g}, where {reply.n_tasks} go to {limit:g} each"
        return None

    def lessons(self, totals: Mapping[int, Reply], current: Round) -> list[tuple[Reply, float]]:
        """What is learned from, of the sums by version, and its share in the step of phi."""
        ages = {version: current.version - version for version in sorted(totals)}
        return [(totals[v], self._share(age) if age else 1.0) for v, age in ages.items()]

    def learned(self, learner: MetaLearner) -> None:
        """The round is learned."""


class Hiding:
    """Tasks, or their rows, are hidden; what comes late is lost.

    Args:
        privacy: How.
        ledger: The sums of the rounds before.
    """

    max_age = 0

    def __init__(self, privacy: Privacy, ledger: Ledger) -> None:
        self._privacy, self._ledger = privacy, ledger
        self.sent: Sent = {}

    @classmethod
    def of(cls, function: str, privacy: object, learner: MetaLearner) -> "Hiding":
        """That of a privacy as its user gave it, for a learner that it fits."""
        if not isinstance(privacy, Privacy):
            raise TypeError(
                f"{function}: `privacy` must be a privacy: got {_check.shown(privacy)}, expected a "
                "TaskPrivacy or a RecordPrivacy of aruba_fast.privacy"
            )
        plain = Round._taken(function, learner, 0)
        _check.shape(function, "privacy", np.empty(privacy.n_parameters), plain.phi.shape)
        if plain.rule is None:
            raise ValueError(
                f"{function}: `learner` must know its first rate where there is a `privacy`: got "
                "one that asks machines for it, which would tell of their data, expected a "
                "MetaLearner with a number as `learning_rate`"
            )
        return cls(privacy, privacy.ledger())

    @property
    def hidden(self) -> Hidden:
        """What stands in the server's file."""
        return self._privacy, self._ledger

    def begun(self, plain: Round) -> Round:
        """As `Openly`: what a task may say is limited by its privacy."""
        return replace(plain, limit=None, privacy=self._privacy)

    def unfit(self, reply: Reply) -> str | None:
        """As `Openly`."""
        return self._privacy._unfit(reply)

    def lessons(self, totals: Mapping[int, Reply], current: Round) -> list[tuple[Reply, float]]:
        """As `Openly`: the sum of all, with what hides them."""
        total = totals.get(current.version)
        if total is not None and not np.isfinite(total.sums).all():
            raise ValueError("its sums are beyond float64")
        told = self._ledger.reply(self._privacy, current, total)
        return [] if told is None else [(told, 1.0)]

    def learned(self, learner: MetaLearner) -> None:
        """As `Openly`: the next round is hidden by what was learned in this one."""
        self._privacy = self._privacy._after(learner)


def _equal_share(age: int) -> float:
    return 1.0 / (1.0 + age)
