"""(b) Tasks that differ in some coordinates and agree in others: one rate, one each, AdaGrad.

ARUBA minimizes the blog's form of the bound, without the 1/2 at the gradients. The tight form is
least at sqrt(2) times its rates, and on these tasks the regret itself is lower there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aruba_fast._check import Float64Array
from aruba_fast.learner import MetaLearner
from aruba_fast.rules import OGD, AdaGrad, Rule
from aruba_fast.run import run_tasks
from aruba_fast.statistics import TaskRun
from aruba_fast.tasks import Tasks
from aruba_fast.theory.bounds import regret_upper_bound
from aruba_fast.theory.hindsight import Hindsight, best_in_hindsight

from .report import Curve, Report

Progress = Callable[[int, int], object]
_LOSS = "squared"
# A rate below this one moves nothing in a task: the search ends there.
_SLOWEST = 1e-3
# Name, whether there is one rate, and what its rates are multiplied with.
_LEARNERS = (
    ("a rate each, tight form", False, math.sqrt(2.0)),
    ("a rate each, ARUBA", False, 1.0),
    ("one rate, tight form", True, math.sqrt(2.0)),
)


@dataclass(frozen=True)
class GeometrySettings:
    """Number and size of the tasks, their spread in each coordinate, noise, first rate."""

    n_tasks: int = 4000
    n_steps: int = 50
    spreads: tuple[float, ...] = (0.03, 0.06, 0.13, 0.25, 0.5, 1.0)
    noise: float = 0.5
    learning_rate: float = 0.3
    round_size: int = 8


def geometry(
    seed: int = 0, settings: GeometrySettings | None = None, progress: Progress | None = None
) -> Report:
    """Runs experiment (b).

    Args:
        seed: Seed of the tasks.
        settings: What to run; the defaults take some seconds.
        progress: Called with (done, total).

    Returns:
        Report; its facts hold regret relative to the best fixed start and rates in hindsight.
    """
    chosen = GeometrySettings() if settings is None else settings
    report = (lambda _done, _total: None) if progress is None else progress
    tasks = _tasks(np.random.default_rng(seed), chosen)
    best = best_in_hindsight(tasks, loss=_LOSS)
    half = len(tasks) // 2
    late = Hindsight(best.theta_star[half:], best.loss[half:], best.gap[half:])
    view = tasks[half:]
    phi = late.theta_star.mean(axis=0)

    def average(start: Float64Array, rule: Rule) -> float:
        run = run_tasks(view, start, rule, loss=_LOSS)
        assert run.loss is not None
        return float((run.loss - late.loss).mean())

    regrets, rates = {}, {}
    for k, (name, isotropic, factor) in enumerate(_LEARNERS):
        losses, rates[name] = _online(tasks, chosen, isotropic, factor)
        regrets[name] = losses - best.loss
        report(k + 1, 7)
    found = {name: float(each[half:].mean()) for name, each in regrets.items()}
    grid = np.geomspace(1e-3, 3.0, 60)
    found["one rate, best fixed"] = min(average(phi, OGD(float(rate))) for rate in grid)
    report(4, 7)
    found["AdaGrad, best fixed, from φ"] = min(
        average(phi, AdaGrad(float(rate), 1e-8)) for rate in grid
    )
    report(5, 7)
    rate, least = _best_rates(lambda eta: average(phi, OGD(eta)), len(chosen.spreads))
    found["a rate each, best fixed"] = least
    report(6, 7)
    ratio = _bound_ratio(tasks, best, chosen)
    report(7, 7)
    return _report(found, regrets, rates, rate, ratio, chosen, seed)


def _tasks(rng: np.random.Generator, chosen: GeometrySettings) -> Tasks:
    d = len(chosen.spreads)
    theta = rng.standard_normal(d) + np.array(chosen.spreads) * rng.standard_normal(
        (chosen.n_tasks, d)
    )
    x = rng.standard_normal((chosen.n_tasks, chosen.n_steps, d)) / np.sqrt(d)
    z = np.einsum("tmd,td->tm", x, theta)
    return Tasks(x, z + chosen.noise * rng.laplace(size=z.shape))


def _learner(chosen: GeometrySettings, *, isotropic: bool = False) -> MetaLearner:
    """With the smoothing of the paper, whose claims these are."""
    zero = np.zeros(len(chosen.spreads))
    return MetaLearner(zero, learning_rate=chosen.learning_rate, zeta=1.0, isotropic=isotropic)


def _online(
    tasks: Tasks, chosen: GeometrySettings, isotropic: bool, factor: float
) -> tuple[Float64Array, Float64Array]:
    """Losses of all tasks, run with `factor` times the rates learned so far; the last rates."""
    learner = _learner(chosen, isotropic=isotropic)
    losses = []
    for first in range(0, len(tasks), chosen.round_size):
        rule = OGD(factor * learner.learning_rate)
        run = run_tasks(tasks[first : first + chosen.round_size], learner.phi, rule, loss=_LOSS)
        assert run.loss is not None
        losses.append(run.loss)
        learner.update(run)
    last = np.broadcast_to(factor * np.asarray(learner.learning_rate), len(chosen.spreads))
    return np.concatenate(losses), np.array(last, np.float64)


def _best_rates(average: Callable[[Float64Array], float], d: int) -> tuple[Float64Array, float]:
    """Coordinate after coordinate by factors that shrink, until 5 % more or less is no better."""
    eta, factor = np.full(d, 0.1), 2.0
    least = average(eta)
    while factor > 1.05:
        better = False
        for j in range(d):
            for by in (factor, 1.0 / factor):
                other = eta.copy()
                other[j] = max(by * other[j], _SLOWEST)
                value = average(other)
                if value < least:
                    eta, least, better = other, value, True
        if not better:
            factor = np.sqrt(factor)
    return eta, least


def _bound_ratio(tasks: Tasks, best: Hindsight, chosen: GeometrySettings) -> float:
    """Average bound of the learner with theta* over that of the best fixed pair, second half."""
    learner = _learner(chosen)
    half, bounds = len(tasks) // 2, []
    for first in range(0, len(tasks), chosen.round_size):
        part = slice(first, first + chosen.round_size)
        star, rule = best.theta_star[part], learner.rule(coef=None)
        run = run_tasks(tasks[part], learner.phi, rule, loss=_LOSS)
        bounds.append(regret_upper_bound(run, star, learner.phi, rule, form="blog"))
        learner.update(TaskRun(star, run.grad_sq))
    star = best.theta_star[half:]
    phi = star.mean(axis=0)
    b, eta = 0.5 * ((star - phi) ** 2).mean(axis=0), np.full(star.shape[1], 0.1)
    # The squared gradients depend on the rates a little: a fixed point, reached in a few rounds.
    for _ in range(20):
        run = run_tasks(tasks[half:], phi, OGD(eta), loss=_LOSS)
        eta = np.sqrt(b / run.grad_sq.mean(axis=0))
    run = run_tasks(tasks[half:], phi, OGD(eta), loss=_LOSS)
    fixed = regret_upper_bound(run, star, phi, OGD(eta), form="blog").mean()
    return float(np.concatenate(bounds)[half:].mean() / fixed)


def _report(
    found: dict[str, float],
    regrets: dict[str, Float64Array],
    rates: dict[str, Float64Array],
    rate: Float64Array,
    ratio: float,
    chosen: GeometrySettings,
    seed: int,
) -> Report:
    least = found["a rate each, best fixed"]
    rows = [
        (name, f"{value:.3f}", f"{value / least:.3f}")
        for name, value in sorted(found.items(), key=lambda item: item[1])
    ]
    facts = {f"{name} / best fixed": value / least for name, value in found.items()}
    facts["bound of the learner / bound of the best fixed pair"] = ratio
    spreads = np.array(chosen.spreads)
    panel, other = "regret as tasks go by", "rates"
    curves = []
    count = np.arange(1, chosen.n_tasks + 1)
    shown = np.unique(np.geomspace(10, chosen.n_tasks, 60).astype(int)) - 1
    for name, each in regrets.items():
        mean = np.cumsum(each) / count
        curves.append(Curve(name, count[shown].astype(float), mean[shown], panel))
    ends = np.array([count[shown[0]], count[-1]], float)
    for name in ("one rate, best fixed", "a rate each, best fixed", "AdaGrad, best fixed, from φ"):
        curves.append(Curve(name, ends, np.full(2, found[name]), panel, "dashed"))
    for name in ("a rate each, tight form", "a rate each, ARUBA"):
        curves.append(Curve(name, spreads, rates[name], other, "points"))
    curves.append(Curve("a rate each, best fixed", spreads, rate, other, "points"))
    return Report(
        "geometry",
        "A rate for every coordinate, meta-learned, is nearly the best that hindsight knows",
        ("method", "task-averaged regret", "against the best fixed"),
        rows,
        facts,
        {"seed": seed, **chosen.__dict__},
        curves,
        ("tasks seen | spread $V_j$ of a coordinate", "task-averaged regret | rate $\\eta_j$"),
        "xy",
    )
