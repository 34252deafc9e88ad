"""`Server`: rounds that go out, replies that come back in time, late, twice or damaged."""

import os
import threading
from collections.abc import Callable

from .. import _check
from ..learner import MetaLearner, MetaStep
from . import _stored
from ._first_rate import FirstRate, agreed
from ._learning import Hiding, Openly
from ._private import Hidden, Privacy
from ._reply import Reply, Total
from ._report import Report, note
from ._round import Round

_KIND = "Server"


class Server:
    """Learns round by round from machines, which may be late, silent or faulty.

    The server numbers every phi that it sends, takes replies in any order, and learns from them
    when the round is closed. A reply counts once. The rates of a late reply count in full, its step
    of phi counts by a share. Replies that are damaged, too old, of another size, or that spread
    further than any honest reply could, are refused and counted, and nothing is learned from them.
    The server opens no connection: your system carries the bytes.

    With a `path`, the state is written after each round, completely or not at all. If the server is
    killed at any moment, `Server.load` continues from the file, and only the open round is lost.

    Args:
        learner: The learner, in host memory; from now on only the server changes it.
        meta_step: The step of phi, as `MetaLearner.apply`.
        max_age: How many rounds a reply may be late, >= 0. Each version of phi that may still be
            answered takes memory.
        share: How much of the step of phi of a late reply counts: a function of its age in rounds
            to [0, 1]; None for 1 / (1 + age).
        path: A file for the state, or None.
        privacy: A `TaskPrivacy` or a `RecordPrivacy` of `aruba_fast.privacy`, which hides tasks or
            rows; None hides nothing. It is sent with each round, and machines follow it. A reply to
            an older phi is then lost. The learner must know its first rate, and must not have
            learned from private data yet.

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
        privacy: Privacy | None = None,
    ) -> None:
        hidden = None if privacy is None else Hiding.of(_KIND, privacy, learner).hidden
        self._begin(learner, 0, {}, {}, hidden, meta_step, max_age, share, path)
        self._save()

    def _begin(
        self,
        learner: MetaLearner,
        version: int,
        seen: _stored.Seen,
        sent: _stored.Sent,
        hidden: Hidden | None,
        meta_step: MetaStep,
        max_age: int,
        share: Callable[[int], float] | None,
        path: str | os.PathLike[str] | None,
    ) -> None:
        plain = Round._taken(_KIND, learner, version)  # checks the learner
        if not callable(meta_step):
            _check.meta_step(_KIND, meta_step, lambda: 0)
        openly = Openly(_KIND, max_age, share, sent)
        self._way = openly if hidden is None else Hiding(*hidden)
        self._learner, self._meta_step, self._seen = learner, meta_step, seen
        self._path = path
        self._lock = threading.RLock()
        self._open(plain)

    def _open(self, plain: Round) -> None:
        """Begins a round."""
        self._current = self._way.begun(plain)
        version = plain.version
        for old in [number for number in self._seen if number < version - self._way.max_age]:
            del self._seen[old]
        self._seen.setdefault(version, set())
        self._replies: dict[int, Total] = {}
        self._answers: list[FirstRate] = []
        self._report = Report(version)

    @property
    def learner(self) -> MetaLearner:
        """The learner, for reading; it learns when a round is closed."""
        return self._learner

    @property
    def version(self) -> int:
        """The number of the current phi: how many rounds were closed."""
        return self._current.version

    def round(self, *, personal: bool = False) -> Round:
        """Returns the message to the machines of this round.

        Args:
            personal: Whether to include the rule for new tasks, for evaluations.

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
        """Takes the answer of a machine, to learn from it when the round is closed.

        Args:
            data: The bytes of a reply or of a first rate, in any form; or the object itself.
            sender: The machine. Only one reply of a machine to a version counts.

        Returns:
            None; or why the answer was refused, which the report counts. A bad answer raises no
            exception.

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
                f"{_check.shown(sender)}, expected that of the sender"
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
            sender: The machine.
            reason: Why, if it is known.

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
        if age > self._way.max_age:
            return f"{age} rounds late, at most {self._way.max_age} are learned from"
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

    def _unfit(self, reply: Reply) -> str | None:
        """Why nothing is learned from a reply that can be read."""
        if reply.n_parameters != self._current.n_parameters:
            return (
                f"a reply of {reply.n_parameters} parameters, where the model has "
                f"{self._current.n_parameters}"
            )
        return self._way.unfit(reply)

    def close(self) -> Report:
        """Learns from the replies of the round, and begins the next round.

        A round without a reply changes nothing but the version, and the report says that it is
        lost. With a `TaskPrivacy` the server learns from it as from any other round, because it is
        private that nobody came.

        Returns:
            The outcome of the round.

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
            else:
                self._learn(report)
            self._open(Round._taken(_KIND, self._learner, self.version + 1))
            self._save()
            return report

    def _learn(self, report: Report) -> None:
        totals = {version: total.reply() for version, total in self._replies.items()}
        phi = self._learner.phi
        try:
            lessons = self._way.lessons(totals, self._current)
            parts = [reply.statistics(phi, share=share) for reply, share in lessons]
            if not parts:
                return
            statistics = sum(parts[1:], parts[0])
            self._learner.apply(statistics, self._meta_step)
        except ValueError as error:
            report.n_refused, report.n_replies = report.n_refused + report.n_replies, 0
            note(report, "the round", str(error))
            return
        report.n_tasks, report.n_skipped = statistics.n_tasks, statistics.n_skipped
        self._way.learned(self._learner)

    # ---- the file ----

    def _save(self) -> None:
        if self._path is not None:
            self._write(self._path)

    def _write(self, path: str | os.PathLike[str]) -> None:
        way = self._way
        _stored.write(path, self._learner, self.version, self._seen, way.sent, way.hidden)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        meta_step: MetaStep = None,
        max_age: int = 10,
        share: Callable[[int], float] | None = None,
    ) -> "Server":
        """Returns a server that continues from the file of a server with this `path`.

        Args:
            path: The file, which the new server writes after each round.
            meta_step: As the class. A function cannot be stored in the file.
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


def _read(data: bytes) -> Reply | FirstRate:
    from .. import checkpoint

    known = isinstance(data, bytes) and checkpoint.kind_of(data) == FirstRate.__name__
    return FirstRate.from_bytes(data) if known else Reply.from_bytes(data)
