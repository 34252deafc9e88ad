"""Privacy of whole tasks: what is clipped, the noise on it, and what is released."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

import aruba_fast as af
from aruba_fast.federated import Reply, Round
from aruba_fast.privacy import TaskPrivacy
from aruba_fast.privacy._noise import normal
from aruba_fast.privacy._released import Released

D = 6


def sent(phi, version=3):
    return Round.of(af.MetaLearner(phi, learning_rate=0.1), version)


def privacy_of(rng, d=D, **settings):
    return TaskPrivacy(rng.random((2, d)) + 0.1, **{"noise": 1.1, "n_tasks": 10} | settings)


def by_hand(run, phi, privacy):
    """The sums of clipped tasks, one task and one block after the other."""
    s_b, s_g = privacy.spread
    total = np.zeros((3, len(phi)))
    for theta, squares in zip(run.theta_hat, run.grad_sq, strict=True):
        delta = theta.astype(float) - phi
        for k, (block, clip, unit) in enumerate(
            (
                (0.5 * delta**2 / s_b, privacy.clip_b, s_b),
                (squares / s_g, privacy.clip_g, s_g),
                (delta / np.sqrt(2 * s_b), privacy.clip_theta, np.sqrt(2 * s_b)),
            )
        ):
            norm, most = np.sqrt((block**2).sum()), clip * np.sqrt(len(phi))
            total[k] += block * min(1.0, most / norm if norm else 1.0) * unit
    return total


def likely_by_hand(noisy, variances):
    """The equations of `Released`, a coordinate after the other."""
    d = len(noisy)
    mean = max(sum(noisy) / d, sum(variances) ** 0.5 / d)
    tau = max(sum((c - mean) ** 2 - v for c, v in zip(noisy, variances, strict=True)) / d, 0)
    found = []
    for c, v in zip(noisy, variances, strict=True):
        w = tau / (tau + v)
        e = mean + w * (c - mean)
        found.append((e + (e * e + 8 / np.pi * w * v) ** 0.5) / 2)
    return np.array(found) * mean / (sum(found) / d)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_each_task_is_clipped_in_each_block(rng, dtype, scale):
    phi = rng.standard_normal(D).astype(dtype)
    run = af.TaskRun(
        (phi + scale * rng.standard_normal((50, D))).astype(dtype),
        (scale * rng.random((50, D))).astype(dtype),
    )
    privacy = privacy_of(rng, clip_theta=0.9, clip_b=1.2, clip_g=0.7)
    reply = privacy.clipped(run, sent(phi))
    assert (reply.version, reply.n_tasks, reply.n_skipped, reply.weight) == (3, 50, 0, 50.0)
    got = np.stack([reply.distance, reply.grad_sq, reply.delta])
    np.testing.assert_allclose(got, by_hand(run, phi, privacy), rtol=1e-11, atol=1e-12)


def test_a_short_task_says_what_it_would_without_privacy(rng):
    phi = rng.standard_normal(D)
    run = af.TaskRun(phi + 0.01 * rng.standard_normal((4, D)), 0.01 * rng.random((4, D)))
    here = sent(phi)
    clipped, plain = privacy_of(rng).clipped(run, here), here.reply(run)
    for name in ("distance", "grad_sq", "delta"):
        np.testing.assert_allclose(getattr(clipped, name), getattr(plain, name), rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_no_task_says_more_than_its_clips_whatever_it_holds(rng, bad):
    phi, privacy = np.zeros(D), privacy_of(rng)
    theta, squares = np.zeros((2, D)), np.ones((2, D))
    theta[0, 1] = bad
    squares[1, 2] = abs(bad) if bad > 0 else -1.0
    reply = privacy.clipped(af.TaskRun(theta, squares), sent(phi))
    blocks = np.stack([reply.distance, reply.grad_sq, reply.delta]) / privacy._units()
    assert np.isfinite(blocks).all()
    assert (np.linalg.norm(blocks, axis=1) <= 2 * np.sqrt(D) * (1 + 1e-12)).all()
    assert reply.n_tasks + reply.n_skipped == 2


def test_many_tasks_are_clipped_part_by_part_alike(rng, monkeypatch):
    phi, privacy = rng.standard_normal(D), privacy_of(rng)
    run = af.TaskRun(phi + rng.standard_normal((31, D)), rng.random((31, D)))
    whole = privacy.clipped(run, sent(phi))
    monkeypatch.setattr("aruba_fast.privacy._mechanism._AT_ONCE", 4 * D)
    parts = privacy.clipped(run, sent(phi))
    np.testing.assert_allclose(parts.sums, whole.sums, rtol=1e-13, atol=1e-13)
    assert parts.n_tasks == 31


@pytest.mark.parametrize("z", [0.3, 1.1, 7.0])
def test_the_noise_of_the_blocks_is_that_of_one_mechanism(rng, z):
    of_theta, of_b, of_g = privacy_of(rng, noise=z).multipliers
    assert of_theta**-2 + of_b**-2 + of_g**-2 == pytest.approx(z**-2, rel=1e-12)
    assert of_b == of_g == pytest.approx(8 * z / 1.1)
    if z == 1.1:
        assert round(of_theta, 2) == 1.12


@pytest.mark.parametrize("seed", [1, None])
def test_the_noise_is_gaussian_and_as_large_as_it_says(rng, seed):
    d = 5000
    privacy = privacy_of(rng, d, clip_theta=0.5, clip_b=2.0, clip_g=3.0)
    released, here = Released(d, seed), sent(np.zeros(d))
    reply = released.reply(privacy, here, None)
    _, of_b, of_g = privacy.multipliers
    of_theta = (1.1**-2 - of_b**-2 - of_g**-2) ** -0.5
    s_b, s_g = privacy.spread
    root = np.sqrt(d)
    draws = reply.delta / (of_theta * 0.5 * root * np.sqrt(2 * s_b))
    assert stats.kstest(draws, "norm").pvalue > 1e-5
    for noisy, scale in (
        (released.known[0, 0], of_b * 2.0 * root * s_b),
        (released.known[0, 1], of_g * 3.0 * root * s_g),
    ):
        assert stats.kstest(noisy / scale, "norm").pvalue > 1e-5


@pytest.mark.parametrize("shape", [(0,), (1,), (2, 3), (3, 33_333)])
def test_secure_noise_is_new_each_time_and_independent(shape):
    one, other = normal(shape, None), normal(shape, None)
    assert one.shape == shape
    assert not one.size or (one != other).all()
    if one.size > 100:
        assert abs(stats.pearsonr(one[0], one[1]).statistic) < 0.03
        assert stats.kstest(one.ravel(), "norm").pvalue > 1e-5


def test_a_seed_gives_the_same_noise_and_none_does_not(rng):
    privacy, here = privacy_of(rng), sent(np.zeros(D))
    one, same, other, new = (
        Released(D, s).reply(privacy, here, None).delta for s in (1, 1, 2, None)
    )
    assert (one == same).all()
    assert (one != other).all()
    assert (one != new).all()


def test_a_release_tells_no_number_of_tasks(rng):
    phi, privacy = rng.standard_normal(D), privacy_of(rng, n_tasks=20)
    run = af.TaskRun(phi + rng.standard_normal((7, D)), rng.random((7, D)))
    run.theta_hat[2] = np.nan
    here = sent(phi)
    for total in (None, privacy.clipped(run, here)):
        reply = Released(D, None).reply(privacy, here, total)
        assert (reply.n_tasks, reply.n_skipped, reply.weight) == (20, 0, 20.0)


def test_releases_add_up_to_what_noisy_sums_are_likely_to_be(rng):
    privacy, released = privacy_of(rng, noise=0.3), Released(D, 0)
    phi = rng.standard_normal(D)
    told, twin, noisy = np.zeros((2, D)), np.random.default_rng(0), np.zeros((2, D))
    most = np.zeros((2, D))
    for version in range(30):
        here = sent(phi, version)
        run = af.TaskRun(phi + rng.standard_normal((4, D)), rng.random((4, D)))
        reply = released.reply(privacy, here, privacy.clipped(run, here))
        assert (reply.distance >= 0).all()
        assert (reply.grad_sq >= 0).all()
        told += np.stack([reply.distance, reply.grad_sq])
        noise = twin.standard_normal((3, D)) * privacy.deviations
        noisy += by_hand(run, phi, privacy)[:2] + noise[:2]
        variances = (version + 1) * privacy.deviations[:2] ** 2
        for block in range(2):
            likely = likely_by_hand(noisy[block], variances[block])
            most[block] = np.maximum(most[block], likely)
        np.testing.assert_allclose(told, most, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(
            reply.delta, by_hand(run, phi, privacy)[2] + noise[2], rtol=1e-9, atol=1e-9
        )


ONES = np.ones((2, D))
HERE = sent(np.zeros(D))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: TaskPrivacy(ONES, 0.0, 10), ValueError, "`noise` must be positive"),
        (lambda: TaskPrivacy(ONES * 0, 1.0, 10), ValueError, "`spread` must be finite and > 0"),
        (lambda: TaskPrivacy(np.ones(D), 1.0, 10), ValueError, "`spread` must have 2 dimensions"),
        (lambda: TaskPrivacy(ONES, 1.0, 10, clip_b=-1), ValueError, "`clip_b` must be positive"),
        (lambda: TaskPrivacy(ONES, 1e308, 10, clip_b=1e9), ValueError, "within float64"),
        (lambda: TaskPrivacy(ONES, 1.0, 0), ValueError, "`n_tasks` must be at least 1"),
        (lambda: TaskPrivacy(ONES, 1.0, 1, 1.5), ValueError, "`rate` must be a chance"),
        (lambda: TaskPrivacy(ONES, 1.0, 1, 0.0), ValueError, "`rate` must be positive"),
        (lambda: TaskPrivacy(ONES, 1.0, 1, seed=-1), ValueError, "`seed` must be at least 0"),
        (lambda: TaskPrivacy(ONES, 1.0, 10).clipped(3, HERE), TypeError, "`run` must be a TaskRun"),
        (
            lambda: TaskPrivacy(ONES, 1.0, 10).clipped(af.TaskRun(ONES, ONES), Reply),
            TypeError,
            "`round` must be a Round",
        ),
        (
            lambda: TaskPrivacy(ONES, 1.0, 10).clipped(
                af.TaskRun(ONES, ONES), Round.of(af.MetaLearner(np.zeros(D)), 0)
            ),
            ValueError,
            "`round` must have a first rate",
        ),
    ],
)
def test_wrong_use_is_one_sentence(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_privacy_is_changed_by_making_another():
    privacy = dataclasses.replace(TaskPrivacy(ONES, 1.0, 10), noise=2.0)
    assert repr(privacy) == (
        "TaskPrivacy(n_parameters=6, noise=2, n_tasks=10, rate=1, clip_theta=1, clip_b=1, clip_g=1)"
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        privacy.noise = 3.0
