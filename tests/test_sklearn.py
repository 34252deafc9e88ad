"""Estimators keep scikit-learn's conventions: its own checks, pipelines, searches, pickles."""

from __future__ import annotations

import inspect
import pickle
import re

import numpy as np
import people
import pytest
from documentation import run_examples
from optional import need
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import aruba_fast.sklearn as public
from aruba_fast.sklearn import PersonalizedClassifier, PersonalizedRegressor

ESTIMATORS = [
    *(PersonalizedRegressor(loss) for loss in ("squared", "huber", "absolute", "poisson")),
    PersonalizedRegressor(covariance="diagonal", scale=False, fit_intercept=False),
    PersonalizedClassifier(),
    PersonalizedClassifier(covariance="diagonal", scale=False, fit_intercept=False),
]
VERSION = people.VERSION
TABLE = people.simulated(n_people=40)


UNEQUAL = (
    "without groups and with fewer rows than parameters people descend, row after row: three rows "
    "are three steps; and of squares a weight is an inverse variance, not a number of rows"
)


def expected_to_fail(estimator):
    if isinstance(estimator, PersonalizedClassifier) and estimator.covariance == "diagonal":
        return {}  # is fitted, and weights are numbers of rows
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": UNEQUAL for kind in kinds}


# Its checks know no `groups`; its array API is skipped where SciPy's is not asked for.
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_to_fail)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def documented():
    for name in public.__all__:
        kind = getattr(public, name)
        yield name, kind
        for member, value in inspect.getmembers(kind, inspect.isfunction):
            if not member.startswith(("_", "set_", "get_")):
                yield f"{name}.{member}", value


OBJECTS = dict(documented())


@pytest.mark.parametrize("name", OBJECTS)
def test_docstrings_are_whole(name, request):
    """The first line is a sentence, every parameter is described, the examples run."""
    if name.endswith("plot_rates"):
        request.getfixturevalue("no_windows")
    text = inspect.getdoc(OBJECTS[name])
    assert text.split("\n")[0].endswith(".")
    parameters = [p for p in inspect.signature(OBJECTS[name]).parameters if p != "self"]
    assert [p for p in parameters if not re.search(rf"^\s+{p}:", text, re.MULTILINE)] == []
    assert run_examples(name, text)


@pytest.fixture
def no_windows():
    plt = need("matplotlib.pyplot")
    plt.switch_backend("agg")
    yield plt
    plt.close("all")


def grouped_search(**options):
    model = PersonalizedRegressor().set_fit_request(groups=True).set_score_request(groups=True)
    return GridSearchCV(model, {"coef": [1e-6, 1.0], "loss": ["squared", "huber"]}, **options)


def test_a_search_hands_groups_on():
    """Known people in other rows; and people who are new, for whom `coef` changes nothing."""
    with config_context(enable_metadata_routing=True):
        known = grouped_search(cv=KFold(4)).fit(TABLE.X, TABLE.y, groups=TABLE.person)
        assert known.best_params_["coef"] == 1.0
        assert known.best_score_ > 0.8
        assert len(known.best_estimator_.groups_) == 40
        new = grouped_search(cv=GroupKFold(4)).fit(TABLE.X, TABLE.y, groups=TABLE.person)
        scores = new.cv_results_["mean_test_score"]
        assert scores.max() < known.best_score_ - 0.2
        assert np.ptp(scores[[0, 2]]) < 1e-12  # squared loss, both coefs


def test_a_search_that_forgets_groups_is_told():
    with pytest.warns(UserWarning, match="set_fit_request"):
        cross_val_score(
            PersonalizedRegressor(), TABLE.X, TABLE.y, groups=TABLE.person, cv=GroupKFold(2)
        )


def test_pipelines_and_column_transformers():
    pd = need("pandas")
    frame = pd.DataFrame(TABLE.X, columns=["a", "b"])
    frame["kind"] = np.where(np.arange(len(frame)) % 3, "x", "y")
    y = TABLE.y + (frame["kind"] == "x")
    columns = make_column_transformer(
        (StandardScaler(), ["a", "b"]), (OneHotEncoder(sparse_output=True), ["kind"])
    )
    assert isinstance(columns, ColumnTransformer)
    with config_context(enable_metadata_routing=True):
        model = PersonalizedRegressor().set_fit_request(groups=True)
        model.set_predict_request(groups=True).set_score_request(groups=True)
        pipeline = make_pipeline(columns, model).fit(frame, y, groups=TABLE.person)
        assert pipeline.score(frame, y, groups=TABLE.person) > 0.9
        assert pipeline.predict(frame, groups=TABLE.person).shape == (len(frame),)
        if VERSION >= (1, 8):  # before, a pipeline's score is not handed them here
            found = cross_validate(
                make_pipeline(PolynomialFeatures(), model),
                TABLE.X,
                TABLE.y,
                params={"groups": TABLE.person},
                cv=KFold(3),
            )
            assert found["test_score"].min() > 0.5
    # Without routing a step has its arguments by name.
    plain = make_pipeline(StandardScaler(), PersonalizedRegressor())
    plain.fit(TABLE.X, TABLE.y, personalizedregressor__groups=TABLE.person)
    assert len(plain[-1].groups_) == 40


