"""The methods that the demo compares, each as the candidates among which its best is shown.

A candidate is what a held-out person is given: where to start, and the rule to adapt by. Only the
baselines have several, one for each rate of a grid, and are granted the one with the least error on
the held-out people themselves: an oracle's choice, in their favour. ARUBA has one.

Most of what a rate per coordinate can win, one fast coordinate wins: the intercept. Hence the
control "two rates", Reptile with the best pair of a rate for the intercept and one for all else.

ARUBA is `MetaLearner(phi)` with nothing given, and no ball: the rivals are kept in one. What mixed
models predict for a person is the proximal rule at their start and covariance, so that they are
candidates like any other; the proximal rule of `meta_fit` is ours.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from aruba_fast._check import Float64Array, FloatArray
from aruba_fast._divergence import DivergenceWarning
from aruba_fast.adaptation import evaluate
from aruba_fast.fit import meta_fit
from aruba_fast.learner import MetaLearner
from aruba_fast.proximal import Proximal
from aruba_fast.rules import OGD, Rule
from aruba_fast.run import run_tasks
from aruba_fast.tasks import Tasks
from aruba_fast.train import meta_train

from .. import mixed
from .protocol import LOSS, Settings, Split

# Half a decade apart, and far enough that the best rate of every table we know lies inside.
RATES = tuple(float(f"{10.0 ** (k / 2):.1e}") for k in range(-10, 1))
# How much faster than the other coordinates the intercept of the control may learn.
RATIOS = (3.2, 10.0, 32.0, 100.0, 320.0, 1000.0)
# An error this many times that of predicting the mean is called divergence, as nan is.
DIVERGED = 1000.0
# Random slopes of a mixed model, which takes minutes with more.
MOST_RANDOM = 40
# A prior on the rate that no data can move: b and g stay equal, the rate stays as it was, exactly.
HEAVY = 1e100

NO_ADAPTATION, ALONE = "no adaptation", "each person alone"
REPTILE, TWO_RATES = "Reptile", "Reptile, two rates"
MIXED, MIXED_FULL = "mixed model, diagonal", "mixed model, full"
ISOTROPIC, ARUBA, ARUBA_PLUS, PROXIMAL = "isotropic ARUBA", "ARUBA", "ARUBA++", "proximal"
METHODS = (
    NO_ADAPTATION,
    ALONE,
    REPTILE,
    TWO_RATES,
    MIXED,
    MIXED_FULL,
    ISOTROPIC,
    ARUBA,
    ARUBA_PLUS,
    PROXIMAL,
)
N_TRAININGS = 5 + len(RATES) * (1 + len(RATIOS))


# A learner, and its learning rate after some numbers of tasks.
Learned: TypeAlias = tuple[MetaLearner, dict[int, FloatArray]]


@dataclass(frozen=True)
class Candidate:
    """What a held-out person is given.

    Attributes:
        phi: The start.
        rule: The rule to adapt by; None: do not.
        choice: What was chosen.
        n_skipped: Visits skipped in training.
        radius: Of the ball that the person is kept in, if there is one.
    """

    phi: FloatArray
    rule: Rule | None
    choice: tuple[float, ...] = ()
    n_skipped: int = 0
    radius: float | None = None


@dataclass(frozen=True)
class Trained:
    """The methods of one seed, and the rates of ARUBA as they were learned.

    Attributes:
        candidates: The candidates of every method.
        path_tasks: Numbers of tasks seen, int64 [n_points].
        path_rates: Learning rate of ARUBA after so many, float64 [n_points, n_features].
        isotropic_rate: What isotropic ARUBA learned.
    """

    candidates: dict[str, list[Candidate]]
    path_tasks: tuple[int, ...]
    path_rates: Float64Array
    isotropic_rate: float


def train(split: Split, settings: Settings, seed: int, report: Callable[[], None]) -> Trained:
    """Meta-trains every method on the same people in the same order.

    Args:
        split: The data.
        settings: The protocol.
        seed: Seed of the order.
        report: Called after every meta-training, `N_TRAININGS` times.
    """
    learn = partial(_learn, settings=settings, seed=seed, report=report)
    aruba, path = learn(split.train)
    isotropic, _ = learn(split.train, isotropic=True)
    reptile = _reptile(split.train, 1.0, settings.radius, learn)
    two_rates = [c for r in RATIOS for c in _reptile(split.train, r, settings.radius, learn)]
    nowhere, ball = np.zeros_like(aruba.phi), settings.radius
    candidates = {
        NO_ADAPTATION: [Candidate(aruba.phi, None, (), aruba.n_skipped)],
        ALONE: [Candidate(nowhere, OGD(rate), (rate,), radius=ball) for rate in RATES],
        REPTILE: reptile,
        TWO_RATES: reptile + two_rates,
        MIXED: _mixed(split.train, report, diagonal=True),
        MIXED_FULL: _mixed(split.train, report, diagonal=False),
        ISOTROPIC: [Candidate(isotropic.phi, isotropic.rule(None), (), isotropic.n_skipped)],
        ARUBA: [Candidate(aruba.phi, aruba.rule(None), (), aruba.n_skipped)],
        ARUBA_PLUS: [Candidate(aruba.phi, aruba.rule(), (), aruba.n_skipped)],
        PROXIMAL: [_proximal(split.train, report)],
    }
    rates = np.array([path[n] for n in sorted(path)], np.float64)
    return Trained(candidates, tuple(sorted(path)), rates, float(isotropic.learning_rate))


def _mixed(people: Tasks, report: Callable[[], None], *, diagonal: bool) -> list[Candidate]:
    """A mixed model with random slopes, by EM; none where there are many features."""
    if people.n_features > MOST_RANDOM:
        report()
        return []
    x = people.x.astype(np.float64)
    used = mixed.independent(x.T @ x)
    offsets = np.append(0, people.stops)
    data = mixed.moments(x[:, used], people.y.astype(np.float64), offsets)
    phi, rates = np.zeros(x.shape[1], np.float32), np.zeros((x.shape[1], x.shape[1]))
    try:
        model, _ = mixed.fit(data, np.arange(len(used)), diagonal)
        phi[used] = model.beta
        rates[np.ix_(used, used)] = (model.cov + model.cov.T) / (2 * model.noise)
        rule = Proximal(rates)
    except (np.linalg.LinAlgError, ValueError):  # a table that says too little for it
        phi, rule = np.full_like(phi, np.nan), Proximal(0.0)
    report()
    return [Candidate(phi, rule)]


def _proximal(people: Tasks, report: Callable[[], None]) -> Candidate:
    fit = meta_fit(people, loss=LOSS)
    report()
    return Candidate(fit.phi, fit.rule(), (), fit.n_skipped)


def _reptile(
    people: Tasks, ratio: float, radius: float, learn: Callable[..., Learned]
) -> list[Candidate]:
    """Reptile at every rate of the grid, the intercept learning `ratio` times as fast.

    A column that is c times as large, with a parameter c times as small, learns c^2 times as fast:
    so one rate in the engine is two rates for the people. The ball that the engine knows is a
    little longer along the intercept; what it let out is brought back.
    """
    scale = np.ones(people.n_features, np.float32)
    scale[-1] = np.sqrt(ratio)
    scaled = Tasks(people.x * scale, people.y, np.append(0, people.stops))
    candidates = []
    for rate in RATES:
        learner, _ = learn(scaled, radius=radius, learning_rate=rate, zeta=HEAVY)
        rule = OGD(rate) if ratio == 1.0 else OGD(rate * scale * scale)
        choice = (rate, float(f"{rate * ratio:.2g}"))
        phi = learner.phi * scale
        phi *= np.float32(radius / max(float(np.linalg.norm(phi)), radius))
        candidates.append(Candidate(phi, rule, choice, learner.n_skipped, radius))
    return candidates


def _learn(
    people: Tasks,
    *,
    settings: Settings,
    seed: int,
    report: Callable[[], None],
    radius: float | None = None,
    **hyperparameters: float | bool,
) -> Learned:
    """One meta-training, and its path of rates."""
    start = np.zeros(people.n_features, np.float32)
    learner = MetaLearner(start, **hyperparameters)  # type: ignore[arg-type]
    if learner.initial_learning_rate is None:
        learner.first_rate(people, loss=LOSS)
    total = settings.n_passes * len(people)
    wanted = {round(n) for n in np.geomspace(1, total, 200)}
    path: dict[int, FloatArray] = {0: np.array(learner.learning_rate)}

    def meta_step(n_tasks: int) -> float:
        # Called once before every update, so it sees the rates that the tasks before have taught.
        # The step is Reptile's, which is what `meta_train` takes where it is not told another.
        if n_tasks - 1 in wanted:
            path[n_tasks - 1] = np.array(learner.learning_rate)
        return 1.0 - (n_tasks - 1) / total

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # the table says who diverged
        meta_train(
            people,
            learner,
            loss=LOSS,
            n_passes=settings.n_passes,
            seed=seed,
            radius=radius,
            meta_step=meta_step,
        )
    path[learner.n_tasks] = np.array(learner.learning_rate)
    report()
    return learner, path


def adapt(candidate: Candidate, support: Tasks | None, settings: Settings) -> FloatArray:
    """Parameters of every person after the examples in `support`; all the same without any."""
    if support is None or candidate.rule is None:
        return candidate.phi
    by_steps = not isinstance(candidate.rule, Proximal)
    return run_tasks(
        support,
        candidate.phi,
        candidate.rule,
        loss=LOSS,
        n_epochs=settings.n_epochs if by_steps else 1,
        radius=candidate.radius,
    ).theta_hat


def score(
    candidate: Candidate, support: Tasks | None, query: Tasks, settings: Settings
) -> tuple[int, float]:
    """Number of people who diverged, and the mean squared error of the others (inf if none).

    As a pair it sorts candidates: a rate that makes one person diverge is worse than any that does
    not.
    """
    errors = 2.0 * evaluate(query, adapt(candidate, support, settings), loss=LOSS)
    kept = errors[errors <= DIVERGED]
    return len(errors) - len(kept), float(kept.mean()) if len(kept) else np.inf
