"""The online loop over tasks in native code: `meta_train`, its `History` and progress reports."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from . import _arrays, _check, _divergence
from ._chunks import Chunks
from ._history import History, Record
from ._ruled import TRAINING_RULES
from ._sparse import require_dense
from .adaptation import evaluate
from .learner import MetaLearner, MetaStep, check_learner
from .proximal import no_steps
from .run import check_loss, check_on_host, check_type
from .tasks import Tasks

# The tasks whose losses before any step are what all others are compared with.
_FEW = 10
# Of the visits done and of all, which is None where nobody knows it.
Report: TypeAlias = Callable[[int, Any], object]
_OWN_WEIGHTS = (
    "; weights of your own go with the loop over tasks.rounds, to learner.update(run, weights=...)"
)


def meta_train(
    tasks: Tasks | Iterable[Tasks],
    learner: MetaLearner,
    *,
    loss: str,
    round_size: int = 1,
    n_passes: int = 1,
    seed: int | None = None,
    rule: str = "descent",
    batch_size: int = 1,
    n_epochs: int = 1,
    radius: float | None = None,
    weights: str | None = None,
    meta_step: MetaStep = None,
    progress: bool | Report | None = None,
    n_tasks: int | None = None,
    history: bool = True,
) -> History:
    """Trains a meta-learner on all tasks, round after round, in native code. Changes `learner`.

    The result equals, bit for bit, that of the loop

        for round in tasks.rounds(round_size, n_passes, seed):
            run = run_tasks(round, learner.phi, learner.rule(coef=None), loss=loss, ...)
            learner.update(run, meta_step=...)

    With `rule="proximal"` it equals the loop with `learner.proximal()` instead of
    `learner.rule(coef=None)`. Tasks are then solved instead of run in steps (see `Proximal`), which
    costs a few times as much, and learns far more from every task; `learner.proximal()` is the rule
    for new tasks. On tables of people whose features have one scale, the result is close to that of
    `meta_fit`. But the tasks need not fit into memory, there may be any number of parameters if the
    loss has no kinks, and training can continue when more tasks come. Rounds of one task are best.

    If the tasks do not fit into memory, pass an iterable of `Tasks`, such as
    `datasets.ParquetTasks`. A pass then visits all of its chunks in their order, and holds one or
    two in memory. The bits are those of one `Tasks` in memory if `seed` is None and the length of
    every chunk but the last is a multiple of `round_size`, because rounds do not cross chunks.

    The cost of CSR rows is that of their entries. Their result differs from that of the loop, and
    from that of dense rows, by rounding: sums over all coordinates are kept, not computed anew.

    Args:
        tasks: The tasks, or an iterable of `Tasks`. If it can be iterated again, it is read once
            more before training if the first rate or the number of tasks has to be found.
        learner: The learner, modified; its parameters have the type of `tasks`. If it has not
            learned anything and its rate is "auto", it starts with `learner.first_rate(tasks,
            loss=loss)`, or with that of the first chunk if `tasks` can be read only once.
        loss: Name of the loss, as in `run_tasks`.
        round_size: Tasks that are run from the same `phi` and learning rate, as in `Tasks.rounds`.
        n_passes: How often every task is visited; more than once needs an iterable that is no
            iterator.
        seed: None for the given order of the tasks; else a permutation for every pass, within
            each chunk.
        rule: "descent" for steps at the learned rates; "proximal" for the best parameters near the
            start, for dense rows in host memory. The History then has the losses at the start.
        batch_size: As in `run_tasks`.
        n_epochs: As in `run_tasks`.
        radius: As in `run_tasks`.
        weights: None for equal tasks (Reptile), "rows" to weight every task by its number of rows
            in the mean of `theta_hat` (FedAvg).
        meta_step: As in `MetaLearner.apply`, with one exception: if the learner's `zeta` is "auto",
            None means a step that falls from 1 to 0 over this call, as Reptile's does:
            1 - (visits before the round) / (all visits).
        progress: None; True for a progress bar; or a function of `(done, total)`, both numbers of
            task visits, which is called now and then between rounds. `total` is None if unknown.
        n_tasks: Number of tasks in a pass. It is needed for `meta_step=None` if `tasks` is an
            iterator; else it is counted, or taken from the iterable's own `n_tasks`.
        history: False to keep no record of the visits, which takes 17 bytes each.

    Returns:
        History of every task visit, in order; without `history` of none.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, sizes do not fit, the loss is unknown, or labels
            lie outside its domain. Rows are CSR, and there is a radius, the rule is proximal, or
            the learner has a decay or several tensors. The rule is proximal, and `batch_size`,
            `n_epochs` or `radius` is given. The learner has then learned only from the chunks
            before the faulty one.
        ImportError: `progress=True` without tqdm.
        KeyboardInterrupt: Ctrl-C. The learner has learned from every complete round, and from
            nothing else; the same holds for an exception raised by `meta_step`, `progress` or the
            iterable.

    Warns:
        DivergenceWarning: More than half of the tasks of a round were skipped, or the loss of a
            round is a thousand times the loss of the first ten tasks at phi (see
            `MetaLearner.update`). A learner warns once. On a CUDA device there is no warning,
            because nothing waits for the device: look at the History.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks(np.ones((8, 4, 2)), np.ones((8, 4)))
        >>> learner = af.MetaLearner(np.zeros(2))
        >>> af.meta_train(tasks, learner, loss="squared", round_size=4, n_passes=3, seed=0)
        History(n_tasks=24, n_skipped=0)

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    name = "meta_train"

    def check(function: str, chunk: Tasks) -> None:
        check_type(function, chunk, "learner", phi.dtype)
        check_loss(function, chunk, loss, "learner", len(phi))
        _check.together(function, "learner", phi, "tasks", chunk._x)
        _check_sparse(function, chunk, learner, radius)
        if proximal:
            check_on_host(function, chunk)
            require_dense(function, chunk, "`rule` must take steps", "'proximal'", "'descent'")

    chunks = Chunks(name, tasks)
    check_learner(name, learner)
    phi = learner._arrays["phi"]
    proximal = _check.one_of(name, "rule", rule, TRAINING_RULES) == "proximal"
    chunks.require(check)
    n_round = _check.integer(name, "round_size", round_size, 1)
    passes = _check.integer(name, "n_passes", n_passes, 1)
    if chunks.is_read_once and passes > 1:
        raise ValueError(
            f"{name}: `tasks` must begin again for n_passes={passes}: got {_check.shown(tasks)}, "
            "which is read once, expected a list, or an object with __iter__"
        )
    rng = None
    if seed is not None:
        rng = np.random.default_rng(_check.integer(name, "seed", seed, 0))
    n_batch = _check.integer(name, "batch_size", batch_size, 1)
    epochs = _check.integer(name, "n_epochs", n_epochs, 1)
    ball = None if radius is None else _check.positive(name, "radius", radius)
    if proximal:
        no_steps(name, {"batch_size": n_batch, "n_epochs": epochs, "radius": ball})
    _check.by_rows(name, weights, _OWN_WEIGHTS)
    anneals = meta_step is None and learner._hyper.average_task
    chunks.tell(n_tasks, needed=anneals)
    record = Record(keeps=_check.boolean(name, "history", history))
    # Nothing else learns until the last round is done.
    total = None if chunks.n_tasks is None else passes * chunks.n_tasks
    with chunks, _reports(progress, total) as report, learner._lock:
        is_given = learner._hyper.knows_rate
        remedy = _divergence.REMEDY if is_given and not _divergence.is_known(learner) else None
        if not is_given and not learner.n_tasks:
            known = chunks.first() if chunks.is_read_once else chunks
            learner.first_rate(known, loss=loss, rule=rule)
        chunks.count(needed=anneals, wanted=report is not None)
        total = None if chunks.n_tasks is None else passes * chunks.n_tasks
        if ball is not None:
            _check_in_ball(name, learner, ball)
        done = 0
        for _ in range(passes):
            before = done
            # One native call a chunk, for a round never crosses into the next.
            for chunk in chunks:
                order = np.arange(len(chunk)) if rng is None else rng.permutation(len(chunk))
                losses, numbers, skipped = record.room(chunk, total)
                numbers[:] = order + (done - before)
                on_host = isinstance(chunk._x, np.ndarray)
                if on_host and not proximal and not _divergence.is_known(learner):
                    few = chunk[order[:_FEW]]
                    n_steps = epochs * -(-few.sizes // n_batch)
                    _divergence.expect(learner, n_steps * evaluate(few, learner.phi, loss=loss))
                starts, stops, _ = chunk._beside_rows()
                _arrays.native(chunk._x).meta_train(
                    chunk._table(starts, stops),
                    _arrays.moved(order, chunk._x),
                    learner._state,
                    (loss, n_batch, epochs, ball),
                    (
                        n_round,
                        weights == "rows",
                        meta_step,
                        None if report is None else _shifted(report, done, total),
                        (done, total) if anneals else None,
                        learner._hyper.proximal_coef if proximal else 0.0,
                    ),
                    (losses, skipped.view(np.uint8)),
                )
                done += len(chunk)
                if on_host:
                    _divergence.look_through(
                        name,
                        learner,
                        n_round,
                        skipped,
                        losses,
                        shortens=learner._hyper.average_task,
                        remedy=remedy,
                    )
    return record.history()


def _check_sparse(function: str, tasks: Tasks, learner: MetaLearner, radius: object) -> None:
    """Refuses what would move every coordinate, where rows are CSR."""
    if radius is not None:
        require_dense(function, tasks, "`radius` must be None", radius, "None: a ball moves all")
    if learner.decay:
        got = f"decay={learner.decay}"
        require_dense(function, tasks, "`learner` must not forget", got, "decay=0")
    n_tensors = len(learner._hyper.tensors or (1,))
    if n_tensors > 1 and learner._hyper.train != "scalar":
        got = f"{n_tensors} tensors"
        require_dense(function, tasks, "`learner` must have one prior", got, "tensors=None")


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


def _shifted(report: Report, before: int, total: int | None) -> Report:
    """The report of one chunk, counted from the beginning of the first."""
    return lambda done, _: report(before + done, total)


@contextmanager
def _reports(progress: bool | Report | None, total: int | None) -> Iterator[Report | None]:
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

            def move(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield move
    elif callable(progress):
        yield progress
    else:
        raise TypeError(
            f"meta_train: `progress` must report: got {_check.shown(progress)}, "
            "expected None, True or a function of (done, total)"
        )
