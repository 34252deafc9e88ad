"""The command `theory`: the guarantees of meta-learning, watched on tasks."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as RichTable

from .app import app, in_one_sentence, progress_bar


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
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all numbers to this file.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Draw each experiment into this folder, as NAME.png.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the tasks.")] = 0,
) -> None:
    """Watch regret, its bounds and what is learned from them."""
    from .. import datasets
    from ..theory.experiments import EXPERIMENTS

    with in_one_sentence():
        if experiment is not None and experiment not in EXPERIMENTS:
            raise ValueError(
                f"there is no experiment {experiment!r}, expected one of {', '.join(EXPERIMENTS)}"
            )
        for folder in (figures, None if json_file is None else json_file.parent):
            if folder is not None and not folder.is_dir():
                raise FileNotFoundError(f"there is no folder {folder} to write to")
        tables = {"wages": datasets.load_wages()}
        names = [*tables, *(path.stem for path in data or [])]
        for path in data or []:
            # Two tables of one name go by their paths.
            name = path.stem if names.count(path.stem) == 1 else str(path)
            tables[name] = datasets.load_table(path)
        reports = []
        for name in EXPERIMENTS if experiment is None else [experiment]:
            with progress_bar(name) as bar:
                own = {"tables": tables} if name == "guarantee" else {}
                report = EXPERIMENTS[name](seed, progress=bar, **own)
            reports.append(report)
            table = RichTable(*report.columns, box=SIMPLE, title=report.title, title_justify="left")
            for column in table.columns[1:]:
                column.justify = "right"
            for row in report.rows:
                table.add_row(*row)
            Console().print(table)
            for fact, value in report.facts.items():
                typer.echo(f"  {fact}: {value:.4g}")
            if figures is not None:
                from ..theory.experiments.figure import draw

                draw(report, figures / f"{name}.png")
        if json_file is not None:
            text = json.dumps([r.as_json() for r in reports], indent=1, allow_nan=False)
            json_file.write_text(text + "\n", encoding="utf-8")
