"""People's models are what mathematics says: closed forms, a mixed model, minima, units."""

from __future__ import annotations

import numpy as np
import people
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

import aruba_fast as af
from aruba_fast.sklearn import PersonalizedClassifier, PersonalizedRegressor


@pytest.fixture(scope="module")
def table():
    return people.simulated()


@pytest.fixture(scope="module")
def model(table):
    return PersonalizedRegressor().fit(table.X, table.y, groups=table.person)


def of(model, person):
    return np.append(model.coef_of(person), model.intercept_of(person))


def closed_form(model, table, rows):
    """A person's parameters by the learned covariance, all in the user's units."""
    back = people.units(table.X, table.y)
    relative = back @ model.rule_.learning_rate @ back.T / table.y.std() ** 2
    start = np.append(model.coef_, model.intercept_)
    return people.best_prediction(table.X[rows], table.y[rows], start, relative, 1.0)


def test_people_have_the_closed_form_of_the_learned_covariance(model, table):
    for person in (0, 7, 149):
        expected = closed_form(model, table, table.person == person)
        np.testing.assert_allclose(of(model, person), expected, rtol=1e-7, atol=1e-9)


def test_predictions_are_those_of_the_coefficients(model, table):
    own = np.array([of(model, person) for person in table.person])
    expected = np.einsum("nd,nd->n", people.with_ones(table.X), own)
    np.testing.assert_allclose(model.predict(table.X, table.person), expected, rtol=1e-9)
    shared = table.X @ model.coef_ + model.intercept_
    np.testing.assert_allclose(model.predict(table.X), shared, rtol=1e-9)
    np.testing.assert_allclose(model.predict(table.X, table.person + 1000), shared, rtol=1e-9)


def test_it_predicts_as_a_mixed_model_and_better_than_one_model_or_each_alone(model, table):
    start, covariance, variance = people.mixed_model(table.X, table.y, table.person)
    rows = [table.person == p for p in range(150)]
    mixed = np.array(
        [people.best_prediction(table.X[g], table.y[g], start, covariance, variance) for g in rows]
    )
    fresh = people.simulated(seed=9)  # other rows of the same people
    Z = people.with_ones(fresh.X)
    truth = np.einsum("nd,nd->n", Z, table.beta[fresh.person])

    def error(beta):
        return np.sqrt(np.mean((np.einsum("nd,nd->n", Z, beta) - truth) ** 2))

    pooled = np.linalg.lstsq(people.with_ones(table.X), table.y, rcond=None)[0]
    alone = np.array(
        [np.linalg.lstsq(people.with_ones(table.X[g]), table.y[g], rcond=None)[0] for g in rows]
    )
    ours = np.sqrt(np.mean((model.predict(fresh.X, fresh.person) - truth) ** 2))
    assert ours < 1.02 * error(mixed[fresh.person])
    assert ours < 0.8 * error(alone[fresh.person])
    assert ours < 0.5 * error(np.broadcast_to(pooled, (len(Z), 3)))


def test_it_says_how_much_people_differ(model, table):
    """0, 0.01 for each of 100 units, and the level where features are at their means."""
    mean = np.append(table.X.mean(axis=0), 1.0)
    assert model.rates_[0] < 0.1
    assert model.rates_[1] == pytest.approx(table.beta[:, 1].std() * table.X[:, 1].std(), rel=0.1)
    assert model.intercept_rate_ == pytest.approx((table.beta @ mean).std(), rel=0.1)


def test_coef_is_how_far_people_go(table):
    near, far = (
        PersonalizedRegressor(coef=coef).fit(table.X, table.y, groups=table.person)
        for coef in (1e-8, 1e8)
    )
    start = np.append(near.coef_, near.intercept_)
    np.testing.assert_allclose(of(near, 3), start, rtol=1e-4)
    rows = table.person == 3
    left = table.y[rows] - far.predict(table.X[rows], table.person[rows])
    assert np.abs(people.with_ones(table.X[rows])[:, 1:].T @ left).max() < 0.05


@pytest.mark.parametrize("loss", ["squared", "huber", "absolute"])
def test_units_change_nothing(table, loss):
    there = PersonalizedRegressor(loss).fit(table.X, table.y, groups=table.person)
    here = PersonalizedRegressor(loss).fit(
        table.X * [1000, 1e-6], 1e-3 * table.y + 7, groups=table.person
    )
    expected = 1e-3 * there.predict(table.X, table.person) + 7
    found = here.predict(table.X * [1000, 1e-6], table.person)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * table.y.std() * 1e-3)


