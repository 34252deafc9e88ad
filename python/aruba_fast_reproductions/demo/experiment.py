"""Repeats the comparison over seeds and gathers what the table, the figure and the JSON show."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from aruba_fast._check import Float64Array
from aruba_fast.datasets import Table
from aruba_fast.theory.transfer import standard_error

from ..files import plain
from .methods import (
    DIVERGED,
    METHODS,
    N_TRAININGS,
    RATES,
    RATIOS,
    REPTILE,
    Trained,
    score,
    train,
)
from .protocol import Settings, Split, choose_shots, feature_names, prepare

Report = Callable[[int, int], object]


@dataclass(frozen=True)
class Outcome:
    """One method over all seeds; every list has one entry a seed.

    Attributes:
        method: Its name.
        errors: Mean over the held-out people of their mean squared error on the rows after their
            examples, the target having variance 1; those who diverged are not in the mean, and if
            all did, it is inf.
        n_diverged: Number of held-out people who diverged.
        n_skipped: Tasks skipped in meta-training because their result was not finite.
        choices: What was chosen: the rates of the features and of the intercept; empty
            where nothing is.
        curve: Same as `errors`, float64 [n_seeds, n_points], over the numbers of examples.
    """

    method: str
    errors: tuple[float, ...]
    n_diverged: tuple[int, ...]
    n_skipped: tuple[int, ...]
    choices: tuple[tuple[float, ...], ...]
    curve: Float64Array

    @property
    def error(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.errors))

    @property
    def standard_error(self) -> float:
        """Standard error of that mean; nan for a single seed."""
        return float(standard_error(self.errors))


@dataclass(frozen=True)
class Result:
    """The whole comparison on one table.

    Attributes:
        settings: The protocol.
        info: What the table says of itself.
        n_tasks: Number of people in the table.
        n_trained: Number of meta-training people, the same for every seed.
        n_tested: Held-out people tested, summed over the seeds.
        n_too_short: Held-out people left out for want of rows, likewise.
        n_few: Held-out people tested who had fewer examples than `shots`, likewise.
        features: Names of the coordinates.
        shots: Examples to adapt on, or the most that anybody has.
        counts: Numbers of examples of the learning curves, from 0 to `shots`.
        outcomes: The methods, in the order of the table.
        rates: ARUBA's learned rates, float64 [n_seeds, n_features].
        first_rates: The rate that ARUBA starts with, one a seed.
        isotropic_rates: What isotropic ARUBA learned, one a seed.
        path_tasks: Numbers of tasks seen, for the first seed.
        path_rates: ARUBA's rates after so many, float64 [n_points, n_features].
    """

    settings: Settings
    info: dict[str, Any]
    n_tasks: int
    n_trained: int
    n_tested: int
    n_too_short: int
    n_few: int
    features: tuple[str, ...]
    shots: int
    counts: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    rates: Float64Array
    first_rates: tuple[float, ...]
    isotropic_rates: tuple[float, ...]
    path_tasks: tuple[int, ...]
    path_rates: Float64Array

    def __getitem__(self, method: str) -> Outcome:
        """The outcome of a method, by name."""
        return next(outcome for outcome in self.outcomes if outcome.method == method)

    def against_reptile(self, outcome: Outcome) -> tuple[float, float]:
        """Mean over the seeds of the relative difference to Reptile's error; its standard error."""
        with np.errstate(invalid="ignore"):  # inf / inf, where both diverged
            differences = np.array(outcome.errors) / np.array(self[REPTILE].errors) - 1.0
        return float(differences.mean()), float(standard_error(differences))

    def as_json(self) -> dict[str, Any]:
        """Everything as plain numbers; what is not finite becomes null."""
        values = asdict(self) | {"grid": {"rates": RATES, "ratios": RATIOS, "diverged": DIVERGED}}
        for entry, outcome in zip(values["outcomes"], self.outcomes, strict=True):
            entry["error"] = outcome.error
            entry["standard_error"] = outcome.standard_error
        result: dict[str, Any] = plain(values)
        return result


