"""Where to start and how far to go, fitted to all tasks at once: `meta_fit`."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _check, _coef, _core
from ._arrays import frozen
from ._check import Float64Array, FloatArray
from ._sparse import require_dense
from .proximal import Proximal
from .run import check_loss, check_on_host, check_tasks, classes_of
from .tasks import Tasks

# A matrix of more rows is slow, for a task costs their number squared; and of more parameters.
_FULL, _MOST_FULL, _MOST = 128, 512, 1024
# Of which the fit is no approximation, or nearly.
_SQUARES = ("squared", "huber")
# Losses without a curvature, and what is fitted in their place.
FITTED_AS = {"absolute": "huber", "hinge": "logistic"}


@dataclass(frozen=True, eq=False, repr=False)
class MetaFit:
    """What `meta_fit` learned.

    Attributes:
        phi: Start of every task, [n_parameters] of the type of the tasks.
        learning_rate: The rates H: how much the tasks' parameters differ from phi, in units of the
            losses. Float64 [n_parameters, n_parameters] or, diagonal, [n_parameters]; read-only.
        coef: Factor of these rates for new tasks. It is one for squared and Huber losses. For other
            losses, where the fit is an approximation, held-out tasks choose it, from .5 to 8.
        scale: Scale of the losses. For squared and Huber ones it is the variance of the residuals,
            so that `scale * learning_rate` is the covariance of the tasks' parameters; else one.
        evidence: Log-likelihood of the tasks, up to a constant; for losses that are not squared by
            Laplace's approximation.
        n_iterations: Passes over the tasks.
        n_tasks: Number of tasks learned from.
        n_skipped: Number of tasks left out because a row was not finite.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> x, y = np.ones((4, 2, 1)), [[1.0, 1.2], [2.0, 2.2], [3.0, 3.2], [4.0, 4.2]]
        >>> fit = af.meta_fit(af.Tasks(x, y), loss="squared")
        >>> fit.phi.round(2), fit.n_tasks
        (array([2.48]), 4)
        >>> seen = af.Tasks(x[:1], [[6.0, 6.0]])  # somebody new
        >>> af.run_tasks(seen, fit.phi, fit.rule(), loss="squared").theta_hat.round(1)
        array([[6.]])
    """

    phi: FloatArray
    learning_rate: NDArray[np.float64]
    coef: float
    scale: float
    evidence: float
    n_iterations: int
    n_tasks: int
    n_skipped: int

    def rule(self, coef: float | None = None) -> Proximal:
        """Returns the rule for new tasks.

        Args:
            coef: Factor of the learned rates, > 0; None for `self.coef`.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> x, y = np.ones((4, 2, 1)), [[1.0, 1.2], [2.0, 2.2], [3.0, 3.2], [4.0, 4.2]]
            >>> af.meta_fit(af.Tasks(x, y), loss="squared").rule(2.0)
            Proximal(learning_rate=float64[1, 1], coef=2)
        """
        return Proximal(self.learning_rate, self.coef if coef is None else coef)

    def __repr__(self) -> str:
        shape = list(self.learning_rate.shape)
        return (
            f"MetaFit(n_tasks={self.n_tasks}, n_skipped={self.n_skipped}, "
            f"learning_rate={shape}, scale={self.scale:g})"
        )


def meta_fit(
    tasks: Tasks, *, loss: str, covariance: str = "auto", n_classes: int | None = None
) -> MetaFit:
    """Fits a start for all tasks, and how far each coordinate moves from it, at once.

    The result is for the proximal rule. It is the phi and the rates H that make the tasks most
    likely, if their parameters are normal about phi with covariance s H, where s is the scale of
    the losses. In terms of regret, a task's bound is
    |theta - phi|^2_{H^-1} / 2 + s/2 log det(I + H S), S = X^T W X. Up to a term that does not
    depend on H, its second part is at most <G, H> / 2 with G = s S (I + H S)^-1. So the best
    diagonal is eta_j = sqrt(b_j / g_j), with b the squared distances and g the sum of G's
    diagonals: ARUBA's rule, with nothing to tune.

    A full matrix H also learns which coordinates move together. It is drawn towards the best
    diagonal, with the weight of one task for every sixteen of its correlations. Each phi_j has a
    prior about zero, whose width is learned from what the tasks tell about phi_j. The prior hardly
    changes a phi_j that the tasks determine, and restrains features that nearly repeat each other.

    For losses that are not squared the likelihood is Laplace's approximation, which underestimates
    how much people with a handful of answers differ. Three folds of the tasks then choose how far
    new tasks go (`coef`), which takes four times as long.

    Every iteration is a parallel pass over the tasks in native code, with the same bits for any
    number of threads and any instruction set. The units of features and target do not matter. With
    the squared loss it holds up to two copies of the rows in float64; of a task with more rows than
    features it holds n_features + 1 rows.

    Args:
        tasks: The tasks, in host memory.
        loss: Name of the loss, as in `run_tasks`; not `absolute` or `hinge`, which have no
            curvature: fit "huber" or "logistic", and use the rule for them.
        covariance: "full", "diagonal", or "auto": full up to 128 parameters.
        n_classes: For softmax, >= 2; None for one more than the largest label of the table.

    Returns:
        MetaFit.

    Raises:
        TypeError: An argument is of the wrong type, or the tasks live on a CUDA device.
        ValueError: An argument is out of range, the loss is unknown or has no curvature, labels lie
            outside its domain, there are more than 1024 parameters (512 with a full matrix), or no
            task is finite.
        KeyboardInterrupt: Ctrl-C.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 6, 2))
        >>> w = 1 + rng.normal(size=(200, 2)) * [0.0, 2.0]  # tasks differ only in the second
        >>> y = np.einsum("tmd,td->tm", x, w) + 0.1 * rng.normal(size=(200, 6))
        >>> fit = af.meta_fit(af.Tasks(x, y), loss="squared")
        >>> np.sqrt(fit.scale * np.diag(fit.learning_rate)).round(1)
        array([0. , 1.9])

    Source: Robbins, 1956, for empirical Bayes; see `Proximal`.
    """
    name = "meta_fit"
    check_tasks(name, tasks)
    check_on_host(name, tasks)
    require_dense(name, tasks, "`tasks` must have dense rows", "entries", "x.toarray()")
    classes = classes_of(name, tasks, loss, n_classes)
    n = classes * tasks.n_features
    check_loss(name, tasks, loss, "n_classes", n)
    if loss in FITTED_AS:
        raise ValueError(
            f"{name}: `loss` must have a curvature: got '{loss}', expected another, such as "
            f"'{FITTED_AS[loss]}', whose rule run_tasks takes with '{loss}' too"
        )
    _check.one_of(name, "covariance", covariance, ("auto", "full", "diagonal"))
    full = covariance == "full" or (covariance == "auto" and n <= _FULL)
    if n > (_MOST_FULL if full else _MOST):
        remedy = "af.MetaLearner and af.meta_train, which take any number"
        if full:
            remedy = f"covariance='diagonal', or {remedy}"
        raise ValueError(
            f"{name}: `tasks` must have at most {_MOST_FULL if full else _MOST} parameters: got "
            f"{n}, expected {remedy}"
        )

    def fitted(some: Tasks) -> _Fitted:
        phi, rates = np.empty(n), np.empty((n, n) if full else n)
        told = _core.learn_population(
            some._table(),
            loss=loss,
            n_classes=classes,
            phi=phi,
            learning_rate=rates,
        )
        return _Fitted(phi, rates, *told)

    found = fitted(tasks)
    if not found.n_tasks:
        raise ValueError(
            f"{name}: `tasks` must have a task that is finite: got {len(tasks)} tasks, each with a "
            "row that is not, expected numbers"
        )
    coef = 1.0
    if loss not in _SQUARES:
        coef = _coef.chosen(tasks, loss, lambda some: fitted(some)[:2])
    return MetaFit(
        frozen(found.phi.astype(tasks.dtype)),
        frozen(found.learning_rate),
        coef,
        *found[2:],
    )


class _Fitted(NamedTuple):
    """What native code finds."""

    phi: Float64Array
    learning_rate: Float64Array
    scale: float
    evidence: float
    n_iterations: int
    n_tasks: int
    n_skipped: int
