"""The comparison as a table for the terminal."""

from typing import Any

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .comparison import Row, rows
from .methods import SGD

_LEGEND = (
    "±: standard error over the tasks of the test, which are the same for all; characters that "
    "meta-training has not seen. bold: the best fixed rate, chosen on the test itself."
)


def render(result: dict[str, Any]) -> RenderableType:
    """One column for each test, a line for each method; how to read it below."""
    found = rows(result)
    tests = list(dict.fromkeys(_test(row) for row in found))
    table = RichTable(title=_title(result), title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("method", no_wrap=True)
    for shots, transductive, n_tasks in tests:
        kind = "transductive" if transductive else "inductive"
        table.add_column(f"{shots}-shot, {kind}\n{n_tasks} tasks", justify="right")
    best = {test: best_rate([row for row in found if _test(row) == test]) for test in tests}
    for method in dict.fromkeys(row.method for row in found):
        of_method = {_test(row): row for row in found if row.method == method}
        cells = [
            Text(percent(of_method[test]), style="bold" if of_method[test] is best[test] else "")
            if test in of_method
            else Text("")
            for test in tests
        ]
        table.add_row(next(iter(of_method.values())).title, *cells)
    return Group(table, Text(_LEGEND, style="dim"))


def best_rate(found: list[Row]) -> Row | None:
    """The best fixed rate of SGD, an oracle's choice in its favour."""
    of_grid = [row for row in found if row.method.startswith(f"{SGD}-")]
    return max(of_grid, key=lambda row: row.accuracy, default=None)


def percent(row: Row) -> str:
    """Accuracy and standard error in percent."""
    return f"{100 * row.accuracy:.1f} ± {100 * row.standard_error:.1f}"


def _test(row: Row) -> tuple[int, bool, int]:
    return row.shots, row.transductive, row.n_tasks


def _title(result: dict[str, Any]) -> str:
    own = result["runs"][0]["settings"]
    n_seeds = len({run["seed"] for run in result["runs"]})
    return (
        f"Omniglot, {own['n_way']}-way, {own['meta_iterations']} meta-iterations, "
        f"{n_seeds} seed{'s' * (n_seeds > 1)}: accuracy in percent"
    )
