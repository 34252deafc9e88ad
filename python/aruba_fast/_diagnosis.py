"""`Diagnosis`: what a learner's rates have become, and what is odd about it."""

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._check import Float64Array
from ._state import Hyperparameters, tasks_held

# A learner of fewer tasks, or fewer coordinates, is too little to tell.
_FEW = 30
_MANY_SKIPPED = 0.1
# The prior is as much as the data: what the rates would be is not in them yet.
_MOST_PRIOR = 0.5
# How far from rest the ratio may be before more tasks would move the rates by much.
_FAR_FROM_REST = 4.0
_WIDTH = 80
# Terms of the smoothing that are summed: the last ones, beside which those before are little.
_TERMS = 1 << 16


@dataclass(frozen=True)
class Diagnosis:
    """What a learner has learned so far; `str` shows it as a table. Made by `diagnose`.

    Args:
        n_tasks: Tasks learned from.
        n_skipped: Tasks left out because they were not finite.
        first_rate: Rate before the first task; None: not known yet.
        rates: Least, median and largest learning rate.
        rho: Mean of `MetaLearner.rho` over the coordinates that had a gradient in the last round;
            nan without one.
        rest: Where rho is when the rates stay: 2, for the tight bound 1.
        prior: Share of the prior in g, the median over the coordinates: near 1 while the data have
            said nothing, near 0 when they have outweighed it.
        findings: Sentences about what is odd, with what to do; empty where nothing is.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> learner = af.MetaLearner(np.zeros(2), learning_rate=0.1, zeta=1e6)
        >>> learner.update(af.TaskRun(np.full((99, 2), 0.5), np.ones((99, 2))))
        >>> print(learner.diagnose())
        tasks    99, none skipped
        rates    0.1 from 0.1 to 0.1; they began at 0.1
        rho      25, at rest 2
        prior    100.0 % of g
        - The prior outweighs the data, and the rates stay where they began: zeta="auto",
          or a zeta of the size of a gradient.
    """

    n_tasks: int
    n_skipped: int
    first_rate: float | None
    rates: tuple[float, float, float]
    rho: float
    rest: float
    prior: float
    findings: tuple[str, ...]

    def __str__(self) -> str:
        least, median, most = self.rates
        first = "that of the first task is not known yet"
        if self.first_rate is not None:
            first = f"they began at {self.first_rate:.3g}"
        skipped = f"{self.n_skipped} skipped" if self.n_skipped else "none skipped"
        lines = [
            f"tasks    {self.n_tasks}, {skipped}",
            f"rates    {median:.3g} from {least:.3g} to {most:.3g}; {first}",
            f"rho      {self.rho:.3g}, at rest {self.rest:g}",
            f"prior    {100.0 * self.prior:.1f} % of g",
        ]
        lines += [
            textwrap.fill(f"- {text}", _WIDTH, subsequent_indent="  ") for text in self.findings
        ]
        return "\n".join(lines)


def diagnosis(
    arrays: Mapping[str, NDArray[Any]], hyper: Hyperparameters, *, diverged: bool
) -> Diagnosis:
    """Looks at the arrays of a learner, in host memory; `diverged`: whether it was said to."""
    n_tasks, n_skipped = (int(count) for count in arrays["counts"])
    rates, rho = arrays["rate"].astype(np.float64), arrays["rho"]
    known = rho[~np.isnan(rho)]
    found = Diagnosis(
        n_tasks=n_tasks,
        n_skipped=n_skipped,
        first_rate=float(hyper.learning_rate) if hyper.knows_rate else None,
        rates=(float(rates.min()), float(np.median(rates)), float(rates.max())),
        rho=float(known.mean()) if len(known) else np.nan,
        rest=1.0 if hyper.bound == "tight" else 2.0,
        prior=float(np.median(_prior(arrays["g"], n_tasks, hyper))),
        findings=(),
    )
    return replace(found, findings=tuple(_findings(found, len(known), diverged)))


def _prior(g: Float64Array, n_tasks: int, hyper: Hyperparameters) -> Float64Array:
    """The share of the prior in g of every coordinate."""
    if not n_tasks or not g.any():
        return np.ones(1)
    if hyper.average_task:
        own = float(g.mean()) / tasks_held(n_tasks, hyper.decay)
        return own / (g + own)
    t = np.arange(max(n_tasks - _TERMS, 0) + 2, n_tasks + 2, dtype=np.float64)
    kept = (1.0 - hyper.decay) ** (n_tasks + 1 - t)
    smoothing = float((kept * t**-hyper.p).sum()) + (1.0 - hyper.decay) ** n_tasks
    return np.minimum(smoothing / g, 1.0)


def _findings(found: Diagnosis, n_known: int, diverged: bool) -> Iterator[str]:
    n_seen = found.n_tasks + found.n_skipped
    if diverged:
        yield (
            "Tasks diverged, as a warning said: columns of one scale, a smaller learning_rate or "
            "a radius."
        )
    if found.n_skipped > _MANY_SKIPPED * n_seen:
        yield (
            f"{found.n_skipped} of {n_seen} tasks were left out: rows that are not finite, or "
            "rates at which tasks diverge."
        )
    if found.n_tasks < _FEW:
        return
    if found.prior > _MOST_PRIOR:
        yield (
            "The prior outweighs the data, and the rates stay where they began: "
            'zeta="auto", or a zeta of the size of a gradient.'
        )
    if n_known < _FEW:
        return
    if found.rho > _FAR_FROM_REST * found.rest:
        yield "Tasks go further than at rest: the rates still rise, and want more tasks."
    if found.rho < found.rest / _FAR_FROM_REST:
        yield "Tasks turn around more than at rest: the rates still fall, and want more tasks."
