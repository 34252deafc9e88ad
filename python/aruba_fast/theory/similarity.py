"""How alike tasks are: the quantity that the guarantees of meta-learning depend on."""

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from .. import _check
from .._check import Float64Array
from .hindsight import Hindsight

_NAME = "task_similarity"


@overload
def task_similarity(
    best: Hindsight | ArrayLike,
    *,
    kind: Literal["euclidean", "kl"] = ...,
    phi: ArrayLike | None = ...,
    weights: ArrayLike | None = ...,
) -> float: ...
@overload
def task_similarity(
    best: Hindsight | ArrayLike,
    *,
    kind: Literal["coordinate"],
    phi: ArrayLike | None = ...,
    weights: ArrayLike | None = ...,
) -> Float64Array: ...
@np.errstate(all="ignore")
def task_similarity(
    best: Hindsight | ArrayLike,
    *,
    kind: Literal["euclidean", "coordinate", "kl"] = "euclidean",
    phi: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> float | Float64Array:
    """Mean divergence of the tasks' best parameters from one point, the best one unless given.

        euclidean    V^2   = min over phi of  mean_t |theta*_t - phi|^2            (no 1/2)
        coordinate   V_j^2 = min over phi of  mean_t (theta*_{t,j} - phi_j)^2
        kl                   min over phi of  mean_t KL(theta*_t, phi)

    The best point is the mean of all theta* in each case. The task-averaged regret of a
    meta-learned start goes to G V sqrt(m), or G sqrt(2 KL m) for exponentiated gradient, in place
    of the G D sqrt(m) that a single task has to pay.

    Args:
        best: Result of `best_in_hindsight`, or parameters [n_tasks, n_parameters]; for "kl" points
            of the simplex.
        kind: Which divergence.
        phi: Where to measure from, [n_parameters]; None for the mean.
        weights: Weights of the tasks, [n_tasks], >= 0 and not all 0; None for equal ones.

    Returns:
        Float; for "coordinate" float64 [n_parameters]. Infinite for "kl" where `phi` rules out a
        coordinate that a task needs. Nan if a task's parameters are: leave such tasks out.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Sizes do not fit, an argument is out of range or off the simplex, or `kind` is
            unknown.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> theta_star = [[0.0, 1.0], [2.0, 1.0]]
        >>> af.theory.task_similarity(theta_star)
        1.0
        >>> af.theory.task_similarity(theta_star, kind="coordinate")
        array([1., 0.])
        >>> entropy_of_mean = af.theory.task_similarity(np.eye(4), kind="kl")
        >>> float(entropy_of_mean / np.log(4))
        1.0

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    given = best.theta_star if isinstance(best, Hindsight) else best
    theta = _check.float64_array(_NAME, "best", given, "[n_tasks, n_parameters]")
    if not theta.size:
        raise ValueError(f"{_NAME}: `best` must not be empty: got {theta.shape}")
    _check.one_of(_NAME, "kind", kind, ("euclidean", "coordinate", "kl"))
    if kind == "kl":
        _check.on_simplex(_NAME, "best", theta)
    share = _shares(weights, len(theta))
    center = share @ theta
    if phi is not None:
        center = _check.float64_array(_NAME, "phi", phi, "[n_parameters]")
        _check.shape(_NAME, "phi", center, theta.shape[1:])
        if kind == "kl":
            _check.on_simplex(_NAME, "phi", center)
    if kind == "kl":
        return float(share @ kl_divergence(theta, center))
    each: Float64Array = share @ (theta - center) ** 2
    return float(each.sum()) if kind == "euclidean" else each


def kl_divergence(p: Float64Array, q: Float64Array) -> Float64Array:
    """KL(p, q) of every row of p from the one q; 0 log 0 is 0."""
    result = np.empty(len(p))
    size = max(1, 2**20 // p.shape[1])  # rows: Ctrl-C waits for so many logarithms
    for first in range(0, len(p), size):
        part = p[first : first + size]
        with np.errstate(all="ignore"):
            terms = np.where(part > 0, part * (np.log(part) - np.log(q)), 0.0)
        result[first : first + size] = terms.sum(axis=-1)
    return result


def _shares(weights: ArrayLike | None, n_tasks: int) -> Float64Array:
    if weights is None:
        return np.full(n_tasks, 1.0 / n_tasks)
    each = _check.float64_array(_NAME, "weights", weights, "[n_tasks]")
    _check.shape(_NAME, "weights", each, (n_tasks,))
    _check.finite(_NAME, "weights", each, at_least=0.0)
    if not each.sum() > 0:
        raise ValueError(f"{_NAME}: `weights` must not all be 0: got {each}")
    share: Float64Array = each / each.sum()
    return share
