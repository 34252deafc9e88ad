"""The comparison as a table for the terminal, and as the one of docs/results.md."""

from typing import Any

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .comparison import Row, rows
from .methods import ARUBA_PLUS, SGD

_Test = tuple[int, bool, int]


def render(result: dict[str, Any]) -> RenderableType:
    """One column for each test, a line for each method; how to read it below."""
    found = rows(result)
    tests, methods = _by_method(found)
    table = RichTable(title=_title(result), title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("method", no_wrap=True)
    for shots, transductive, n_tasks in tests:
        kind = "transductive" if transductive else "inductive"
        table.add_column(f"{shots}-shot, {kind}\n{n_tasks} tasks", justify="right")
    best = {test: best_rate([row for row in found if _test(row) == test]) for test in tests}
    for title, of_tests in methods.items():
        cells = [
            Text(percent(row), style="bold" if row and row is best[test] else "")
            for test, row in zip(tests, of_tests, strict=True)
        ]
        table.add_row(title, *cells)
    return Group(table, Text(_legend(found), style="dim"))


def markdown(result: dict[str, Any]) -> str:
    """The same as a table of a page."""
    tests, methods = _by_method(rows(result))
    heads = [f"{shots}-shot" + ("" if t else ", inductive") for shots, t, _ in tests]
    lines = [f"| method | {' | '.join(heads)} |", "|---|" + "---:|" * len(tests)]
    lines += [
        f"| {title} | {' | '.join(map(percent, found))} |" for title, found in methods.items()
    ]
    return "\n".join(lines)


def _by_method(found: list[Row]) -> tuple[list[_Test], dict[str, list[Row | None]]]:
    """The tests, and by the title of every method its rows of them, None where it has none."""
    tests = list(dict.fromkeys(_test(row) for row in found))
    rows_of = {(row.title, _test(row)): row for row in found}
    return tests, {row.title: [rows_of.get((row.title, t)) for t in tests] for row in found}


def best_rate(found: list[Row]) -> Row | None:
    """The best fixed rate of SGD, an oracle's choice in its favour."""
    of_grid = [row for row in found if row.method.startswith(f"{SGD}-")]
    return max(of_grid, key=lambda row: row.accuracy, default=None)


def percent(row: Row | None) -> str:
    """Accuracy and standard error in percent; nothing of nothing."""
    return "" if row is None else f"{100 * row.accuracy:.1f} ± {100 * row.standard_error:.1f}"


def _test(row: Row) -> _Test:
    return row.shots, row.transductive, row.n_tasks


def _title(result: dict[str, Any]) -> str:
    own = result["runs"][0]["settings"]
    n_seeds = len({run["seed"] for run in result["runs"]})
    return (
        f"Omniglot, {own['n_way']}-way, {own['meta_iterations']} meta-iterations, "
        f"{n_seeds} seed{'s' * (n_seeds > 1)}: accuracy in percent"
    )


def _legend(found: list[Row]) -> str:
    lines = [
        "±: standard error over the tasks of the test, which are the same for all; characters that "
        "meta-training has not seen. bold: the best fixed rate, chosen on the test itself.",
    ]
    coefs = [f"{c:g}" for row in found if row.method == ARUBA_PLUS for c in row.coefs]
    if coefs:
        lines.append(
            f"ARUBA++: the same training as ARUBA; coef chosen on training characters: "
            f"{', '.join(coefs)}."
        )
    return "\n".join(lines)
