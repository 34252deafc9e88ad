"""The league's tables: the error of every method on every table, and who is beaten by whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table as Grid

from .methods import ENTRANTS, OURS
from .protocol import SHOTS
from .season import Results, errors, seconds


def grid(results: dict[str, Results], shots: str) -> Grid:
    """Errors after so many rows, mean and standard error over the splits; ours worst come first."""
    playing = [m for m in ENTRANTS if any(played(r, m) for r in results.values())]
    shown = Grid(title=f"adapted on {shots} of a person's rows", header_style="bold")
    shown.add_column("table")
    for method in playing:
        shown.add_column(method, justify="right")
    for name in sorted(results, key=lambda n: -against_best(results[n], shots)):
        shown.add_row(name, *(_cell(results[name], method, shots) for method in playing))
    return shown


def played(results: Results, method: str) -> bool:
    """Whether a method has errors on this table."""
    return any("errors" in split.get(method, {}) for split in results["splits"].values())


def against_best(results: Results, shots: str) -> float:
    """Our mean error over that of the best rival."""
    means = {m: _mean(results, m, shots) for m in ENTRANTS if played(results, m)}
    rivals = [value for method, value in means.items() if method != OURS]
    return means[OURS] / min(rivals) if OURS in means and rivals else np.nan


def _mean(results: Results, method: str, shots: str) -> float:
    return float(np.nanmean(errors(results, method, shots)))


def _cell(results: Results, method: str, shots: str) -> str:
    if not played(results, method):
        return ""
    values = errors(results, method, shots)
    values = values[~np.isnan(values)]
    if not np.isfinite(values).all():
        return "diverged"
    spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    best = min(_mean(results, m, shots) for m in ENTRANTS if played(results, m))
    text = f"{values.mean():.4f} ± {spread:.4f}"
    return f"[bold]{text}[/bold]" if values.mean() == best else text


def times(results: dict[str, Results]) -> Grid:
    """Seconds of a fit, the median over the splits."""
    playing = [m for m in ENTRANTS if any(played(r, m) for r in results.values())]
    shown = Grid(title="seconds to fit, median, one thread", header_style="bold")
    shown.add_column("table")
    for method in playing:
        shown.add_column(method, justify="right")
    for name, of_table in results.items():
        cells = (seconds(of_table, method) for method in playing)
        shown.add_row(name, *(f"{np.median(c):.3g}" if len(c) else "" for c in cells))
    return shown


def grids(results: dict[str, Results]) -> Sequence[Grid]:
    """All that is printed."""
    return [*(grid(results, shots) for shots in SHOTS), times(results)]
