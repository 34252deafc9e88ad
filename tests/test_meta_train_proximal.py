"""`meta_train(rule="proximal")`: what it learns, from which rate, and what it refuses."""

from __future__ import annotations

import device
import numpy as np
import people
import pytest
from cases import LOSSES, dtypes, n_parameters, pack, task_data
from scipy.sparse import csr_array

import aruba_fast as af

RATES = 10.0 ** np.arange(-3, 0.1, 0.25)
STATE = ("phi", "learning_rate", "b", "g", "rho")


def table(seed=0, n_people=300):
    """People whose columns have one scale, and a column of ones."""
    t = people.simulated(seed=seed, n_people=n_people)
    x = np.column_stack([(t.X - t.X.mean(axis=0)) / t.X.std(axis=0), np.ones(len(t.y))])
    return af.Tasks.from_groups(x, (t.y - t.y.mean()) / t.y.std(), t.person)


def error_on(tasks, phi, rule):
    """Of new people, after their first two rows."""
    seen, other = tasks[tasks.sizes > 2].shots(2)
    theta = af.run_tasks(seen, phi, rule, loss="squared").theta_hat
    return af.evaluate(other, theta, loss="squared").mean()


@pytest.mark.parametrize("bound", ["blog", "tight"])
def test_it_comes_near_to_the_fit_that_has_all_tasks_at_once(bound):
    train, test = table(0), table(1)
    fit = af.meta_fit(train, loss="squared", covariance="diagonal")
    best = error_on(test, fit.phi, fit.rule())
    learner = af.MetaLearner(np.zeros(train.n_features), bound=bound)
    af.meta_train(train, learner, loss="squared", rule="proximal", n_passes=3, seed=0)
    descent = af.MetaLearner(np.zeros(train.n_features))
    af.meta_train(train, descent, loss="squared", n_passes=3, seed=0)
    assert error_on(test, learner.phi, learner.proximal()) < 1.1 * best
    one = af.meta_train(train[:1], learner, loss="squared", rule="proximal", meta_step=1e-9)
    loss = train[0].sizes * af.evaluate(train[:1], learner.phi, loss="squared")
    np.testing.assert_allclose(one.loss, loss, rtol=1e-6)
    assert error_on(test, descent.phi, descent.rule()) > 1.2 * best
    rates = learner.proximal().coef * learner.learning_rate
    assert 0.5 < np.median(rates / fit.learning_rate) < 2.0


@pytest.mark.filterwarnings("ignore::aruba_fast.DivergenceWarning")
def test_tasks_of_every_length_beat_the_best_rate_for_their_length(rng):
    sizes = 2 ** rng.integers(1, 7, 800)
    spread, phi = np.array([0.7, 0.7, 0.1, 0.1, 0.1, 1.0]), rng.standard_normal(6)
    x = rng.standard_normal((sizes.sum() + 800 * 10, 6))
    task = np.concatenate([np.repeat(np.arange(800), sizes), np.repeat(np.arange(800), 10)])
    own = phi + spread * rng.standard_normal((800, 6))
    y = (x * own[task]).sum(axis=1) + 0.7 * rng.standard_normal(len(x))
    n = sizes.sum()
    rows, other = (af.Tasks.from_groups(x[p], y[p], task[p]) for p in (np.s_[:n], np.s_[n:]))

    def errors(learner, rule):
        theta = af.run_tasks(rows[400:], learner.phi, rule, loss="squared").theta_hat
        lost = af.evaluate(other[400:], theta, loss="squared")
        return np.array([lost[sizes[400:] == size].mean() for size in np.unique(sizes)])

    def trained(rule, **hyper):
        learner = af.MetaLearner(np.zeros(6), **hyper)
        af.meta_train(rows[:400], learner, loss="squared", rule=rule, n_passes=5, seed=0)
        return learner

    ours = trained("proximal")
    fixed = {rate: trained("descent", learning_rate=rate, zeta=1e100) for rate in RATES}
    best = np.nanmin([errors(learner, af.OGD(rate)) for rate, learner in fixed.items()], axis=0)
    assert (errors(ours, ours.proximal()) < 0.95 * best).all()


