"""`sample_weight` of the estimators: inverse variances of squares, numbers of rows of counts."""

from __future__ import annotations

import numpy as np
import people
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.utils.validation import has_fit_parameter

import aruba_fast as af
from aruba_fast.sklearn import PersonalizedClassifier, PersonalizedRegressor
from aruba_fast.sklearn._scale import _median

LEARNED = ("coef_", "intercept_", "rates_", "intercept_rate_")


def assert_alike(one, other, tolerance=1e-6):
    for name in LEARNED:
        values = [np.asarray(getattr(model, name)) for model in (one, other)]
        scale = np.abs(values[1]).max()
        np.testing.assert_allclose(*values, tolerance, tolerance * scale, err_msg=name)
    np.testing.assert_array_equal(one.groups_, other.groups_)
    for person in one.groups_:
        values = [model.coef_of(person) for model in (one, other)]
        scale = np.abs(values[1]).max()
        np.testing.assert_allclose(*values, 10 * tolerance, 10 * tolerance * scale)


def counts_of(kind, rng, n_people=24, m=12):
    """A model, its rows, and whole weights: fewer people than tell how far new ones should go."""
    t = people.simulated(n_people=n_people, m=m, seed=3)
    z = (t.y - t.y.mean()) / t.y.std()
    weights = rng.integers(1, 4, len(z))
    if kind == "poisson":
        y = rng.poisson(np.exp(0.5 * z))
        return PersonalizedRegressor("poisson"), t.X, y, t.person, weights
    noise = rng.gumbel(size=(len(z), 3))
    y = (noise + z[:, None] * [0, 1, 2]).argmax(axis=1)
    y = np.array(["a", "b", "c"])[y if kind == "three" else np.minimum(y, 1)]
    return PersonalizedClassifier(), t.X, y, t.person, weights


@pytest.mark.parametrize("kind", ["poisson", "two", "three"])
def test_of_counts_a_weight_is_a_number_of_rows(kind, rng):
    model, X, y, person, weights = counts_of(kind, rng)
    each = np.repeat(np.arange(len(y)), weights)
    one = model.fit(X, y, person, weights)
    assert isinstance(one.rule_, af.Proximal)
    other = type(model)(**model.get_params()).fit(X[each], y[each], person[each])
    assert_alike(one, other)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_of_squares_a_weight_is_an_inverse_variance(covariance, rng):
    """Oracle: the same fit of rows times the roots of their weights, whose variances are equal."""
    t = people.simulated(n_people=60)
    X, weights = (t.X - t.X.mean(axis=0)) / t.X.std(axis=0), np.exp(rng.standard_normal(len(t.y)))
    model = PersonalizedRegressor(covariance=covariance, scale=False, fit_intercept=False)
    model.fit(X, t.y, t.person, weights)
    root = np.sqrt(weights)
    tasks = af.Tasks.from_groups(X * root[:, None], t.y * root, t.person)
    fit = af.meta_fit(tasks, loss="squared", covariance=covariance)
    theta = af.run_tasks(tasks, fit.phi, fit.rule(), loss="squared").theta_hat
    rates = fit.learning_rate
    spread = np.sqrt(fit.scale * (np.diagonal(rates) if rates.ndim == 2 else rates))
    np.testing.assert_allclose(model.coef_, fit.phi, 1e-6)
    np.testing.assert_allclose(model.rates_, spread, 1e-6)
    np.testing.assert_allclose([model.coef_of(k) for k in model.groups_], theta, 1e-6, 1e-8)


def test_weights_help_where_rows_are_not_equally_good(rng):
    t = people.simulated(n_people=300, noise=0.0)
    deviation = np.exp(rng.uniform(-2.0, 2.0, len(t.y)))
    y = t.y + deviation * rng.standard_normal(len(t.y))
    truth = (people.with_ones(t.X) * t.beta[t.person]).sum(axis=1)
    errors = [
        np.square(PersonalizedRegressor().fit(t.X, y, t.person, w).predict(t.X, t.person) - truth)
        for w in (None, deviation**-2.0)
    ]
    assert errors[1].mean() < 0.5 * errors[0].mean()


