"""Replies as words for secure sums: added exactly behind masks, rounded right in the mean."""

from __future__ import annotations

import numpy as np
import pytest
from test_federated import learner_of, run_of

import aruba_fast as af
from aruba_fast.federated import FixedPoint, Reply


def test_words_add_up_behind_masks(rng):
    """Exactly: what the server decodes is the sum of what each client rounded to."""
    learner = learner_of(rng, 20)
    form = FixedPoint.of(learner, n_clients=50, bits=20, clip=40.0)
    replies = [
        Reply(learner.statistics(run_of(rng, 1, 20, center=learner.phi)), learner.phi, 5)
        for _ in range(50)
    ]
    words = [form.encode(reply, seed=k)[0] for k, reply in enumerate(replies)]
    masks = rng.integers(0, 2**32, (50, form.n_words), dtype=np.uint32)
    masks[-1] -= masks.sum(axis=0, dtype=np.uint32)
    seen = np.add.reduce([w + m for w, m in zip(words, masks, strict=True)], dtype=np.uint32)
    found = form.decode(seen, version=5)
    alone = [form.decode(w, version=5) for w in words]
    assert (found.version, found.n_tasks, found.n_skipped) == (5, 50, 0)
    for i, name in enumerate(("distance", "grad_sq", "delta")):
        step = form.step[i]
        exact_sum = sum(np.rint(getattr(one, name) / step) for one in alone) * step
        np.testing.assert_allclose(getattr(found, name), exact_sum, 1e-13, 1e-13)
        wanted = sum(getattr(reply, name) for reply in replies)
        # Fifty roundings by less than a step each, which cancel.
        error = np.abs(getattr(found, name) - wanted) / step
        assert (error < 50).all()
        assert error.mean() < 5 * np.sqrt(50)
    assert found.weight == pytest.approx(50.0, abs=1e-3)


def test_words_are_right_in_the_mean(rng):
    learner = learner_of(rng, 4)
    form = FixedPoint.of(learner, n_clients=1, bits=4)
    reply = Reply(learner.statistics(run_of(rng, 1, 4, center=learner.phi)), learner.phi, 0)
    n = 4000
    found = [form.decode(form.encode(reply, seed=k)[0], 0) for k in range(n)]
    for i, name in enumerate(("distance", "grad_sq", "delta")):
        values = np.array([getattr(one, name) for one in found])
        assert (np.abs(values - getattr(reply, name)) < form.step[i]).all()
        bound = 5 * 0.5 * form.step[i] / np.sqrt(n)
        assert (np.abs(values.mean(axis=0) - getattr(reply, name)) < bound).all()


def test_what_is_clipped_is_told(rng):
    learner = learner_of(rng, 10)
    form = FixedPoint.of(learner, n_clients=10, clip=2.0)
    near = learner.phi + 0.1 * np.sqrt(2 * form.spread[0])
    far = near.copy()
    far[:3] = learner.phi[:3] - 100.0 * np.sqrt(form.spread[0, :3])
    for theta, share in ((near, 0.0), (far, 6 / 30)):
        run = af.TaskRun(theta[None], form.spread[None, 1])
        reply = Reply(learner.statistics(run), learner.phi, 0)
        words, clipped = form.encode(reply, seed=0)
        assert clipped == pytest.approx(share)
        found = form.decode(words, 0)
        assert (found.distance <= 2.0 * form.spread[0] + form.step[0]).all()
    limit = np.sqrt(2 * 2.0 * form.spread[0, :3])
    np.testing.assert_allclose(found.delta[:3], -limit, 1e-4)


def test_a_round_by_words_learns_what_a_round_of_floats_does(rng):
    learner = learner_of(rng, 30)
    other = af.MetaLearner(learner.phi)
    other.__setstate__(learner.__getstate__())
    replies = [
        Reply(learner.statistics(run_of(rng, 1, 30, center=learner.phi)), learner.phi, 0)
        for _ in range(400)
    ]
    form = FixedPoint.of(learner, n_clients=400, clip=40.0)
    words = [form.encode(reply, seed=k)[0] for k, reply in enumerate(replies)]
    found = form.decode(np.add.reduce(words, dtype=np.uint32), 0)
    learner.apply(sum(replies).statistics(learner.phi), meta_step=1.0)
    other.apply(found.statistics(other.phi), meta_step=1.0)
    np.testing.assert_allclose(other.learning_rate, learner.learning_rate, 1e-3)
    np.testing.assert_allclose(other.phi, learner.phi, 0, 1e-3)