def test_its_rates_rest_where_the_tasks_are_most_likely(rng):
    """The rates of a fixed start are those of `meta_fit` by closed form: one feature, m rows."""
    spread, noise, n, m = 0.7, 0.5, 4000, 6
    x = np.ones((n, m, 1))
    y = spread * rng.standard_normal((n, 1)) + noise * rng.standard_normal((n, m))
    learner = af.MetaLearner(np.zeros(1), bound="tight")
    tasks = af.Tasks(x, y)
    af.meta_train(tasks, learner, loss="squared", rule="proximal", n_passes=5, meta_step=1e-9)
    assert learner.proximal().learning_rate == pytest.approx(spread**2 / noise**2, rel=0.1)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_first_rate_is_that_of_a_row_of_mean_length(loss, rng):
    d = 4
    tasks = pack([task_data(loss, rng, n, d) for n in (5, 9, 2)], np.float64)
    phi = 0.3 * rng.standard_normal(n_parameters(loss, d))
    squares = np.square(tasks.x).sum(axis=1)
    score = tasks.x @ phi if loss != "softmax" else 0.0
    bend = {
        "logistic": 0.25,
        "softmax": 0.5,
        "poisson": np.maximum(np.maximum(np.exp(score), tasks.y), 1.0),
    }.get(loss, 1.0)
    way = np.abs(score - tasks.y).mean() if loss == "absolute" else 1.0
    learner = af.MetaLearner(phi)
    found = learner.first_rate(tasks, loss=loss, rule="proximal")
    assert found == pytest.approx(d * way / (bend * squares).mean(), rel=1e-12)
    assert (learner.proximal().learning_rate == found).all()
    sparse = af.Tasks(csr_array(tasks.x), tasks.y, np.append(tasks.starts, tasks.n_rows))
    assert af.MetaLearner(phi).first_rate(sparse, loss=loss, rule="proximal") == pytest.approx(
        found
    )


@pytest.mark.parametrize(("unit_x", "unit_y"), [(1.0, 1e4), (1e-3, 1.0), (1e4, 1e-4)])
def test_units_change_nothing(unit_x, unit_y):
    """But by rounding: powers of two would be exact."""
    tasks = table(n_people=60)
    offsets = np.append(tasks.starts, tasks.n_rows)
    other = af.Tasks(unit_x * tasks.x, unit_y * tasks.y, offsets)
    learners = []
    for each in (tasks, other):
        learners.append(af.MetaLearner(np.zeros(tasks.n_features)))
        af.meta_train(each, learners[-1], loss="squared", rule="proximal", n_passes=2, seed=1)
    one, two = learners
    np.testing.assert_allclose(two.phi, one.phi * unit_y / unit_x, rtol=1e-8)
    np.testing.assert_allclose(two.learning_rate, one.learning_rate / unit_x**2, rtol=1e-8)


@dtypes
@pytest.mark.parametrize("round_size", [1, 16])
def test_the_same_bits_for_every_number_of_threads_and_by_chunks(round_size, dtype, threads, rng):
    tasks = pack([task_data("squared", rng, 80, 30) for _ in range(48)], dtype)
    chunks = [tasks[:16], tasks[16:32], tasks[32:]]
    found = []
    for n, given in ((1, tasks), (3, tasks), (3, chunks)):
        threads(n)
        learner = af.MetaLearner(np.zeros(30, dtype))
        af.meta_train(given, learner, loss="squared", rule="proximal", round_size=round_size)
        found.append([getattr(learner, name) for name in STATE])
    for other in found[1:]:
        for expected, got in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(got, expected)


TASKS = af.Tasks(np.ones((4, 3, 2)), np.ones((4, 3)))
SPARSE = af.Tasks(csr_array(np.ones((4, 2))), np.ones(4), [0, 2, 4])


@pytest.mark.parametrize(
    ("tasks", "options", "error", "message"),
    [
        (TASKS, {"rule": "newton"}, ValueError, "meta_train: `rule` must be known: got 'newton'"),
        (TASKS, {"rule": af.OGD(0.5)}, TypeError, "meta_train: `rule` must be known"),
        (TASKS, {"batch_size": 2}, ValueError, "meta_train: `batch_size` must be left out"),
        (TASKS, {"n_epochs": 2}, ValueError, "meta_train: `n_epochs` must be left out"),
        (TASKS, {"radius": 2.0}, ValueError, "meta_train: `radius` must be left out"),
        (SPARSE, {}, ValueError, "meta_train: `rule` must take steps: .* tasks of CSR rows"),
    ],
)
def test_bad_input(tasks, options, error, message):
    learner = af.MetaLearner(np.zeros(2))
    with pytest.raises(error, match=message):
        af.meta_train(tasks, learner, loss="squared", **{"rule": "proximal"} | options)
    assert learner.n_tasks == 0
    with pytest.raises(ValueError, match=r"MetaLearner.proximal: the first learning rate must"):
        learner.proximal()


@pytest.mark.usefixtures("on_device")
def test_tasks_on_a_device_are_refused():
    tasks = af.Tasks(device.array(np.ones((4, 3, 2))), device.array(np.ones((4, 3))))
    learner = af.MetaLearner(device.array(np.zeros(2)))
    with pytest.raises(TypeError, match="meta_train: `tasks` must live in host memory"):
        af.meta_train(tasks, learner, loss="squared", rule="proximal")
