"""(a) Task-averaged regret against steps: D sqrt(m) for one task alone, V sqrt(m) meta-learned.

The tasks are those of the lower bound: step i of task t asks for |theta - (c + V s_i)| with random
signs s_i. Between the two points that loss is linear with a random slope, from which nobody can
learn anything, and the best in hindsight is the point of the majority, V away from the center c.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aruba_fast._check import Float64Array
from aruba_fast.rules import OGD
from aruba_fast.run import run_tasks
from aruba_fast.tasks import Tasks
from aruba_fast.theory.hindsight import best_in_hindsight, regret
from aruba_fast.theory.scale import ScaleLearner

from .report import Curve, Report

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class ScalingSettings:
    """Radius of the domain, where in it the tasks lie, how far apart, smoothing, how many."""

    diameter: float = 3.0
    center: float = 2.5
    spreads: tuple[float, ...] = (0.1, 0.3, 1.0)
    eps: float = 0.01
    steps: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512)
    n_tasks: int = 3000


def scaling(
    seed: int = 0, settings: ScalingSettings | None = None, progress: Progress | None = None
) -> Report:
    """Runs experiment (a).

    Args:
        seed: Seed of the tasks.
        settings: What to run; the defaults take some seconds.
        progress: Called with (done, total).

    Returns:
        Report, with the fitted slopes among its facts.
    """
    chosen = ScalingSettings() if settings is None else settings
    single = np.empty((len(chosen.spreads), len(chosen.steps)))
    meta = np.empty_like(single)
    for k, m in enumerate(chosen.steps):
        # The same signs for every V: what differs is V alone.
        rng = np.random.default_rng([seed, m])
        signs = rng.choice([-1.0, 1.0], size=(chosen.n_tasks, m))
        for v, spread in enumerate(chosen.spreads):
            single[v, k], meta[v, k] = _averages(signs, spread, chosen)
            if progress is not None:
                progress(k * len(chosen.spreads) + v + 1, single.size)
    return _report(single, meta, chosen, seed)


def _averages(signs: Float64Array, spread: float, chosen: ScalingSettings) -> tuple[float, float]:
    """Task-averaged regret alone, and meta-learned over the second half of the tasks."""
    n_tasks, m = signs.shape
    tasks = Tasks(np.ones((n_tasks, m, 1)), chosen.center + spread * signs)
    best = best_in_hindsight(tasks, loss="absolute")
    alone = OGD(chosen.diameter / np.sqrt(m))
    single = regret(run_tasks(tasks, np.zeros(1), alone, loss="absolute"), best).mean()
    scale = ScaleLearner(diameter=chosen.diameter, eps=chosen.eps)
    phi, total = np.zeros(1), 0.0
    for t in range(n_tasks):
        run = run_tasks(tasks[t], phi, scale.rule(m), loss="absolute")
        assert run.loss is not None
        if t >= n_tasks // 2:
            total += float(run.loss[0] - best.loss[t])
        scale.update(best.theta_star[t : t + 1], phi, m)
        phi = phi + (best.theta_star[t] - phi) / (t + 1)
    return float(single), total / (n_tasks - n_tasks // 2)


def _slope(x: Float64Array, y: Float64Array) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _report(single: Float64Array, meta: Float64Array, chosen: ScalingSettings, seed: int) -> Report:
    m, spreads = np.array(chosen.steps, float), np.array(chosen.spreads)
    late = m >= 16
    rows, curves, facts = [], [], {}
    for v, spread in enumerate(spreads):
        slope = _slope(m[late], meta[v, late])
        facts[f"slope in log m, V = {spread:g}"] = slope
        constant = float((meta[v, late] / (spread * np.sqrt(m[late]))).mean())
        rows.append(
            (
                f"{spread:g}",
                f"{slope:.3f}",
                f"{constant:.3f}",
                f"{single[v, -1]:.3g}",
                f"{meta[v, -1]:.3g}",
                f"{single[v, -1] / meta[v, -1]:.1f}",
            )
        )
        panel = "meta-learned against alone"
        curves.append(Curve(f"meta-learned, V = {spread:g}", m, meta[v], panel))
        curves.append(Curve(f"V√m, V = {spread:g}", m, spread * np.sqrt(m), panel, "dashed"))
    curves.append(Curve("one task alone", m, single.mean(axis=0), panel))
    curves.append(Curve("D√m", m, chosen.diameter * np.sqrt(m), panel, "dashed"))
    in_v = [_slope(spreads, meta[:, k]) for k in np.flatnonzero(late)]
    facts["slope in log V"] = float(np.mean(in_v))
    facts["slope in log m, alone"] = _slope(m[late], single.mean(axis=0)[late])
    facts["lower bound"] = float(np.sqrt(2.0 / np.pi))
    return Report(
        "scaling",
        "Task-averaged regret grows like V√m when φ and η are meta-learned, like D√m for one task",
        ("V", "slope in log m", "R̄ / (V√m)", "alone, largest m", "meta-learned", "ratio"),
        rows,
        facts,
        {"seed": seed, **chosen.__dict__},
        curves,
        ("steps m of a task", "task-averaged regret"),
        "xy",
    )