@pytest.mark.parametrize("loss", ["squared", "huber", "absolute"])
def test_the_unit_of_weights_is_nobodys(loss, rng):
    t, weights = people.simulated(n_people=60), rng.integers(1, 4, 360)
    one, other = (
        PersonalizedRegressor(loss).fit(t.X, t.y, t.person, unit * weights) for unit in (1.0, 1e6)
    )
    assert_alike(one, other)
    twos = PersonalizedRegressor(loss).fit(t.X, t.y, t.person, np.full(360, 2.0))
    assert_alike(twos, PersonalizedRegressor(loss).fit(t.X, t.y, t.person))


@pytest.mark.parametrize(
    "model",
    [
        *(PersonalizedRegressor(loss) for loss in ("squared", "huber", "absolute", "poisson")),
        PersonalizedClassifier(),
    ],
    ids=str,
)
@pytest.mark.parametrize("groups", ["array", "list"])
def test_a_row_of_weight_zero_is_no_row(model, groups, rng):
    t = people.simulated(n_people=60)
    y = np.floor(np.abs(t.y))
    y = (y > np.median(y)).astype(int) if isinstance(model, PersonalizedClassifier) else y
    weights = rng.integers(0, 3, len(y))
    weights[t.person == 7] = 0
    kept = weights > 0
    given = t.person.tolist() if groups == "list" else t.person
    one = type(model)(**model.get_params()).fit(t.X, y, given, weights)
    other = model.fit(t.X[kept], y[kept], t.person[kept], weights[kept])
    assert_alike(one, other, 1e-12)
    assert 7 not in one.groups_


@pytest.mark.parametrize(
    "model",
    [
        *(PersonalizedRegressor(loss) for loss in ("squared", "huber", "absolute", "poisson")),
        PersonalizedClassifier(),
    ],
    ids=str,
)
def test_people_who_come_later_have_weights(model):
    """At a start and rates that stay, a row that counts twice is two rows, whatever the loss."""
    t = people.simulated(n_people=60)
    y = np.floor(np.abs(t.y))
    y = (y > np.median(y)).astype(int) if isinstance(model, PersonalizedClassifier) else y
    model.fit(t.X, y, t.person)
    rows = np.flatnonzero(np.isin(t.person, [3, 4]))
    names, twice = t.person[rows], np.r_[rows, rows]
    model.partial_fit(t.X[rows], y[rows], names + 100, np.full(len(rows), 2.0))
    model.partial_fit(t.X[twice], y[twice], np.r_[names, names] + 200)
    for person in (3, 4):
        values = [model.coef_of(person + number) for number in (100, 200)]
        np.testing.assert_allclose(*values, 1e-6, 1e-9)
    # Whoever is known, and had no weights, has rows of both kinds then.
    model.partial_fit(t.X[rows], y[rows], names, np.full(len(rows), 2.0))
    model.partial_fit(t.X[twice], y[twice], np.r_[names, names] + 300)
    model.partial_fit(t.X[rows], y[rows], names + 300)
    for person in (3, 4):
        values = [model.coef_of(person), model.coef_of(person + 300)]
        np.testing.assert_allclose(*values, 1e-6, 1e-9)


