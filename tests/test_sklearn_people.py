"""Whose row is whose: labels and tables of every kind, few rows, one person; what is refused."""

from __future__ import annotations

import datetime as dt

import numpy as np
import people
import pytest
from optional import need
from scipy import sparse
from sklearn.exceptions import NotFittedError

from aruba_fast.sklearn import PersonalizedClassifier, PersonalizedRegressor

TABLE = people.simulated(n_people=30)
X, Y, PERSON = TABLE.X, TABLE.y, TABLE.person
EXPECTED = PersonalizedRegressor().fit(X, Y, groups=PERSON).predict(X, PERSON)
DAY = np.datetime64("2020-01-01")

LABELS = {
    "integers": PERSON,
    "a list": PERSON.tolist(),
    "strings": [f"p{p:02}" for p in PERSON],
    "an array of strings": np.array([f"p{p:02}" for p in PERSON]),
    "objects": np.array([f"p{p:02}" for p in PERSON], object),
    "bytes": np.array([f"p{p:02}" for p in PERSON], "S"),
    "floats": PERSON / 4,
    "days": DAY + PERSON,
    "nanoseconds": (DAY + PERSON).astype("M8[ns]"),
    "dates": [dt.date(2020, 1, 1) + dt.timedelta(int(p)) for p in PERSON],
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_all_kinds(kind):
    labels = LABELS[kind]
    model = PersonalizedRegressor().fit(X, Y, groups=labels)
    np.testing.assert_array_equal(model.predict(X, groups=labels), EXPECTED)
    assert len(model.groups_) == 30
    row = PERSON.tolist().index(7)
    alone = model.predict(X[row : row + 1], groups=labels[row : row + 1])
    np.testing.assert_array_equal(alone, EXPECTED[row : row + 1])
    own = model.coef_of(labels[row]) @ X[row] + model.intercept_of(labels[row])
    assert own == pytest.approx(EXPECTED[row])
    assert own == pytest.approx(
        model.coef_of(model.groups_[7]) @ X[row] + model.intercept_of(model.groups_[7])
    )
    model.partial_fit(X[row : row + 1], Y[row : row + 1], groups=labels[row : row + 1])
    assert len(model.groups_) == 30


def test_labels_of_pandas():
    pd = need("pandas")
    for labels in (
        pd.Series(PERSON, index=np.arange(len(Y))[::-1]),
        pd.Series([f"p{p:02}" for p in PERSON]),
        pd.Series([f"p{p:02}" for p in PERSON], dtype="category"),
        pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(PERSON, unit="D")),
        pd.Series(PERSON, dtype="Int64"),
    ):
        model = PersonalizedRegressor().fit(X, Y, groups=labels)
        np.testing.assert_array_equal(model.predict(X, groups=labels), EXPECTED)
        assert model.coef_of(labels.iloc[0]).shape == (2,)


def tables():
    yield "lists", lambda: (X.tolist(), Y.tolist(), PERSON.tolist())
    yield "fortran", lambda: (np.asfortranarray(X), Y, PERSON)
    for kind in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        yield kind.__name__, lambda kind=kind: (kind(X), Y, PERSON)
    yield "pandas", lambda: of_frame(need("pandas").DataFrame)
    yield "polars", lambda: of_frame(need("polars").DataFrame)
    yield "pyarrow", lambda: of_frame(need("pyarrow").table)


def of_frame(make):
    frame = make({"a": X[:, 0], "b": X[:, 1]})
    beside = make({"y": Y, "person": [f"p{p:02}" for p in PERSON]})
    return frame, beside["y"], beside["person"]


