"""`Diagnosis`: what a learner's rates have become, and what is odd about it."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
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
# Of the rates of a tensor.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Terms of the smoothing that are summed: the last ones, beside which those before are little.
_TERMS = 1 << 16


@dataclass(frozen=True)
class TensorDiagnosis:
    """What was learned of one tensor; a line of the table of a `Diagnosis`.

    Args:
        name: That of the parameter, or its number.
        n: Number of its coordinates.
        rates: 5, 25, 50, 75, 95 % of the coordinates have a learning rate of at most this.
        rho: As `Diagnosis.rho`.
        prior: As `Diagnosis.prior`.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> learner = af.MetaLearner(np.zeros(3), learning_rate=0.5, tensors=[1, 2])
        >>> [(tensor.name, tensor.n) for tensor in learner.diagnose().tensors]
        [('0', 1), ('1', 2)]
    """

    name: str
    n: int
    rates: tuple[float, ...]
    rho: float
    prior: float

    def __str__(self) -> str:
        low, _, middle, _, high = self.rates
        return (
            f"{self.n:>11}{middle:>10.3g} {f'{low:.3g} to {high:.3g}':<22}"
            f"{self.rho:>7.3g}{100.0 * self.prior:>8.1f} %  {self.name}"
        )


@dataclass(frozen=True)
class Diagnosis:
    """What a learner has learned so far; `str` shows it as a table. Made by `diagnose`.

    Args:
        n_tasks: Tasks learned from.
        n_skipped: Tasks left out because they were not finite.
        first_rate: Rate before the first task; None: not known yet.
        rates: Smallest, median and largest learning rate.
        rho: Mean of `MetaLearner.rho` over the coordinates that had a gradient in the last round;
            nan without one.
        rest: The value of rho at which rates do not change: 2, for the tight bound 1.
        prior: Share of the smoothing in g, the median over the coordinates: near 1 at first, and
            near 0 when the data have outweighed it.
        findings: Sentences about what looks wrong, and what to do; empty if nothing does.
        tensors: The same for each tensor; the table shows it if there are several.

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
    tensors: tuple[TensorDiagnosis, ...]

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
        if len(self.tensors) > 1:
            lines.append(
                f"{'coordinates':>11}{'rates':>10} {'5 to 95 %':<22}{'rho':>7}{'prior':>10}"
            )
            lines += map(str, self.tensors)
        lines += [
            textwrap.fill(f"- {text}", _WIDTH, subsequent_indent="  ") for text in self.findings
        ]
        return "\n".join(lines)


# Arrays of a block of coordinates in host memory, and its hyperparameters.
Block = tuple[Mapping[str, NDArray[Any]], Hyperparameters]


def diagnosis(
    blocks: Sequence[Block], *, diverged: bool, tensors: Sequence[tuple[str, int]] | None = None
) -> Diagnosis:
    """Looks at a learner, or at the blocks of one.

    Args:
        blocks: Arrays and hyperparameters, of tensors that are learned alike together.
        diverged: Whether somebody was warned of it.
        tensors: Names and sizes of all tensors.
    """
    arrays, hyper = blocks[0]
    n_tasks, n_skipped = (int(count) for count in arrays["counts"])
    priors = [_prior(own["g"], n_tasks, each) for own, each in blocks]
    rates, rho = (np.concatenate([own[key] for own, _ in blocks]) for key in ("rate", "rho"))
    rates, prior = rates.astype(np.float64), np.concatenate(priors)
    if tensors is None:
        sizes = [n for own, each in blocks for n in each.tensors or (len(own["rate"]),)]
        tensors = [(str(number), n) for number, n in enumerate(sizes)]
    ends = np.cumsum([n for _, n in tensors])
    parts = [
        TensorDiagnosis(
            name=name,
            n=n,
            rates=tuple(np.quantile(rates[part], QUANTILES).tolist()),
            rho=_mean(rho[part]),
            prior=float(np.median(prior[part])),
        )
        for (name, n), part in zip(tensors, np.split(np.arange(len(rates)), ends[:-1]), strict=True)
    ]
    found = Diagnosis(
        n_tasks=n_tasks,
        n_skipped=n_skipped,
        first_rate=float(hyper.learning_rate) if hyper.knows_rate else None,
        rates=(float(rates.min()), float(np.median(rates)), float(rates.max())),
        rho=_mean(rho),
        rest=2.0 / hyper.per_distance,
        prior=float(np.median(prior)),
        findings=(),
        tensors=tuple(parts),
    )
    n_known = int(np.count_nonzero(~np.isnan(rho)))
    by = _core.restraint(n_tasks, n_skipped) if hyper.average_task else 1.0
    return replace(found, findings=tuple(_findings(found, n_known, diverged, by)))


def _mean(rho: Float64Array) -> float:
    known = rho[~np.isnan(rho)]
    return float(known.mean()) if len(known) else np.nan


def _prior(g: Float64Array, n_tasks: int, hyper: Hyperparameters) -> Float64Array:
    """The share of the prior in g of every coordinate."""
    if not n_tasks or not g.any():
        return np.ones(len(g))
    if hyper.average_task:
        held, parts = tasks_held(n_tasks, hyper.decay), []
        for part in np.split(g, np.cumsum(hyper.tensors or (len(g),))[:-1]):
            own = (float(part.mean()) or float(g.mean())) / held
            parts.append(own / (part + own))
        return np.concatenate(parts)
    t = np.arange(max(n_tasks - _TERMS, 0) + 2, n_tasks + 2, dtype=np.float64)
    kept = (1.0 - hyper.decay) ** (n_tasks + 1 - t)
    smoothing = float((kept * t**-hyper.p).sum()) + (1.0 - hyper.decay) ** n_tasks
    return np.minimum(smoothing / g, 1.0)


def _findings(found: Diagnosis, n_known: int, diverged: bool, restraint: float) -> Iterator[str]:
    n_seen = found.n_tasks + found.n_skipped
    if diverged:
        yield (
            "Tasks diverged, as a warning said: columns of one scale, a smaller learning_rate or "
            "a radius."
        )
    many_skipped = found.n_skipped > _MANY_SKIPPED * n_seen
    if many_skipped:
        held = f"; they hold all rates at {restraint:.1%} of the others'" if restraint < 1 else ""
        yield (
            f"{found.n_skipped} of {n_seen} tasks were left out: rows that are not finite, or "
            f"rates at which tasks diverge{held}."
        )
    if found.n_tasks < _FEW:
        return
    if found.prior > _MOST_PRIOR:
        yield (
            "The prior outweighs the data, and the rates stay where they began: "
            'zeta="auto", or a zeta of the size of a gradient.'
        )
    if n_known < _FEW or many_skipped:
        return
    if found.rho > _FAR_FROM_REST * found.rest:
        yield "Tasks go further than at rest: the rates still rise, and want more tasks."
    if found.rho < found.rest / _FAR_FROM_REST:
        yield "Tasks turn around more than at rest: the rates still fall, and want more tasks."
