"""`Server`: rounds that go out, replies that come back in time, late, twice or damaged."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .. import _check
from ..learner import MetaLearner, MetaStep
from . import _stored
from ._first_rate import FirstRate, agreed
from ._reply import Reply, Total
from ._report import Report, note
from ._round import Round

if TYPE_CHECKING:
    from ._private import Ledger, Privacy

_KIND = "Server"
# What rounding a reply to 16 bits, up or down, may add to how far its tasks have spread.
_ROUNDED = 1.0 + 2.0**-6


def _equal_share(age: int) -> float:
    return 1.0 / (1.0 + age)


class Server:
    """Learns from machines that are asked round by round, whatever they do.

    It numbers every phi that goes out, takes what comes back in any order, and learns from it when
    the round is closed. A reply counts once. One that comes late teaches its rates in full, and
    moves phi by a share. What is damaged, too old, of another size, or spreads further than any
    honest reply could, is refused, and counted; nothing of it is learned. Nothing here opens a
    connection: bytes go in and out.

    With a `path`, the state is written after each round, whole or not at all: a server that is
    killed at any moment goes on from there by `Server.load`, and has lost the open round at most.

    Args:
        learner: What learns, in host memory; the server's own from now on.
        meta_step: The step of phi, as `MetaLearner.apply`.
        max_age: How many rounds a reply may be late, >= 0; such a reply has a part in memory.
        share: How much of its weight in the step of phi a reply keeps that is `age` rounds late, a
            function of the age to [0, 1]; None for 1 / (1 + age).
        path: A file for the state, or None.
        privacy: How tasks are hidden, a `TaskPrivacy` or a `RecordPrivacy` of
            `aruba_fast.privacy`; None: they are not. It goes out with each round, and machines
            answer as it asks. A reply to an older phi is then lost. The learner must know its first
            rate, and must have learned of nobody yet whose data are not public.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.
        OSError: The file cannot be written.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Round, Server
        >>> server = Server(af.MetaLearner(np.zeros(1)))
        >>> for _ in range(3):
        ...     sent = server.round().to_bytes()
        ...     for name, target in (("a", 1.0), ("b", 3.0)):  # on two machines
        ...         tasks = af.Tasks([[[1.0], [1.0]]], [[target, target]])
        ...         data = Round.from_bytes(sent).answer(tasks, loss="squared").to_bytes()
        ...         server.receive(data, name)  # here again
        ...     report = server.close()
        >>> report
        Report(version=2, n_replies=2, n_late=0, n_refused=0, n_failed=0, n_tasks=2, n_skipped=0,...
        >>> server.learner.n_tasks, server.learner.phi  # the first round found the rate
        (4, array([2.]))
    """

    def __init__(
        self,
        learner: MetaLearner,
        *,
        meta_step: MetaStep = None,
        max_age: int = 10,
        share: Callable[[int], float] | None = None,
        path: str | os.PathLike[str] | None = None,
        privacy: "Privacy | None" = None,
    ) -> None:
        hidden = None if privacy is None else _hidden(privacy, learner)
        self._begin(learner, 0, {}, {}, hidden, meta_step, max_age, share, path)
        self._save()

    def _begin(
        self,
        learner: MetaLearner,
        version: int,
        seen: _stored.Seen,
        sent: _stored.Sent,
        hidden: _stored.Hidden | None,
        meta_step: MetaStep,
        max_age: int,
        share: Callable[[int], float] | None,
        path: str | os.PathLike[str] | None,
    ) -> None:
        self._learner, self._hidden = learner, hidden
        self._current = self._round(version)  # checks the learner
        if not callable(meta_step):
            _check.meta_step(_KIND, meta_step, lambda: 0)
        self._meta_step = meta_step
        self._max_age = _check.integer(_KIND, "max_age", max_age, 0) if hidden is None else 0
        if share is not None and not callable(share):
            raise TypeError(
                f"{_KIND}: `share` must be a function: got {_check.shown(share)}, expected one of "
                "the age in rounds, as lambda age: 0.5**age"
            )
        self._share = _equal_share if share is None else share
        self._path = path
        self._lock = threading.RLock()
        self._seen, self._sent = seen, sent
        self._open()

    def _round(self, version: int) -> Round:
        current = Round._taken(_KIND, self._learner, version)
        if self._hidden is None:
            return current
        # What a task may say is limited by its privacy.
        return replace(current, limit=None, privacy=self._hidden[0])

    def _open(self) -> None:
        """Begins a round."""
        version = self._current.version
        for kept in (self._seen, self._sent):
            for old in [number for number in kept if number < version - self._max_age]:
                del kept[old]
        self._seen.setdefault(version, set())
        if self._current.limit is not None:
            self._sent[version] = (self._current.rates(), self._current.limit)
        self._replies: dict[int, Total] = {}
        self._answers: list[FirstRate] = []
        self._report = Report(version)

    @property
    def learner(self) -> MetaLearner:
        """What has learned; to be read, as it learns when a round is closed."""
        return self._learner

    @property
    def version(self) -> int:
        """The number of the phi that goes out now: how many rounds were closed."""
        return self._current.version

    def round(self, *, personal: bool = False) -> Round:
        """What goes out to the machines of this round.

        Args:
            personal: Also the rule for new tasks, to evaluate how well people are served.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Server
            >>> server = Server(af.MetaLearner(np.zeros(1), learning_rate=0.5))
            >>> server.round()
            Round(version=0, n_parameters=1, dtype=float64, rule=OGD(learning_rate=float64[1] in ...
        """
        with self._lock:
            if not personal:
                return self._current
            return Round.of(self._learner, self.version, personal=True)

    def receive(self, data: bytes | Reply | FirstRate, sender: str | int) -> str | None:
        """Takes what a machine sends back, to be learned from when the round is closed.

        Args:
            data: The bytes of a reply or of a first rate, of any form; or what they are read as.
            sender: Who sends it: of one machine only one reply to a version counts.

        Returns:
            None; or why it was refused, which the report counts. What others send raises nothing.

        Raises:
            TypeError: `sender` is neither a name nor a number.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Server
            >>> server = Server(af.MetaLearner(np.zeros(1), learning_rate=0.5))
            >>> tasks = af.Tasks([[[1.0], [1.0]]], [[1.0, 1.0]])
            >>> data = server.round().answer(tasks, loss="squared").to_bytes("float32")
            >>> server.receive(data, "a phone"), server.receive(data, "a phone")
            (None, 'a second answer to version 0')
        """
        if isinstance(sender, bool) or not isinstance(sender, (str, int)):
            raise TypeError(
                f"{_KIND}.receive: `sender` must be a name or a number: got "
                f"{_check.shown(sender)}, expected whoever sent the reply"
            )
        with self._lock:
            reason = self._taken(data, str(sender))
            if reason is not None:
                self._report.n_refused += 1
                note(self._report, sender, reason)
            return reason

    def fail(self, sender: str | int, reason: str) -> None:
        """Notes that a machine will send no reply.

        Args:
            sender: Which one.
            reason: Why, as far as it is known.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Server
            >>> server = Server(af.MetaLearner(np.zeros(1), learning_rate=0.5))
            >>> server.fail("a phone", "no network")
            >>> server.close().reasons
            ['a phone: no network']
        """
        with self._lock:
            self._report.n_failed += 1
            note(self._report, sender, reason)

    def _taken(self, data: bytes | Reply | FirstRate, sender: str) -> str | None:
        try:
            told = data if isinstance(data, (Reply, FirstRate)) else _read(data)
        except (TypeError, ValueError) as error:
            return str(error)
        age = self.version - told.version
        if age < 0:
            return f"an answer to version {told.version}, which was not sent out yet"
        if age > self._max_age:
            return f"{age} rounds late, at most {self._max_age} are learned from"
        if sender in self._seen.get(told.version, ()):
            return f"a second answer to version {told.version}"
        asks = self._current.rule is None
        if isinstance(told, FirstRate):
            if not asks:
                return "a first rate, which is known by now"
            self._answers.append(told)
        else:
            reason = self._unfit(told) if not asks else "a reply, where the first rate was asked"
            if reason is not None:
                return reason
            if told.version not in self._replies:
                self._replies[told.version] = Total(told)
            self._replies[told.version].add(told)
            self._report.n_late += age > 0
        self._seen.setdefault(told.version, set()).add(sender)
        self._report.n_replies += 1
        return None

    @np.errstate(all="ignore")
    def _unfit(self, reply: Reply) -> str | None:
        """Why nothing is learned from a reply that can be read."""
        if reply.n_parameters != self._current.n_parameters:
            return (
                f"a reply of {reply.n_parameters} parameters, where the model has "
                f"{self._current.n_parameters}"
            )
        if self._hidden is not None:
            return self._hidden[0]._unfit(reply)
        # Where nothing is known of that version any more, nothing limits it.
        rates, limit = self._sent.get(reply.version, (np.ones(1), np.inf))
        if np.isfinite(limit):
            # Whoever ran them has shortened each task to the limit.
            spread = (2.0 * reply.distance / rates + rates * reply.grad_sq)[rates > 0.0].sum()
            if not spread <= _ROUNDED * limit * reply.n_tasks:
                return f"its tasks spread to {spread:g}, where {reply.n_tasks} go to {limit:g} each"
        return None

    def close(self) -> Report:
        """Learns from what has come, and begins the next round.

        A round without a reply changes nothing but the version; the report says that it is lost.
        With a `TaskPrivacy` it is learned from as any other, for that nobody came is private too.

        Returns:
            What came of the round.

        Raises:
            OSError: The state cannot be written to `path`; it is learned in memory.

        Warns:
            DivergenceWarning: As `MetaLearner.apply`.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Server
            >>> server = Server(af.MetaLearner(np.zeros(1), learning_rate=0.5))
            >>> server.close().lost, server.version
            (True, 1)
        """
        with self._lock:
            report = self._report
            if self._answers:
                with self._learner._lock:
                    self._learner._start(agreed(self._answers))
            elif self._replies or self._hidden is not None:
                self._learn(report)
            self._current = self._round(self.version + 1)
            self._open()
            self._save()
            return report

    def _learn(self, report: Report) -> None:
        phi, ages = self._learner.phi, {v: self.version - v for v in sorted(self._replies)}
        shares = {v: 1.0 if not age else self._share(age) for v, age in ages.items()}
        replies = {v: total.reply() for v, total in self._replies.items()}
        try:
            if self._hidden is not None:
                total = replies.get(self.version)
                replies, shares = self._released(*self._hidden, total), {self.version: 1.0}
            if not replies:
                return
            parts = [replies[v].statistics(phi, share=s) for v, s in shares.items()]
            statistics = sum(parts[1:], parts[0])
            self._learner.apply(statistics, self._meta_step)
        except ValueError as error:
            report.n_refused, report.n_replies = report.n_refused + report.n_replies, 0
            note(report, "the round", str(error))
            return
        report.n_tasks, report.n_skipped = statistics.n_tasks, statistics.n_skipped
        if self._hidden is not None:
            privacy, ledger = self._hidden
            self._hidden = privacy._after(self._learner), ledger

    def _released(
        self, privacy: "Privacy", ledger: "Ledger", total: Reply | None
    ) -> dict[int, Reply]:
        """The sum of a round as it may be learned from; empty where there is none."""
        if total is not None and not np.isfinite(total.sums).all():
            raise ValueError("its sums are beyond float64")
        told = ledger.reply(privacy, self._current, total)
        return {} if told is None else {self.version: told}

    # ---- the file ----

    def _save(self) -> None:
        if self._path is not None:
            state = (self._learner, self.version, self._seen, self._sent, self._hidden)
            _stored.write(self._path, *state)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        meta_step: MetaStep = None,
        max_age: int = 10,
        share: Callable[[int], float] | None = None,
    ) -> "Server":
        """Goes on from the file that a server with this `path` has written.

        Args:
            path: The file, which is written after each round again.
            meta_step: As the class: what is a function is in no file.
            max_age: As the class.
            share: As the class.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, of a newer version or no server's; the message has the
                reason.

        Example:
            >>> import tempfile, numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Server
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     server = Server(af.MetaLearner(np.zeros(2)), path=f"{folder}/state")
            ...     server.close().lost, Server.load(f"{folder}/state").version
            (True, 1)
        """
        learner, version, seen, sent, hidden = _stored.read(path)
        server = cls.__new__(cls)
        server._begin(learner, version, seen, sent, hidden, meta_step, max_age, share, path)
        return server


def _hidden(privacy: "Privacy", learner: MetaLearner) -> _stored.Hidden:
    from ._private import Privacy

    if not isinstance(privacy, Privacy):
        raise TypeError(
            f"{_KIND}: `privacy` must be a privacy: got {_check.shown(privacy)}, expected a "
            "TaskPrivacy or a RecordPrivacy of aruba_fast.privacy"
        )
    sent = Round._taken(_KIND, learner, 0)
    _check.shape(_KIND, "privacy", np.empty(privacy.n_parameters), sent.phi.shape)
    if sent.rule is None:
        raise ValueError(
            f"{_KIND}: `learner` must know its first rate where there is a `privacy`: got one that "
            "asks machines for it, which would tell of their data, expected a MetaLearner with a "
            "number as `learning_rate`"
        )
    return privacy, privacy.ledger()


def _read(data: bytes) -> Reply | FirstRate:
    from .. import checkpoint

    known = isinstance(data, bytes) and checkpoint.kind_of(data) == FirstRate.__name__
    return FirstRate.from_bytes(data) if known else Reply.from_bytes(data)