def test_partial_fit_is_the_closed_form_of_that_person_alone(table):
    """Of who is new, and of who is known with all rows that were ever seen; nobody else moves."""
    first, rest = (np.arange(len(table.y)) % 2 == k for k in (0, 1))
    half = PersonalizedRegressor().fit(table.X[first], table.y[first], groups=table.person[first])
    start = np.append(half.coef_, half.intercept_)
    others = half.predict(table.X, np.where(table.person < 3, 3, table.person))
    late = rest & (table.person < 3)
    cut = np.flatnonzero(late)
    for part in (cut[:2], cut[2:]):  # in two calls
        half.partial_fit(table.X[part], table.y[part], groups=table.person[part])
    half.partial_fit(table.X[cut], table.y[cut], groups=1000 + table.person[cut])
    back = people.units(table.X[first], table.y[first])
    relative = back @ half.rule_.learning_rate @ back.T / table.y[first].std() ** 2
    for person in range(3):
        for label, rows in (
            (person, (first | late) & (table.person == person)),
            (1000 + person, late & (table.person == person)),
        ):
            if rows.any():
                expected = people.best_prediction(
                    table.X[rows], table.y[rows], start, relative, 1.0
                )
                np.testing.assert_allclose(of(half, label), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(np.append(half.coef_, half.intercept_), start)
    others_after = half.predict(table.X, np.where(table.person < 3, 3, table.person))
    np.testing.assert_array_equal(others_after, others)


def engine_rows(X):
    return people.with_ones((X - X.mean(axis=0)) / X.std(axis=0))


def standardized(coef, intercept, X):
    """Parameters for standardized features, of those for features as they are."""
    coef, level = np.atleast_2d(coef), np.atleast_1d(intercept)
    return np.column_stack([coef * X.std(axis=0), level + coef @ X.mean(axis=0)]).ravel()


LOSSES = {
    "poisson": lambda z, y: (np.exp(z[:, 0]) - y * z[:, 0]).sum(),
    "logistic": lambda z, y: (np.logaddexp(0, z[:, 0]) - y * z[:, 0]).sum(),
    "softmax": lambda z, y: (logsumexp(z, axis=1) - z[np.arange(len(y)), y.astype(int)]).sum(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_other_losses_are_at_their_minimum(table, loss):
    rng = np.random.default_rng(1)
    Z = engine_rows(table.X)
    q = 3 if loss == "softmax" else 1
    theta = 0.5 * rng.normal(size=(150, q, 3))
    z = np.einsum("nd,nkd->nk", Z, theta[table.person])
    if loss == "poisson":
        y = rng.poisson(np.exp(z[:, 0]))
        model = PersonalizedRegressor("poisson")
    elif loss == "logistic":
        y = (rng.random(len(z)) < expit(z[:, 0])).astype(int)
        model = PersonalizedClassifier()
    else:
        y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
        model = PersonalizedClassifier()
    model.fit(table.X, y, groups=table.person)
    start = standardized(model.coef_, model.intercept_, table.X)
    metric = np.linalg.pinv(model.rule_.learning_rate, rcond=1e-12, hermitian=True)
    for person in (0, 5):
        rows = table.person == person

        def objective(v, rows=rows):
            z = Z[rows] @ v.reshape(q, -1).T
            return LOSSES[loss](z, y[rows]) + (v - start) @ metric @ (v - start) / 2

        found = standardized(model.coef_of(person), model.intercept_of(person), table.X)
        best = minimize(objective, found, method="Nelder-Mead", options={"xatol": 1e-8}).fun
        assert objective(found) - best < 1e-6 * (1 + abs(best))


def test_absolute_losses_keep_the_meaning_of_the_penalty(table):
    """sum |r| / b + |theta - phi|^2 / 2 in the norm of the learned covariance, b of Laplace."""
    model = PersonalizedRegressor("absolute").fit(table.X, table.y, groups=table.person)
    Z = engine_rows(table.X)
    left = table.y - np.median(table.y)
    left = left - Z @ np.linalg.lstsq(Z, left, rcond=None)[0]
    unit = 1.345 * 1.4826 * np.median(np.abs(left))
    scaled = (table.y - np.median(table.y)) / unit
    fit = af.meta_fit(af.Tasks.from_groups(Z, scaled, table.person), loss="huber")
    covariance = fit.scale * fit.learning_rate
    metric, b = np.linalg.pinv(covariance, rcond=1e-12, hermitian=True), np.sqrt(fit.scale / 2)
    for person in (2, 9):
        rows = table.person == person

        def objective(v, rows=rows):
            gone = v - fit.phi
            return np.abs(Z[rows] @ v - scaled[rows]).sum() / b + gone @ metric @ gone / 2

        coef, level = model.coef_of(person), model.intercept_of(person) - np.median(table.y)
        found = standardized(coef / unit, level / unit, table.X)
        options = {"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000}
        best = minimize(objective, found, method="Nelder-Mead", options=options).fun
        assert objective(found) - best < 1e-5 * (1 + abs(best))


def test_outliers_move_robust_losses_little():
    table = people.simulated(m=12)
    y = table.y.copy()
    wild = np.random.default_rng(2).choice(len(y), len(y) // 20, replace=False)
    y[wild] += 60 * (-1.0) ** np.arange(len(wild))
    truth = np.einsum("nd,nd->n", people.with_ones(table.X), table.beta[table.person])

    def error(loss):
        model = PersonalizedRegressor(loss).fit(table.X, y, groups=table.person)
        return np.sqrt(np.mean((model.predict(table.X, table.person) - truth) ** 2))

    squared = error("squared")
    assert error("huber") < 0.5 * squared
    assert error("absolute") < 0.5 * squared


def test_more_than_1024_parameters_are_learned_by_descent():
    rng = np.random.default_rng(0)
    X, person = rng.normal(size=(600, 1100)), np.repeat(np.arange(40), 15)
    level = 3 * rng.normal(size=40)
    y = level[person] + X[:, 0] + 0.1 * rng.normal(size=600)
    for loss in ("squared", "huber", "absolute"):
        model = PersonalizedRegressor(loss).fit(X, y, groups=person)
        assert isinstance(model.rule_, af.ArubaPlusPlus)
        assert model.score(X, y, groups=person) > model.score(X, y) + 0.2
        assert model.intercept_rate_ > 5 * model.rates_.max()
    near = PersonalizedRegressor(coef=1e-6).fit(X, y, groups=person)
    np.testing.assert_allclose(near.predict(X, person), near.predict(X), atol=1e-3)
    model.partial_fit(X[:3], y[:3], groups=["new"] * 3)
    assert model.intercept_of("new") != model.intercept_


def test_more_than_1024_parameters_of_many_rows_are_learned_online_by_the_proximal_rule():
    rng = np.random.default_rng(0)
    n_people, m, d = 1000, 20, 1030
    X, person = rng.normal(size=(n_people * m, d)), np.repeat(np.arange(n_people), m)
    own = np.zeros((n_people, d))
    own[:, :10] = 0.4 * rng.normal(size=(n_people, 10))
    y = (X * (rng.normal(size=d) / 32 + own[person])).sum(axis=1) + 0.5 * rng.normal(size=len(X))
    seen = np.arange(len(X)) % m < 10
    model = PersonalizedRegressor().fit(X[seen], y[seen], groups=person[seen])
    assert isinstance(model.rule_, af.Proximal)
    assert model.rates_[:10].min() > 3 * np.median(model.rates_[10:])
    again = PersonalizedRegressor(coef=1e-9).fit(X[seen], y[seen], groups=person[seen])
    np.testing.assert_allclose(again.predict(X, person), again.predict(X), atol=1e-4)
    score = model.score(X[~seen], y[~seen], groups=person[~seen])
    assert score > model.score(X[~seen], y[~seen]) + 0.02
    # Beside descent with the same rows.
    rows = np.column_stack([X, np.ones(len(X))])
    tasks = af.Tasks.from_groups(rows[seen], y[seen], person[seen])
    learner = af.MetaLearner(np.zeros(d + 1))
    af.meta_train(tasks, learner, loss="squared", n_passes=3, seed=0)
    theta = af.run_tasks(tasks, learner.phi, learner.rule(), loss="squared").theta_hat
    new = af.Tasks.from_groups(rows[~seen], y[~seen], person[~seen])
    left = 2 * af.evaluate(new, theta, loss="squared").mean() / y[~seen].var()
    assert 1 - score < 0.99 * left


def test_too_few_rows_for_the_shared_start_are_left_to_descent():
    """Least squares without a penalty would be far off; half of the people are asked again."""
    rng = np.random.default_rng(1)
    X, person = rng.normal(size=(160, 50)), np.repeat(np.arange(20), 8)
    y = X[:, 0] + (2 * rng.normal(size=20))[person] + rng.normal(size=160)
    seen = np.arange(160) % 8 < 4
    by_descent = PersonalizedRegressor().fit(X[seen], y[seen], groups=person[seen])
    asked = PersonalizedRegressor(covariance="diagonal")
    asked.fit(X[seen], y[seen], groups=person[seen])
    assert isinstance(by_descent.rule_, af.ArubaPlusPlus)
    assert isinstance(asked.rule_, af.Proximal)
    new = X[~seen], y[~seen]
    score = by_descent.score(*new, groups=person[~seen])
    assert score > by_descent.score(*new)
    assert score > asked.score(*new, groups=person[~seen])


def test_who_diverges_has_the_shared_start():
    rng = np.random.default_rng(0)
    X, person = rng.normal(size=(60, 1100)), np.repeat(np.arange(6), 10)
    model = PersonalizedRegressor().fit(X, X[:, 0] + person, groups=person)
    with np.errstate(over="ignore"):
        model.partial_fit(np.full((9, 1100), 1e200), np.ones(9), groups=["far"] * 9)
    np.testing.assert_array_equal(model.coef_of("far"), model.coef_)
