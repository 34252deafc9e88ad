"""Gradient boosted trees that are told whose row it is, fitted anew with the rows people show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .protocol import Floats, Rows

# Categories that scikit-learn's trees take.
MOST_PEOPLE = 255


class Boosting:
    """HistGradientBoosting as it comes; the person is a category, as long as trees take so many.

    Where they do not, a column holds the person's mean target, out of fold (TargetEncoder).
    """

    def fit(self, train: Rows, seed: int) -> None:
        self.train, self.seed = train, seed
        self._fitted(train.x, train.y, train.person, len(train.offsets) - 1)

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        n_train = len(self.train.offsets) - 1
        model, encode = self._fitted(
            np.concatenate([self.train.x, seen.x]),
            np.concatenate([self.train.y, seen.y]),
            np.concatenate([self.train.person, n_train + seen.person]),
            n_train + len(seen.offsets) - 1,
        )
        columns = np.column_stack([x[:, :-1], encode(n_train + person)])
        predicted: Floats = (
            model.predict_proba(columns)[:, 1] if seen.yes_no else model.predict(columns)
        )
        return predicted

    def _fitted(
        self, x: Floats, y: Floats, person: NDArray[np.int64], n_people: int
    ) -> tuple[Any, Callable[[NDArray[np.int64]], Floats]]:
        """A model, and the function that makes its last column of numbers of people."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.model_selection import KFold
        from sklearn.preprocessing import TargetEncoder

        trees = (
            HistGradientBoostingClassifier if self.train.yes_no else HistGradientBoostingRegressor
        )
        if n_people <= MOST_PEOPLE:
            model = trees(categorical_features=[x.shape[1] - 1], random_state=self.seed)
            return model.fit(np.column_stack([x[:, :-1], person]), y), lambda numbers: numbers
        encoder = TargetEncoder(
            target_type="binary" if self.train.yes_no else "continuous",
            cv=KFold(5, shuffle=True, random_state=self.seed),
        )
        column = encoder.fit_transform(person[:, None], y)
        model = trees(random_state=self.seed)
        model.fit(np.column_stack([x[:, :-1], column]), y)
        return model, lambda numbers: encoder.transform(numbers[:, None])
