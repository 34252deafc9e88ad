"""What is learned of all people: where they start, how far they go; at once or online."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from .._check import Float64Array
from .._sparse import changes
from ..adaptation import adapt
from ..fit import _MOST, _MOST_FULL, FITTED_AS, meta_fit
from ..learner import MetaLearner
from ..proximal import Proximal
from ..rules import OGD, ArubaPlusPlus, native
from ..tasks import Tasks
from ..train import meta_train
from ._table import DenseTable, SparseTable, Table

# Passes over the people online, as in the first example of the README.
_PASSES = 3
# Rows for each parameter of the shared start, which little holds in `meta_fit`. Of 36 simulated
# tables in which all features count it predicted 19 of 21 with 3.3 to 32 rows better than descent;
# 7 with 2 to 3 rows a little worse (mean R2 .25, .31), where few count much better (.61, .06); and
# 8 of 8 with fewer rows far worse.
_ROWS = 2
# The same online: of ten simulated tables of 1100 and 2000 features the proximal rule won all four
# with 3.6 and 9 rows for each parameter (mean R2 .54, .43 by descent), descent five of six with 2
# to 3, by .01 to .07.
_ROWS_ONLINE = 3.5


@dataclass(frozen=True, eq=False)
class Population:
    """What all people share.

    Attributes:
        phi: The shared start, [n_parameters].
        rule: How a person's parameters follow from the start and the person's rows.
        loss: The name of the engine's loss.
        spread: How far people's parameters lie from the start, [n_parameters]: standard deviations,
            or, of the descent, the root of the mean square.
    """

    phi: Float64Array
    rule: Proximal | OGD | ArubaPlusPlus
    loss: str
    spread: Float64Array

    def start(self, *, sparse: bool) -> Table:
        """The table of one who has not moved; for rows that are sparse or not."""
        if sparse:
            return SparseTable(self.phi, csr_array((1, len(self.phi))))
        return DenseTable(self.phi[None])

    def adapted(self, tasks: Tasks) -> Table:
        """The parameters of every person; who diverges has the start's."""
        if tasks._csr is not None:
            rule = native("adapt", self.rule, tasks.dtype, self.phi.size, tasks._x)
            return SparseTable(self.phi, changes(tasks, self.phi, rule, self.loss))
        theta = adapt(tasks, self.phi, self.rule, loss=self.loss)
        sound = np.isfinite(theta).all(axis=1, keepdims=True)
        return DenseTable(np.where(sound, theta, self.phi).astype(np.float64, copy=False))


def learned(
    tasks: Tasks, *, loss: str, covariance: str, coef: float, n_classes: int | None
) -> Population:
    """Learns from all people: by `meta_fit`, or online if rows are few or columns many.

    Online with few rows is descent, which stays nearer to nothing than what solves every person.
    """
    n_parameters = (n_classes or 1) * tasks.n_features
    limit = _MOST_FULL if covariance == "full" else _MOST
    n_free = tasks.n_features * max(1, (n_classes or 2) - 1)
    sparse = tasks._csr is not None
    if covariance != "auto" and (sparse or n_parameters > limit):
        raise ValueError(
            f"fit: `covariance` must be 'auto' beyond {limit} parameters and for sparse rows: got "
            f"{covariance!r} with {n_parameters} parameters, expected 'auto', which learns online"
        )
    rows = tasks.n_rows / n_free
    if covariance == "auto" and (rows < _ROWS or sparse or n_parameters > limit):
        rule = "descent" if rows < _ROWS_ONLINE or sparse else "proximal"
        return _online(tasks, n_parameters, loss, coef, rule)
    fit = meta_fit(
        tasks, loss=FITTED_AS.get(loss, loss), covariance=covariance, n_classes=n_classes
    )
    rates = fit.learning_rate
    spread = np.sqrt(fit.scale * (np.diagonal(rates) if rates.ndim == 2 else rates))
    if loss == "absolute":
        # Of errors of variance s, sum |r| / b + |theta - phi|^2 / (2 s) in the norm of H^-1 is to
        # be smallest; b, the mean error, is sqrt(s / 2) by Laplace's distribution.
        coef *= np.sqrt(2 * fit.scale) if fit.scale > 0 else 1.0
    return Population(fit.phi.astype(np.float64), fit.rule(coef * fit.coef), loss, spread)


def _online(tasks: Tasks, n_parameters: int, loss: str, coef: float, rule: str) -> Population:
    """What `meta_train` learns by a rule, and that rule for people at `coef` times the rates."""
    learner = MetaLearner(np.zeros(n_parameters))
    # People in an order of their own: their labels may sort them by what they have in common.
    meta_train(tasks, learner, loss=loss, rule=rule, n_passes=_PASSES, seed=0)
    within = learner.proximal() if rule == "proximal" else learner.rule()
    if isinstance(within, Proximal):
        within = replace(within, coef=coef * within.coef)
    elif isinstance(within, ArubaPlusPlus):
        within = replace(within, b=coef * coef * within.b)
    else:
        within = OGD(coef * within.learning_rate)
    still = Population(learner.phi.astype(np.float64), within, loss, np.zeros(n_parameters))
    return replace(still, spread=still.adapted(tasks).spread(still.phi))
