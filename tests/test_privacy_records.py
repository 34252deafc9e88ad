"""Privacy of single rows: what is clipped, the noise of the steps, and what it does to squares."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from scipy import stats

import aruba_fast as af
from aruba_fast.federated import Round, Server
from aruba_fast.privacy import RecordPrivacy
from aruba_fast.privacy._unbiased import Unbiased

F, RATE = 3, 0.1
LABELS = {
    "logistic": lambda rng, n: rng.integers(0, 2, n),
    "hinge": lambda rng, n: 2 * rng.integers(0, 2, n) - 1,
    "poisson": lambda rng, n: rng.poisson(2.0, n),
    "softmax": lambda rng, n: rng.integers(0, 4, n),
}


def size(loss):
    return F * (4 if loss == "softmax" else 1)


def sent(phi, version=0):
    return Round.of(af.MetaLearner(phi, learning_rate=RATE), version)


def tasks_of(rng, loss, dtype=np.float64, sizes=(7, 1, 12)):
    n = sum(sizes)
    y = LABELS.get(loss, lambda rng, n: rng.standard_normal(n))(rng, n)
    offsets = np.cumsum([0, *sizes])
    x = 0.5 * rng.standard_normal((n, F))
    return af.Tasks(x.astype(dtype), y.astype(dtype), offsets, row_weights=rng.random(n) + 0.5)


def by_hand(tasks, phi, privacy, loss, seed):
    """Row by row, from the textbook's gradients."""
    rng, total = np.random.default_rng(seed), np.zeros((3, len(phi)))
    most = privacy.clip * np.sqrt(len(phi))
    for task in tasks:
        noise = rng.standard_normal((privacy.n_steps, len(phi)))
        theta, squares = phi.astype(float), np.zeros(len(phi))
        for step in range(privacy.n_steps):
            grad = privacy.noise * np.sqrt(privacy.n_steps) * most * privacy.scale * noise[step]
            for x, y, w in zip(task.x, task.y, task.row_weights, strict=True):
                _, own = reference.loss_and_grad(theta, x[None].astype(float), y[None], loss, w)
                length = np.linalg.norm(own / privacy.scale)
                grad = grad + own * min(1.0, most / length if length else 1.0)
            theta = theta - RATE * grad / privacy.n_rows
            squares += (grad / privacy.n_rows) ** 2
        total += [0.5 * (theta - phi) ** 2, squares, theta - phi]
    return total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip", [0.2, 50.0])
@pytest.mark.parametrize("loss", reference.LOSSES)
def test_rows_are_clipped_one_by_one_and_each_step_gets_noise(rng, loss, clip, dtype):
    tasks, d = tasks_of(rng, loss, dtype), size(loss)
    phi = (0.3 * rng.standard_normal(d)).astype(dtype)
    privacy = RecordPrivacy(rng.random(d) + 0.2, 0.3, n_rows=8, n_steps=3, clip=clip)
    reply = privacy.answer(sent(phi, 4), tasks, loss=loss, seed=7)
    assert (reply.version, reply.n_tasks, reply.n_skipped, reply.weight) == (4, 3, 0, 3.0)
    got = np.stack([reply.distance, reply.grad_sq, reply.delta])
    close = {"rtol": 1e-9} if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(got, by_hand(tasks, phi, privacy, loss, 7), **close)


