"""The entries of replies: made, aged, sent, damaged on the way, and added as words."""

from __future__ import annotations

import numpy as np

import aruba_fast as af
from aruba_fast.federated import FixedPoint, Reply

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


ENTRIES = (reply, late_reply, sent_reply, damaged_reply, words, masked_words)
