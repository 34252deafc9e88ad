"""A server and its machines: what comes late, twice, damaged, too far or never harms nothing."""

from __future__ import annotations

import numpy as np
import pytest
from same_learner import assert_same_bits

import aruba_fast as af
from aruba_fast.federated import FirstRate, Reply, Round, Server

D = 6


def people_of(rng, n_tasks=24, dtype=np.float64, center=1.0):
    x = rng.standard_normal((n_tasks, 5, D)).astype(dtype)
    own = center + 0.3 * rng.standard_normal((n_tasks, D))
    y = np.einsum("tij,tj->ti", x, own) + 0.1 * rng.standard_normal((n_tasks, 5))
    return af.Tasks(x, y.astype(dtype))


def machines(people, n=4):
    return [people[part] for part in np.array_split(np.arange(len(people)), n)]


def told(server, tasks, form="pairs"):
    answer = Round.from_bytes(server.round().to_bytes()).answer(tasks, loss="squared")
    return answer.to_bytes(form) if isinstance(answer, Reply) else answer.to_bytes()


def one_round(server, people, form="pairs"):
    for name, tasks in enumerate(machines(people)):
        assert server.receive(told(server, tasks, form), name) is None
    return server.close()


def started(people, **options):
    """A server that has learned for three rounds, and so knows how far tasks go."""
    server = Server(af.MetaLearner(np.zeros(D)), **options)
    for _ in range(3):
        one_round(server, people)
    return server


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hyper", [{}, {"train": "scalar"}, {"bound": "tight"}, {"zeta": 1.0}])
def test_machines_teach_what_one_process_learns(hyper, dtype, rng):
    """To the bit, from `learning_rate="auto"` on: nobody sees the rows of another."""
    people = people_of(rng, dtype=dtype)
    server, alone = (
        Server(af.MetaLearner(np.zeros(D, dtype), **hyper)),
        af.MetaLearner(np.zeros(D, dtype), **hyper),
    )
    report = one_round(server, people)
    assert (report.n_replies, server.learner.n_tasks) == (4, 0)
    alone.first_rate(people, loss="squared")
    assert_same_bits(server.learner, alone)
    for _ in range(6):
        one_round(server, people)
        run = af.run_tasks(people, alone.phi, alone.rule(None), loss="squared")
        alone.update(run, weights=run.weight)
        assert_same_bits(server.learner, alone)
    assert server.version == 7


def test_tasks_that_go_too_far_are_shortened_where_they_run(rng):
    people = people_of(rng)
    server = started(people)
    far = af.Tasks(
        people.x.reshape(-1, 5, D), np.where(np.arange(24) < 2, 1e6, 1.0)[:, None] + np.zeros(5)
    )
    alone = af.MetaLearner(np.zeros(D))
    alone.first_rate(people, loss="squared")
    for tasks in (people, people, far):
        run = af.run_tasks(tasks, alone.phi, alone.rule(None), loss="squared")
        alone.update(run, weights=run.weight)
    one_round(server, far)
    assert_same_bits(server.learner, alone)


@pytest.mark.parametrize(
    ("loss", "exact"), [("squared", True), ("logistic", True), ("absolute", False)]
)
def test_the_first_rate_is_that_of_all_rows(loss, exact, rng):
    people = people_of(rng)
    y = (people.y > 0).astype(float).reshape(-1, 5) if loss == "logistic" else people.y
    people = af.Tasks(people.x.reshape(-1, 5, D), y.reshape(-1, 5))
    sent = Round.of(af.MetaLearner(np.zeros(D)), 0)
    answers = [sent.answer(tasks, loss=loss) for tasks in machines(people, 5)]
    assert all(answer.is_limit == exact for answer in answers)
    server = Server(af.MetaLearner(np.zeros(D)))
    for name, answer in enumerate(answers):
        server.receive(answer.to_bytes(), name)
    server.close()
    found = server.learner.initial_learning_rate
    if exact:
        assert found == af.MetaLearner(np.zeros(D)).first_rate(people, loss=loss)
    else:
        assert found == sorted(answer.rate for answer in answers)[2]


def test_limits_stand_before_estimates():
    server = Server(af.MetaLearner(np.zeros(1)))
    for name, (rate, is_limit) in enumerate(
        [(0.5, False), (3.0, True), (9.0, False), (1e9, False)]
    ):
        server.receive(FirstRate(rate, 0, is_limit), name)
    server.close()
    assert server.learner.initial_learning_rate == 3.0


def test_rows_without_any_length_say_nothing():
    silent = Round.of(af.MetaLearner(np.zeros(D)), 0).answer(
        af.Tasks(np.zeros((2, 3, D)), np.zeros((2, 3))), loss="squared"
    )
    assert silent.rate == np.inf
    server = Server(af.MetaLearner(np.zeros(D)))
    server.receive(silent.to_bytes(), "silent")
    server.receive(FirstRate(7.0, 0, is_limit=True), "other")
    server.close()
    assert server.learner.initial_learning_rate == 7.0


# ---- faults ----


def huge(server, _):
    sent = server.round()
    run = af.TaskRun(np.full((2, D), 1e9), np.full((2, D), 1e9))
    return Reply(af.MetaLearner(sent.phi).statistics(run), sent.phi, sent.version).to_bytes()


def of_another_size(server, _):
    other = af.MetaLearner(np.zeros(D + 1))
    run = af.TaskRun(np.ones((1, D + 1)), np.ones((1, D + 1)))
    return Reply(other.statistics(run), other.phi, server.version).to_bytes()


def with_version(version):
    def data(server, tasks):
        run = server.round().answer(tasks, loss="squared")
        return Reply(run.statistics(server.round().phi), server.round().phi, version).to_bytes()

    return data