def test_one_model_for_all_rows_has_weights_too(rng):
    t = people.simulated(n_people=60)
    weights = np.exp(rng.standard_normal(len(t.y)))
    half = slice(0, 180), slice(180, None)
    with pytest.warns(UserWarning, match="`groups`"):
        whole = PersonalizedRegressor().fit(t.X, t.y, sample_weight=weights)
    X, away = people.with_ones(t.X), []
    for root in (np.sqrt(weights), np.ones(len(t.y))):
        expected = np.linalg.lstsq(X * root[:, None], t.y * root, rcond=None)[0]
        away.append(np.abs(whole.predict(t.X) - X @ expected).max())
    assert away[0] < 0.1 * away[1]
    with pytest.warns(UserWarning, match="`groups`"):
        parts = PersonalizedRegressor().fit(t.X[half[0]], t.y[half[0]], None, weights[half[0]])
    parts.partial_fit(t.X[half[1]], t.y[half[1]], None, weights[half[1]])
    # Not exactly: columns keep the units of the first half.
    assert np.abs(parts.predict(t.X) - whole.predict(t.X)).max() < 0.1 * t.y.std()


@pytest.mark.parametrize("n_columns", [40, 2000])
def test_rows_that_stay_sparse_and_people_with_few_rows_have_them(n_columns, rng):
    """Where people descend: by weighted gradients, so that ones change nothing."""
    n = 200
    X = rng.standard_normal((n, n_columns)) * (rng.random((n, n_columns)) < 0.2)
    y, person = X[:, 0] + 0.1 * rng.standard_normal(n), np.repeat(np.arange(40), 5)
    X = csr_array(X) if n_columns > 1024 else X[:, :40] * np.ones(40)
    X = X[:60] if n_columns == 40 else X
    y, person = y[: X.shape[0]], person[: X.shape[0]]
    models = [
        PersonalizedRegressor().fit(X, y, person, weights)
        for weights in (None, np.ones(len(y)), rng.integers(1, 4, len(y)))
    ]
    assert not any(isinstance(model.rule_, af.Proximal) for model in models)
    fits = [model.predict(X, person) for model in models]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert np.abs(fits[2] - fits[0]).max() > 1e-3
    assert np.square(fits[2] - y).mean() < y.var()


def test_they_are_routed():
    for model in (PersonalizedRegressor(), PersonalizedClassifier()):
        assert has_fit_parameter(model, "sample_weight")
    t = people.simulated(n_people=60)
    weights = np.where(t.person % 2, 1.0, 1e-9)
    with sklearn.config_context(enable_metadata_routing=True):
        model = PersonalizedRegressor().set_fit_request(groups=True, sample_weight=True)
        model.set_score_request(groups=True, sample_weight=True)
        found = cross_validate(
            model,
            t.X,
            t.y,
            params={"groups": t.person, "sample_weight": weights},
            cv=GroupKFold(3),
        )
    assert len(found["test_score"]) == 3
    assert np.isfinite(found["test_score"]).all()


BAD = [
    ([1.0, -1.0], r"`sample_weight` must be finite and >= 0 everywhere: got -1.0 at 1"),
    ([np.nan, 1.0], "got nan at 0"),
    ([np.inf, 1.0], "got inf at 0"),
    ([0.0, 0.0], "must have a weight above zero"),
    ([[1.0], [1.0]], r"must have 1 dimension: got shape \(2, 1\)"),
    ([1.0], "must have a weight for each row"),
]


@pytest.mark.parametrize(("weights", "message"), BAD, ids=[str(row[0]) for row in BAD])
def test_bad_weights_are_refused_and_change_nothing(weights, message):
    t = people.simulated(n_people=60)
    model = PersonalizedRegressor().fit(t.X, t.y, t.person)
    before = dict(vars(model))
    for method in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"{method.__name__}: .*{message}"):
            method(t.X[:2], t.y[:2], t.person[:2], sample_weight=weights)
        assert vars(model) == before


def test_the_median_is_that_of_as_many_rows(rng):
    for n in (1, 2, 3, 4, 10, 11):
        values, times = rng.integers(0, 5, n).astype(float), rng.integers(1, 4, n)
        expected = np.median(np.repeat(values, times))
        assert _median(values, times.astype(float)) == expected
        assert _median(values, None) == np.median(values)
