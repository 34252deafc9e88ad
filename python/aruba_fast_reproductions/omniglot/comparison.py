"""The comparison: every method trained with every seed, tested on the same tasks."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aruba_fast import _check, _paths

from ..files import own_file, write_json
from ..logs import require_tensorboard
from ..needs import require_device
from ..runs import Progress
from ..workers import run_all
from .job import OmniglotJob
from .methods import ADAM, ARUBA, ARUBA_PLUS, ISOTROPIC, RATES, SGD, Method
from .settings import EvaluationSettings, Settings

# In the order of the table; the longest first is also the best order for several processes.
METHODS = (ARUBA, ADAM, ISOTROPIC, *(f"{SGD}-{rate:g}" for rate in RATES))


@dataclass(frozen=True)
class Row:
    """A line of the table: one method under one test.

    Attributes:
        method: Its name.
        title: Its name for people.
        shots: Drawings of a class to adapt on.
        transductive: Whether queries share the statistics of their batch.
        accuracy: Mean over seeds, of 1.
        standard_error: Over the tasks of the test, of one seed; the mean of the seeds'.
        seeds: The accuracy of every seed.
        n_tasks: Tasks of the test.
    """

    method: str
    title: str
    shots: int
    transductive: bool
    accuracy: float
    standard_error: float
    seeds: tuple[float, ...]
    n_tasks: int


def compare(
    methods: Sequence[str] | None = None,
    settings: Settings | None = None,
    evaluation: EvaluationSettings | None = None,
    *,
    folder: str | os.PathLike[str],
    seeds: int = 1,
    first_seed: int = 0,
    data: str | os.PathLike[str] | None = None,
    partial: bool = False,
    device: str = "cpu",
    compiled: bool = False,
    workers: int | None = 1,
    tensorboard: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Runs what is not in `folder` yet, and returns everything.

    Args:
        methods: Names such as "adam", "sgd-0.1", "isotropic", "aruba"; all if None.
        settings: Of the trainings.
        evaluation: Of their tests.
        folder: Where every run has its files; made if it is not there.
        seeds: Number of trainings of a method.
        first_seed: The first of their seeds.
        data: Where Omniglot is; None for the folder that ARUBA_FAST_DATA names.
        partial: Whether a part of it is accepted.
        device: Where PyTorch computes.
        compiled: Whether it compiles the network.
        workers: Runs at a time, each in a process and on one thread; None for one a core.
        tensorboard: Folder for logs, or None.
        progress: Called with (done, total).

    Returns:
        `{"runs": [...]}`, what the JSON files of the runs hold; also written to
        `folder`/omniglot.json.

    Raises:
        ValueError: An argument is out of range, or a file in `folder` is of other settings.
        OSError: A file cannot be read or written.
        Interrupted: Ctrl-C; the runs are saved.
    """
    chosen = [Method.of(name) for name in (METHODS if methods is None else methods)]
    if not chosen or len(set(chosen)) != len(chosen):
        got = ", ".join(method.name for method in chosen) or "none"
        raise ValueError(f"omniglot: `methods` must be distinct, at least one: got {got}")
    _check.integer("omniglot", "seeds", seeds, 1)
    _check.integer("omniglot", "seed", first_seed, 0)
    if workers is not None:
        _check.integer("omniglot", "workers", workers, 1)
    require_device("omniglot", device)
    if tensorboard is not None:
        require_tensorboard()
    where = Path(folder)
    _paths.require_folder("omniglot", "folder", where)
    jobs = [
        OmniglotJob(
            *(method, seed),
            settings or Settings(),
            evaluation or EvaluationSettings(),
            where,
            None if data is None else Path(data),
            partial,
            device,
            compiled,
            None if tensorboard is None else Path(tensorboard),
        )
        for seed in range(first_seed, first_seed + seeds)
        for method in chosen
    ]
    result = {"runs": run_all(jobs, [job.size for job in jobs], workers, progress)}
    write_json(where / "omniglot.json", result)
    return result


def read_result(path: Path) -> dict[str, Any]:
    """Reads what `compare` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not such a file.
    """
    with own_file("omniglot", "`show` must be a file", path):
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rows(result)
    return result


def rows(result: dict[str, Any]) -> list[Row]:
    """The lines of the table: the tests by shots, the methods as they were run.

    ARUBA++ follows the training that it is tested from.
    """
    tests: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in result["runs"]:
        for test in run["tests"]:
            key = (test["shots"], test["transductive"], test["n_tasks"], test["method"])
            tests.setdefault(key, []).append(test)
    found = []
    for (shots, transductive, n_tasks, method), of_seeds in tests.items():
        accuracies = [test["accuracy"] for test in of_seeds]
        found.append(
            Row(
                method,
                "ARUBA++" if method == ARUBA_PLUS else Method.of(method).title,
                shots,
                transductive,
                float(np.mean(accuracies)),
                float(np.mean([test["standard_error"] for test in of_seeds])),
                tuple(accuracies),
                n_tasks,
            )
        )
    order = [*_names(found)]
    return sorted(found, key=lambda row: (row.shots, not row.transductive, order.index(row.method)))


def _names(found: Iterable[Row]) -> list[str]:
    """Rivals first, by rate, then what learns its rates."""
    names = {row.method for row in found}
    rates = sorted(float(name.partition("-")[2]) for name in names if name.startswith(SGD))
    order = [ADAM, *(f"{SGD}-{rate:g}" for rate in rates), ISOTROPIC, ARUBA, ARUBA_PLUS]
    return [name for name in order if name in names]
