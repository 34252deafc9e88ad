"""Convex tasks by the million on the workers of a Dask cluster: `meta_train` of Parquet files.

    client = distributed.Client("tcp://scheduler:8786")
    people = ParquetTasks("people/", target="y", group="person")
    learner = af.MetaLearner(np.zeros(people.n_features, people.dtype))
    aruba_fast.dask.meta_train(people, learner, loss="squared", round_size=100_000, n_passes=10)

A worker reads row groups of its own, once, and keeps the people in them. In a round it runs those
whose turn it is from the learner's phi, and sends back sums. These are added in a tree whose shape
the files decide, and not the workers: how many there are, and which of them die, changes no bit.
"""

from copy import deepcopy
from operator import itemgetter
from typing import Any

import numpy as np

try:
    import distributed
    from dask.sizeof import sizeof
    from distributed.scheduler import KilledWorker, NoValidWorkerError
except ModuleNotFoundError:
    raise ImportError(
        "aruba_fast.dask: Dask must be installed: got no module named 'distributed', "
        "expected it from pip install 'aruba_fast[dask]'"
    ) from None

from . import _check, train
from ._first_rate import measured, rate_of
from .datasets import ParquetTasks
from .datasets._parquet import unsorted
from .learner import MetaLearner, MetaStep
from .run import check_loss, run_tasks
from .statistics import TaskStatistics
from .tasks import Tasks

__all__ = ["meta_train"]

_NAME = "meta_train"
# Sums that are added in one place: a round of 4096 parts is a tree of three levels.
_AT_ONCE = 16
_LOST = (
    KilledWorker,
    NoValidWorkerError,
    distributed.CancelledError,
    distributed.comm.CommClosedError,
)


