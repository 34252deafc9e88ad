"""Gradient boosted trees that are told whose row it is, fitted anew with the rows people show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .protocol import Floats, Rows

# Categories that scikit-learn's trees take.
MOST_PEOPLE = 255


class Boosting:
    """HistGradientBoosting as it comes; the person is a category, of the first 255 people or fewer.

    Where there are more, a column holds the mean target of the person, out of fold (TargetEncoder).
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

    def _fitted(self, x, y, person, n_people):
        """A model, and the function that makes its last column of numbers of people."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.model_selection import KFold
        from sklearn.preprocessing import TargetEncoder

        few = n_people <= MOST_PEOPLE
        column = person[:, None]
        if few:
            encode = lambda numbers: numbers  # noqa: E731
        else:
            kind = "binary" if self.train.yes_no else "continuous"
            folds = KFold(5, shuffle=True, random_state=self.seed)
            encoder = TargetEncoder(target_type=kind, cv=folds)
            column = encoder.fit_transform(column, y)
            encode = lambda numbers: encoder.transform(numbers[:, None])  # noqa: E731
        trees = (
            HistGradientBoostingClassifier if self.train.yes_no else HistGradientBoostingRegressor
        )
        categories = [x.shape[1] - 1] if few else None
        model = trees(categorical_features=categories, random_state=self.seed)
        return model.fit(np.column_stack([x[:, :-1], column]), y), encode
