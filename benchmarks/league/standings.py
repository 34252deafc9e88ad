"""Who won: the errors of every method on every table, ours beside them, and the seconds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table as Grid

from .methods import ALONE, BOOSTING, MIXED, ONLINE, OURS, POOLED, REPTILE
from .protocol import SHOTS
from .season import Results

KINDS = ("intercept", "diagonal", "full")
# A table counts as lost where our error is so much above the best rival's, beyond two errors.
MARGIN = 0.03
# The mixed models of our own EM: of statsmodels' no fit is faster.
FASTEST = tuple(name for name in MIXED if name.startswith("mixed"))
# Boosting is shown, but nobody's model of people: it is not what ours must not lose to.
JUDGES = (POOLED, *MIXED, REPTILE)


def errors(results: Results, method: str, shots: str) -> NDArray[np.float64] | None:
    """The errors of a method on all splits; None if there are some that it did not play."""
    played = [split.get(method, {}) for split in results["splits"].values()]
    if not played or not all("errors" in one for one in played):
        return None
    values = (one["errors"][shots]["people"] for one in played)
    return np.array([math.inf if value is None else value for value in values])


def best(results: Results, methods: tuple[str, ...], shots: str) -> str | None:
    """The method of least mean error, of those that played all splits."""
    means = {}
    for method in methods:
        values = errors(results, method, shots)
        if values is not None:
            means[method] = values.mean()
    return min(means, key=means.__getitem__) if means else None


def excess(results: Results, rivals: tuple[str, ...], shots: str) -> tuple[str, float, float]:
    """The best rival, by what share our error is above its, and the standard error of that.

    The difference is paired by split; its error is nan for a single split.
    """
    ours, rival = errors(results, OURS, shots), best(results, rivals, shots)
    if ours is None or rival is None:
        return "", math.nan, math.nan
    theirs = errors(results, rival, shots)
    assert theirs is not None
    with np.errstate(invalid="ignore"):
        difference = (ours - theirs) / theirs.mean()
        n = len(difference)
        spread = float(difference.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return rival, float(difference.mean()), spread


def lost(results: Results, shots: str) -> bool:
    """Whether ours is clearly worse than somebody."""
    _, share, spread = excess(results, JUDGES, shots)
    return share > MARGIN and not share <= 2 * spread


class Line(NamedTuple):
    """What a table of errors says of one table of people.

    Attributes:
        errors: Of ours, the best mixed model, pooled, Reptile, alone and boosting; empty where a
            method did not play.
        mixed: Which mixed model was best.
        against: By how much ours is above the best rival.
        lost: Whether that is clear.
    """

    name: str
    errors: dict[str, str]
    mixed: str
    against: str
    lost: bool


def lines(results: dict[str, Results], shots: str) -> list[Line]:
    """Mean errors after so many rows of a person; our losses first."""
    found = []
    for name, of_table in results.items():
        _, share, spread = excess(of_table, JUDGES, shots)
        mixed = best(of_table, MIXED, shots)
        shown = {OURS: OURS, "mixed": mixed} | {m: m for m in (POOLED, REPTILE, ALONE, BOOSTING)}
        errors = {title: _mean(of_table, method, shots) for title, method in shown.items()}
        against = f"{100 * share:+.1f} ± {100 * spread:.1f} %"
        line = Line(name, errors, mixed or "", against, lost(of_table, shots))
        found.append((-np.nan_to_num(share, nan=-np.inf), line))
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def grid(results: dict[str, Results], shots: str) -> Grid:
    """The lines as a table for the terminal."""
    shown = Grid(title=f"error after {shots} of a person's rows", header_style="bold")
    shown.add_column("table")
    for name in (OURS, "mixed", "which", POOLED, REPTILE, ALONE, BOOSTING, "ours to the best"):
        shown.add_column(name, justify="right")
    for line in lines(results, shots):
        ours, mixed, *others = line.errors.values()
        against = f"[bold red]{line.against}[/]" if line.lost else line.against
        shown.add_row(line.name, ours, mixed, line.mixed, *others, against)
    return shown


def _mean(results: Results, method: str | None, shots: str) -> str:
    values = None if method is None else errors(results, method, shots)
    return "" if values is None else f"{values.mean():.4f}"


def summary(results: dict[str, Results]) -> Iterator[str]:
    """Sentences about all tables."""
    for shots in SHOTS:
        shares = [excess(r, MIXED, shots)[1] for r in results.values()]
        shares = [share for share in shares if not math.isnan(share)]
        if shares:
            yield (
                f"after {shots}: our error over the best mixed model's, mean of {len(shares)} "
                f"tables: {1 + np.mean(shares):.3f}, geometric {_geometric(shares):.3f}"
            )
        pairs = []
        for one, other in itertools.combinations(KINDS, 2):
            two = tuple(name for name in MIXED if name.endswith((one, other)))
            of_two = [excess(r, two, shots)[1] for r in results.values()]
            of_two = [share for share in of_two if not math.isnan(share)]
            if of_two:
                pairs.append(f"{one} and {other} {1 + np.mean(of_two):.3f}")
        if pairs:
            yield f"after {shots}: over the better of two of them: {', '.join(pairs)}"
        of_losses = [name for name in results if lost(results[name], shots)]
        yield f"after {shots}: lost by more than 3 %: {', '.join(of_losses) or 'none'}"
    ratios = []
    for of_table in results.values():
        mixed = best(of_table, FASTEST, "half")
        if mixed is not None and OURS in of_table["seconds"]:
            theirs, ours = (of_table["seconds"][name]["median"] for name in (mixed, OURS))
            ratios.append(theirs / ours)
    if ratios:
        yield (
            "seconds to fit, the best mixed model's over ours (medians over splits): from "
            f"{min(ratios):.3g} to {max(ratios):.3g}, in the middle {np.median(ratios):.3g}"
        )
    notes: dict[str, dict[str, None]] = {}
    for name, of_table in results.items():
        for method, one in ((m, o) for s in of_table["splits"].values() for m, o in s.items()):
            if "people" in one:
                notes.setdefault(f"{method}, given {one['people']} people", {})[name] = None
            if "failed" in one:
                notes.setdefault(f"{method} {one['failed']}", {})[name] = None
    for note, names in notes.items():
        yield f"{note}: {', '.join(names)}"


def _geometric(shares: list[float]) -> float:
    """One table where somebody diverged does not outweigh all others in this mean."""
    return float(np.exp(np.log1p(shares).mean()))


def times(results: dict[str, Results]) -> Grid:
    """Seconds of a fit, the median over the splits."""
    methods = (OURS, POOLED, REPTILE, ALONE, BOOSTING, *MIXED)
    playing = [m for m in methods if any(m in r["seconds"] for r in results.values())]
    shown = Grid(title="seconds to fit, median, one thread", header_style="bold")
    shown.add_column("table")
    for method in playing:
        shown.add_column(method.replace("-", " "), justify="right")
    for name, of_table in results.items():
        cells = (of_table["seconds"].get(method) for method in playing)
        shown.add_row(name, *(f"{c['median']:.3g}" if c else "" for c in cells))
    return shown


def page(results: dict[str, Results], shots: str) -> list[str]:
    """The lines in Markdown, as docs/league.md has them."""
    shown = [
        "| table | ours | best mixed model | | pooled | Reptile | alone | boosting "
        "| ours to the best |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines(results, shots):
        ours, mixed, *others = line.errors.values()
        against = f"**{line.against}**" if line.lost else line.against
        which = line.mixed.rpartition("-")[2]
        shown.append("| " + " | ".join([line.name, ours, mixed, which, *others, against]) + " |")
    return shown


def page_online(results: dict[str, Results]) -> list[str]:
    """What is lost online: errors over those of the fit at once, in Markdown."""
    titles = [f"{method}, {shots}" for method in ONLINE for shots in SHOTS]
    lines = ["| table | " + " | ".join(titles) + " |", "|---" * (1 + len(titles)) + "|"]
    all_ratios = []
    for name, of_table in results.items():
        ratios = []
        for method in ONLINE:
            for shots in SHOTS:
                theirs, ours = (errors(of_table, m, shots) for m in (method, OURS))
                assert theirs is not None
                assert ours is not None
                ratios.append(theirs.mean() / ours.mean())
        all_ratios.append(ratios)
        lines.append(f"| {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    means = np.exp(np.log(all_ratios).mean(axis=0))
    lines.append("| geometric mean | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    return lines


def page_of_statsmodels(results: dict[str, Results]) -> list[str]:
    """How statsmodels fares with the three mixed models, in Markdown; tables of numbers.

    Seconds of a fit, on how many splits it ended, and its errors over those of our EM, in the
    geometric mean, where it was given the same people.
    """
    lines = ["| table | " + " | ".join(KINDS) + " | ours |", "|---" * (2 + len(KINDS)) + "|"]
    for name, of_table in results.items():
        cells = [_of_statsmodels(of_table, kind) for kind in KINDS]
        if any(cells):
            ours = f"{of_table['seconds'][OURS]['median']:.3g}"
            lines.append(f"| {name} | " + " | ".join([*cells, ours]) + " |")
    return lines


def _of_statsmodels(results: Results, kind: str) -> str:
    name, ours = f"statsmodels-{kind}", f"mixed-{kind}"
    played = [split for split in results["splits"].values() if name in split]
    ended = [split for split in played if "errors" in split[name]]
    notes = list(dict.fromkeys(s[name]["failed"] for s in played if "failed" in s[name]))
    if ended:
        seconds = f"{results['seconds'][name]['median']:.3g}"
        if len(ended) < len(played):
            seconds += f" on {len(ended)} of {len(played)}"
        notes.insert(0, seconds)
        if people := ended[0][name].get("people"):
            notes.append(f"{people} people")
        else:
            apart = [
                split[name]["errors"][s]["people"] / split[ours]["errors"][s]["people"] - 1
                for split in ended
                for s in SHOTS
            ]
            notes.append(f"{_geometric(apart):.3f}")
    return ", ".join(notes)


def page_of_seconds(results: dict[str, Results]) -> list[str]:
    """The lines of a table of seconds in Markdown."""
    methods = (OURS, *ONLINE, *FASTEST, POOLED, REPTILE, ALONE, BOOSTING)
    lines = [
        "| table | people | rows | features | " + " | ".join(methods) + " |",
        "|---" * (4 + len(methods)) + "|",
    ]
    for name, of_table in results.items():
        cells = [name, *(str(of_table[key]) for key in ("people", "rows", "features"))]
        cells += [f"{of_table['seconds'][m]['median']:.3g}" for m in methods]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
