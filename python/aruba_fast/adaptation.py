"""Where tasks end, or what they lose, and nothing else: `adapt` and `evaluate`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _core
from ._check import Float64Array, FloatArray
from .rules import OGD, Rule
from .run import check_loss, check_tasks, checked_start, results, run_tasks
from .tasks import Tasks


def adapt(
    tasks: Tasks,
    phi: ArrayLike,
    rule: Rule,
    *,
    loss: str,
    batch_size: int = 1,
    n_epochs: int = 1,
    radius: float | None = None,
) -> FloatArray:
    """The parameters of every task at its end: `run_tasks(...).theta_hat`, to the bit.

        theta <- Proj(theta - eta * mean gradient of the batch), from phi

    For tasks that nobody learns from, such as new people's: in host memory no sums of squared
    gradients are returned, which are as large as the parameters.

    Args:
        tasks: The tasks.
        phi: As `run_tasks`.
        rule: As `run_tasks`, mostly `learner.rule()`.
        loss: As `run_tasks`.
        batch_size: As `run_tasks`.
        n_epochs: As `run_tasks`.
        radius: As `run_tasks`.

    Returns:
        [n_tasks, n_parameters] of the type of `tasks`, where they live; not finite for a task that
        diverges.

    Raises:
        TypeError: As `run_tasks`.
        ValueError: As `run_tasks`.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> seen, unseen = af.Tasks(np.ones((2, 4, 1)), np.ones((2, 4))).shots(2)
        >>> theta = af.adapt(seen, np.zeros(1), af.OGD(0.5), loss="squared")
        >>> theta.ravel(), af.evaluate(unseen, theta, loss="squared")
        (array([0.75, 0.75]), array([0.03125, 0.03125]))

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "n_epochs": n_epochs, "radius": radius}
    found: FloatArray = results("adapt", tasks, phi, rule, loss, options, statistics=False)[0]
    return found


def evaluate(tasks: Tasks, theta: ArrayLike, *, loss: str) -> Float64Array:
    """Mean loss per row of every task at fixed parameters; by the weights of rows that have them.

    Args:
        tasks: The tasks.
        theta: Parameters for all tasks, [n_parameters], or one row per task,
            [n_tasks, n_parameters]; of the type of `tasks`.
        loss: Name of the loss, as in `run_tasks`.

    Returns:
        float64 [n_tasks]; nan where a row or the parameters are not finite.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Sizes do not fit, the loss is unknown, or labels lie outside its domain.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> support, query = af.Tasks(np.ones((1, 4, 1)), np.ones((1, 4))).shots(2)
        >>> run = af.run_tasks(support, np.zeros(1), af.OGD(0.5), loss="squared")
        >>> af.evaluate(query, run.theta_hat, loss="squared")
        array([0.03125])
    """
    check_tasks("evaluate", tasks)
    start = checked_start("evaluate", "theta", tasks, theta)
    check_loss("evaluate", tasks, loss, "theta", start.shape[-1])
    if tasks.device == "cpu":
        with np.errstate(invalid="ignore"):
            return _losses(tasks, start, loss) / tasks._weights()
    run = run_tasks(tasks, start, OGD(0.0), loss=loss)
    assert run.loss is not None
    assert run.weight is not None
    with _arrays.beside(run.loss):
        return run.loss / run.weight


def _losses(tasks: Tasks, theta: FloatArray, loss: str) -> Float64Array:
    """The losses of tasks in host memory: no steps, and no memory for where they would end."""
    found = np.empty(len(tasks))
    _core.run_tasks(
        tasks._table(),
        theta,
        ("ogd", 0.0),
        (loss, 1, 1, None),
        (None, None, None, found),
    )
    return found
