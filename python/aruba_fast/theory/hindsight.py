"""The least loss of every task in hindsight, and the regret of a run against it."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _check, _core
from .._check import Float64Array
from .._sparse import dense_tasks
from ..run import check_loss, check_on_host, check_tasks, classes_of
from ..statistics import TaskRun
from ..tasks import Tasks


@dataclass(frozen=True, eq=False, repr=False)
class Hindsight:
    """The best fixed parameters of every task, which only hindsight knows; all [n_tasks] first.

    Attributes:
        theta_star: The parameters, float64 [n_tasks, n_parameters].
        loss: Loss of the whole task at `theta_star`, float64 [n_tasks], without the penalty.
        gap: What a certificate allows the objective to be above its least value, float64 [n_tasks];
            inf where the loss is beyond float64.
    """

    theta_star: Float64Array
    loss: Float64Array
    gap: Float64Array

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        gap = np.nanmax(self.gap, initial=0.0)
        return (
            f"Hindsight(n_tasks={len(self)}, n_parameters={self.theta_star.shape[1]}, "
            f"largest_gap={gap:.1e})"
        )


def best_in_hindsight(
    tasks: Tasks,
    *,
    loss: str,
    radius: float | None = None,
    regularization: float = 0.0,
    n_classes: int | None = None,
    batch_size: int = 1,
    n_epochs: int = 1,
    tolerance: float = 1e-8,
) -> Hindsight:
    """Finds the best fixed parameters of every task, with a certificate, in native code.

        theta*_t = argmin over |theta| <= radius of
                   sum_i l_{t,i}(theta) + regularization/2 |theta|^2

    The steps i are those of `run_tasks` with the same `batch_size` and `n_epochs`, so that
    `regret` compares like with like. Computed in float64, the same bits for every number of threads
    and instruction set. Smooth losses by Newton's method (the squared one is a single linear
    system), `absolute`, `hinge` and `huber` by an interior-point method, the ball by Newton's
    method on its multiplier. Where several parameters are as good, squared loss gets the shortest;
    the others get some that lie in the span of the task's rows.

    Args:
        tasks: The tasks, float32 or float64.
        loss: Name of the loss, as in `run_tasks`.
        radius: The ball that the parameters have to lie in, > 0; None for no bound.
        regularization: Weight of the penalty, >= 0.
        n_classes: For softmax, >= 2; None for one more than the largest label of the table.
        batch_size: As in `run_tasks`.
        n_epochs: As in `run_tasks`.
        tolerance: The gap to reach, relative to the objective where that is above 1; > 0.

    Returns:
        Hindsight. `gap` is a duality gap (in the ball or with a penalty, of any point, without
        trust in the method; else of a dual point that is feasible to rounding) and what rounding
        may hide: the objective of `theta_star`, as returned, is at most that above the least. A
        column whose distance from the span of the others is below 7e-16 of its length counts as
        dependent. Tasks with a row that is not finite have nan everywhere.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, the loss is unknown, labels lie outside its domain,
            or a task has no minimizer: logistic and softmax losses of tasks whose classes can be
            separated fall for ever, unless there is a radius or a regularization.
        KeyboardInterrupt: Ctrl-C.

    Warns:
        RuntimeWarning: The gap of a task stayed above `tolerance`; `gap` says where it is.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks([[1.0], [1.0], [2.0]], [1.0, 3.0, 4.0], offsets=[0, 2, 3])
        >>> best = af.theory.best_in_hindsight(tasks, loss="squared")
        >>> best.theta_star.ravel(), best.loss
        (array([2., 2.]), array([1., 0.]))
        >>> af.theory.best_in_hindsight(tasks, loss="squared", radius=0.5).theta_star.ravel()
        array([0.5, 0.5])

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019, for the definition; Moré and Sorensen,
    SIAM J. Sci. Stat. Comput. 4 (1983), for the ball; Mehrotra, SIAM J. Optim. 2 (1992).
    """
    name = "best_in_hindsight"
    check_tasks(name, tasks)
    check_on_host(name, tasks)
    classes = classes_of(name, tasks, loss, n_classes)
    check_loss(name, tasks, loss, "n_classes", classes * tasks.n_features)
    ball = 0.0 if radius is None else _check.positive(name, "radius", radius)
    penalty = _check.non_negative(name, "regularization", regularization)
    size = _check.integer(name, "batch_size", batch_size, 1)
    epochs = _check.integer(name, "n_epochs", n_epochs, 1)
    wanted = _check.positive(name, "tolerance", tolerance)
    theta_star = np.zeros((len(tasks), classes * tasks.n_features))
    least, gap = np.empty(len(tasks)), np.empty(len(tasks))
    no_minimizer = np.zeros(len(tasks), np.uint8)
    options: dict[str, Any] = {
        "loss": loss,
        "n_classes": classes,
        "batch_size": size,
        "n_epochs": epochs,
        "radius": ball,
        "regularization": penalty,
        "tolerance": wanted,
    }
    if tasks._csr is None:
        table = tasks._table()
        _core.best_in_hindsight(table, (theta_star, least, gap, no_minimizer), **options)
    else:
        for number, (columns, table) in enumerate(dense_tasks(tasks)):
            best = np.empty((1, classes * len(columns)))
            of_task = (rest[number : number + 1] for rest in (least, gap, no_minimizer))
            _core.best_in_hindsight(table, (best, *of_task), **options)
            # What no row touches is zero: the rows' span has the shortest minimizer.
            classes_of_task = theta_star[number].reshape(classes, -1)
            classes_of_task[:, columns] = best.reshape(classes, -1)
    if no_minimizer.any():
        raise ValueError(
            f"{name}: `tasks` must have a minimizer of the {loss} loss: got classes that can be "
            "separated, or counts that can be all zero, so that the loss falls for ever along a "
            f"direction, in {_several(np.flatnonzero(no_minimizer))}; expected a `radius` or a "
            "`regularization`"
        )
    with np.errstate(all="ignore"):
        objective = least + 0.5 * penalty * np.einsum("tj,tj->t", theta_star, theta_star)
        missed = gap > wanted * np.maximum(1.0, objective)
    if missed.any():
        warnings.warn(
            f"{name}: the gap stayed at {gap[missed].max():.1e} in "
            f"{_several(np.flatnonzero(missed))}: `tolerance` {wanted:g} is below what rounding "
            "allows there",
            RuntimeWarning,
            stacklevel=2,
        )
    return Hindsight(theta_star, least, gap)


def _several(numbers: np.ndarray) -> str:
    """Names tasks: the first three, and how many more."""
    text = ", ".join(str(number) for number in numbers[:3])
    more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    return f"task{'s' if len(numbers) > 1 else ''} {text}{more}"


def regret(run: TaskRun, best: Hindsight) -> Float64Array:
    """Regret of every task: what the run lost more than the best fixed parameters would have.

        R_t = sum_i l_{t,i}(theta_{t,i}) - sum_i l_{t,i}(theta*_t)

    Args:
        run: Result of `run_tasks`, with its losses.
        best: Result of `best_in_hindsight` for the same tasks, loss, radius, batches and epochs.

    Returns:
        float64 [n_tasks]; its mean is the task-averaged regret. Negative only where the iterates
        themselves did better than any fixed parameters can.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `run` has no losses, or the numbers of tasks differ.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks([[1.0], [1.0], [2.0]], [1.0, 3.0, 4.0], offsets=[0, 2, 3])
        >>> run = af.run_tasks(tasks, np.zeros(1), af.OGD(0.5), loss="squared")
        >>> af.theory.regret(run, af.theory.best_in_hindsight(tasks, loss="squared"))
        array([2.625, 8.   ])

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    if not isinstance(run, TaskRun):
        raise TypeError(f"regret: `run` must be a TaskRun: got {type(run).__name__}")
    if not isinstance(best, Hindsight):
        raise TypeError(f"regret: `best` must be a Hindsight: got {type(best).__name__}")
    if run.loss is None:
        raise ValueError("regret: `run` must have losses: got None, expected those of `run_tasks`")
    _check.shape("regret", "best", best.loss, run.loss.shape)
    return run.loss - best.loss