class Interrupted(KeyboardInterrupt):
    """Ctrl-C when some seeds were done; `result` is that of these."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


def run(table: Table, settings: Settings, report: Report | None = None) -> Result:
    """Runs the whole comparison.

    Args:
        table: People's data.
        settings: The protocol.
        report: Called with (steps done, all steps) as the work goes on.

    Returns:
        Result; the same bits for the same table and settings. Mixed models are NumPy's linear
        algebra: their last digits follow the processor, and the number of its threads.

    Raises:
        ValueError: The table has too few people or rows for the protocol.
        Interrupted: Ctrl-C, a KeyboardInterrupt with the result of the seeds that were done.

    Example:
        >>> from aruba_fast import datasets
        >>> from aruba_fast_reproductions import demo
        >>> result = demo.run(datasets.load_wages(), demo.Settings(n_seeds=1))
        >>> result["ARUBA"].error < result["Reptile"].error
        True
    """
    steps = _Steps(settings.n_seeds * (N_TRAININGS + len(METHODS)), report)
    seeds = range(settings.first_seed, settings.first_seed + settings.n_seeds)
    done: list[_Seed] = []
    try:
        for seed in seeds:
            split = prepare(table, settings, seed)
            methods = train(split, settings, seed, steps.advance)
            scores = {name: _scores(methods, name, split, settings, steps) for name in METHODS}
            done.append((split, methods, scores))
    except KeyboardInterrupt:
        if not done:
            raise
        raise Interrupted(_result(table, replace(settings, n_seeds=len(done)), done)) from None
    return _result(table, settings, done)


def _result(table: Table, settings: Settings, done: Sequence["_Seed"]) -> Result:
    splits, trained, scores = zip(*done, strict=True)
    return Result(
        settings=settings,
        info=dict(table.info),
        n_tasks=len(table.task_names),
        n_trained=len(splits[0].train),
        n_tested=sum(len(split.query) for split in splits),
        n_too_short=sum(split.n_too_short for split in splits),
        n_few=sum(split.n_few for split in splits),
        features=tuple(feature_names(table)),
        shots=choose_shots(table, settings),
        counts=(0, *(k for k, _ in splits[0].supports)),
        outcomes=tuple(
            _outcome(name, of_method)
            for name in METHODS
            if (of_method := [s for of_seed in scores if (s := of_seed[name]) is not None])
        ),
        rates=np.array([methods.path_rates[-1] for methods in trained]),
        first_rates=tuple(float(methods.path_rates[0, 0]) for methods in trained),
        isotropic_rates=tuple(methods.isotropic_rate for methods in trained),
        path_tasks=trained[0].path_tasks,
        path_rates=trained[0].path_rates,
    )


class _Steps:
    """Counts what is done."""

    def __init__(self, total: int, report: Report | None) -> None:
        self._done, self._total, self._report = 0, total, report

    def advance(self) -> None:
        self._done += 1
        if self._report is not None:
            self._report(self._done, self._total)


# Of the best candidate: (people diverged, error), its choice, its skipped tasks, the curve.
_Scores = tuple[tuple[int, float], tuple[float, ...], int, list[float]]
_Seed = tuple[Split, Trained, dict[str, _Scores | None]]


def _scores(
    methods: Trained, name: str, split: Split, settings: Settings, steps: _Steps
) -> _Scores | None:
    """Best candidate of a method at all examples; along the curve, the best at every point.

    None where the method has no candidate.
    """
    candidates = methods.candidates[name]
    if not candidates:
        steps.advance()
        return None
    points = [
        [score(candidate, support, split.query, settings) for candidate in candidates]
        for support in (None, *(tasks for _, tasks in split.supports))
    ]
    best = min(range(len(candidates)), key=lambda j: points[-1][j])
    steps.advance()
    return (
        points[-1][best],
        candidates[best].choice,
        candidates[best].n_skipped,
        [min(point)[1] for point in points],
    )


def _outcome(name: str, scores: list[_Scores]) -> Outcome:
    return Outcome(
        name,
        tuple(error for (_, error), _, _, _ in scores),
        tuple(n_diverged for (n_diverged, _), _, _, _ in scores),
        tuple(n_skipped for _, _, n_skipped, _ in scores),
        tuple(choice for _, choice, _, _ in scores),
        np.array([curve for _, _, _, curve in scores]),
    )
