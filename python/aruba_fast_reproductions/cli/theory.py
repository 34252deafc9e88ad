"""The command `theory`: the guarantees of meta-learning, watched on tasks."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from ..files import write_json
from ..theory.report import Report
from . import options, outputs
from .app import app
from .screen import deliver, in_one_sentence, progress_bar, show


@app.command()
def theory(
    experiment: Annotated[
        str | None,
        typer.Argument(help="scaling, geometry, drift or guarantee; all of them if absent."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Tables .npz for `guarantee`, beside the wages of 595 people."),
    ] = None,
    json_file: options.JsonFile = None,
    figures: Annotated[
        Path | None, typer.Option(help="Draw each experiment into this folder, as NAME.png.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the tasks.")] = 0,
) -> None:
    """Show regret, its bounds and what is learned from them, on tasks."""
    from aruba_fast import datasets

    from ..theory import EXPERIMENTS

    with in_one_sentence():
        if experiment is not None and experiment not in EXPERIMENTS:
            raise ValueError(
                f"there is no experiment {experiment!r}, expected one of {', '.join(EXPERIMENTS)}"
            )
        outputs.require("theory", folders={"figures": figures}, files={"json": json_file})
        tables = {"wages": datasets.load_wages()}
        names = [*tables, *(path.stem for path in data or [])]
        for path in data or []:
            # Two tables of one name go by their paths.
            name = path.stem if names.count(path.stem) == 1 else str(path)
            tables[name] = datasets.load_table(path)
        reports: list[Report] = []
        try:
            for name in EXPERIMENTS if experiment is None else [experiment]:
                with progress_bar(name) as bar:
                    own = {"tables": tables} if name == "guarantee" else {}
                    reports.append(EXPERIMENTS[name](seed, progress=bar, **own))
        finally:
            # Also of those that came before one that failed, or before Ctrl-C.
            _deliver(reports, json_file, figures)


def _deliver(reports: list[Report], json_file: Path | None, figures: Path | None) -> None:
    steps = []
    if json_file is not None and reports:
        values = [report.as_json() for report in reports]
        steps.append(partial(write_json, json_file, values, "theory"))
    if figures is not None:
        from ..theory.figure import draw

        steps += [partial(draw, each, figures / f"{each.name}.png") for each in reports]
    deliver(*steps, *(partial(show, *_shown(report)) for report in reports))


def _shown(report: Report) -> list[RenderableType]:
    """A report as a table, and the facts below it."""
    table = RichTable(*report.columns, box=SIMPLE, title=report.title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in report.rows:
        table.add_row(*row)
    return [table, *(Text(f"  {fact}: {value:.4g}") for fact, value in report.facts.items())]