TABLES = dict(tables())


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_all_kinds(kind):
    rows, y, person = TABLES[kind]()
    model = PersonalizedRegressor().fit(rows, y, groups=person)
    np.testing.assert_allclose(model.predict(rows, groups=person), EXPECTED, rtol=1e-12)
    assert model.score(rows, y, groups=person) > 0.9
    if kind == "pandas" or (kind in ("polars", "pyarrow") and people.VERSION >= (1, 9)):
        assert model.feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [
        (["no", "yes"], None),
        (["no", "yes"], object),
        ([-1, 1], None),
        ([False, True], None),
        ([2.0, 7.0], None),
        (["a", "b", "c"], None),
        ([3, 5, 9], None),
    ],
)
def test_classes_of_all_types(classes, dtype):
    rng = np.random.default_rng(0)
    number = (X[:, 0] + 2 * rng.normal(size=30)[PERSON] > 5).astype(int)
    number += len(classes) == 3 and X[:, 1] > -250
    y = np.array(classes, dtype)[number]
    model = PersonalizedClassifier().fit(X, y, groups=PERSON)
    assert model.classes_.tolist() == classes
    found = model.predict(X, PERSON)
    assert found.dtype == y.dtype
    assert (found == y).mean() == model.score(X, y, groups=PERSON) > max(0.85, model.score(X, y))
    probability = model.predict_proba(X, PERSON)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[probability.argmax(axis=1)], found)
    n_scores = 1 if len(classes) == 2 else 3
    assert model.coef_.shape == model.coef_of(3).shape == model.rates_.shape == (n_scores, 2)
    assert model.intercept_.shape == model.intercept_of(3).shape == (n_scores,)
    model.partial_fit(X[:9], y[:9], groups=["new"] * 9)
    scores = X @ model.coef_of("new").T + model.intercept_of("new")
    expected = scores[:, 0] if n_scores == 1 else scores
    found = model.decision_function(X, ["new"] * len(X))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_constant_columns_change_nothing():
    wide = np.column_stack([X, np.zeros(len(X)), np.full(len(X), 0.1)])
    for loss in ("squared", "huber", "absolute"):
        model = PersonalizedRegressor(loss).fit(wide, Y, groups=PERSON)
        plain = PersonalizedRegressor(loss).fit(X, Y, groups=PERSON)
        np.testing.assert_allclose(
            model.predict(wide, PERSON), plain.predict(X, PERSON), rtol=1e-4, atol=1e-4
        )
        assert model.coef_[2:].tolist() == [0, 0]


@pytest.mark.parametrize("loss", ["squared", "huber", "absolute", "poisson"])
@pytest.mark.parametrize("n_people", [1, 2, 8])
def test_few_rows_are_enough(loss, n_people):
    """One person; one row each; a constant target; one row in all."""
    x, y = np.arange(8.0)[:, None], np.array([0.0, 1, 1, 3, 4, 4, 6, 9])
    who = np.arange(8) % n_people
    for rows in (slice(0, 8), slice(0, n_people)):
        for target in (y, np.full(8, 3.0), np.zeros(8)):
            model = PersonalizedRegressor(loss).fit(x[rows], target[rows], groups=who[rows])
            assert np.isfinite(model.predict(x, who)).all()
            assert np.isfinite(model.predict(x)).all()
            model.partial_fit([[1.0]], [2.0], groups=["new"])
            assert np.isfinite(model.predict([[3.0]], ["new"])).all()


def test_without_groups_it_is_one_model():
    with pytest.warns(UserWarning, match=r"PersonalizedRegressor.fit: `groups` .*got None"):
        model = PersonalizedRegressor().fit(X, Y)
    expected = np.linalg.lstsq(people.with_ones(X), Y, rcond=None)[0]
    np.testing.assert_allclose([*model.coef_, model.intercept_], expected, rtol=0.15)
    assert len(model.groups_) == 0
    with pytest.warns(UserWarning, match="one model"):
        half = PersonalizedRegressor().fit(X[::2], Y[::2])
    half.partial_fit(X[1::2], Y[1::2])
    np.testing.assert_allclose(half.predict(X), model.predict(X), atol=0.1 * Y.std())


def test_partial_fit_first_is_fit():
    one = PersonalizedRegressor().partial_fit(X, Y, groups=PERSON)
    np.testing.assert_array_equal(one.predict(X, PERSON), EXPECTED)
    rng = np.random.default_rng(0)
    y = np.where(X[:, 0] + rng.normal(size=len(X)) > 5, "b", "a")
    two = PersonalizedClassifier().partial_fit(X, y, groups=PERSON, classes=["c", "a", "b"])
    assert two.classes_.tolist() == ["a", "b", "c"]
    assert two.partial_fit(X[:1], ["c"], groups=[PERSON[0]]) is two


