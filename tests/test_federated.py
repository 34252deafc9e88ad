"""Replies of many machines: deltas from a numbered phi, and their bytes."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
from cases import dtypes
from hypothesis import given
from hypothesis import strategies as st
from same_learner import assert_same_bits

import aruba_fast as af
from aruba_fast.federated import FixedPoint, Reply, _bfloat16, _pairs

NUMBERS = st.floats(-1e100, 1e100).filter(lambda x: x == 0 or abs(x) > 1e-100)


def run_of(rng, n_tasks, d, dtype=np.float64, center=0.0):
    theta = center + rng.standard_normal((n_tasks, d))
    return af.TaskRun(theta.astype(dtype), rng.random((n_tasks, d)).astype(dtype) + dtype(0.1))


def learner_of(rng, d, dtype=np.float64):
    """One that knows what an average task is."""
    learner = af.MetaLearner((3.0 * rng.standard_normal(d)).astype(dtype))
    learner.update(run_of(rng, 30, d, dtype, learner.phi))
    return learner


def exact(pair):
    return [Fraction(float(a)) + Fraction(float(b)) for a, b in zip(*pair, strict=True)]


@given(NUMBERS, NUMBERS)
def test_sums_and_products_are_exact(x, y):
    one, other = np.array([x]), np.array([y])
    for function, wanted in (
        (_pairs.total, Fraction(x) + Fraction(y)),
        (_pairs.product, Fraction(x) * Fraction(y)),
    ):
        high, low = function(one, other)
        assert Fraction(float(high[0])) + Fraction(float(low[0])) == wanted
        assert high[0] == float(wanted)


def test_products_of_what_is_almost_too_large():
    high, low = _pairs.product(np.array([1e300, -(2.0**1000) * 1.1]), np.array([0.3, 1.7]))
    for x, y, a, b in zip([1e300, -(2.0**1000) * 1.1], [0.3, 1.7], high, low, strict=True):
        assert Fraction(float(a)) + Fraction(float(b)) == Fraction(x) * Fraction(y)


@dtypes
def test_a_reply_has_the_exact_deltas(dtype, rng):
    learner = learner_of(rng, 5, dtype)
    run = run_of(rng, 7, 5, dtype, learner.phi)
    weights = rng.integers(1, 100, 7).astype(float)
    reply = Reply(learner.statistics(run, weights), learner.phi, 3)
    for j in range(5):
        phi = Fraction(float(learner.phi[j]))
        ends = [
            Fraction(w) * Fraction(float(theta))
            for w, theta in zip(weights, run.theta_hat[:, j], strict=True)
        ]
        # Of float64 a task's own weighted theta_hat is rounded once.
        bound = Fraction(2) ** (-95 if dtype == np.float32 else -52) * sum(map(abs, ends))
        gone = sum(ends) - Fraction(weights.sum()) * phi
        assert abs(exact(reply.sums[2])[j] - gone) <= bound
    assert (reply.version, reply.n_tasks, reply.n_skipped) == (3, 7, 0)
    assert reply.weight == weights.sum()
    np.testing.assert_allclose(reply.grad_sq, run.grad_sq.astype(float).sum(axis=0), 1e-6)


@dtypes
@pytest.mark.parametrize("hyper", [{}, {"zeta": 1.0, "learning_rate": 0.1}, {"bound": "tight"}])
def test_replies_in_time_teach_what_the_tasks_would_have(hyper, dtype, rng):
    """To the bit, from any number of machines: what travels is all that a learner looks at."""
    phi = rng.standard_normal(9).astype(dtype)
    here, there = (af.MetaLearner(phi, **hyper) for _ in range(2))
    for version in range(6):
        parts = [run_of(rng, n, 9, dtype, here.phi) for n in (1, 4, 2)]
        weights = [rng.integers(1, 9, len(part)).astype(float) for part in parts]
        told = [here.statistics(part, w) for part, w in zip(parts, weights, strict=True)]
        here.apply(sum(told), meta_step=0.7)
        sent = [Reply(one, there.phi, version).to_bytes() for one in told]
        merged = sum(Reply.from_bytes(data) for data in reversed(sent))
        assert merged.version == version
        there.apply(merged.statistics(there.phi), meta_step=0.7)
        assert_same_bits(there, here)


def test_merging_agrees_with_the_whole(rng):
    learner = learner_of(rng, 11)
    run = run_of(rng, 60, 11, center=learner.phi)
    whole = Reply(learner.statistics(run), learner.phi, 0)
    order = rng.permutation(60)
    parts = [
        Reply(
            learner.statistics(af.TaskRun(run.theta_hat[some], run.grad_sq[some])), learner.phi, 0
        )
        for some in np.split(order, [1, 9, 30])
    ]
    merged = (parts[2] + parts[0]) + (parts[3] + parts[1])
    for name in ("distance", "grad_sq", "delta"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), 2e-16, 1e-25)
    assert merged.n_tasks == 60


def test_a_late_reply_teaches_its_rates_and_moves_phi_by_its_share(rng):
    early = learner_of(rng, 6)
    run = run_of(rng, 5, 6, center=early.phi)
    reply = Reply(early.statistics(run), early.phi, 1)
    now = early.phi + 10.0
    mean = (run.theta_hat - early.phi).mean(axis=0)
    for share in (1.0, 0.25, 0.0):
        server = af.MetaLearner(now)
        server.apply(reply.statistics(server.phi, share=share), meta_step=0.5)
        np.testing.assert_allclose(server.phi, now + 0.5 * mean * (share > 0), 1e-12)
        np.testing.assert_allclose(server.b, reply.distance, 1e-12)
        np.testing.assert_allclose(server.g, reply.grad_sq, 1e-12)
    # Beside replies in time it counts for its share.
    fresh = Reply(
        server.statistics(af.TaskRun(server.phi[None] + 1.0, np.ones((1, 6)))), server.phi, 4
    )
    both = fresh.statistics(server.phi) + reply.statistics(server.phi, share=0.2)
    before = server.phi
    server.apply(both, meta_step=1.0)
    np.testing.assert_allclose(server.phi - before, (1.0 + 0.2 * 5 * mean) / 2.0, 1e-12)


# ---- bytes ----


def reply_of(rng, d=40):
    learner = learner_of(rng, d)
    return Reply(learner.statistics(run_of(rng, 3, d, center=learner.phi)), learner.phi, 12)


FORMS = {"pairs": (48, 0.0), "float32": (12, 2.0**-24), "bfloat16": (6, 2.0**-7)}


@pytest.mark.parametrize("form", FORMS)
def test_what_comes_back(form, rng):
    n_bytes, bound = FORMS[form]
    reply = reply_of(rng, 1000)
    data = reply.to_bytes(form)
    assert len(data) <= 1000 * n_bytes + 700
    again = Reply.from_bytes(data)
    assert (again.version, again.n_tasks, again.weight) == (12, 3, 3.0)
    for name in ("distance", "grad_sq", "delta"):
        value, wanted = getattr(again, name), getattr(reply, name)
        assert (np.abs(value - wanted) <= bound * np.abs(wanted)).all(), name
    if form == "pairs":
        np.testing.assert_array_equal(again.sums, reply.sums)
    assert Reply.from_bytes(bytearray(data)).version == 12
    assert not again.sums.flags.writeable


VALUES = np.array(
    [0.0, 1.0, -1.0, 0.1, -3.3, 1e30, 1e-30, 2.0**-126, 1e-39, -1e-41, 3e-45, 65280.5]
)


def test_rounding_at_random_is_right_in_the_mean():
    n = 20_000
    rng = np.random.default_rng(0)
    found = np.stack([_bfloat16.rounded(VALUES, rng) for _ in range(n)])
    step = np.maximum(2.0 ** (np.floor(np.log2(np.maximum(np.abs(VALUES), 1e-300))) - 7), 2.0**-133)
    assert (np.abs(found - VALUES) < step).all()
    assert (np.abs(found.mean(axis=0) - VALUES) <= 5 * 0.5 * step / np.sqrt(n)).all()
    for values in found[:50]:
        np.testing.assert_array_equal(_bfloat16.numbers(_bfloat16.words(values)), values)
    whole = np.array([0.0, 1.0, -2.0, 0.5, 255.0])
    np.testing.assert_array_equal(_bfloat16.rounded(whole, rng), whole)


def test_seeds_tell_how_it_is_rounded(rng):
    reply = reply_of(rng)
    one, same, other = (reply.to_bytes("bfloat16", seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert reply.to_bytes("bfloat16") != reply.to_bytes("bfloat16")


def test_what_float32_cannot_hold_is_refused():
    learner = af.MetaLearner(np.zeros(2))
    reply = Reply(learner.statistics(af.TaskRun([[1e25, 1.0]], [[1.0, 1.0]])), learner.phi, 0)
    for form in ("float32", "bfloat16"):
        with pytest.raises(ValueError, match=r"`form` must hold the sums: .* expected 'pairs'"):
            reply.to_bytes(form)
    assert Reply.from_bytes(reply.to_bytes()).distance[0] == reply.distance[0]


@pytest.mark.parametrize("form", FORMS)
def test_damage_is_refused_or_does_none(form, rng):
    reply = reply_of(rng, 3)
    data = reply.to_bytes(form, seed=0)
    whole = Reply.from_bytes(data)
    for length in range(len(data)):
        with pytest.raises(ValueError, match="must be what to_bytes wrote"):
            Reply.from_bytes(data[:length])
    n_refused = 0
    for place in range(len(data)):
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << int(rng.integers(8))
        try:
            found = Reply.from_bytes(bytes(spoiled))
        except ValueError:
            n_refused += 1
            continue
        np.testing.assert_array_equal(found.sums, whole.sums)
        assert (found.version, found.weight) == (whole.version, whole.weight)
        assert found.counts.tolist() == whole.counts.tolist()
    assert n_refused > 0.8 * len(data)  # the rest is in what the header says of its writer


def test_what_is_no_reply_is_refused(rng, tmp_path):
    learner_of(rng, 3).save(tmp_path / "learner")
    for data, message in (
        (b"", "damaged"),
        (pickle.dumps({"version": 1}), "damaged"),
        ((tmp_path / "learner").read_bytes(), "holds 'MetaLearner', expected 'Reply'"),
    ):
        with pytest.raises(ValueError, match=message):
            Reply.from_bytes(data)
    with pytest.raises(TypeError, match="`data` must be bytes: got a dict"):
        Reply.from_bytes({})


def test_sums_that_none_can_be_are_refused(rng):
    from aruba_fast import checkpoint

    reply = reply_of(rng, 3)
    good = {"weight": reply.weight_sum, "counts": reply.counts, "sums": reply.sums}
    told = {"form": "pairs", "version": 1}
    negative, nan = reply.sums.copy(), reply.sums.copy()
    negative[0, 0, 0], nan[2, 0, 1] = -1.0, np.nan
    for arrays, values in (
        (good | {"sums": negative}, told),
        (good | {"sums": nan}, told),
        (good | {"sums": reply.sums[:2]}, told),
        (good | {"sums": reply.sums.astype(np.float32)}, told),
        (good | {"counts": np.array([-1, 0])}, told),
        (good | {"weight": np.array([-1.0, 0.0])}, told),
        ({k: v for k, v in good.items() if k != "counts"}, told),
        (good, told | {"version": -1}),
        (good, told | {"form": "text"}),
        (good, {"version": 1}),
    ):
        data = checkpoint.to_bytes(arrays, values, "Reply")
        with pytest.raises(ValueError, match=r"Reply\.from_bytes: `data` must be what to_bytes"):
            Reply.from_bytes(data)
    assert Reply.from_bytes(checkpoint.to_bytes(good, told, "Reply")).version == 1


BAD = [
    ("reply of a number", lambda: Reply(3, np.zeros(2), 0), TypeError, "`statistics` must be"),
    ("size of phi", lambda: Reply(STATS, np.zeros(3), 0), ValueError, "`phi` must"),
    ("phi of nan", lambda: Reply(STATS, [np.nan, 0.0], 0), ValueError, "`phi` must be finite"),
    ("version", lambda: Reply(STATS, np.zeros(2), -1), ValueError, "`version` must"),
    ("version of text", lambda: Reply(STATS, np.zeros(2), "1"), TypeError, "`version` must"),
    (
        "share",
        lambda: GOOD.statistics(np.zeros(2), share=1.5),
        ValueError,
        "`share` must be at most",
    ),
    ("share below", lambda: GOOD.statistics(np.zeros(2), share=-1), ValueError, "`share` must"),
    ("another phi", lambda: GOOD.statistics(np.zeros(1)), ValueError, "`phi` must"),
    ("form", lambda: GOOD.to_bytes("zip"), ValueError, "`form` must be known: got 'zip'"),
    ("other version", lambda: GOOD + Reply(STATS, np.zeros(2), 2), ValueError, "same phi: got ver"),
    ("learner", lambda: FixedPoint.of(3, 1), TypeError, "`learner` must be a MetaLearner"),
    (
        "learned nothing",
        lambda: FixedPoint.of(af.MetaLearner(np.zeros(2)), 1),
        ValueError,
        "`learner` must know an average task: got one of 0 tasks",
    ),
    ("no spread", lambda: FixedPoint(np.zeros((2, 3)), 1), ValueError, "`spread` must be finite"),
    (
        "too many",
        lambda: FixedPoint(np.ones((2, 3)), 100_000, bits=16),
        ValueError,
        "`bits` must leave room for the sum of 100000 clients in 32 bits: got 16, expected at most",
    ),
    ("clip", lambda: FixedPoint(np.ones((2, 3)), 1, clip=0.0), ValueError, "`clip` must"),
    (
        "clip beyond numbers",
        lambda: FixedPoint(2 * np.ones((2, 3)), 1, clip=1e308),
        ValueError,
        "`clip` must leave all steps and sums within float64: got 1e",
    ),
    (
        "far away",
        lambda: Reply(HEAVY, np.full(2, 1e300), 0),
        ValueError,
        "`phi` must lie where the tasks started",
    ),
    ("no reply", lambda: FORM.encode(STATS), TypeError, "`reply` must be a Reply"),
    ("size", lambda: FixedPoint(np.ones((2, 3)), 1).encode(GOOD), ValueError, "`reply` must"),
    (
        "weight",
        lambda: FORM.encode(GOOD + GOOD),
        ValueError,
        "`reply` must weigh at most 1: got 2, expected a form with a larger",
    ),
    ("total", lambda: FORM.decode(np.zeros(9), 0), TypeError, "`total` must be uint32"),
    ("length", lambda: FORM.decode(np.zeros(8, np.uint32), 0), ValueError, "`total` must"),
    (
        "mask",
        lambda: FORM.decode(np.full(9, 2**31, np.uint32), 0),
        ValueError,
        "`total` must be a sum of replies: got a negative sum of squares",
    ),
]
STATS = af.MetaLearner(np.zeros(2)).statistics(af.TaskRun(np.ones((1, 2)), np.ones((1, 2))))
HEAVY = af.MetaLearner(np.zeros(2)).statistics(
    af.TaskRun(np.ones((1, 2)), np.ones((1, 2))), [1e100]
)
GOOD = Reply(STATS, np.zeros(2), 1)
FORM = FixedPoint(np.ones((2, 2)), 10)


@pytest.mark.parametrize(
    ("call", "error", "message"), [r[1:] for r in BAD], ids=[r[0] for r in BAD]
)
def test_bad_input_is_refused_in_one_sentence(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