def meta_train(
    tasks: ParquetTasks,
    learner: MetaLearner,
    *,
    loss: str,
    round_size: int,
    n_passes: int = 1,
    rule: str = "descent",
    batch_size: int = 1,
    n_epochs: int = 1,
    radius: float | None = None,
    weights: str | None = None,
    meta_step: MetaStep = None,
    progress: bool | train.Report | None = None,
    client: Any = None,
) -> None:
    """Trains a meta-learner on the workers of a Dask cluster. Changes `learner`.

    It does what `aruba_fast.meta_train` does with one `Tasks` of the whole table: rounds do not end
    where files end. phi, b, g and the rates have the same bits for any number of workers. They
    agree with those of one process within 1 ulp of float64 a round, because sums are pairs of
    float64 that are added in another grouping. (In our tests they have the same bits.) A first rate
    that is a mean over rows (with the absolute loss, or `rule="proximal"`) agrees to about 1e-15 of
    itself; give a `learning_rate` if that matters.

    Every worker reads row groups of the files, keeps the people in them, and runs those of the
    current round; a person is never cut where row groups or files end. Each worker receives the
    learner once a round, and sends 48 bytes a coordinate for each row group. A round keeps all
    workers busy if it holds several row groups for each of them.

    Args:
        tasks: The files, under paths that all workers can read. If a worker has too little memory
            for its rows, Dask writes some to its disk.
        learner: The learner, in host memory, modified. If it has not learned anything and its rate
            is "auto", its first rate comes from all rows.
        loss: Name of the loss, as in `run_tasks`.
        round_size: Tasks that are run from the same phi; choose thousands or more.
        n_passes: How often every task is visited.
        rule: "descent" or "proximal".
        batch_size: As `run_tasks`.
        n_epochs: As `run_tasks`.
        radius: As `run_tasks`.
        weights: None for equal tasks, "rows" to weight each by its number of rows.
        meta_step: As `aruba_fast.meta_train`; a function is called here, not on a worker.
        progress: As `aruba_fast.meta_train`; a function is called after every round.
        client: A `distributed.Client`; None for the one that was made last.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: As `aruba_fast.meta_train`, or a value or an id is missing, rows are not sorted,
            or nobody is connected. Nothing is changed.
        RuntimeError: A part of a round has killed so many workers as Dask allows (three), or the
            cluster is lost. One worker that dies does no harm: others read its row groups anew.
        KeyboardInterrupt: Ctrl-C. After this and after any exception, the learner has learned from
            every round that was complete, and from nothing else.

    Example:
        >>> import distributed, numpy as np, aruba_fast as af  # doctest: +SKIP
        >>> from aruba_fast.dask import meta_train  # doctest: +SKIP
        >>> client = distributed.Client("tcp://scheduler:8786")  # doctest: +SKIP
        >>> people = ParquetTasks("people/", target="y", group="person")  # doctest: +SKIP
        >>> learner = af.MetaLearner(np.zeros(people.n_features))  # doctest: +SKIP
        >>> meta_train(people, learner, loss="squared", round_size=100_000)  # doctest: +SKIP

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    client = _connected(client)
    if not isinstance(tasks, ParquetTasks):
        raise TypeError(
            f"{_NAME}: `tasks` must be ParquetTasks: got {_check.shown(tasks)}, expected "
            "aruba_fast.datasets.ParquetTasks(path, target=..., group=...)"
        )
    how: dict[str, Any] = {
        "loss": loss,
        "batch_size": batch_size,
        "n_epochs": n_epochs,
        "radius": radius,
    }
    # A twin refuses all that can be refused before anything is read; a task of zeros is enough.
    train.meta_train(
        Tasks(np.zeros((1, 1, tasks.n_features), tasks.dtype), np.ones((1, 1))),
        deepcopy(learner) if isinstance(learner, MetaLearner) else learner,
        **{**how, "round_size": round_size, "n_passes": n_passes, "rule": rule},
        weights=weights,
        meta_step=None if callable(meta_step) else meta_step,
    )
    kept: list[Any] = []  # people on the workers, who are let go whatever happens
    try:
        with learner._lock:
            starts = _read(client, tasks, kept, loss, len(learner.phi))
            if not learner._hyper.knows_rate and not learner.n_tasks:
                how_far: dict[str, Any] = {"phi": learner.phi, "proximal": rule == "proximal"}
                parts = client.map(measured, [[part] for part in kept], loss=loss, **how_far)
                rate = rate_of(client.gather(parts), **how_far)
                learner._start(1.0 if rate is None else rate)
            n_tasks = int(starts[-1])
            total = n_passes * n_tasks
            anneals = meta_step is None and learner._hyper.average_task
            with train._reports(progress, total) as report:
                for before in range(0, total, n_tasks):
                    for first in range(0, n_tasks, round_size):
                        last = min(first + round_size, n_tasks)
                        part = _sums(client, kept, starts, first, last, learner, rule, weights, how)
                        step = 1 - (before + first) / total if anneals else meta_step
                        learner.apply(part, step)
                        if report is not None:
                            report(before + last, total)
    except _LOST as error:
        raise RuntimeError(
            f"{_NAME}: workers must live until their part of a round is done: got {error}; "
            "`learner` has learned from every round before, and from nothing else"
        ) from error
    finally:
        client.cancel(kept)


def _connected(client: Any) -> Any:
    if client is None:
        try:
            return distributed.default_client()
        except ValueError:
            pass
    elif isinstance(client, distributed.Client) and not client.asynchronous:
        return client
    raise (ValueError if client is None else TypeError)(
        f"{_NAME}: `client` must be connected to a cluster: got {_check.shown(client)}, expected "
        "distributed.Client(address), or distributed.Client() for workers on this machine"
    )


def _read(client: Any, tasks: ParquetTasks, kept: list[Any], loss: str, size: int) -> Any:
    """Has the workers read; fills `kept`, and returns the number of the first task of each."""
    groups, workers = tasks._row_groups(), [*client.nthreads()] or [None]
    for i, group in enumerate(groups):  # neighbours apart, for they have their turn together
        home = {"workers": workers[i % len(workers)], "allow_other_workers": workers != [None]}
        kept.append(client.submit(tasks._row_group, *group, pure=False, **home))
    pieces, whole, sizes = kept.copy(), [], [0]
    ends = client.gather(client.map(_ends, pieces, pure=False))
    for i, (begin, end, n_tasks) in enumerate(ends):
        before = ends[i - 1][1] if i else None
        if i and begin < before:
            raise unsorted(tasks._columns.group, begin, before, groups[i][2])
        cut = bool(i and begin == before)
        if cut and n_tasks == 1:
            continue
        heads = []  # of the next row groups, as far as the last task goes on
        for after, (own, _, n_own) in enumerate(ends[i + 1 :], i + 1):
            if own != end:
                break
            heads.append(client.submit(itemgetter(slice(1)), pieces[after], pure=False))
            if n_own > 1:
                break
        whole.append(client.submit(_whole, pieces[i], cut, heads, loss, size, pure=False))
        sizes.append(n_tasks - cut)
    if not whole:
        raise ValueError(f"{_NAME}: `tasks` must hold a task: got files of no row")
    kept[:] = whole
    distributed.wait(whole)
    return np.cumsum(sizes)


def _sums(client: Any, kept: list[Any], starts: Any, first: int, last: int, *how: Any) -> Any:
    """The sums of tasks from the first to before the last, as workers add them."""
    begin, end = np.searchsorted(starts, first, "right") - 1, np.searchsorted(starts, last)
    lows = np.maximum(first - starts[begin:end], 0)
    highs = np.minimum(last, starts[begin + 1 : end + 1]) - starts[begin:end]
    # A task of its own, not data: whoever dies with the learner has it sent again.
    learner, *rest = how
    sent = client.submit(deepcopy, learner, pure=False)
    turns = kept[begin:end], lows.tolist(), highs.tolist()
    parts = client.map(_statistics, *turns, learner=sent, how=rest, pure=False)
    while len(parts) > 1:
        groups = [parts[i : i + _AT_ONCE] for i in range(0, len(parts), _AT_ONCE)]
        parts = client.map(sum, groups, pure=False)
    return parts[0].result()


# ---- on the workers ----


def _ends(piece: Tasks) -> tuple[Any, Any, int]:
    assert piece.keys is not None
    return piece.keys[0], piece.keys[-1], len(piece)


def _whole(piece: Tasks, cut: bool, heads: list[Tasks], loss: str, n_parameters: int) -> Tasks:
    """The tasks that begin in a row group, with the rows that the last has in the next ones."""
    own = piece[int(cut) :]
    if heads:
        x, y = (np.concatenate([getattr(part, name) for part in (own, *heads)]) for name in "xy")
        own = Tasks(x, y, np.append(own.starts, len(y)), scale=own.scale)
    check_loss(_NAME, own, loss, "learner", n_parameters)
    return own


def _statistics(
    tasks: Tasks, first: int, last: int, learner: MetaLearner, how: Any
) -> TaskStatistics:
    rule, weights, options = how
    by = learner.proximal() if rule == "proximal" else learner.rule(coef=None)
    run = run_tasks(tasks[first:last], learner.phi, by, **options)
    return learner.statistics(run, run.weight if weights == "rows" else None)


@sizeof.register(Tasks)  # type: ignore[untyped-decorator]
def _size(tasks: Tasks) -> int:
    """What a worker counts, and lays on its disk before memory is full."""
    return int(tasks._x.nbytes + tasks._y.nbytes + tasks._starts.nbytes + tasks._stops.nbytes)
