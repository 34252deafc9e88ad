"""The linear mixed model of statsmodels, its predictions for new people computed by us.

It loops over people in Python and may need many minutes where the covariance is large: after two
minutes of its processor it is stopped, and the league says so.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from aruba_fast_reproductions.mixed import Model, independent

from .mixed import Mixed
from .protocol import NotConvergedError, Rows

SECONDS = 120.0


@dataclass
class PackagedMixed(Mixed):
    """`MixedLM`, fitted by REML; predicts as `Mixed` does."""

    def fit(self, train: Rows, seed: int) -> None:  # noqa: ARG002
        from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

        self.used = independent(train.x.T @ train.x)
        x, p = train.x[:, self.used], len(self.used)
        columns = np.array([p - 1]) if self.random == "intercept" else np.arange(p)
        q = len(columns)
        free = (
            MixedLMParams.from_components(fe_params=np.ones(p), cov_re=np.eye(q))
            if self.random == "diagonal"
            else None
        )
        with warnings.catch_warnings(), _limit(SECONDS):
            warnings.simplefilter("ignore")  # of what it tried; whether it converged, it tells
            model = MixedLM(train.y, x, groups=train.person, exog_re=x[:, columns])
            found = _first_that_converges(model, free)
        self.model = Model(
            np.asarray(found.fe_params), np.asarray(found.cov_re), float(found.scale), columns
        )


def _first_that_converges(model: Any, free: Any) -> Any:
    """Its optimizers, the fastest first: that one may end without variance, its likelihood inf."""
    for method in ("lbfgs", "bfgs", "cg"):
        try:
            found = model.fit(reml=True, method=method, maxiter=1000, free=free)
        except np.linalg.LinAlgError:  # a covariance that became singular on the way
            continue
        if found.converged and np.isfinite([*found.params, found.llf]).all():
            return found
    raise NotConvergedError


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in a block that takes longer, of this process's time on a processor."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
