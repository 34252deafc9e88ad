"""Running tasks whole in native code, from a given start: `run_tasks`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _check, _core, proximal, rules
from ._check import FloatArray
from ._sparse import require_dense
from .proximal import Proximal
from .rules import EG, Rule
from .statistics import TaskRun
from .tasks import Tasks

LOSSES: dict[str, bool] = _core.losses()
"""The names of the losses, and whether they have a score for each class."""


def check_tasks(function: str, tasks: object) -> None:
    """Refuses anything but `Tasks`."""
    if not isinstance(tasks, Tasks):
        raise TypeError(
            f"{function}: `tasks` must be Tasks: got {_check.shown(tasks)}, "
            "expected af.Tasks(x, y, offsets) or af.Tasks.from_groups(x, y, group)"
        )


def check_on_host(function: str, tasks: Tasks) -> None:
    """Refuses tasks on a CUDA device, for what only the host computes."""
    if not isinstance(tasks._x, np.ndarray):
        raise TypeError(
            f"{function}: `tasks` must live in host memory: got {_arrays.device_of(tasks._x)}, "
            "expected tasks.to('cpu')"
        )


def check_loss(function: str, tasks: Tasks, loss: str, name: str, n_parameters: int) -> None:
    """Refuses an unknown loss, labels outside its domain and a wrong number of parameters.

    Args:
        function: Name of the public function, for the message.
        tasks: The tasks to be run.
        loss: Name of the loss.
        name: Name of the argument that has the parameters, for the message.
        n_parameters: Number of parameters; for softmax n_classes * n_features, else n_features.
    """
    if not isinstance(loss, str) or loss not in LOSSES:
        raise ValueError(
            f"{function}: `loss` must be known: got {_check.shown(loss)}, "
            f"expected one of {', '.join(LOSSES)}"
        )
    n_classes, rest = divmod(n_parameters, tasks.n_features)
    if LOSSES[loss] and (rest or n_classes < 2):
        raise ValueError(
            f"{function}: `{name}` must have n_classes * n_features parameters for {loss}: got "
            f"{n_parameters}, expected {_softmax_size(tasks)}"
        )
    if not LOSSES[loss] and n_parameters != tasks.n_features:
        raise ValueError(
            f"{function}: `{name}` must have one parameter per feature of `tasks`: "
            f"got {n_parameters}, expected {tasks.n_features}"
        )
    tasks._check_labels(function, loss, n_classes)


def _softmax_size(tasks: Tasks) -> str:
    """The number of parameters that the labels ask for, as far as they tell."""
    largest = float(_arrays.host(tasks.y).max())
    if not 1.0 <= largest < 2.0**31:
        return f"at least 2 times {tasks.n_features}"
    n_classes = int(largest) + 1
    return (
        f"{n_classes * tasks.n_features}: {tasks.n_features} features times {n_classes} classes, "
        f"as the labels go up to {n_classes - 1}"
    )


def classes_of(name: str, tasks: Tasks, loss: str, n_classes: int | None) -> int:
    """Rows of parameters: classes for softmax, as given or as the labels tell, else 1."""
    if loss != "softmax":
        if n_classes is not None:
            raise ValueError(
                f"{name}: `n_classes` must be None but for softmax: got {_check.shown(n_classes)} "
                f"for {loss}"
            )
        return 1
    if n_classes is not None:
        return _check.integer(name, "n_classes", n_classes, 2)
    largest = float(tasks._y.max())
    return max(2, int(largest) + 1) if np.isfinite(largest) else 2


def check_type(function: str, tasks: Tasks, name: str, dtype: np.dtype[np.floating]) -> None:
    """Refuses parameters that are not of the type of the tasks."""
    if dtype != tasks.dtype:
        remedy = f"{'phi' if name == 'learner' else name}.astype(np.{tasks.dtype})"
        raise TypeError(
            f"{function}: `{name}` must have the type of `tasks`: got {dtype}, "
            f"expected {tasks.dtype}, {'made of' if name == 'learner' else 'as'} {remedy}"
        )


def checked_start(function: str, name: str, tasks: Tasks, value: ArrayLike) -> FloatArray:
    """Returns the checked start of the tasks, [n_parameters] or [n_tasks, n_parameters]."""
    given = _check.array(function, name, value)
    own = given.ndim == 2
    axes = "[n_tasks, n_parameters]" if own else "[n_parameters]"
    start = _check.float_array(function, name, given, axes)
    if own:
        shape = (len(tasks), start.shape[1])
        _check.shape(function, name, start, shape, "have a row for each task")
    check_type(function, tasks, name, start.dtype)
    _check.together(function, name, start, "tasks", tasks._x)
    return start


def _check_eg(function: str, loss: str, radius: float | None, start: FloatArray) -> None:
    """Refuses what does not go with the simplex."""
    if LOSSES[loss]:
        raise ValueError(
            f"{function}: `loss` must have one score with EG: got '{loss}', expected another"
        )
    if radius is not None:
        raise ValueError(
            f"{function}: `radius` must be None with EG: got {radius}, for the simplex is its bound"
        )
    _check.on_simplex(function, "phi", start, positive=True)


def run_tasks(
    tasks: Tasks,
    phi: ArrayLike,
    rule: Rule,
    *,
    loss: str,
    batch_size: int = 1,
    n_epochs: int = 1,
    radius: float | None = None,
    average: bool = False,
) -> TaskRun:
    """Runs the steps of every task from `phi`: a linear model, rows in order, tasks in parallel.

        score z = <theta, x>;  every step:  theta <- Proj(theta - eta * mean gradient of the batch)

    The losses of a row: `squared` 1/2 (z - y)^2, `absolute` |z - y|, `huber` (delta = 1),
    `logistic` log(1 + exp z) - y z for labels 0 and 1, `hinge` max(0, 1 - y z) for labels -1 and
    1, `poisson` exp z - y z + y log y - y for counts of mean exp z (half their deviance; from
    z = 30 on along its tangent), `softmax` logsumexp(z) - z_y for class numbers, with theta as
    [n_classes, n_features] flattened.

    Args:
        tasks: The tasks.
        phi: Start of every task, [n_parameters], or one per task, [n_tasks, n_parameters]; of the
            type of `tasks`.
        rule: The within-task rule, such as `OGD` or `ArubaPlusPlus`; for `EG`, `phi` lies inside
            the simplex; `Proximal` takes all rows at once, in host memory.
        loss: Name of the loss.
        batch_size: Consecutive rows of a step; the last step of an epoch may have fewer.
        n_epochs: Passes over the rows of a task.
        radius: Keeps the parameters in the ball of this radius around the origin, > 0; None for no
            bound.
        average: Also return the mean iterate `theta_bar`.

    Returns:
        TaskRun of arrays of the type of `tasks`; `weight` is the number of rows, or the sum of
        their weights. A task that diverges has values that are not finite: `MetaLearner` skips and
        counts it. Tasks that live on a CUDA device are run there, on CuPy's current stream. Nothing
        waits for them, and whether `phi` lies in the ball of `radius` is not checked there. The
        results are dense even if the rows are CSR. If that is too much memory, run the rounds of
        `tasks.rounds` one after the other, or use `meta_train`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, sizes do not fit, the loss is unknown, or labels
            lie outside its domain (the labels of the whole table are checked). Rows are CSR, and
            the rule is EG, or Proximal with a matrix, or there is a radius: these move every
            coordinate.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks([[1.0], [1.0], [2.0]], [1.0, 1.0, 4.0], offsets=[0, 2, 3])
        >>> run = af.run_tasks(tasks, np.zeros(1), af.OGD(0.5), loss="squared")
        >>> run.theta_hat.ravel(), run.grad_sq.ravel(), run.loss
        (array([0.75, 4.  ]), array([ 1.25, 64.  ]), array([0.625, 8.   ]))

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    options = {"batch_size": batch_size, "n_epochs": n_epochs, "radius": radius}
    return TaskRun(*results("run_tasks", tasks, phi, rule, loss, options, average=average))