def test_a_pickle_goes_on_where_its_original_was():
    first, rest = (np.arange(len(TABLE.y)) % 2 == k for k in (0, 1))
    model = PersonalizedRegressor("huber")
    model.fit(TABLE.X[first], TABLE.y[first], groups=TABLE.person[first])
    model.partial_fit(TABLE.X[:3], TABLE.y[:3], groups=["a", "b", "a"])
    copy = pickle.loads(pickle.dumps(model))
    for each in (model, copy):
        each.partial_fit(TABLE.X[rest], TABLE.y[rest], groups=TABLE.person[rest])
    asked = [*TABLE.person[:20].tolist(), "a", "b", "c"]
    X = TABLE.X[:23]
    asked = np.array(asked, object)
    for label, row in zip(asked, X, strict=True):
        expected = model.predict(row[None], groups=np.array([label], object))
        np.testing.assert_array_equal(
            copy.predict(row[None], groups=np.array([label], object)), expected
        )
    assert copy.groups_.tolist() == model.groups_.tolist()


def test_predictions_of_several_threads():
    from joblib import Parallel, delayed

    model = PersonalizedRegressor().fit(TABLE.X, TABLE.y, groups=TABLE.person)
    parts = np.array_split(np.arange(len(TABLE.y)), 4)
    found = Parallel(n_jobs=2, prefer="threads")(
        delayed(model.predict)(TABLE.X[part], TABLE.person[part]) for part in parts
    )
    np.testing.assert_allclose(np.concatenate(found), model.predict(TABLE.X, TABLE.person))


def test_a_clone_is_as_new():
    model = PersonalizedRegressor("absolute", coef=2.0).fit(TABLE.X, TABLE.y, groups=TABLE.person)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "coef_")


def test_what_fails_changes_nothing():
    model = PersonalizedRegressor().fit(TABLE.X, TABLE.y, groups=TABLE.person)
    before = model.predict(TABLE.X, TABLE.person)
    with pytest.raises(ValueError, match="`groups`"):
        model.fit(TABLE.X[:, :1] * 5, TABLE.y, groups=[None] * len(TABLE.y))
    model.set_params(loss="cubic")
    with pytest.raises(ValueError, match="`loss`"):
        model.fit(TABLE.X * 3, TABLE.y, groups=TABLE.person)
    np.testing.assert_array_equal(model.predict(TABLE.X, TABLE.person), before)


def test_a_line_is_printed_where_it_is_asked_for(capsys):
    PersonalizedRegressor(verbose=True).fit(TABLE.X, TABLE.y, groups=TABLE.person)
    said = capsys.readouterr().out
    assert said.startswith("PersonalizedRegressor: 40 people, 240 rows, 3 parameters, Proximal, ")
    assert said.count("\n") == 1


@pytest.mark.usefixtures("no_windows")
def test_a_chart_of_how_much_people_differ():
    pd = need("pandas")
    frame = pd.DataFrame(TABLE.X, columns=["hours", "steps in $"])
    model = PersonalizedRegressor().fit(frame, TABLE.y, groups=TABLE.person)
    ax = model.plot_rates()
    names = [text.get_text() for text in ax.get_yticklabels()]
    widths = [bar.get_width() for bar in ax.patches]
    assert names == ["hours", r"steps in \$", "(intercept)"]
    np.testing.assert_allclose(widths, [*model.rates_, model.intercept_rate_])
    assert widths == sorted(widths)
    assert model.plot_rates(ax) is ax
    ax.figure.canvas.draw()


@pytest.mark.usefixtures("no_windows")
def test_a_chart_of_many_classes_and_features():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(900, 40)), rng.integers(0, 3, 900)
    model = PersonalizedClassifier(covariance="diagonal", fit_intercept=False)
    ax = model.fit(X, y, groups=np.arange(900) % 30).plot_rates()
    assert len(ax.patches) == 30
    assert "log odds" in ax.get_xlabel()
    assert ax.patches[-1].get_width() == pytest.approx(
        np.sqrt((model.rates_**2).mean(axis=0)).max()
    )
