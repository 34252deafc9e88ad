"""The comparison as a table for the terminal."""

import math

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .experiment import Outcome, Result
from .methods import (
    ALONE,
    ARUBA,
    ARUBA_PLUS,
    DIVERGED,
    ISOTROPIC,
    MIXED,
    MIXED_FULL,
    NO_ADAPTATION,
    PROXIMAL,
    RATES,
    RATIOS,
    REPTILE,
    TWO_RATES,
)

# What a method's choice is, where it has one.
_CHOICE = {ALONE: "rate", REPTILE: "rate", TWO_RATES: "rate"}


def render(result: Result) -> RenderableType:
    """The table, what it is about above it and how to read it below; fits 80 columns."""
    table = RichTable(title=_title(result), title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("method", no_wrap=True)
    table.add_column("chosen", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    table.add_column("vs. Reptile", justify="right", no_wrap=True)
    nothing_chosen = (NO_ADAPTATION, MIXED, MIXED_FULL, ISOTROPIC, ARUBA, ARUBA_PLUS, PROXIMAL)
    honest = [outcome for outcome in result.outcomes if outcome.method in nothing_chosen]
    best = min(honest, key=lambda outcome: (sum(outcome.n_diverged), outcome.error))
    for outcome in result.outcomes:
        table.add_row(
            outcome.method,
            _choice(outcome),
            _error(outcome),
            _difference(result, outcome),
            style="bold green" if outcome is best else "",
        )
    return Group(table, *_failures(result), Text(_legend(result), style="dim"))


def _failures(result: Result) -> list[Text]:
    """One line for every method with people who diverged or visits that were skipped."""
    visits = result.settings.n_seeds * result.settings.n_passes * result.n_trained
    lines = [
        f"{outcome.method}: {sum(outcome.n_diverged)} of {result.n_tested} held-out people "
        f"diverged and are not in the error; {sum(outcome.n_skipped)} of {visits} visits in "
        "meta-training were skipped."
        for outcome in result.outcomes
        if sum(outcome.n_diverged) or sum(outcome.n_skipped)
    ]
    if not lines:
        return [Text("Nobody diverged, and no task was skipped.")]
    return [Text(line, style="red") for line in lines]


def _title(result: Result) -> str:
    n_seeds = result.settings.n_seeds
    most = "up to " if result.n_few else ""
    return (
        f"{result.n_tasks} people, {result.n_tested // n_seeds} of them held out and given "
        f"{most}{result.shots} examples; {n_seeds} seed{'s' * (n_seeds > 1)}"
    )


def _legend(result: Result) -> str:
    lines = [
        "error: mean squared error on the held-out people's other rows; 1 is the variance of the "
        "meta-training people's target. ± is the standard error over seeds. vs. Reptile: percent.",
        f"rate: the best of {len(RATES)} from {RATES[0]:g} to {RATES[-1]:g}, chosen for each seed "
        "on the held-out people themselves, in the rival's favour. two rates: so is the "
        f"intercept's, the best of {1 + len(RATIOS)}, 1 to {RATIOS[-1]:g} times as large.",
        "ARUBA has nothing to choose: MetaLearner(phi) and meta_train with nothing given. "
        "proximal: meta_fit, likewise. mixed model: random slopes, each on its own or with a full "
        "covariance, by restricted likelihood.",
        "no adaptation: ARUBA's initialization. diverged: an error that is not finite or above "
        f"{DIVERGED:g}. bold: the best that chose nothing on held-out people.",
    ]
    if result.n_too_short:
        lines.append(
            f"{result.n_too_short} held-out people have no row to be tested on after up to "
            f"{result.shots} examples, or none to adapt on, and were left out."
        )
    return "\n".join(lines)


def _choice(outcome: Outcome) -> str:
    if not outcome.choices[0]:
        return ""
    values = sorted({choice[0] for choice in outcome.choices})
    span = f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g}–{values[-1]:g}"
    return f"{_CHOICE[outcome.method]} {span}"


def _error(outcome: Outcome) -> Text:
    if not math.isfinite(outcome.error):
        return Text("diverged", style="red")
    if math.isnan(outcome.standard_error):
        return Text(f"{outcome.error:.4f}")
    return Text(f"{outcome.error:.4f} ± {outcome.standard_error:.4f}")


def _difference(result: Result, outcome: Outcome) -> str:
    mean, error = (100.0 * value for value in result.against_reptile(outcome))
    if outcome.method == REPTILE or not math.isfinite(mean):
        return ""
    return f"{mean:+.1f}" if math.isnan(error) else f"{mean:+.1f} ± {error:.1f}"
