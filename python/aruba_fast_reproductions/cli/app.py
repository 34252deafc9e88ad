"""The commands `demo`, `info` and `bench` of `aruba-fast`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table as RichTable
from rich.text import Text

from aruba_fast import _core

from . import options, outputs
from .screen import deliver, in_one_sentence, progress_bar, show

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Meta-learn an initialization and a learning rate per coordinate from many tasks.",
)


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="A table, .npz; if absent, the wages of 595 people.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of repetitions.")] = 5,
    shots: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Examples that a held-out person adapts on; all that the table does not set "
            "aside, or about half, if absent.",
        ),
    ] = None,
    json_file: options.JsonFile = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the result into this file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
) -> None:
    """Meta-learn from real people's data and compare ARUBA with its rivals."""
    from aruba_fast import datasets

    from ..demo import Interrupted, Settings, run, table
    from ..files import write_json

    with in_one_sentence():
        people = datasets.load_wages() if data is None else datasets.load_table(data)
        settings = Settings(n_seeds=seeds, first_seed=seed, shots=shots)
        outputs.require("demo", folders={}, files={"json": json_file, "figure": figure})
        steps, told, interrupt = [], [], None
        try:
            with progress_bar("meta-learning") as report:
                result = run(people, settings, report)
        except Interrupted as interrupted:
            interrupt, result = interrupted, interrupted.result
            told.append(Text(f"{result.settings.n_seeds} of {seeds} seeds are done"))
        if json_file is not None:
            steps.append(lambda: write_json(json_file, result.as_json(), "demo"))
        if figure is not None:
            from ..demo.figure import draw

            def picture() -> None:
                draw(result, figure)
                told.append(Text(f"drawn: {figure}"))

            steps.append(picture)
        deliver(*steps, lambda: show(table.render(result), *told))
        if interrupt is not None:
            raise interrupt


@app.command()
def info() -> None:
    """Show the version, the instruction set, the threads, OpenMP and CUDA."""
    table = RichTable(show_header=False, box=SIMPLE)
    found = _core.info()
    cuda = found["cuda"]
    found["cuda"] = cuda["problem"] or f"{cuda['versions']}, {cuda['devices']} devices"
    for name, value in found.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        table.add_row(name, ", ".join(value) if isinstance(value, list) else str(value))
    with in_one_sentence():
        show(table)


@app.command()
def bench() -> None:
    """Time the kernels and the task engine against NumPy on this machine, in half a minute."""
    from . import bench as measurements

    table = RichTable("float32", "aruba_fast", "NumPy", "faster", "of stream", box=SIMPLE)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    with in_one_sentence(), progress_bar("measuring") as report:
        for row in measurements.rows(report):
            table.add_row(*row)
    with in_one_sentence():
        show(table, Text(f"{_core.get_num_threads()} threads. {measurements.LEGEND}"))
