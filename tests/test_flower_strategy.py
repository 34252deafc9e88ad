"""What a strategy does with what a grid brings: nothing, nonsense, errors, and what is late."""

from __future__ import annotations

import numpy as np
import pytest
from optional import need
from same_learner import assert_same_bits
from test_server import D, machines, people_of

import aruba_fast as af
from aruba_fast.federated import Round, Server

flower = need("aruba_fast.flower")
app = need("flwr.app")
serverapp = need("flwr.serverapp")


@pytest.fixture(autouse=True)
def _of_a_run(monkeypatch):
    of_a_run(monkeypatch)


def of_a_run(monkeypatch):
    """Says whose messages these are, as Flower's processes are told when they start."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class Grid(serverapp.Grid):
    """A grid of nodes that are functions; a node that returns None has not replied yet."""

    def __init__(self, nodes):
        self.nodes, self.sent, self.waiting = nodes, 0, {}
        super().__init__()

    run = property(lambda _: None)

    def set_run(self, run):
        raise NotImplementedError

    def create_message(self, *_):
        raise NotImplementedError

    def get_node_ids(self):
        return list(self.nodes)

    get_nodes = get_node_ids

    def push_messages(self, messages):
        told = []
        for message in messages:
            self.sent += 1
            message.metadata.__dict__["_message_id"] = str(self.sent)
            self.waiting[str(self.sent)] = message
            told.append(str(self.sent))
        return told

    def pull_messages(self, message_ids):
        found = []
        for number in [n for n in message_ids if n in self.waiting]:
            message = self.waiting[number]
            reply = self.nodes[message.metadata.dst_node_id](message)
            if reply is not None:
                del self.waiting[number]
                found.append(reply)
        return found

    def send_and_receive(self, messages, *, timeout=None):
        assert timeout is not None
        return self.pull_messages(self.push_messages(messages))


def node_of(k, tasks, odd=None):
    """The function that a node is; `odd` may take the message first."""
    answer = flower.client_app(
        lambda sent, _: sent.answer(tasks, loss="squared"), name=lambda _: str(k)
    )

    def node(message):
        if odd is not None and message.metadata.message_type == "train":
            version = Round.from_bytes(message.content["aruba"]["round"]).version
            replaced = odd(message, version)
            if replaced is not False:
                return replaced
        return answer(message, None)

    return node


def told(message, values):
    record = app.RecordDict({"aruba": app.ConfigRecord(values)})
    return app.Message(record, reply_to=message)


def strategy_of(**options):
    return flower.ArubaStrategy(Server(af.MetaLearner(np.zeros(D))), form="pairs", **options)


def nodes_of(people, odd):
    """Four nodes, of which the third is odd."""
    parts = machines(people)
    return {100 + k: node_of(k, part, odd if k == 2 else None) for k, part in enumerate(parts)}


def failed(message, _):
    return app.Message(app.Error(code=0, reason="Traceback:\n  much\nno battery"), reply_to=message)


ODD = {
    "an error": (failed, "2: no battery", "n_failed"),
    "nothing": (lambda *_: None, "2: no reply in time", "n_failed"),
    "no record": (
        lambda message, _: app.Message(app.RecordDict(), reply_to=message),
        "2: Reply.from_bytes: `data` must be bytes",
        "n_refused",
    ),
    "another key": (
        lambda message, _: told(message, {"other": b""}),
        "2: Reply.from_bytes: `data` must be bytes",
        "n_refused",
    ),
    "text": (
        lambda message, _: told(message, {"reply": "phi"}),
        "2: Reply.from_bytes: `data` must be bytes",
        "n_refused",
    ),
    "noise": (
        lambda message, _: told(message, {"reply": b"\0" * 99}),
        "2: Reply.from_bytes: `data` must be what to_bytes wrote",
        "n_refused",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_node_is_said_and_the_others_are_learned_from(odd, rng):
    people = people_of(rng)
    replaced, reason, counted = ODD[odd]
    strategy = strategy_of()
    strategy.start(Grid(nodes_of(people, replaced)), num_rounds=4, timeout=1)
    twin = Server(af.MetaLearner(np.zeros(D)))
    for _ in range(4):
        for k in (0, 1, 3):
            twin.receive(twin.round().answer(machines(people)[k], loss="squared"), k)
        twin.close()
    assert_same_bits(strategy.server.learner, twin.learner)
    for report in strategy.reports:
        assert getattr(report, counted) == 1
        assert report.reasons[0].startswith(reason)


def test_a_reply_that_comes_three_rounds_late_is_learned_from(rng):
    people = people_of(rng)
    grid = Grid({})

    def slow(_, version):
        return None if version == 2 and strategy.server.version < 5 else False

    grid.nodes = nodes_of(people, slow)
    strategy = strategy_of()
    strategy.start(grid, num_rounds=7, timeout=1)
    late = [(r.n_replies, r.n_late, r.n_failed) for r in strategy.reports]
    assert late == [(4, 0, 0), (4, 0, 0), (3, 0, 1), (4, 0, 0), (4, 0, 0), (5, 1, 0), (4, 0, 0)]
    twin, kept = Server(af.MetaLearner(np.zeros(D))), None
    for version in range(7):
        for k, part in enumerate(machines(people)):
            answer = twin.round().answer(part, loss="squared")
            if (k, version) == (2, 2):
                kept = answer
            else:
                twin.receive(answer, k)
        if version == 5:
            twin.receive(kept, 2)
        twin.close()
    for name in ("phi", "b", "g", "learning_rate"):
        one, other = (getattr(learner, name) for learner in (strategy.server.learner, twin.learner))
        np.testing.assert_allclose(one, other, 1e-15, err_msg=name)


def test_rounds_without_a_reply_change_nothing_but_are_said(rng, caplog):
    people = people_of(rng)
    strategy = strategy_of()
    strategy.start(Grid(nodes_of(people, None)), num_rounds=3, timeout=1)
    before = strategy.server.learner.phi
    silent = Grid({k: node_of(k, people[:1], lambda *_: None) for k in range(3)})
    with caplog.at_level("WARNING", logger="flwr"):
        result = strategy.start(silent, num_rounds=2, timeout=1)
    np.testing.assert_array_equal(strategy.server.learner.phi, before)
    assert [report.lost for report in strategy.reports[-2:]] == [True, True]
    assert result.train_metrics_clientapp[2]["n_failed"] == 3


def test_a_node_that_comes_back_is_asked_once(rng):
    """Flower gives it another number; the name is the same."""
    people = people_of(rng)
    grid = Grid(nodes_of(people, None))
    strategy = strategy_of()
    strategy.start(grid, num_rounds=2, timeout=1)
    grid.nodes[999] = grid.nodes[100]
    strategy.start(grid, num_rounds=1, timeout=1)
    assert strategy.reports[-1].n_replies == 4
    assert strategy.reports[-1].n_refused == 0
