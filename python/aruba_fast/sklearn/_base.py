"""What both estimators are: fit, partial_fit, and whose row is whose."""

import warnings
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import _check
from .._check import Float64Array
from ._people import Division, People, Rows
from ._population import Population, learned
from ._scale import Features, SparseFeatures, features_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Self


class Personalized(BaseEstimator):
    """A linear model for every person, held near a shared start by what people have in common."""

    _numeric_target: bool
    _features: Features | SparseFeatures
    _population: Population
    _people: People
    _weight_unit: float

    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> "Self":
        """Adapts people to their rows; the shared start and nobody else moves.

        Who is new is fitted to these rows, who is known to these and all rows before, as if `fit`
        had had them with the start and the rates that it learned. Before any `fit` it is `fit`.

        Args:
            X: Features, [n_rows, n_features], as in `fit`.
            y: Targets, [n_rows].
            groups: Whose row each is, [n_rows]. None only where `fit` had none either: then the one
                model is fitted anew to all rows so far.
            sample_weight: As in `fit`, in the unit of its weights.

        Returns:
            The estimator.

        Raises:
            TypeError: As `fit`.
            ValueError: As `fit`, or `groups` is missing.

        Example:
            >>> import numpy as np
            >>> from aruba_fast.sklearn import PersonalizedRegressor
            >>> X, person = np.tile([[0.0], [1.0], [2.0]], (20, 1)), np.repeat(np.arange(20), 3)
            >>> y = X[:, 0] + person + 0.1 * np.cos(np.arange(60))
            >>> model = PersonalizedRegressor().fit(X, y, groups=person)
            >>> model.partial_fit([[0.0], [1.0]], [100.0, 101.0], groups=["new", "new"]).groups_[-1]
            'new'
            >>> model.predict([[0.0], [0.0]], groups=["new", "newer"]).round()
            array([100.,  10.])
        """
        learn = self._adapt if self._is_fitted() else self._fit
        return learn(X, y, groups, sample_weight)

    def coef_of(self, person: Any) -> Float64Array:
        """A person's coefficients, of the shape of `coef_` and in the features' own units.

        Args:
            person: A label, one of `groups_`.

        Raises:
            ValueError: Nobody of that name was seen.

        Example:
            >>> import numpy as np
            >>> from aruba_fast.sklearn import PersonalizedRegressor
            >>> X, person = np.tile([[0.0], [1.0], [2.0]], (20, 1)), np.repeat(np.arange(20), 3)
            >>> y = X[:, 0] * person + 0.1 * np.cos(np.arange(60))
            >>> model = PersonalizedRegressor().fit(X, y, groups=person)
            >>> model.coef_of(7).round()
            array([7.])
        """
        coef: Float64Array = self._undone(self._theta_of("coef_of", person))[0]
        return coef

    def intercept_of(self, person: Any) -> Any:
        """A person's intercept, of the shape of `intercept_`.

        Args:
            person: A label, one of `groups_`.

        Raises:
            ValueError: Nobody of that name was seen.

        Example:
            >>> import numpy as np
            >>> from aruba_fast.sklearn import PersonalizedRegressor
            >>> X, person = np.tile([[0.0], [1.0], [2.0]], (20, 1)), np.repeat(np.arange(20), 3)
            >>> y = X[:, 0] + person + 0.1 * np.cos(np.arange(60))
            >>> model = PersonalizedRegressor().fit(X, y, groups=person)
            >>> round(model.intercept_of(7))
            7
        """
        return self._undone(self._theta_of("intercept_of", person))[1]

    def plot_rates(self, ax: "Axes | None" = None) -> "Axes":
        """Draws how much people differ, feature by feature: `rates_` and `intercept_rate_`.

        Of several classes it is the root of their mean square. At most the 30 largest are drawn.

        Args:
            ax: Matplotlib's axes to draw on; None for new ones.

        Returns:
            The axes.

        Raises:
            ImportError: Matplotlib is not installed.

        Example:
            >>> import numpy as np
            >>> from aruba_fast.sklearn import PersonalizedRegressor
            >>> X, person = np.tile([[0.0], [1.0], [2.0]], (20, 1)), np.repeat(np.arange(20), 3)
            >>> y = X[:, 0] + person + 0.1 * np.cos(np.arange(60))
            >>> model = PersonalizedRegressor().fit(X, y, groups=person)
            >>> model.plot_rates().get_title()
            'How much people differ'
        """
        check_is_fitted(self)
        from ._plot import rates_drawn

        names = getattr(self, "feature_names_in_", None)
        if names is None:
            names = [f"x{j}" for j in range(self.n_features_in_)]
        rates = np.sqrt(np.square(np.atleast_2d(self.rates_)).mean(axis=0))
        names, rates = [*names], [*rates]
        if self.fit_intercept:
            names.append("(intercept)")
            rates.append(np.sqrt(np.square(self.intercept_rate_).mean()))
        return rates_drawn(ax, names, np.array(rates), self._rates_label())

    def _fit(self, X: Any, y: Any, groups: Any, sample_weight: Any, **options: Any) -> "Self":
        """Learns from all people; where that fails all is as it was."""
        function = f"{type(self).__name__}.fit"
        before = self.__dict__.copy()
        try:
            scale, intercept = self._checked_settings(function)
            x, y = self._validated(X, y, reset=True)
            x, y, groups, weights = counted(function, x, y, groups, sample_weight)
            self._weight_unit = 1.0 if weights is None or self._counts_rows() else weights.mean()
            weights = None if weights is None else weights / self._weight_unit
            self._features = features_of(x, weights, scale=scale, intercept=intercept)
            rows = self._features.rows(x)
            labels = self._targets(function, rows, y, weights, **options)
            division = None if groups is None else Division(function, groups, len(labels))
            self._learn(Rows(rows, labels, weights), division)
        except BaseException:
            self.__dict__ = before
            raise
        if division is None:
            warnings.warn(
                f"{function}: `groups` must say whose row each is: got None, expected a label for "
                "each row, as fit(X, y, groups=person), in cross-validation with "
                "set_fit_request(groups=True); one model was fitted to all rows",
                UserWarning,
                stacklevel=3,
            )
        return self

    def _learn(self, rows: Rows, division: Division | None) -> None:
        """Learns from rows as the engine sees them."""
        began = perf_counter()
        tasks = rows.tasks([0, len(rows.y)]) if division is None else division.tasks(rows)
        loss, n_classes = self._loss()
        population = learned(
            tasks,
            loss=loss,
            covariance=self.covariance,
            coef=float(self.coef),
            n_classes=n_classes,
        )
        people = People(population, division, tasks)
        self._population, self._people = population, people
        self.rule_ = population.rule
        self.groups_ = people.labels
        self.coef_, self.intercept_ = self._undone(population.phi)
        self.rates_, self.intercept_rate_ = self._spread()
        if self.verbose:
            print(
                f"{type(self).__name__}: {len(self.groups_)} people, {len(rows.y)} rows, "
                f"{population.phi.size} parameters, {type(self.rule_).__name__}, "
                f"{perf_counter() - began:.2g} s"
            )

    def _adapt(self, X: Any, y: Any, groups: Any, sample_weight: Any) -> "Self":
        function = f"{type(self).__name__}.partial_fit"
        x, y = self._validated(X, y, reset=False)
        x, y, groups, weights = counted(function, x, y, groups, sample_weight)
        weights = None if weights is None else weights / self._weight_unit
        rows = Rows(self._features.rows(x), self._more_targets(function, y), weights)
        if groups is not None:
            self._people.adapt(Division(function, groups, len(rows.y)), rows)
            self.groups_ = self._people.labels
        elif len(self._people):
            raise ValueError(
                f"{function}: `groups` must say whose row each is: got None, expected a label for "
                "each row; the start that all share moves in `fit` alone"
            )
        else:
            self._learn(self._people.with_pooled(rows), None)
        return self

    def _scores(self, method: str, X: Any, groups: Any) -> Float64Array:
        """The engine's scores of rows, [n_rows, n_outputs]."""
        check_is_fitted(self)
        function = f"{type(self).__name__}.{method}"
        x = validate_data(self, X, reset=False, **_ACCEPTED)
        n = x.shape[0]
        places = None
        if groups is not None:
            places = self._people.places(Division(function, groups, n))
        scores = [
            self._people.scores(
                self._features.rows(x[part]), None if places is None else places[part]
            )
            for part in self._features.blocks(n, self._population.phi.size)
        ]
        return np.concatenate(scores)

    def _counts_rows(self) -> bool:
        """Whether a weight is a number of rows; else its unit is nobody's."""
        raise NotImplementedError

    def _is_fitted(self) -> bool:
        return hasattr(self, "rule_")

    def _checked_settings(self, function: str) -> tuple[bool, bool]:
        """`scale` and `fit_intercept`; the others are right from here on."""
        _check.boolean(function, "verbose", self.verbose)
        _check.one_of(function, "covariance", self.covariance, ("auto", "full", "diagonal"))
        _check.positive(function, "coef", self.coef)
        return (
            _check.boolean(function, "scale", self.scale),
            _check.boolean(function, "fit_intercept", self.fit_intercept),
        )

    def _validated(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, NDArray[Any]]:
        numeric = self._numeric_target
        x, y = validate_data(self, X, y, reset=reset, y_numeric=numeric, **_ACCEPTED)
        return x, y

    def _theta_of(self, method: str, person: Any) -> Float64Array:
        check_is_fitted(self)
        theta = self._people.theta(person)
        if theta is None:
            raise ValueError(
                f"{type(self).__name__}.{method}: `person` must have been seen: got {person!r}, "
                f"expected one of the {len(self._people)} in `groups_`; others have `coef_` and "
                "`intercept_`"
            )
        return theta

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def counted(
    function: str, x: Any, y: NDArray[Any], groups: Any, sample_weight: Any
) -> tuple[Any, NDArray[Any], Any, Float64Array | None]:
    """Rows, targets and groups of those rows that count, and their weights; None for all one."""
    if sample_weight is None:
        return x, y, groups, None
    name = "sample_weight"
    weights = _check.float64_array(function, name, sample_weight, "[n_rows]")
    _check.shape(function, name, weights, y.shape, "have a weight for each row")
    _check.finite(function, name, weights, at_least=0.0)
    rows = np.flatnonzero(weights)
    if not len(rows):
        raise ValueError(
            f"{function}: `sample_weight` must have a weight above zero: got zeros, expected what "
            "each row counts"
        )
    if len(rows) < len(weights):
        x, y, weights = x[rows], y[rows], weights[rows]
        groups = None if groups is None else _safe_indexing(groups, rows)
    return x, y, groups, weights


_ACCEPTED = {"accept_sparse": "csr", "dtype": np.float64}
