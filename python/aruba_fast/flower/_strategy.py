"""The server's side in Flower: who is asked, and what becomes of what they tell."""

import time
from collections.abc import Callable, Iterable, Mapping
from logging import INFO, WARNING, getLogger
from typing import Any

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from .. import _check
from ..federated import Report, Server
from ..federated._reply import FORMS
from ._client import ASKED, FORM, METRICS, NAME, REPLY, ROUND, TOLD, WEIGHT

_NAME = "ArubaStrategy"
_LOG = getLogger("flwr")
_ARRAYS = "phi"
_LONGEST = 200
# Seconds that a round waits for nodes to say who they are, beyond those that it needs; between two
# looks; between two lines about it.
_PATIENCE, _PAUSE, _TOLD = 10.0, 0.2, 10.0


class ArubaStrategy(Strategy):
    """Runs the rounds of a `Server` in Flower: chooses the nodes, and gives their replies to it.

    Each round sends the server's phi and rates to some nodes, or to all, and learns from the sums
    that arrive within `timeout`. Later replies count in the next round, as late ones. If the
    learner was made with `learning_rate="auto"`, the first round only finds this rate. Failed,
    refused and missing replies are counted, and logged with a reason; a round without a reply is
    lost, and changes nothing.

    The nodes of a round follow from `seed` and the number of the round alone, as long as nodes keep
    their names, so that a run can be repeated; Flower's own sampling cannot be repeated. If a
    server with a `path` was killed, continue by `ArubaStrategy(Server.load(path), ...)` with the
    remaining `num_rounds`.

    Args:
        server: The server that learns: `Server(learner)`.
        n_nodes: Number of nodes that are asked in a round; None for all.
        min_nodes: Number of nodes that a round waits for before it begins.
        evaluate_every: Rounds between two evaluations, which ask all nodes; 0 for none.
        form: The form of replies, "pairs", "float32" or "bfloat16", as in `Reply.to_bytes`.
        seed: Seed of the sampling.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Server
        >>> from aruba_fast.flower import ArubaStrategy
        >>> strategy = ArubaStrategy(Server(af.MetaLearner(np.zeros(8))), n_nodes=100)

    Source: Flower, https://flower.ai.
    """

    def __init__(
        self,
        server: Server,
        *,
        n_nodes: int | None = None,
        min_nodes: int = 1,
        evaluate_every: int = 0,
        form: str = "float32",
        seed: int = 0,
    ) -> None:
        if not isinstance(server, Server):
            raise TypeError(
                f"{_NAME}: `server` must be a Server: got {_check.shown(server)}, expected "
                "aruba_fast.federated.Server(learner)"
            )
        self.server = server
        self._n_nodes = None if n_nodes is None else _check.integer(_NAME, "n_nodes", n_nodes, 1)
        self._min_nodes = _check.integer(_NAME, "min_nodes", min_nodes, 1)
        self._every = _check.integer(_NAME, "evaluate_every", evaluate_every, 0)
        self._form = _check.one_of(_NAME, "form", form, FORMS)
        self._seed = _check.integer(_NAME, "seed", seed, 0)
        self.reports: list[Report] = []
        self._names: dict[int, str] = {}
        self._introduced: set[int] = set()
        self._unnamed: set[str] = set()
        self._open: list[Message] = []
        self._late: dict[str, str] = {}

    @property
    def arrays(self) -> ArrayRecord:
        """Returns what was learned, as Flower's record of arrays."""
        return ArrayRecord({_ARRAYS: Array(self.server.learner.phi)})

    def summary(self) -> None:
        """Logs what this strategy does."""
        asked = "all nodes" if self._n_nodes is None else f"{self._n_nodes} nodes"
        _LOG.log(INFO, "\t├──> %s, replies as %s", asked, self._form)
        _LOG.log(INFO, "\t└──> %r", self.server.learner)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Runs rounds, as every strategy of Flower's.

        Args:
            grid: Flower's.
            initial_arrays: None: the server knows where to begin.
            num_rounds: Rounds from now on.
            timeout: Seconds that a round waits for replies.
            train_config: Values for the nodes, sent along.
            evaluate_config: The same for evaluations.
            evaluate_fn: Called after each round with its number and the arrays.

        Returns:
            Flower's `Result`; the counts of each round are its `train_metrics_clientapp`.
        """
        first = self.arrays if initial_arrays is None else initial_arrays
        return super().start(
            grid, first, num_rounds, timeout, train_config, evaluate_config, evaluate_fn
        )

    # ---- training ----

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Takes late replies, and asks the nodes of this round."""
        del server_round, arrays  # the server's own are sent
        self._collect(grid)
        nodes = self._nodes(grid)
        if self._n_nodes is not None and self._n_nodes < len(nodes):
            rng = np.random.default_rng((self._seed, self.server.version))
            some = rng.choice(len(nodes), self._n_nodes, replace=False)
            nodes = [nodes[k] for k in sorted(some)]
        sent = {ROUND: self.server.round().to_bytes(), FORM: self._form}
        messages = self._messages(nodes, {**config, **sent}, MessageType.TRAIN)
        # Each is given its number when it is sent.
        self._open = messages
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Learns from the replies, and logs which are missing."""
        del server_round
        missing = {m.metadata.message_id: self._names[m.metadata.dst_node_id] for m in self._open}
        for message in replies:
            self._take(message, missing.pop(message.metadata.reply_to_message_id, None))
        for name in missing.values():
            self.server.fail(name, "no reply in time")
        self._late |= missing
        report = self.server.close()
        self.reports.append(report)
        if report.lost:
            _LOG.log(WARNING, "aggregate_train: the round is lost, nothing was learned")
        for reason in report.reasons:
            _LOG.log(WARNING, "\t> %s", reason)
        counts = {
            key: value for key, value in vars(report).items() if isinstance(value, (int, float))
        }
        return self.arrays, MetricRecord(counts)

    def _take(self, message: Message, name: str | None) -> None:
        sender = name or self._names.get(message.metadata.src_node_id, "?")
        if message.has_error():
            self.server.fail(sender, _last_line(message.error.reason))
            return
        self.server.receive(_value(message, TOLD, REPLY), sender)

    def _collect(self, grid: Grid) -> None:
        """Takes the replies that have come after their round."""
        if self._late:
            for message in grid.pull_messages(list(self._late)):
                name = self._late.pop(message.metadata.reply_to_message_id, None)
                self._take(message, name)

    # ---- nodes ----

    def _nodes(self, grid: Grid) -> list[int]:
        """The nodes that are there, in the order of their names."""
        asked = time.monotonic()
        while True:
            there = list(grid.get_node_ids())
            new = [node for node in there if node not in self._introduced]
            self._introduced.update(new)
            self._unnamed.update(grid.push_messages(self._messages(new, {}, MessageType.QUERY)))
            self._hear_names(grid)
            # Of one name there is one: a node that has come back has another number.
            named = {self._names[node]: node for node in self._names if node in there}
            waited = time.monotonic() - asked
            if len(named) >= self._min_nodes and (not self._unnamed or waited > _PATIENCE):
                return [named[name] for name in sorted(named, key=lambda n: (len(n), n))]
            time.sleep(_PAUSE)
            if waited // _TOLD != (time.monotonic() - asked) // _TOLD:
                _LOG.log(INFO, "waiting for nodes: %d of %d", len(named), self._min_nodes)

    def _hear_names(self, grid: Grid) -> None:
        for reply in grid.pull_messages(list(self._unnamed)) if self._unnamed else ():
            self._unnamed.discard(reply.metadata.reply_to_message_id)
            name = None if reply.has_error() else _value(reply, TOLD, NAME)
            if isinstance(name, str):
                self._names[reply.metadata.src_node_id] = name

    @staticmethod
    def _messages(nodes: Iterable[int], values: Mapping[str, Any], kind: str) -> list[Message]:
        record = RecordDict({ASKED: ConfigRecord(dict(values))})
        return [Message(record, dst_node_id=node, message_type=kind) for node in nodes]

    # ---- evaluation ----

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Asks all nodes for their errors, in rounds with an evaluation."""
        del arrays
        if not self._every or server_round % self._every or self.server.round().rule is None:
            return []
        sent = self.server.round(personal=True)
        values = {**config, ROUND: sent.to_bytes()}
        return self._messages(self._nodes(grid), values, MessageType.EVALUATE)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Returns the weighted means of the nodes' evaluations."""
        del server_round
        good = [m.content for m in replies if not m.has_error() and METRICS in m.content]
        return aggregate_metricrecords(good, WEIGHT) if good else None


def _last_line(reason: object) -> str:
    """What a traceback ends with."""
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else "no reason"


def _value(message: Message, record: str, key: str) -> Any:
    """What somebody has put into a message, whatever it is; None where there is nothing."""
    content = message.content.get(record)
    return content.get(key) if isinstance(content, ConfigRecord) else None
