"""How far tasks go at the rates that were fitted, where the fit is an approximation: by folds."""

from collections.abc import Callable

import numpy as np

from ._check import Float64Array
from .adaptation import evaluate
from .proximal import Proximal
from .run import run_tasks
from .tasks import Tasks

# Fewer tasks tell nothing beyond their noise.
_LEAST_TASKS = 30
_COEFS = (0.5, 1.0, 2.0, 4.0, 8.0)
_N_FOLDS = 3
# Standard errors by which another coefficient must be better than one.
_BEYOND = 2.0


def chosen(
    tasks: Tasks, loss: str, fit: Callable[[Tasks], tuple[Float64Array, Float64Array]]
) -> float:
    """The coefficient that predicts held-out tasks best; one unless another is clearly better.

    Every task is held out once, adapts on its first row and on the first half of its rows, and is
    tested on its others.

    Args:
        tasks: The tasks; those of one row cannot be tested.
        loss: Name of the loss.
        fit: Returns phi and the rates of some of them.
    """
    testable = tasks.sizes >= 2
    if testable.sum() < _LEAST_TASKS:
        return 1.0
    some = tasks[testable]
    fold = np.arange(len(some)) % _N_FOLDS
    errors = []
    for k in range(_N_FOLDS):
        phi, rates = fit(some[fold != k])
        errors.append(_errors(some[fold == k], loss, phi.astype(tasks.dtype), rates))
    each = np.concatenate(errors, axis=2)  # [coefficient, number of rows, task]
    one = _COEFS.index(1.0)
    scale = each[one].mean(axis=1)
    if not (np.isfinite(each).all() and (scale > 0).all()):
        return 1.0
    above = ((each - each[one]) / scale[:, None]).sum(axis=1)
    worst = above.mean(axis=1) + _BEYOND * above.std(axis=1, ddof=1) / np.sqrt(len(some))
    worst[one] = 0.0
    return _COEFS[int(worst.argmin())]


def _errors(tasks: Tasks, loss: str, phi: Float64Array, rates: Float64Array) -> Float64Array:
    """Mean loss of the rows that a task did not adapt on, [coefficient, number of rows, task]."""
    parts = []
    for middle in (tasks._starts + 1, tasks._starts + tasks.sizes // 2):
        seen, unseen = tasks._view(tasks._starts, middle), tasks._view(middle, tasks._stops)
        runs = (run_tasks(seen, phi, Proximal(rates, coef), loss=loss) for coef in _COEFS)
        parts.append([evaluate(unseen, run.theta_hat, loss=loss) for run in runs])
    return np.array(parts).swapaxes(0, 1)
