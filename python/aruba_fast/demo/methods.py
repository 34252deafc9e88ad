"""The methods that the demo compares, each as the candidates among which its best is shown.

A candidate is what a held-out person is given: where to start, and the rule to adapt by. Only the
baselines have several, one for each rate of a grid, and are granted the one with the least error on
the held-out people themselves: an oracle's choice, in their favour. ARUBA has one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from .._check import Float64Array, FloatArray
from ..learner import MetaLearner
from ..rules import OGD, Rule
from ..run import evaluate, run_tasks
from ..tasks import Tasks
from ..train import meta_train
from .protocol import LOSS, Settings, Split

# Half a decade apart, and far enough that the best rate of every table we know lies inside.
RATES = tuple(float(f"{10.0 ** (k / 2):.1e}") for k in range(-8, 1))
# `coef` multiplies one person's gradients, and g has summed those of all: hence the large ones.
COEFS = (1.0, 10.0, 100.0, 1000.0, 10000.0)
# An error this many times that of predicting the mean is called divergence, as nan is.
DIVERGED = 1000.0
# A prior on the rate that no data can move: b and g stay equal, the rate stays as it was, exactly.
HEAVY = 1e100

NO_ADAPTATION, ALONE, REPTILE = "no adaptation", "each person alone", "Reptile"
ISOTROPIC, ARUBA, ARUBA_PLUS = "isotropic ARUBA", "ARUBA", "ARUBA++"
METHODS = (NO_ADAPTATION, ALONE, REPTILE, ISOTROPIC, ARUBA, ARUBA_PLUS)


@dataclass(frozen=True)
class Candidate:
    """Start `phi`, rule (None: do not adapt), what was set or chosen, tasks skipped in training."""

    phi: FloatArray
    rule: Rule | None
    choice: float | None = None
    n_skipped: int = 0


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
        report: Called after every meta-training, `1 + 1 + len(RATES)` times.
    """
    learn = partial(_learn, split, settings, seed, report)
    aruba, path = learn(learning_rate=split.first_rate)
    isotropic, _ = learn(learning_rate=split.first_rate, isotropic=True)
    reptiles = [(rate, learn(learning_rate=rate, zeta=HEAVY)[0]) for rate in RATES]
    nowhere = np.zeros_like(aruba.phi)
    coef = choose_coef(split, aruba, settings)
    candidates = {
        NO_ADAPTATION: [Candidate(aruba.phi, None, None, aruba.n_skipped)],
        ALONE: [Candidate(nowhere, OGD(rate), rate) for rate in RATES],
        REPTILE: [Candidate(r.phi, OGD(rate), rate, r.n_skipped) for rate, r in reptiles],
        ISOTROPIC: [Candidate(isotropic.phi, isotropic.rule(), None, isotropic.n_skipped)],
        ARUBA: [Candidate(aruba.phi, aruba.rule(), None, aruba.n_skipped)],
        ARUBA_PLUS: [Candidate(aruba.phi, aruba.rule(coef), coef, aruba.n_skipped)],
    }
    rates = np.array([path[n] for n in sorted(path)], np.float64)
    return Trained(candidates, tuple(sorted(path)), rates, float(isotropic.learning_rate))


def _learn(
    split: Split,
    settings: Settings,
    seed: int,
    report: Callable[[], None],
    **hyperparameters: float | bool,
) -> tuple[MetaLearner, dict[int, FloatArray]]:
    """One meta-training with Reptile's schedule of the initialization; and its path of rates."""
    start = np.zeros(split.train.n_features, np.float32)
    learner = MetaLearner(start, **hyperparameters)  # type: ignore[arg-type]
    total = settings.n_passes * len(split.train)
    wanted = {round(n) for n in np.geomspace(1, total, 200)}
    path: dict[int, FloatArray] = {0: np.array(learner.learning_rate)}

    def meta_step(n_tasks: int) -> float:
        # Called once before every update, so it sees the rates that the tasks before have taught.
        if n_tasks - 1 in wanted:
            path[n_tasks - 1] = np.array(learner.learning_rate)
        return 1.0 - (n_tasks - 1) / total

    meta_train(
        split.train,
        learner,
        loss=LOSS,
        n_passes=settings.n_passes,
        seed=seed,
        meta_step=meta_step,
    )
    path[learner.n_tasks] = np.array(learner.learning_rate)
    report()
    return learner, path


def choose_coef(split: Split, learner: MetaLearner, settings: Settings) -> float:
    """The `coef` of ARUBA++ that does best on the meta-training people; held-out ones unseen."""
    tried = {
        coef: score(
            Candidate(learner.phi, learner.rule(coef)),
            split.train_support,
            split.train_query,
            settings,
        )
        for coef in COEFS
    }
    return min(COEFS, key=lambda coef: tried[coef])


def adapt(candidate: Candidate, support: Tasks | None, settings: Settings) -> FloatArray:
    """Parameters of every person after the examples in `support`; all the same without any."""
    if support is None or candidate.rule is None:
        return candidate.phi
    return run_tasks(
        support, candidate.phi, candidate.rule, loss=LOSS, n_epochs=settings.n_epochs
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
