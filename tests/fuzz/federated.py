"""The entries of replies: made, aged, sent, damaged on the way, and added as words."""

from __future__ import annotations

import numpy as np

import aruba_fast as af
from aruba_fast.federated import FirstRate, FixedPoint, Reply, Round, Server
from aruba_fast.privacy import RecordPrivacy, TaskPrivacy

from .calls import Broken, Call

FORMS = ("pairs", "float32", "bfloat16")


def _statistics(draw, n):
    learner = af.MetaLearner(draw.rng.standard_normal(n))
    shape = (draw.integer(1, 4), n)
    run = af.TaskRun(draw.rng.standard_normal(shape), 0.1 + draw.rng.random(shape))
    learner.update(run)
    return learner, learner.statistics(run)


def _reply_of(draw, n):
    learner, statistics = _statistics(draw, n)
    return learner, Reply(statistics, learner.phi, draw.integer(0, 9))


def reply(draw):
    n = draw.size()
    _, statistics = _statistics(draw, n)
    return Call(Reply, [statistics, draw.normals(n), draw.integer(0, 9)])


def late_reply(draw):
    n = draw.size()
    _, sent = _reply_of(draw, n)
    return Call(sent.statistics, [draw.normals(n)], {"share": draw.choice((0.0, 0.5, 1.0))})


def sent_reply(draw):
    _, sent = _reply_of(draw, draw.size())

    def there_and_back(form, seed):
        data = sent.to_bytes(form, seed=seed)
        if Reply.from_bytes(data).to_bytes(form, seed=seed) != data:
            raise Broken("what comes back is another reply")

    return Call(there_and_back, [draw.choice(FORMS)], {"seed": draw.choice((0, 7))})


def damaged_reply(draw):
    data = bytearray(_reply_of(draw, draw.integer(1, 6))[1].to_bytes(draw.choice(FORMS)))
    if draw.wild:
        for _ in range(draw.integer(0, 3)):
            data[draw.integer(0, len(data) - 1)] ^= 1 << draw.integer(0, 7)
        data = data[: draw.choice((len(data), len(data), draw.integer(0, len(data))))]
    return Call(Reply.from_bytes, [bytes(data)])


def words(draw):
    learner, sent = _reply_of(draw, draw.size())

    def added(n_clients, bits, clip, most_weight):
        form = FixedPoint.of(learner, n_clients, bits=bits, clip=clip, most_weight=most_weight)
        total = form.encode(sent)[0] + form.encode(sent)[0]
        return form.decode(total, version=sent.version)

    kwargs = {"bits": draw.integer(2, 20), "clip": draw.positive(), "most_weight": 10.0}
    return Call(added, [draw.integer(2, 100)], kwargs)


def masked_words(draw):
    """Sums whose masks were not taken off."""
    n = draw.size()
    form = FixedPoint(0.1 + draw.rng.random((2, n)), 10)
    total = draw.rng.integers(0, 2**32, form.n_words, dtype=np.uint32)
    return Call(form.decode, [total if draw.wild else total * 0, draw.integer(0, 9)])


def _linear(draw):
    """A learner, and tasks of its size."""
    n = draw.integer(1, 6)
    tasks = af.Tasks(draw.rng.standard_normal((3, 2, n)), draw.rng.standard_normal((3, 2)))
    rate = draw.choice(("auto", 0.1))
    return af.MetaLearner(draw.rng.standard_normal(n), learning_rate=rate), tasks


def answered_round(draw):
    """What goes out comes back as it was, and is answered."""
    learner, tasks = _linear(draw)

    def there_and_back(version, loss):
        sent = Round.of(learner, version, personal=draw.choice((False, True)))
        received = Round.from_bytes(sent.to_bytes())
        if received != sent:
            raise Broken("what is received is another round")
        return received.answer(tasks, loss=loss).to_bytes()

    return Call(there_and_back, [draw.integer(0, 9), draw.choice(("squared", "absolute"))])


def server(draw):
    """Rounds with replies that are anything: nothing is raised, and what is learned is finite."""
    learner, tasks = _linear(draw)

    def rounds(max_age):
        serving = Server(learner, max_age=max_age)
        kept = []
        for number in range(4):
            told = serving.round().answer(tasks, loss="squared")
            kept.append(bytearray(told.to_bytes()))
            if draw.wild:
                kept[-1][draw.integer(0, len(kept[-1]) - 1)] ^= 1 << draw.integer(0, 7)
            for sender, data in enumerate(kept[-3:]):
                serving.receive(bytes(data), draw.choice((sender, "one", number)))
            report = serving.close()
            if report.n_replies + report.n_refused != len(kept[-3:]):
                raise Broken(f"of {len(kept[-3:])} replies are told {report}")
        if not np.isfinite(serving.learner.phi).all():
            raise Broken("phi is not finite")

    return Call(rounds, [draw.integer(0, 3)])


def private_server(draw):
    """Rounds of people, or of rows, who are hidden: what is learned is finite."""
    _, tasks = _linear(draw)
    n, of_rows = tasks.n_features, draw.choice((False, True))
    scale = draw.positives(n if of_rows else (2, n))

    def rounds(noise, n_expected, clip, rate):
        if of_rows:
            privacy = RecordPrivacy(scale, noise, n_expected, clip=clip)
        else:
            privacy = TaskPrivacy(scale, noise, n_expected, rate, clip_theta=clip)
        serving = Server(af.MetaLearner(np.zeros(n), learning_rate=0.1), privacy=privacy)
        for _ in range(3):
            sent = Round.from_bytes(serving.round().to_bytes())
            serving.receive(sent.answer(tasks, loss="squared"), "all")
            serving.close()
        if not np.isfinite(serving.learner.phi).all():
            raise Broken("phi is not finite")

    numbers = [draw.positive(), draw.integer(1, 50), draw.positive()]
    return Call(rounds, [*numbers, draw.choice((0.1, 1.0))])


def first_rate(draw):
    def there_and_back(*told):
        answer = FirstRate(*told)
        if FirstRate.from_bytes(answer.to_bytes()) != answer:
            raise Broken("what comes back is another rate")

    return Call(there_and_back, [draw.positive(), draw.integer(0, 9), draw.choice((False, True))])


ENTRIES = (
    reply,
    late_reply,
    sent_reply,
    damaged_reply,
    words,
    masked_words,
    answered_round,
    server,
    private_server,
    first_rate,
)