def results(
    name: str,
    tasks: Tasks,
    phi: ArrayLike,
    rule: Rule,
    loss: str,
    options: dict[str, Any],
    *,
    average: bool = False,
    statistics: bool = True,
) -> tuple[Any, ...]:
    """The fields of a TaskRun, on behalf of a function.

    Args:
        name: Name of the public function, for messages.
        tasks: As `run_tasks`.
        phi: As `run_tasks`.
        rule: As `run_tasks`.
        loss: As `run_tasks`.
        options: `batch_size`, `n_epochs` and `radius` of `run_tasks`.
        average: As `run_tasks`.
        statistics: Whether sums of squared gradients are wanted; else None in host memory.
    """
    check_tasks(name, tasks)
    start = checked_start(name, "phi", tasks, phi)
    n_parameters = start.shape[-1]
    if isinstance(rule, Proximal):
        check_on_host(name, tasks)
        check_loss(name, tasks, loss, "phi", n_parameters)
        return proximal.results(name, tasks, start, rule, loss, options | {"average": average})
    native_rule = rules.native(name, rule, tasks.dtype, n_parameters, tasks._x)
    check_loss(name, tasks, loss, "phi", n_parameters)
    size = _check.integer(name, "batch_size", options["batch_size"], 1)
    epochs = _check.integer(name, "n_epochs", options["n_epochs"], 1)
    radius = options["radius"]
    ball = None if radius is None else _check.positive(name, "radius", radius)
    if ball is not None:
        require_dense(name, tasks, "`radius` must be None", ball, "None: a ball moves all")
    if isinstance(rule, EG):
        require_dense(name, tasks, "`rule` must move no coordinate without a gradient", rule, "OGD")
        check_on_host(name, tasks)
        _check_eg(name, loss, ball, start)
    shape = (len(tasks), n_parameters)
    theta_hat = _arrays.empty(shape, tasks.dtype, tasks._x)
    summed = statistics or tasks.device != "cpu"
    grad_sq = _arrays.empty(shape, tasks.dtype, tasks._x) if summed else None
    wanted = _check.boolean(name, "average", average)
    theta_bar = _arrays.empty(shape, tasks.dtype, tasks._x) if wanted else None
    loss_out = _arrays.empty(shape[:1], np.float64, tasks._x)
    starts, stops, weights = tasks._beside_rows()
    _arrays.native(tasks._x).run_tasks(
        tasks._table(starts, stops),
        start,
        native_rule,
        (loss, size, epochs, ball),
        (theta_hat, grad_sq, theta_bar, loss_out),
    )
    return theta_hat, grad_sq, theta_bar, loss_out, weights
