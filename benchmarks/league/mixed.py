"""Linear mixed models in the league, by the EM that the demo has too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aruba_fast_reproductions.mixed import fit, independent, moments, posterior

from .protocol import Floats, Rows


@dataclass
class Mixed:
    """A linear mixed model in the league.

    Attributes:
        random: "intercept": only the intercept differs between people; "diagonal": all coefficients
            do, each on its own; "full": together, with a covariance.
    """

    random: str

    def fit(self, train: Rows, seed: int) -> None:  # noqa: ARG002
        self.used = independent(train.x.T @ train.x)
        p = len(self.used)
        columns = np.array([p - 1]) if self.random == "intercept" else np.arange(p)
        data = moments(train.x[:, self.used], train.y, train.offsets)
        self.model, self.likelihoods = fit(data, columns, self.random != "full")

    def adapt_predict(self, seen: Rows, x: Floats, person: NDArray[np.int64]) -> Floats:
        data = moments(seen.x[:, self.used], seen.y, seen.offsets)
        b, _ = posterior(data, self.model)
        x = x[:, self.used]
        return x @ self.model.beta + (x[:, self.model.columns] * b[person]).sum(axis=1)