def damaged(server, tasks):
    data = bytearray(told(server, tasks))
    data[-9] ^= 4
    return bytes(data)


def cut(server, tasks):
    return told(server, tasks)[:-8]


def with_nan(server, _):
    from aruba_fast.federated import _wire

    sums = np.zeros((3, 2, D))
    sums[2, 0, 1] = np.nan
    arrays = {"weight": np.array([1.0, 0.0]), "counts": np.array([1, 0]), "sums": sums}
    return _wire.written(arrays, {"form": "pairs", "version": server.version}, "Reply")


FAULTS = {
    "another size": (of_another_size, "a reply of 7 parameters, where the model has 6"),
    "nan": (with_nan, "finite"),
    "damaged": (damaged, "checksum"),
    "cut off": (cut, "damaged"),
    "nothing": (lambda *_: b"", "damaged"),
    "no bytes": (lambda *_: 3, "`data` must be bytes"),
    "from the future": (with_version(9), "version 9, which was not sent out yet"),
    "too late": (with_version(0), "3 rounds late, at most 2 are learned from"),
    "too far": (huge, "its tasks spread to"),
    "a first rate": (
        lambda server, _: FirstRate(1.0, server.version).to_bytes(),
        "a first rate, which is known by now",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_used_changes_nothing(fault, rng, tmp_path):
    make, reason = FAULTS[fault]
    people = people_of(rng)
    server = started(people, max_age=2, path=tmp_path / "state")
    twin = Server.load(tmp_path / "state", max_age=2)
    said = server.receive(make(server, people[:3]), "odd")
    assert reason in said
    report = one_round(server, people)
    one_round(twin, people)
    assert_same_bits(server.learner, twin.learner)
    assert (report.n_replies, report.n_refused, report.n_tasks) == (4, 1, 24)
    assert report.reasons == [f"odd: {said}"]


def test_a_reply_counts_once(rng, tmp_path):
    people = people_of(rng)
    server = started(people, path=tmp_path / "state")
    data = told(server, people[:5])
    assert server.receive(data, "a") is None
    assert server.receive(data, "a") == "a second answer to version 3"
    server.close()
    assert server.receive(data, "a") == "a second answer to version 3"
    assert Server.load(tmp_path / "state").receive(data, "a") == "a second answer to version 3"


def test_a_reply_three_rounds_late_teaches_its_rates_and_a_share_of_its_step(rng):
    people = people_of(rng)
    server = started(people)
    late = Reply.from_bytes(told(server, people[:5]))
    for _ in range(3):
        one_round(server, people)
    in_time = Reply.from_bytes(told(server, people[5:]))
    phi = server.learner.phi
    twin = af.MetaLearner.__new__(af.MetaLearner)
    twin.__setstate__(server.learner.__getstate__())
    twin.apply(late.statistics(phi, share=0.25) + in_time.statistics(phi))
    assert server.receive(late.to_bytes(), "late") is None
    assert server.receive(in_time.to_bytes(), "other") is None
    report = server.close()
    assert_same_bits(server.learner, twin)
    assert (report.n_replies, report.n_late, report.n_tasks) == (2, 1, 24)


def test_a_round_without_replies_is_lost_and_says_so(rng):
    people = people_of(rng)
    server = started(people)
    before = server.learner.phi, server.learner.b, server.version
    server.fail("phone", "no network")
    report = server.close()
    assert report.lost
    assert (report.n_failed, report.reasons) == (1, ["phone: no network"])
    np.testing.assert_array_equal(server.learner.phi, before[0])
    np.testing.assert_array_equal(server.learner.b, before[1])
    assert server.version == before[2] + 1
    assert not one_round(server, people).lost


def test_sums_beyond_float64_are_a_lost_round():
    """Of the first rounds, in which nobody knows how far tasks go."""
    server = Server(af.MetaLearner(np.zeros(D), learning_rate=1.0))
    run = af.TaskRun(np.full((1, D), 1e135), np.full((1, D), 1.7e288))
    reply = server.round().reply(run)
    sums = reply.sums * 1e19
    far = Reply._of(sums, reply.weight_sum, reply.counts, 0)
    for name in range(20):
        server.receive(far.to_bytes(), name)
    before = server.learner.phi
    report = server.close()
    assert (report.n_replies, report.n_refused) == (0, 20)
    np.testing.assert_array_equal(server.learner.phi, before)


@pytest.mark.parametrize("form", ["float32", "bfloat16"])
def test_rounded_replies_are_not_too_far(form, rng):
    """Of tasks that are all as far as they may be."""
    people = people_of(rng)
    server = started(people)
    far = af.Tasks(people.x.reshape(-1, 5, D), np.full((24, 5), 1e8))
    assert one_round(server, far, form).n_replies == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"learner": np.zeros(2)}, TypeError, "Server: `learner` must be a MetaLearner"),
        ({"max_age": -1}, ValueError, "Server: `max_age`"),
        ({"max_age": 0.5}, TypeError, "Server: `max_age`"),
        ({"share": 0.5}, TypeError, "Server: `share` must be a function"),
        ({"meta_step": -1.0}, ValueError, "Server: `meta_step`"),
        ({"path": 3}, TypeError, "path"),
    ],
)
def test_bad_input_says_so(arguments, error, message):
    with pytest.raises(error, match=message):
        Server(**{"learner": af.MetaLearner(np.zeros(2))} | arguments)


def test_a_sender_has_a_name():
    with pytest.raises(TypeError, match=r"Server.receive: `sender` must be a name or a number"):
        Server(af.MetaLearner(np.zeros(2))).receive(b"", 1.5)
