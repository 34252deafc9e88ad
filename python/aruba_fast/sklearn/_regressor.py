"""A number for every person: `PersonalizedRegressor`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from .. import _check
from .._check import Float64Array
from ._base import Personalized
from ._scale import Target, target_of

_LOSSES = ("squared", "huber", "absolute", "poisson")


class PersonalizedRegressor(RegressorMixin, Personalized):
    """Linear regression for people in a table: a model for each person, from few rows each.

    A person's parameters are those that fit the person's rows best while staying near a start that
    all people share. The start, how far people go from it, and in which directions together, are
    learned from all of them, with nothing to tune. For squared losses this is the prediction of a
    mixed model in which all coefficients are random, fitted by empirical Bayes.

    The model scales features and targets itself; its results are in their own units.

    Args:
        loss: "squared"; "huber", on which outliers of the target have little influence; "absolute",
            for medians; "poisson", for counts, whose mean is the exp of a linear function.
        covariance: "full", "diagonal" or "auto", as in `aruba_fast.meta_fit`: "auto" learns which
            coefficients move together for up to 128 parameters, and see `rule_`.
        scale: Whether features are brought to mean 0 and standard deviation 1 first.
        fit_intercept: Whether people have an intercept.
        coef: Factor of how far people's parameters may go from the start, > 0; 1 as learned.
        verbose: Whether `fit` prints a line.

    Attributes:
        coef_: Coefficients of the shared start, [n_features].
        intercept_: Its intercept.
        rates_: How much people differ, [n_features]: the standard deviation of their coefficients,
            in units of the target (or of log means) for a standard deviation of the feature; for a
            unit of it without `scale`.
        intercept_rate_: The same for their levels, with all features at their means.
        groups_: Labels of the known people: those of `fit` in their order, then of `partial_fit`.
        rule_: How people adapt: `Proximal`; or `ArubaPlusPlus`, descent, if "auto" finds fewer than
            two rows for each parameter, or X stays sparse.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if `X` had names.

    Memory: all rows are kept in float64 for `partial_fit`, in a pickle too.

    Example:
        >>> import numpy as np
        >>> from aruba_fast.sklearn import PersonalizedRegressor
        >>> rng = np.random.default_rng(0)
        >>> person = np.repeat([f"p{i}" for i in range(100)], 4)
        >>> X, slope = rng.normal(size=(400, 2)), np.repeat(rng.normal(size=100), 4)
        >>> y = 3 + X[:, 0] + slope * X[:, 1] + 0.1 * rng.normal(size=400)
        >>> model = PersonalizedRegressor().fit(X, y, groups=person)
        >>> model.rates_.round(1)  # people differ in the second alone
        array([0. , 0.7])
        >>> model.predict([[1.0, 0.0]], groups=["somebody else"]).round(1)
        array([4.])

    Source: see `aruba_fast.meta_fit` and `aruba_fast.Proximal`.
    """

    _numeric_target = True
    _target: Target

    def __init__(
        self,
        loss: str = "squared",
        *,
        covariance: str = "auto",
        scale: bool = True,
        fit_intercept: bool = True,
        coef: float = 1.0,
        verbose: bool = False,
    ) -> None:
        self.loss = loss
        self.covariance = covariance
        self.scale = scale
        self.fit_intercept = fit_intercept
        self.coef = coef
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "PersonalizedRegressor":
        """Learns from all people, and fits each of them.

        Args:
            X: Features, [n_rows, n_features]: NumPy, pandas, Polars, Arrow, or SciPy's sparse
                matrices, of which those of few columns are made dense.
            y: Targets, [n_rows].
            groups: Whose row each is, [n_rows]: strings, numbers, dates, or whatever can be hashed
                and sorted, in any order. None fits one model to all rows, and warns.
            sample_weight: How much each row counts, [n_rows], >= 0; a row of zero is left out. For
                "poisson" it is the number of such rows; else the inverse of the variance of the
                row's error, in any unit, because weights are divided by their mean.

        Returns:
            The estimator.

        Raises:
            TypeError: A setting or a label is of the wrong type.
            ValueError: Something is out of range, not finite or of another length, or a row has no
                label.

        Example:
            >>> from aruba_fast.sklearn import PersonalizedRegressor
            >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.1, 4.0, 5.2]
            >>> PersonalizedRegressor().fit(X, y, groups=["eve", "eve", "bob", "bob"]).groups_
            array(['bob', 'eve'], dtype='<U3')
        """
        return self._fit(X, y, groups, sample_weight)

    def predict(self, X: Any, groups: ArrayLike | None = None) -> Float64Array:
        """Predicts the target of rows.

        Args:
            X: Features, [n_rows, n_features], as in `fit`.
            groups: Whose row each is, [n_rows]: known people are predicted by their own parameters,
                others by the shared start. None for the shared start in every row.

        Returns:
            float64 [n_rows].

        Raises:
            ValueError: As `fit`.

        Example:
            >>> import numpy as np
            >>> from aruba_fast.sklearn import PersonalizedRegressor
            >>> X, person = np.tile([[0.0], [1.0], [2.0]], (20, 1)), np.repeat(np.arange(20), 3)
            >>> y = X[:, 0] + person + 0.1 * np.cos(np.arange(60))
            >>> model = PersonalizedRegressor().fit(X, y, groups=person)
            >>> model.predict([[0.0], [0.0]], groups=[3, 99]).round(1)
            array([2.9, 9.5])
        """
        scores = self._scores("predict", X, groups)[:, 0]
        if self._population.loss == "poisson":
            with np.errstate(over="ignore", under="ignore"):
                return np.exp(scores)
        return self._target.restored(scores)

    def score(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> float:
        """R², the share of the target's variance that is predicted.

        Args:
            X: Features, [n_rows, n_features].
            y: Targets, [n_rows].
            sample_weight: Weights of the rows, [n_rows].
            groups: Whose row each is, as in `predict`.

        Example:
            >>> import numpy as np
            >>> from aruba_fast.sklearn import PersonalizedRegressor
            >>> X, person = np.tile([[0.0], [1.0], [2.0]], (20, 1)), np.repeat(np.arange(20), 3)
            >>> y = X[:, 0] + person + 0.1 * np.cos(np.arange(60))
            >>> model = PersonalizedRegressor().fit(X, y, groups=person)
            >>> model.score(X, y, groups=person) > 0.99 > 0.1 > model.score(X, y)
            True
        """
        return float(r2_score(y, self.predict(X, groups), sample_weight=sample_weight))

    def _targets(
        self, function: str, rows: Any, y: NDArray[Any], weights: Float64Array | None
    ) -> Float64Array:
        loss = _check.one_of(function, "loss", self.loss, _LOSSES)
        self._target = target_of(
            loss, rows, y.astype(np.float64), weights, intercept=self._features.intercept
        )
        return self._more_targets(function, y)

    def _counts_rows(self) -> bool:
        return self.loss == "poisson"

    def _loss(self) -> tuple[str, None]:
        return self.loss, None

    def _more_targets(self, function: str, y: NDArray[Any]) -> Float64Array:
        if self.loss == "poisson" and y.min() < 0:
            raise ValueError(
                f"{function}: `y` must be >= 0 for the loss 'poisson': got {y.min():g}, "
                "expected counts; 'squared' and 'huber' take any number"
            )
        return self._target.shrunk(y.astype(np.float64))

    def _undone(self, theta: Float64Array) -> tuple[Float64Array, float]:
        coef, intercept = self._features.undone(theta)
        return self._target.unit * coef, float(self._target.restored(intercept))

    def _spread(self) -> tuple[Float64Array, float]:
        rates, level = self._features.parts(self._target.unit * self._population.spread)
        return rates, float(level)

    def _rates_label(self) -> str:
        of = "the log of the mean" if self.loss == "poisson" else "the target"
        return f"standard deviation between people, in units of {of}"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
