"""A class for every person: `PersonalizedClassifier`."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets

from .._check import Float64Array
from ._base import Personalized

if TYPE_CHECKING:
    from typing_extensions import Self


class PersonalizedClassifier(ClassifierMixin, Personalized):
    """Classification for people in a table: a linear model for each person, from few rows each.

    It is logistic regression for two classes and softmax regression for more. As in
    `PersonalizedRegressor`, each person's parameters stay near a start that all share.

    Args:
        covariance: As in `PersonalizedRegressor`; a softmax has parameters for each class.
        scale: Whether features are brought to mean 0 and standard deviation 1 first.
        fit_intercept: Whether people have an intercept for each class.
        coef: Factor of how far people's parameters may go from the start, > 0; 1 as learned.
        verbose: Whether `fit` prints a line.

    Attributes:
        classes_: The classes, sorted.
        coef_: Coefficients of the shared start, [1, n_features] for two classes, else [n_classes,
            n_features].
        intercept_: Its intercepts, [1] or [n_classes].
        rates_: How much people differ, of the shape of `coef_`: the standard deviation of their
            coefficients, in log odds for a standard deviation of the feature; for a unit of it
            without `scale`.
        intercept_rate_: The same for their levels, with all features at their means.
        groups_: Labels of the known people: those of `fit` in their order, then of `partial_fit`.
        rule_: How people adapt: `Proximal`; or `ArubaPlusPlus`, descent, if "auto" finds fewer than
            two rows for each parameter, or X stays sparse.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if `X` had names.

    Memory: all rows are kept in float64 for `partial_fit`, in a pickle too.

    Example:
        >>> import numpy as np
        >>> from aruba_fast.sklearn import PersonalizedClassifier
        >>> rng = np.random.default_rng(0)
        >>> person, X = np.repeat(np.arange(100), 10), rng.normal(size=(1000, 1))
        >>> taste = np.repeat(rng.choice([-3, 3], 100), 10)  # what attracts one repels another
        >>> y = np.where(taste * X[:, 0] + rng.logistic(size=1000) > 0, "yes", "no")
        >>> model = PersonalizedClassifier().fit(X, y, groups=person)
        >>> model.score(X, y, groups=person) > 0.8 > 0.6 > model.score(X, y)
        True

    Source: see `aruba_fast.meta_fit` and `aruba_fast.Proximal`.
    """

    _numeric_target = False
    classes_: NDArray[Any]

    def __init__(
        self,
        *,
        covariance: str = "auto",
        scale: bool = True,
        fit_intercept: bool = True,
        coef: float = 1.0,
        verbose: bool = False,
    ) -> None:
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
    ) -> "PersonalizedClassifier":
        """Learns from all people, and fits each of them.

        Args:
            X: Features, [n_rows, n_features], as in `PersonalizedRegressor.fit`.
            y: Labels of the classes, [n_rows], of any type; a person need not have all of them.
            groups: Whose row each is, [n_rows], as in `PersonalizedRegressor.fit`.
            sample_weight: The number of such rows, [n_rows], >= 0; a row of weight zero is left
                out. Divide weights of a survey by their mean first, or the model is too sure of
                people.

        Returns:
            The estimator.

        Raises:
            TypeError: A setting or a label is of the wrong type.
            ValueError: Something is out of range, not finite or of another length, a row has no
                label, or there is one class only.

        Example:
            >>> from aruba_fast.sklearn import PersonalizedClassifier
            >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
            >>> PersonalizedClassifier().fit(X, y, groups=[1, 1, 2, 2]).classes_
            array(['no', 'yes'], dtype='<U3')
        """
        return self._fit(X, y, groups, sample_weight)

    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
    ) -> "Self":
        """Adapts people to their rows; the shared start and all other people stay as they are.

        As `PersonalizedRegressor.partial_fit`.

        Args:
            X: Features, [n_rows, n_features], as in `fit`.
            y: Labels of the classes, [n_rows].
            groups: Whose row each is, [n_rows].
            sample_weight: As in `fit`.
            classes: All classes, if `fit` was not called before.

        Returns:
            The estimator.

        Raises:
            ValueError: As `fit`, or `groups` is missing, or a class is unknown.

        Example:
            >>> from aruba_fast.sklearn import PersonalizedClassifier
            >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
            >>> model = PersonalizedClassifier().fit(X, y, groups=[1, 1, 2, 2])
            >>> model.partial_fit([[0.5]], ["yes"], groups=[3]).groups_
            array([1, 2, 3])
        """
        if not self._is_fitted():
            return self._fit(X, y, groups, sample_weight, classes=classes)
        given = self.classes_ if classes is None else np.unique(np.asarray(classes))
        if not np.array_equal(given, self.classes_):
            raise ValueError(
                f"{type(self).__name__}.partial_fit: `classes` must be those of `fit`: got "
                f"{given.tolist()}, expected {self.classes_.tolist()}, or None"
            )
        return self._adapt(X, y, groups, sample_weight)

    def decision_function(self, X: Any, groups: ArrayLike | None = None) -> Float64Array:
        """Scores of rows: log odds of the second class of two, else a score for each class.

        Args:
            X: Features, [n_rows, n_features], as in `fit`.
            groups: Whose row each is, as in `predict`.

        Returns:
            float64 [n_rows], or [n_rows, n_classes] of more than two.

        Raises:
            ValueError: As `fit`.

        Example:
            >>> from aruba_fast.sklearn import PersonalizedClassifier
            >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
            >>> model = PersonalizedClassifier().fit(X, y, groups=[1, 1, 2, 2])
            >>> model.decision_function([[9.0]]) > 0
            array([ True])
        """
        scores = self._scores("decision_function", X, groups)
        odds: Float64Array = scores[:, 0] if len(self.classes_) == 2 else scores
        return odds

    def predict_proba(self, X: Any, groups: ArrayLike | None = None) -> Float64Array:
        """Probabilities of the classes.

        Args:
            X: Features, [n_rows, n_features], as in `fit`.
            groups: Whose row each is, as in `predict`.

        Returns:
            float64 [n_rows, n_classes].

        Raises:
            ValueError: As `fit`.

        Example:
            >>> from aruba_fast.sklearn import PersonalizedClassifier
            >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
            >>> model = PersonalizedClassifier().fit(X, y, groups=[1, 1, 2, 2])
            >>> model.predict_proba([[9.0]]).sum(axis=1)
            array([1.])
        """
        scores = self._scores("predict_proba", X, groups)
        if len(self.classes_) == 2:
            scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
        with np.errstate(under="ignore"):
            odds: Float64Array = np.exp(scores - scores.max(axis=1, keepdims=True))
            odds /= odds.sum(axis=1, keepdims=True)
        return odds

    def predict(self, X: Any, groups: ArrayLike | None = None) -> NDArray[Any]:
        """Predicts the most probable class of rows.

        Args:
            X: Features, [n_rows, n_features], as in `fit`.
            groups: Whose row each is, [n_rows]: known people are predicted by their own parameters,
                others by the shared start. None for the shared start in every row.

        Returns:
            Labels of classes, [n_rows].

        Raises:
            ValueError: As `fit`.

        Example:
            >>> from aruba_fast.sklearn import PersonalizedClassifier
            >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
            >>> model = PersonalizedClassifier().fit(X, y, groups=[1, 1, 2, 2])
            >>> model.predict([[9.0]])
            array(['yes'], dtype='<U3')
        """
        scores = self._scores("predict", X, groups)
        two = len(self.classes_) == 2
        chosen = scores[:, 0] > 0 if two else scores.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[chosen.astype(np.int64)]
        return labels

    def score(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> float:
        """The share of rows whose class is predicted.

        Args:
            X: Features, [n_rows, n_features].
            y: Labels of the classes, [n_rows].
            sample_weight: Weights of the rows, [n_rows].
            groups: Whose row each is, as in `predict`.

        Example:
            >>> from aruba_fast.sklearn import PersonalizedClassifier
            >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]
            >>> PersonalizedClassifier().fit(X, y, groups=[1, 1, 2, 2]).score(X, y)
            1.0
        """
        return float(accuracy_score(y, self.predict(X, groups), sample_weight=sample_weight))

    def _targets(
        self,
        function: str,
        _rows: Any,
        y: NDArray[Any],
        _weights: Float64Array | None,
        classes: Any = None,
    ) -> Float64Array:
        check_classification_targets(y)
        self.classes_ = np.unique(y if classes is None else np.asarray(classes))
        if len(self.classes_) < 2:
            raise ValueError(
                f"{function}: `y` must have two classes: got 1 class, {self.classes_[0]!r}, "
                "expected another one too"
            )
        return self._more_targets(function, y)

    def _counts_rows(self) -> bool:
        return True

    def _loss(self) -> tuple[str, int | None]:
        n_classes = len(self.classes_)
        return ("softmax", n_classes) if n_classes > 2 else ("logistic", None)

    def _more_targets(self, function: str, y: NDArray[Any]) -> Float64Array:
        seen, numbers = np.unique(y, return_inverse=True)
        unknown = ~np.isin(seen, self.classes_)
        if unknown.any():
            raise ValueError(
                f"{function}: `y` must be of the known classes: got {seen[unknown][0]!r}, expected "
                f"one of {self.classes_.tolist()}"
            )
        return np.searchsorted(self.classes_, seen)[numbers].astype(np.float64)

    def _undone(self, theta: Float64Array) -> tuple[Float64Array, Float64Array]:
        return self._features.undone(theta.reshape(-1, self._features.width))

    def _spread(self) -> tuple[Float64Array, Float64Array]:
        return self._features.parts(self._population.spread.reshape(-1, self._features.width))

    def _rates_label(self) -> str:
        return "standard deviation between people, in log odds"
