"""The online loop over tasks in native code: `meta_train`, its `History` and progress reports."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _check, _divergence
from ._check import Float64Array, Int64Array
from ._sparse import require_dense
from .learner import MetaLearner, MetaStep
from .run import check_loss, check_tasks, check_type
from .tasks import Tasks

Report: TypeAlias = Callable[[int, int], object]


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """What `meta_train` saw, task after task.

    Attributes:
        loss: Sum over the task's steps of the mini-batch's mean loss at the iterate before the
            update, as `TaskRun.loss`; float64 [n_passes * n_tasks].
        task: Number of the task in the `Tasks` that were given; int64, of the same length.
        skipped: Whether the task was left out because its result was not finite; bool, likewise.
            Of tasks on a CUDA device, `loss` and `skipped` are CuPy's arrays there.
    """

    loss: Float64Array
    task: Int64Array
    skipped: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.task)

    def __repr__(self) -> str:
        return f"History(n_tasks={len(self)}, n_skipped={int(_arrays.host(self.skipped).sum())})"


def meta_train(
    tasks: Tasks,
    learner: MetaLearner,
    *,
    loss: str,
    round_size: int = 1,
    n_passes: int = 1,
    seed: int | None = None,
    batch_size: int = 1,
    n_epochs: int = 1,
    radius: float | None = None,
    weights: str | None = None,
    meta_step: MetaStep = None,
    progress: bool | Report | None = None,
) -> History:
    """Trains a meta-learner on all tasks, round after round, in native code. Changes `learner`.

    The result equals, bit for bit, that of the loop

        for round in tasks.rounds(round_size, n_passes, seed):
            run = run_tasks(round, learner.phi, learner.rule(coef=None), loss=loss, ...)
            learner.update(run, meta_step=...)

    Of CSR rows it costs their entries, and differs from the loop, and from dense rows, by rounding:
    sums over all coordinates are kept, not made anew.

    Args:
        tasks: The tasks.
        learner: The learner, modified; its parameters are of the type of `tasks`. If it has not
            learned anything and its rate is "auto", it starts with `learner.first_rate(tasks,
            loss=loss)`.
        loss: Name of the loss, as in `run_tasks`.
        round_size: Tasks that are run from the same `phi` and learning rate, as in `Tasks.rounds`.
        n_passes: How often every task is visited.
        seed: None for the given order of the tasks; else a permutation for every pass.
        batch_size: As in `run_tasks`.
        n_epochs: As in `run_tasks`.
        radius: As in `run_tasks`.
        weights: None for equal tasks (Reptile), "rows" to weight every task by its number of rows
            in the mean of `theta_hat` (FedAvg).
        meta_step: As in `MetaLearner.apply`, but for a learner whose `zeta` is "auto": None then
            falls from 1 to nothing over this call, 1 - (visits before the round) / (all visits),
            as Reptile's does.
        progress: None; True for a progress bar; or a function of `(done, total)`, both numbers of
            task visits, called now and then between rounds.

    Returns:
        History of every task visit, in order.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, sizes do not fit, the loss is unknown, or labels
            lie outside its domain. Rows are CSR, and there is a radius, or the learner has a decay
            or several tensors. Nothing is changed.
        ImportError: `progress=True` without tqdm.
        KeyboardInterrupt: Ctrl-C. The learner has learned from every round that was complete, and
            from nothing else; the same holds for an exception out of `meta_step` or `progress`.

    Warns:
        DivergenceWarning: More than half of the tasks of a round were skipped, or the loss of a
            round grew a thousandfold, as `MetaLearner.update` has it; once a learner. Not on a CUDA
            device, which nothing waits for: look at the History.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks(np.ones((8, 4, 2)), np.ones((8, 4)))
        >>> learner = af.MetaLearner(np.zeros(2))
        >>> af.meta_train(tasks, learner, loss="squared", round_size=4, n_passes=3, seed=0)
        History(n_tasks=24, n_skipped=0)

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    name = "meta_train"
    check_tasks(name, tasks)
    if not isinstance(learner, MetaLearner):
        raise TypeError(
            f"{name}: `learner` must be a MetaLearner: got {_check.shown(learner)}, "
            "expected af.MetaLearner(phi)"
        )
    phi = learner._arrays["phi"]
    check_type(name, tasks, "learner", phi.dtype)
    check_loss(name, tasks, loss, "learner", len(phi))
    n_round = _check.integer(name, "round_size", round_size, 1)
    orders = tasks._orders(name, n_passes, seed)
    n_batch = _check.integer(name, "batch_size", batch_size, 1)
    epochs = _check.integer(name, "n_epochs", n_epochs, 1)
    ball = None if radius is None else _check.positive(name, "radius", radius)
    _check.together(name, "learner", phi, "tasks", tasks._x)
    if ball is not None:
        require_dense(name, tasks, "`radius` must be None", ball, "None: a ball moves all")
    if learner.decay:
        require_dense(name, tasks, "`learner` must not forget", f"decay={learner.decay}", "decay=0")
    n_tensors = len(learner._hyper.tensors or (1,))
    if n_tensors > 1 and learner._hyper.train != "scalar":
        require_dense(
            name, tasks, "`learner` must have one prior", f"{n_tensors} tensors", "tensors=None"
        )
    if weights is not None and not (isinstance(weights, str) and weights == "rows"):
        raise (ValueError if isinstance(weights, str) else TypeError)(
            f"{name}: `weights` must be None or 'rows': got {_check.shown(weights)}; weights of "
            "your own go with the loop over tasks.rounds, to learner.update(run, weights=...)"
        )
    total = n_passes * len(tasks)
    history = History(
        _arrays.empty((total,), np.float64, tasks._x),
        np.empty(total, np.int64),
        _arrays.zeros(total, np.bool_, tasks._x),
    )
    starts, stops, _ = tasks._beside_rows()
    # Nothing else learns until the last round is done.
    with _reports(progress, total) as report, learner._lock:
        if not learner._hyper.knows_rate and not learner.n_tasks:
            learner.first_rate(tasks, loss=loss)
        anneals = meta_step is None and learner._hyper.average_task
        if ball is not None:
            _check_in_ball(name, learner, ball)
        # One native call per pass, for a round never crosses into the next pass.
        for done, order in zip(range(0, total, len(tasks)), orders, strict=True):
            visits = slice(done, done + len(tasks))
            history.task[visits] = order
            _arrays.native(tasks._x).meta_train(
                tasks._table(starts, stops),
                _arrays.moved(order, tasks._x),
                learner._state,
                (loss, n_batch, epochs, ball),
                (
                    n_round,
                    weights == "rows",
                    meta_step,
                    None if report is None else _shifted(report, done, total),
                    (done, total) if anneals else None,
                ),
                (history.loss[visits], history.skipped[visits].view(np.uint8)),
            )
            if isinstance(tasks._x, np.ndarray):
                _divergence.look_through(
                    name,
                    learner,
                    n_round,
                    history.skipped[visits],
                    history.loss[visits],
                    shortens=learner._hyper.average_task,
                )
    return history


