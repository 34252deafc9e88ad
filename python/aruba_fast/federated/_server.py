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


def _read(data: bytes) -> Reply | FirstRate:
    from .. import checkpoint

    known = isinstance(data, bytes) and checkpoint.kind_of(data) == FirstRate.__name__
    return FirstRate.from_bytes(data) if known else Reply.from_bytes(data)
