"""(d) Regret and its bound on every task of real people's data, for every algorithm with one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aruba_fast._check import Float64Array
from aruba_fast.datasets import Table, load_wages
from aruba_fast.datasets._scale import standardized, told_apart, varying
from aruba_fast.learner import MetaLearner
from aruba_fast.rules import OGD, AdaGrad, Rule
from aruba_fast.run import run_tasks
from aruba_fast.tasks import Tasks
from aruba_fast.theory.bounds import regret_upper_bound
from aruba_fast.theory.hindsight import best_in_hindsight

from .report import Curve, Report

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class GuaranteeSettings:
    """Loss, radius of the ball, and ARUBA++'s coefficient."""

    loss: str = "absolute"
    radius: float = 3.0
    coef: float = 0.1


def guarantee(
    seed: int = 0,
    settings: GuaranteeSettings | None = None,
    progress: Progress | None = None,
    tables: dict[str, Table] | None = None,
) -> Report:
    """Runs experiment (d): the tasks of each table in random order, each learner online.

    Args:
        seed: Seed of the order of the tasks.
        settings: What to run; the defaults take some seconds.
        progress: Called with (done, total).
        tables: Tables by name; the wages of 595 people if None.

    Returns:
        Report; the fact "tasks above their bound" has to be 0. A task whose regret or bound is not
        a number is above it.

    Raises:
        ValueError: A table's target does not vary, or an outlier leaves no digits of the others.
    """
    chosen = GuaranteeSettings() if settings is None else settings
    given = {"wages": load_wages()} if tables is None else tables
    rows, curves, above = [], [], 0
    for done, (name, table) in enumerate(given.items(), start=1):
        tasks = _tasks(name, table)
        order = np.random.default_rng(seed).permutation(len(tasks))
        found = _online(tasks[order], chosen)
        for method, (regrets, bounds) in found.items():
            above += int((~(regrets <= bounds * (1 + 1e-9))).sum())
            rows.append(
                (
                    name,
                    method,
                    f"{regrets.mean():.3g}",
                    f"{bounds.mean():.3g}",
                    f"{(regrets / bounds).max():.2f}",
                    str(len(regrets)),
                )
            )
            curves.append(Curve(method, bounds, regrets, name, "points"))
        ends = np.array([f(f(b) for _, b in found.values()) for f in (min, max)])
        curves.append(Curve("regret = bound", ends, ends, name, "dashed"))
        if progress is not None:
            progress(done, len(given))
    return Report(
        "guarantee",
        "The regret of every task lies below its bound, whichever algorithm runs it",
        ("data", "algorithm", "mean regret", "mean bound", "largest ratio", "tasks"),
        rows,
        {"tasks above their bound": float(above)},
        {"seed": seed, **chosen.__dict__},
        curves,
        ("bound U_t of a task", "its regret R_t"),
        "xy",
    )


def _tasks(name: str, table: Table) -> Tasks:
    """Standardized columns and target, with an intercept, rows of norm at most one."""
    if not (varying(table.y) and told_apart(table.y) and told_apart(table.x).all()):
        raise ValueError(
            f"guarantee: `tables` must have targets that vary, and numbers of one scale: got "
            f"{name!r}, with targets from {table.y.min():g} to {table.y.max():g}"
        )
    rows = np.ones(len(table.y), bool)
    x = np.where(varying(table.x), standardized(table.x, rows), 0.0)
    x = np.column_stack([x, np.ones(len(x))])
    x /= np.sqrt((x**2).sum(axis=1).max())
    return Tasks.from_groups(x, standardized(table.y, rows), table.task)


def _online(
    tasks: Tasks, chosen: GuaranteeSettings
) -> dict[str, tuple[Float64Array, Float64Array]]:
    """Regret and bound of every task, for every algorithm."""
    best = best_in_hindsight(tasks, loss=chosen.loss, radius=chosen.radius)
    zero = np.zeros(tasks.n_features)
    first = chosen.radius / np.sqrt(float(tasks.sizes.mean()))
    learners = {
        "one rate, meta-learned": (
            MetaLearner(zero, learning_rate=first, zeta=1.0, isotropic=True),
            None,
        ),
        "a rate each, meta-learned": (MetaLearner(zero, learning_rate=first, zeta=1.0), None),
        "ARUBA++": (MetaLearner(zero, learning_rate=first, zeta=1.0), chosen.coef),
    }
    found = {}
    for method, (learner, coef) in learners.items():
        regrets, bounds = np.empty(len(tasks)), np.empty(len(tasks))
        for t in range(len(tasks)):
            own, phi = learner.rule(coef), learner.phi
            run = run_tasks(tasks[t], phi, own, loss=chosen.loss, radius=chosen.radius)
            assert run.loss is not None
            regrets[t] = run.loss[0] - best.loss[t]
            bounds[t] = regret_upper_bound(
                run, best.theta_star[t : t + 1], phi, own, n_steps=run.weight
            )[0]
            learner.update(run)
        found[method] = (regrets, bounds)
    fixed: dict[str, Rule] = {"OGD alone": OGD(first), "AdaGrad alone": AdaGrad(first, 1e-3)}
    for method, rule in fixed.items():
        run = run_tasks(tasks, zero, rule, loss=chosen.loss, radius=chosen.radius)
        assert run.loss is not None
        bound = regret_upper_bound(run, best, zero, rule, diameter=_diameter(rule, chosen))
        found[method] = (run.loss - best.loss, bound)
    return found


def _diameter(rule: Rule, chosen: GuaranteeSettings) -> float | None:
    """No two points of the ball are further apart, in any coordinate."""
    return 2.0 * chosen.radius if isinstance(rule, AdaGrad) else None