@pytest.mark.parametrize("loss", reference.LOSSES)
def test_without_clips_and_noise_it_is_run_tasks_on_all_rows_at_once(rng, loss):
    tasks, d = tasks_of(rng, loss, sizes=(8, 8)), size(loss)
    here = sent(0.3 * rng.standard_normal(d))
    private = RecordPrivacy(np.ones(d), 1e-14, n_rows=8, n_steps=4, clip=1e3)
    reply = private.answer(here, tasks, loss=loss)
    run = af.run_tasks(tasks, here.phi, here.rule, loss=loss, batch_size=8, n_epochs=4)
    plain = here.reply(run)
    for name in ("delta", "distance", "grad_sq"):
        np.testing.assert_allclose(getattr(reply, name), getattr(plain, name), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("row", [1.0, 1e3, 1e200, 1e-200, np.nan, np.inf])
@pytest.mark.parametrize("label", [0.0, 1e300, -1e155, np.nan])
def test_no_row_changes_a_step_by_more_than_its_clip(rng, row, label):
    scale = np.array([0.1, 1.0, 7.0])
    privacy = RecordPrivacy(scale, 1e-9, n_rows=5, n_steps=1, clip=0.4)
    x, y = rng.standard_normal((6, F)), rng.standard_normal(6)
    x[5], y[5] = row, label
    here = sent(rng.standard_normal(F))
    both = [
        privacy.answer(here, af.Tasks(x[:n][None], y[:n][None]), loss="squared", seed=0).delta
        for n in (5, 6)
    ]
    assert np.isfinite(both).all()
    moved = np.linalg.norm((both[1] - both[0]) / (RATE * scale)) * privacy.n_rows
    assert moved <= 0.4 * np.sqrt(F) * (1 + 1e-6)


def test_no_row_is_too_small_to_be_clipped():
    """Its square underflows, its gradient over the scale is 10^4."""
    privacy = RecordPrivacy(np.full(1, 1e-24), 1e-9, n_rows=1, n_steps=1)
    tiny = af.Tasks(np.full((1, 1, 1), 1e-170), np.full((1, 1), 1e150))
    delta = privacy.answer(sent(np.zeros(1)), tiny, loss="squared").delta
    assert np.abs(delta / RATE) <= 1e-24 * (1 + 1e-6)


@pytest.mark.parametrize("seed", [3, None])
@pytest.mark.parametrize("n_steps", [1, 6])
def test_the_noise_of_an_answer_is_z_times_what_a_row_can_change(n_steps, seed):
    d, z, clip, n_rows = 4000, 1.7, 0.5, 20
    scale = np.linspace(0.1, 3.0, d)
    privacy = RecordPrivacy(scale, z, n_rows, n_steps, clip)
    nothing = af.Tasks(np.zeros((1, 2, d)), np.zeros((1, 2)))
    delta = privacy.answer(sent(np.zeros(d)), nothing, loss="squared", seed=seed).delta
    # A row in every step moves the sum of the steps by n_steps clips.
    whole_row = n_steps * clip * np.sqrt(d) / n_rows * RATE
    draws = delta / (z * whole_row * scale)
    assert stats.kstest(draws, "norm").pvalue > 1e-5


# ---- what noise does to squares ----


def constant(n_tasks):
    """Tasks whose gradient is -(1, -0.5) wherever they go: the hinge loss, far from its margin."""
    x = np.tile(np.array([1.0, -0.5]) / 10, (n_tasks, 10, 1))
    return af.Tasks(x, np.ones((n_tasks, 10)))


def test_the_biases_are_what_noise_adds_where_gradients_are_constant():
    here, n = sent(np.zeros(2)), 20_000
    privacy = RecordPrivacy(np.array([1.0, 0.5]), 3.0, n_rows=10, n_steps=5)
    reply = privacy.answer(here, constant(n), loss="hinge", seed=1)
    grad = np.array([0.1, -0.05])
    true = np.stack([0.5 * (RATE * 5 * grad) ** 2, 5 * grad**2])
    got = np.stack([reply.distance, reply.grad_sq]) / n
    biases = privacy.biases(here)
    assert (biases > 5 * true).all()
    # A square of noise varies by less than 1.5 of itself.
    assert (np.abs(got - biases - true) < 5 * 1.5 * (biases + true) / np.sqrt(n)).all()


def test_the_bias_of_a_quadratic_is_too_large_by_what_is_documented():
    n, m, h = 20_000, 6, 4.0
    tasks = af.Tasks(np.full((n, 1, 1), np.sqrt(h)), np.zeros((n, 1)))
    here = sent(np.zeros(1))
    privacy = RecordPrivacy(np.ones(1), 0.1, n_rows=1, n_steps=m, clip=100.0)
    reply, q = privacy.answer(here, tasks, loss="squared", seed=1), 1 - RATE * h
    left = (1 - q ** (2 * m)) / (1 - q**2) / m
    assert left < 0.3
    assert reply.distance / n == pytest.approx(left * privacy.biases(here)[0], rel=0.05)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_what_is_left_varies_as_much_as_is_taken_into_account(noise):
    here, found = sent(np.zeros(2)), []
    privacy = RecordPrivacy(np.array([1.0, 0.5]), noise, n_rows=10, n_steps=3)
    for seed in range(600):
        unbiased = Unbiased(2)
        reply = privacy.answer(here, constant(20), loss="hinge", seed=seed)
        unbiased.reply(privacy, here, reply)
        found.append(unbiased.known[:2])
    noisy, variance = np.array(found).swapaxes(0, 1)
    np.testing.assert_allclose(noisy.var(axis=0), variance.mean(axis=0), rtol=0.25)


def test_rates_are_those_of_tasks_without_noise(rng):
    """Noise of 1.5 gradients in each step would make all rates nearly those of noise."""
    grads = np.array([1.0, 0.3, 0.1]) / 20
    learners = {}
    for kind in ("plain", "raw", "unbiased"):
        noise = 1e-9 if kind == "plain" else 1.0
        privacy = RecordPrivacy(grads, noise, n_rows=20, n_steps=3, clip=1.0)
        hidden = privacy if kind == "unbiased" else None
        server = Server(af.MetaLearner(np.zeros(F), learning_rate=RATE), privacy=hidden)
        for seed in range(10):
            signs = rng.choice([-1.0, 1.0], (400, 1, 1)) * np.ones((400, 20, 1))
            tasks = af.Tasks(signs * grads * np.ones((400, 20, 1)), np.ones((400, 20)))
            reply = privacy.answer(server.round(), tasks, loss="hinge", seed=seed)
            assert server.receive(reply, "all") is None
            report = server.close()
            assert (report.n_refused, report.n_tasks) == (0, 400)
        learners[kind] = server.learner
    plain, raw, unbiased = (np.asarray(learners[k].learning_rate) for k in learners)
    np.testing.assert_allclose(unbiased, plain, rtol=0.25)
    assert (np.abs(np.log(raw / plain)) > 2 * np.abs(np.log(unbiased / plain))).all()


# ---- wrong use ----

ONES = np.ones(F)
HERE = sent(np.zeros(F))
PRIVACY = RecordPrivacy(ONES, 1.0, 10)
TASKS = af.Tasks(np.ones((1, 2, F)), np.ones((1, 2)))


def without_a_rate():
    return PRIVACY.answer(Round.of(af.MetaLearner(np.zeros(F)), 0), TASKS, loss="squared")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: RecordPrivacy(ONES, 0.0, 1), ValueError, "`noise` must be positive"),
        (lambda: RecordPrivacy(ONES * 0, 1.0, 1), ValueError, "`scale` must be finite and > 0"),
        (lambda: RecordPrivacy(ONES, 1.0, 0), ValueError, "`n_rows` must be positive"),
        (lambda: RecordPrivacy(ONES, 1.0, 1, 0), ValueError, "`n_steps` must be at least 1"),
        (lambda: RecordPrivacy(ONES, 1.0, 1, clip=-1), ValueError, "`clip` must be positive"),
        (lambda: RecordPrivacy(ONES, 1e200, 1), ValueError, "within float64"),
        (lambda: PRIVACY.answer(HERE, 3, loss="squared"), TypeError, "`tasks` must be Tasks"),
        (lambda: PRIVACY.answer(3, TASKS, loss="squared"), TypeError, "`round` must be a Round"),
        (lambda: PRIVACY.answer(HERE, TASKS, loss="x"), ValueError, "`loss` must be known"),
        (without_a_rate, ValueError, "`round` must have a first rate"),
    ],
)
def test_wrong_use_is_one_sentence(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_that_are_sparse_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    tasks = af.Tasks(sparse.csr_array(np.ones((2, F))), np.ones(2), offsets=[0, 2])
    with pytest.raises(ValueError, match="`tasks` must have dense rows"):
        PRIVACY.answer(HERE, tasks, loss="squared")


def test_it_tells_what_it_is():
    assert repr(PRIVACY) == ("RecordPrivacy(n_parameters=3, noise=1, n_rows=10, n_steps=5, clip=1)")
