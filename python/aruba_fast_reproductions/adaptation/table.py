"""The comparison as tables for the terminal."""

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from .methods import ADAM, BEFORE, PLUS
from .result import Result

_HEADS = {BEFORE: "before", ADAM: "Adam", PLUS: "ARUBA++"}


def rows(result: Result, kind: str) -> list[list[str]]:
    """The lines of the table of a kind of tests, its head first."""
    ways = result.study.method.columns()
    lines = []
    for method in result.methods:
        found = [result.estimate(method.name, kind, way) for way in ways]
        lines.append([method.row, *("" if each is None else str(each) for each in found)])
    return [[result.study.method.scheme, *(_HEADS.get(way, way) for way in ways)], *lines]


def render(result: Result) -> RenderableType:
    """The tables, the differences that the experiment is about, and how to read it all."""
    parts: list[RenderableType] = []
    for kind, title in result.study.titles.items():
        heads, *lines = rows(result, kind)
        table = RichTable(
            title=title, title_justify="left", title_style="bold", box=SIMPLE, padding=(0, 1, 0, 0)
        )
        table.add_column(heads[0])
        for head in heads[1:]:
            table.add_column(head, justify="right")
        for line in lines:
            # Nine columns are too wide for 80 characters unless errors stand below their means.
            table.add_row(*(cell.replace("±", "\n±") for cell in line))
        parts.append(table)
    parts += [Text(f"{name}: {gain.signed}") for name, gain in result.claims().items()]
    return Group(*parts, Text(_legend(result), style="dim"))


def _legend(result: Result) -> str:
    seeds = len(result.seeds)
    text = (
        f"{result.study.legend(result.runs, result.scale)} {seeds} seed{'s' * (seeds > 1)}; ± is "
        "the standard error over seeds. Rows: how weights moved in the tasks of training; columns: "
        "how they moved in those of the test."
    )
    if any("–" in line[1:] for kind in result.study.titles for line in rows(result, kind)):
        text += " –: a test diverged."
    if result.study.trivial is None:
        return text
    trivial = ", ".join(f"{result.trivial(k).mean:.1f} % ({k})" for k in result.study.titles)
    return f"{text} {result.study.trivial[1].capitalize()}: {trivial}."