FITTED = PersonalizedRegressor().fit(X, Y, groups=PERSON)
CLASSIFIER = PersonalizedClassifier().fit(X, Y > 3, groups=PERSON)
WIDE = np.random.default_rng(0).normal(size=(8, 1100))
V, T = ValueError, TypeError


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: FITTED.fit(X, Y, PERSON[:3]), V, r"PersonalizedRegressor.fit: `groups` .*\(3,\)"),
        (lambda: FITTED.fit(X, Y, [None] * len(Y)), V, "fit: `groups` must name .*None in row 0"),
        (lambda: FITTED.fit(X, Y, [np.nan] * len(Y)), V, "`groups` must name .*nan in row 0"),
        (lambda: FITTED.fit(X, Y, [{}] * len(Y)), T, "`groups` must be hashable"),
        (lambda: FITTED.predict(X, [None] * len(Y)), V, "Regressor.predict: `groups` must name"),
        (lambda: CLASSIFIER.predict_proba(X, [1]), V, "Classifier.predict_proba: `groups`"),
        (lambda: FITTED.partial_fit(X, Y), V, "Regressor.partial_fit: `groups` .*`fit` alone"),
        (lambda: CLASSIFIER.partial_fit(X, Y > 3), V, "partial_fit: `groups` must say"),
        (lambda: FITTED.coef_of("p"), V, "coef_of: `person` .*got 'p', expected one of the 30"),
        (lambda: FITTED.intercept_of([]), V, r"intercept_of: `person` .*got \[\]"),
        (lambda: PersonalizedRegressor("cubic").fit(X, Y, PERSON), V, "fit: `loss` .*'cubic'"),
        (lambda: PersonalizedRegressor(coef=0).fit(X, Y, PERSON), V, "Regressor.fit: `coef` .*0"),
        (lambda: PersonalizedRegressor(scale=1).fit(X, Y, PERSON), T, "fit: `scale`"),
        (lambda: PersonalizedRegressor(verbose=2).fit(X, Y, PERSON), T, "fit: `verbose`"),
        (
            lambda: PersonalizedRegressor(fit_intercept="no").fit(X, Y, PERSON),
            T,
            "fit: `fit_intercept`",
        ),
        (
            lambda: PersonalizedRegressor(covariance="some").fit(X, Y, PERSON),
            V,
            "fit: `covariance` .*'some'",
        ),
        (
            lambda: PersonalizedRegressor(covariance="full").fit(WIDE, WIDE[:, 0], np.arange(8)),
            V,
            "fit: `covariance` must be 'auto' beyond 512 .*1101",
        ),
        (
            lambda: PersonalizedRegressor("poisson").fit(X, Y - 50, PERSON),
            V,
            "Regressor.fit: `y` must be >= 0 .*counts",
        ),
        (lambda: CLASSIFIER.fit(X, Y * 0, PERSON), V, "Classifier.fit: `y` must have two classes"),
        (
            lambda: CLASSIFIER.partial_fit(X[:1], [7], PERSON[:1]),
            V,
            "partial_fit: `y` must be of the known classes: got .*7",
        ),
        (
            lambda: CLASSIFIER.partial_fit(X[:1], [True], PERSON[:1], classes=[0, 1, 2]),
            V,
            "partial_fit: `classes` must be those of `fit`",
        ),
        (
            lambda: FITTED.predict(sparse.csr_array((10**6, 2))[:, [0, 1] * 500]),
            V,
            "1000 features, but",
        ),
        (lambda: PersonalizedRegressor().coef_of(1), NotFittedError, "not fitted"),
        (lambda: PersonalizedRegressor().plot_rates(), NotFittedError, "not fitted"),
        (lambda: PersonalizedClassifier().predict(X), NotFittedError, "not fitted"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
    np.testing.assert_array_equal(FITTED.predict(X, PERSON), EXPECTED)
