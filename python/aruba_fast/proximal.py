"""The proximal rule: a task's best parameters near the start, `Proximal`, and how it is run."""

import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check, _core, _rates
from ._arrays import frozen
from ._check import FloatArray
from ._sparse import require_dense
from ._value import Value
from .tasks import Tasks

# What is told of steps, and what it is where nobody tells it.
_STEPS: dict[str, Any] = {"batch_size": 1, "n_epochs": 1, "radius": None, "average": False}


@dataclass(frozen=True, eq=False, repr=False)
class Proximal(Value):
    """The best parameters for all rows of a task, held near the start by the learned rates.

        theta = argmin sum_i l_i(theta) + 1/(2 coef) (theta - phi)^T H^-1 (theta - phi)

    with H = diag(learning_rate), or the matrix itself. A few steps of descent do not reach this
    point. It is follow-the-regularized-leader with the learned geometry, and for squared losses the
    prediction of a mixed model whose random effects have the covariance sigma^2 coef H. A rate of
    zero keeps its coordinate at `phi`.

    Online, with theta_i the same minimizer over the rows before i, the regret against any theta* is
    at most 1/(2 coef) |theta* - phi|^2_{H^-1} + coef/2 sum_i |grad l_i(theta_i)|^2_H: the two terms
    of descent.

    `run_tasks` solves every task in float64, to rounding. In the norm of H^-1 the objective is
    1-strongly convex, so that half its squared gradient bounds the remaining gap. There is
    no `batch_size`, `n_epochs` or `radius`. In the result `loss` is the loss at the start, and
    `grad_sq` plays the role of the squared gradients of descent: it is the diagonal of
    s S (I + H S)^-1, with S = X^T W X the task's curvature and s the scale of its losses (for
    squared and Huber losses the variance of the residuals, else one). The rates with
    learning_rate^2 = sum (theta_hat - phi)^2 / sum grad_sq then make the tasks most likely. Losses
    with kinks have no curvature: for them `grad_sq` is the sum of their squared slopes.

    Args:
        learning_rate: Float, [n_parameters], or a symmetric matrix [n_parameters, n_parameters]
            without negative eigenvalues; finite, >= 0 (of a matrix the diagonal); copied.
        coef: Factor of the rates, > 0.

    Raises:
        TypeError: An argument is not real.
        ValueError: An argument is out of range, of a wrong shape or not symmetric.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks([[1.0], [1.0], [2.0]], [1.0, 3.0, 4.0], offsets=[0, 2, 3])
        >>> af.run_tasks(tasks, np.zeros(1), af.Proximal(0.5), loss="squared").theta_hat.ravel()
        array([1.        , 1.33333333])

    Source: McMahan, JMLR 18 (2017), for the bound; Henderson, Biometrics 31 (1975), for the
    prediction.
    """

    learning_rate: float | NDArray[Any]
    coef: float = 1.0

    def __post_init__(self) -> None:
        self._hold(
            learning_rate=_learning_rate(self.learning_rate),
            coef=_check.positive("Proximal", "coef", self.coef),
        )

    def __repr__(self) -> str:
        rate = self.learning_rate
        if isinstance(rate, float) or rate.ndim == 1:
            return f"Proximal(learning_rate={_rates.shown(rate)}, coef={self.coef:g})"
        return f"Proximal(learning_rate={rate.dtype}{list(rate.shape)}, coef={self.coef:g})"

    def _scaled(self, function: str, n_parameters: int) -> NDArray[np.float64]:
        """Rates times `coef` for so many parameters: the diagonal, or the matrix."""
        rate = self.learning_rate
        if isinstance(rate, float):
            rate = np.full(n_parameters, rate)
        if len(rate) != n_parameters:
            raise ValueError(
                f"{function}: `rule` must have a `learning_rate` for each of the parameters: got "
                f"{rate.shape}, expected ({n_parameters},) or ({n_parameters}, {n_parameters})"
            )
        with np.errstate(over="ignore"):
            scaled: NDArray[np.float64] = self.coef * rate
        if not np.isfinite(scaled).all():
            raise ValueError(
                f"{function}: `rule` must have rates within float64: got {rate.max():g} times "
                f"{self.coef:g}, expected a smaller `coef`"
            )
        return scaled


def _learning_rate(value: Any) -> float | NDArray[np.float64]:
    """The checked rates: a number, or a read-only copy of the vector or matrix."""
    if isinstance(value, (numbers.Real, str)):
        return _check.non_negative("Proximal", "learning_rate", value)
    rate = _check.real_array("Proximal", "learning_rate", value).astype(np.float64)
    axes = "[n_parameters] or [n_parameters, n_parameters]"
    if rate.ndim != 2:
        _check.dimension("Proximal", "learning_rate", rate, "[n_parameters]")
        _check.finite("Proximal", "learning_rate", rate, at_least=0.0)
        return frozen(rate)
    _check.finite("Proximal", "learning_rate", rate)
    if rate.shape[0] != rate.shape[1] or not np.array_equal(rate, rate.T):
        raise ValueError(
            "Proximal: `learning_rate` must be a symmetric matrix, or a vector: got "
            f"{rate.shape[0]} by {rate.shape[1]} numbers"
            f"{' that are not symmetric' * (rate.shape[0] == rate.shape[1])}, expected {axes}, as "
            "(h + h.T) / 2"
        )
    if (np.diagonal(rate) < 0).any():
        raise ValueError(
            "Proximal: `learning_rate` must have no negative number on its diagonal: got "
            f"{np.diagonal(rate).min():g}, expected a covariance matrix"
        )
    return frozen(rate)


def no_steps(function: str, options: dict[str, Any]) -> None:
    """Refuses what the proximal rule knows nothing of: options by name, as they were given."""
    for name, given in options.items():
        default = _STEPS[name]
        if given is not default and not (isinstance(given, int) and given == default):
            raise ValueError(
                f"{function}: `{name}` must be left out with the proximal rule: got "
                f"{_check.shown(given)}, expected none, for the rule takes no steps"
            )


def results(
    function: str,
    tasks: Tasks,
    start: FloatArray,
    rule: Proximal,
    loss: str,
    options: dict[str, Any],
) -> tuple[Any, ...]:
    """What `run_tasks` returns for this rule; `options` are what it must not have been given.

    Args:
        function: Name of the public function, for messages.
        tasks: The tasks, in host memory, of checked labels.
        start: [n_parameters] or [n_tasks, n_parameters] of the type of the tasks.
        rule: The rule.
        loss: Name of the loss.
        options: Those of steps, by name.
    """
    no_steps(function, options)
    n_parameters = start.shape[-1]
    rates = rule._scaled(function, n_parameters)
    if rates.ndim == 2:
        remedy = "their diagonal: coordinates that a task does not touch stay"
        require_dense(
            function, tasks, "`rule` must have a rate for each parameter", "a matrix", remedy
        )
    shape = (len(tasks), n_parameters)
    theta_hat, grad_sq, loss_out = np.empty(shape), np.empty(shape), np.empty(shape[0])
    _core.run_proximal(
        tasks._table(),
        np.ascontiguousarray(start, np.float64),
        rates,
        loss=loss,
        n_classes=n_parameters // tasks.n_features if loss == "softmax" else 1,
        outputs=(theta_hat, grad_sq, loss_out),
    )
    with np.errstate(over="ignore", under="ignore"):
        moved = theta_hat.astype(tasks.dtype, copy=False)
        squares = grad_sq.astype(tasks.dtype, copy=False)
    return moved, squares, None, loss_out, tasks._weights()