@np.errstate(all="ignore")
def _check_in_ball(name: str, learner: MetaLearner, radius: float) -> None:
    # In units of the radius, whose square may be none.
    norm = float(np.linalg.norm(_arrays.host(learner.phi).astype(np.float64) / radius))
    # The engine's own tolerance: a projected point may lie outside by rounding.
    if norm > 1 + 1e-5:
        raise ValueError(
            f"{name}: `learner` must have its `phi` in the ball of `radius`: "
            f"got norm {norm * radius:g}, expected at most {radius:g}"
        )


def _shifted(report: Report, before: int, total: int) -> Report:
    """The report of one pass, counted from the beginning of the first."""
    return lambda done, _: report(before + done, total)


@contextmanager
def _reports(progress: bool | Report | None, total: int) -> Iterator[Report | None]:
    """Yields the function to report progress to, and closes the bar if there is one."""
    if progress is None or progress is False:
        yield None
    elif progress is True:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError(
                "meta_train: `progress` must not be True without tqdm: got no module tqdm, "
                "expected it from pip install tqdm"
            ) from None
        with tqdm(total=total, unit="task") as bar:
            yield lambda done, _: bar.update(done - bar.n)
    elif callable(progress):
        yield progress
    else:
        raise TypeError(
            f"meta_train: `progress` must report: got {_check.shown(progress)}, "
            "expected None, True or a function of (done, total)"
        )
