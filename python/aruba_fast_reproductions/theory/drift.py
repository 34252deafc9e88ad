"""(c) Tasks that drift: the running mean, every constant step, and experts over the step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aruba_fast._check import Float64Array
from aruba_fast.rules import OGD
from aruba_fast.run import run_tasks
from aruba_fast.tasks import Tasks
from aruba_fast.theory.hindsight import Hindsight, best_in_hindsight
from aruba_fast.theory.initialization import InitializationExperts

from .report import Curve, Report

Progress = Callable[[int, int], object]
_LOSS = "squared"


@dataclass(frozen=True)
class DriftSettings:
    """Number and size of the tasks; how far their center walks from task to task."""

    n_tasks: int = 1500
    n_steps: int = 20
    n_parameters: int = 3
    spread: float = 0.3
    noise: float = 0.5
    speeds: tuple[float, ...] = (0.0, 0.05, 0.3)
    learning_rate: float = 0.1
    alphas: tuple[float, ...] = tuple(2.0 ** -np.arange(10.0, -0.5, -0.5))


def drift(
    seed: int = 0, settings: DriftSettings | None = None, progress: Progress | None = None
) -> Report:
    """Runs experiment (c).

    Args:
        seed: Seed of the tasks.
        settings: What to run; the defaults take some seconds.
        progress: Called with (done, total).

    Returns:
        Report; its facts hold the experts' regret relative to the best single step, for each speed.
    """
    chosen = DriftSettings() if settings is None else settings
    rows, curves, facts = [], [], {}
    for k, speed in enumerate(chosen.speeds):
        tasks = _tasks(np.random.default_rng([seed, k]), chosen, speed)
        best = best_in_hindsight(tasks, loss=_LOSS)
        star = best.theta_star
        alphas = np.array(chosen.alphas)
        constant = np.array([_regret(tasks, best, _constant(star, a), chosen) for a in alphas])
        mean = _regret(tasks, best, _running_mean(star), chosen)
        mixed = _regret(tasks, best, _experts(star, chosen), chosen)
        least = min(float(constant.min()), mean)
        facts[f"experts / best single step, speed {speed:g}"] = mixed / least
        facts[f"running mean / best single step, speed {speed:g}"] = mean / least
        name = f"speed {speed:g}"
        winner = "1/t" if mean <= constant.min() else f"{alphas[constant.argmin()]:.3g}"
        rows.append((name, winner, f"{least:.3f}", f"{mean / least:.3f}", f"{mixed / least:.3f}"))
        curves.append(Curve("constant step α", alphas, constant, name))
        ends = alphas[[0, -1]]
        curves.append(Curve("running mean", ends, np.full(2, mean), name, "dashed"))
        curves.append(Curve("experts", ends, np.full(2, mixed), name, "dashed"))
        if progress is not None:
            progress(k + 1, len(chosen.speeds))
    return Report(
        "drift",
        "Experts over the step of the initialization need not know how fast the world changes",
        ("drift", "best step", "its regret", "running mean", "experts"),
        rows,
        facts,
        {"seed": seed, **chosen.__dict__},
        curves,
        ("step α of the initialization", "task-averaged regret"),
        "xy",
    )


def _tasks(rng: np.random.Generator, chosen: DriftSettings, speed: float) -> Tasks:
    """Tasks around a center that walks at random, `speed` a task in every coordinate."""
    shape = (chosen.n_tasks, chosen.n_parameters)
    center = 1.0 + speed * np.cumsum(rng.standard_normal(shape), axis=0)
    theta = center + chosen.spread * rng.standard_normal(shape)
    x = rng.standard_normal((chosen.n_tasks, chosen.n_steps, chosen.n_parameters))
    x /= np.sqrt(chosen.n_parameters)
    z = np.einsum("tmd,td->tm", x, theta)
    return Tasks(x, z + chosen.noise * rng.standard_normal(z.shape))


def _constant(star: Float64Array, alpha: float) -> Float64Array:
    return _path(star, np.full(len(star), alpha))


def _running_mean(star: Float64Array) -> Float64Array:
    return _path(star, 1.0 / np.arange(1.0, len(star) + 1.0))


def _path(star: Float64Array, steps: Float64Array) -> Float64Array:
    """The start of every task, each chosen before its task."""
    phi = np.zeros_like(star)
    for t in range(len(star) - 1):
        phi[t + 1] = phi[t] + steps[t] * (star[t] - phi[t])
    return phi


def _experts(star: Float64Array, chosen: DriftSettings) -> Float64Array:
    experts = InitializationExperts(np.zeros(star.shape[1]), n_tasks=chosen.n_tasks)
    phi = np.zeros_like(star)
    for t in range(len(star)):
        phi[t] = experts.phi
        experts.update(star[t])
    return phi


def _regret(tasks: Tasks, best: Hindsight, phi: Float64Array, chosen: DriftSettings) -> float:
    run = run_tasks(tasks, phi, OGD(chosen.learning_rate), loss=_LOSS)
    assert run.loss is not None
    return float((run.loss - best.loss).mean())
