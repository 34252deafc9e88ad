"""A server that hides people or rows: what goes out, what it takes, and what is in its file."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from same_learner import assert_same_bits
from scipy import stats

import aruba_fast as af
from aruba_fast.federated import Reply, Round, Server
from aruba_fast.privacy import RecordPrivacy, TaskPrivacy

D = 3
ROWS = RecordPrivacy(np.linspace(0.5, 1.5, D), 1e-9, n_rows=4, n_steps=3)
PEOPLE = TaskPrivacy(np.full((2, D), 0.5), 1.5, n_tasks=20, clip_b=1.5, seed=3)
BOTH = pytest.mark.parametrize("privacy", [PEOPLE, ROWS], ids=["people", "rows"])


def server_of(privacy, **own):
    return Server(af.MetaLearner(np.zeros(D), learning_rate=0.1), privacy=privacy, **own)


@pytest.fixture
def people(rng):
    return af.Tasks(rng.standard_normal((20, 4, D)), rng.standard_normal((20, 4)) + 1)


@BOTH
def test_a_round_tells_machines_how_to_hide_and_is_read_as_it_was(privacy):
    sent = server_of(dataclasses.replace(privacy)).round()
    assert sent.limit is None
    assert Round.from_bytes(sent.to_bytes()).privacy == dataclasses.replace(
        privacy, **{"seed": None} if privacy is PEOPLE else {}
    )
    assert sent.privacy in {privacy}
    assert pickle.loads(pickle.dumps(privacy)) == privacy
    assert f"privacy={privacy!r}" in repr(sent)


@BOTH
@pytest.mark.parametrize(
    "change",
    [{"noise": -1.0}, {"kind": "Nobody's"}, {"clip": "wide"}, {"more": 1}, None],
    ids=["noise", "kind", "type", "unknown", "gone"],
)
def test_a_round_whose_privacy_is_no_privacy_is_refused(privacy, change, monkeypatch):
    right = type(privacy)._stored

    def damaged(self):
        arrays, values = right(self)
        return ({}, values) if change is None else (arrays, values | change)

    monkeypatch.setattr(type(privacy), "_stored", damaged)
    data = server_of(privacy).round().to_bytes()
    with pytest.raises(ValueError, match=r"Round.from_bytes: `data` must be what to_bytes wrote"):
        Round.from_bytes(data)


@pytest.mark.parametrize("clip", [1.0, 1e3])
def test_people_are_clipped_and_sums_get_noise_before_anything_is_learned(people, clip):
    wide = dataclasses.replace(
        PEOPLE, noise=1e-14, clip_theta=clip, clip_b=clip * clip, clip_g=clip * clip
    )
    private, plain = server_of(wide), server_of(None)
    for _ in range(4):
        private.receive(private.round().answer(people, loss="squared"), "all")
        sent = plain.round()
        run = af.run_tasks(people, sent.phi, sent.rule, loss="squared")
        plain.receive(dataclasses.replace(sent, limit=None).reply(run), "all")
        for server in (private, plain):
            assert server.close().n_refused == 0
    near = np.isclose(private.learner.phi, plain.learner.phi, rtol=1e-6)
    assert near.all() if clip > 1 else not near.any()


def test_a_round_that_nobody_answers_is_learned_from_as_any_other():
    server = server_of(PEOPLE)
    report = server.close()
    assert (report.lost, report.n_replies, report.n_tasks) == (False, 0, 20)
    assert (server.learner.phi != 0).all()
    assert server_of(ROWS).close().lost


def test_the_scales_of_a_round_are_those_of_what_was_learned(people):
    server = server_of(PEOPLE)
    assert (server.round().privacy.spread == 0.5).all()
    server.receive(server.round().answer(people, loss="squared"), "all")
    server.close()
    told = server.learner
    expected = [(s + s.mean() / 20) / 20 for s in (told.b, told.g)]
    np.testing.assert_allclose(server.round().privacy.spread, expected, rtol=1e-12)
    assert server.round().privacy.noise == 1.5


@pytest.mark.parametrize("rate", [0.1, 0.7, 1.0])
def test_machines_draw_who_takes_part(people, rate):
    sent = server_of(dataclasses.replace(PEOPLE, rate=rate)).round()
    counts = [sent.answer(people, loss="squared").n_tasks for _ in range(300)]
    if rate == 1.0:
        assert set(counts) == {20}
        return
    table = np.bincount(counts, minlength=21)
    expected = 300 * stats.binom.pmf(np.arange(21), 20, rate)
    common = expected > 5
    found = np.append(table[common], table[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    assert stats.chisquare(found, wanted).pvalue > 1e-5


def test_a_machine_on_which_nobody_was_drawn_answers_all_the_same(people):
    server = server_of(dataclasses.replace(PEOPLE, rate=1e-12))
    told = server.round().answer(people, loss="squared")
    assert (told.n_tasks, told.weight) == (0, 0.0)
    for form in ("pairs", "float32", "bfloat16"):
        assert server.receive(told.to_bytes(form), form) is None
    with pytest.raises(ValueError, match="`loss` must be known"):
        server.round().answer(people, loss="x")


# ---- what is refused ----


def test_a_task_that_was_not_clipped_is_refused():
    server = server_of(PEOPLE)
    sent = server.round()
    run = af.TaskRun(np.full((20, D), 50.0), np.ones((20, D)))
    refused = server.receive(dataclasses.replace(sent, privacy=None).reply(run), "a machine")
    assert refused.startswith("its tasks were not clipped: they add up to")
    assert server.receive(sent.reply(run), "a machine") is None


@BOTH
def test_what_comes_late_is_lost(privacy, people):
    server = server_of(privacy, max_age=5)
    late = server.round().answer(people, loss="squared")
    server.close()
    assert server.receive(late, "late") == "1 rounds late, at most 0 are learned from"


@pytest.mark.parametrize("privacy", [PEOPLE, ROWS])
def test_sums_beyond_float64_are_refused_and_leave_nothing(privacy, monkeypatch):
    monkeypatch.setattr(type(privacy), "_unfit", lambda *_: None)
    server, other = server_of(privacy), server_of(privacy)
    for name in "ab":
        huge = Reply._of(np.full((3, 2, D), 1.7e308), np.ones(2), np.array([1, 0]), 0)
        server.receive(huge, name)
    report = server.close()
    assert report.lost
    assert report.reasons == ["the round: its sums are beyond float64"]
    other._open(Round.of(other.learner, 1))
    for each in (server, other):
        each.close()
    assert_same_bits(server.learner, other.learner)


def asking():
    return Server(af.MetaLearner(np.zeros(D)), privacy=PEOPLE)


def answered(privacy, **own):
    tasks = af.Tasks(np.ones((2, 4, D)), np.ones((2, 4)))
    return server_of(privacy).round().answer(tasks, loss="squared", **own)


def replied(privacy, run, weights=None):
    return server_of(privacy).round().reply(run, weights)


def sums(n_tasks):
    run = af.TaskRun(np.ones((n_tasks, D)), np.ones((n_tasks, D)))
    return af.MetaLearner(np.zeros(D)).statistics(run)


RUN = af.TaskRun(np.ones((2, D)), np.ones((2, D)))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (asking, ValueError, "Server: `learner` must know its first rate"),
        (lambda: server_of(3), TypeError, "Server: `privacy` must be a privacy: got 3"),
        (
            lambda: server_of(TaskPrivacy(np.ones((2, 4)), 1.0, 1)),
            ValueError,
            "Server: `privacy` must fit in shape: got (4,), expected (3,)",
        ),
        (lambda: answered(ROWS, batch_size=2), ValueError, "must be left where rows are private"),
        (lambda: answered(PEOPLE, weights=[1.0, 2.0]), ValueError, "`weights` must be None"),
        (lambda: answered(PEOPLE, weights="x"), ValueError, "`weights` must be"),
        (lambda: replied(PEOPLE, RUN, [1.0, 2.0]), ValueError, "`weights` must be None"),
        (lambda: replied(ROWS, RUN), ValueError, "`run` must have taken private steps"),
        (lambda: replied(PEOPLE, sums(2)), ValueError, "`run` must be of one task"),
        (lambda: replied(PEOPLE, 3), TypeError, "`run` must be a TaskRun or TaskStatistics"),
    ],
)
def test_wrong_use_is_one_sentence(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_sums_of_one_task_are_clipped_as_the_task(rng):
    run = af.TaskRun(rng.standard_normal((1, D)), rng.random((1, D)))
    told = replied(PEOPLE, af.MetaLearner(np.zeros(D)).statistics(run, weights=[4.0]))
    np.testing.assert_allclose(told.sums, replied(PEOPLE, run).sums, rtol=1e-12)
    assert told.weight == 1.0
    bad = af.MetaLearner(np.zeros(D)).statistics(af.TaskRun([[np.nan] * D], [[1.0] * D]))
    assert (replied(PEOPLE, bad).n_tasks, replied(PEOPLE, bad).n_skipped) == (0, 1)


# ---- the file ----


@BOTH
def test_a_server_goes_on_from_its_file_with_all_that_it_knew(privacy, people, tmp_path):
    here, there = server_of(privacy), server_of(privacy, path=tmp_path / "state")
    for number in range(6):
        for server in (here, there):
            sent = server.round()
            hides = sent.privacy
            told = (
                hides.answer(sent, people, loss="squared", seed=number)
                if privacy is ROWS
                else sent.answer(people, loss="squared")
            )
            assert server.receive(told, "all") is None
            server.close()
        if number == 2:
            rng = getattr(there._way.hidden[1], "_rng", None)
            there = Server.load(tmp_path / "state")
            assert there.round().privacy.noise == privacy.noise
            if rng is not None:
                assert there._way.hidden[1]._rng is None  # nobody can make the noise again
                there._way.hidden[1]._rng = rng
    assert_same_bits(here.learner, there.learner)
    np.testing.assert_array_equal(here._way.hidden[1].known, there._way.hidden[1].known)


def test_a_file_whose_sums_are_not_numbers_is_refused(tmp_path):
    server = server_of(PEOPLE, path=tmp_path / "state")
    server._way.hidden[1].known[0, 0, 0] = np.nan
    server._save()
    with pytest.raises(ValueError, match=r"Server.load: `path` must be what a server has written"):
        Server.load(tmp_path / "state")
