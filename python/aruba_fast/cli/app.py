"""The commands `demo`, `info` and `bench` of `aruba-fast`; what all commands share."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from .. import _core

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Meta-learn an initialization and a learning rate per coordinate from many tasks.",
)


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Turns a refused file or argument into one sentence, and Ctrl-C into a clean end."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        typer.echo(f"aruba-fast: {str(interrupt) or 'interrupted'}", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        typer.echo(f"aruba-fast: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """A progress bar on standard error, as a function of (done, total)."""
    with Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="A table .npz; the wages of 595 people if not given.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of repetitions.")] = 5,
    shots: Annotated[
        int | None,
        typer.Option(
            min=1, help="Examples that a held-out person adapts on; about half if absent."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the result into this file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
) -> None:
    """Meta-learn from real people's data and compare ARUBA with its rivals."""
    from .. import datasets
    from ..demo import Settings, run, table

    with in_one_sentence():
        for path in (json_file, figure):
            if path is not None and not path.parent.is_dir():
                raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
        people = datasets.load_wages() if data is None else datasets.load_table(data)
        settings = Settings(n_seeds=seeds, first_seed=seed, shots=shots)
        with progress_bar("meta-learning") as report:
            result = run(people, settings, report)
        Console().print(table.render(result))
        if json_file is not None:
            text = json.dumps(result.as_json(), indent=1, allow_nan=False)
            json_file.write_text(text + "\n", encoding="utf-8")
        if figure is not None:
            from ..demo.figure import draw

            draw(result, figure)
            typer.echo(f"drawn: {figure}")


@app.command()
def info() -> None:
    """Tell the version, the instruction set, the threads, OpenMP and CUDA."""
    table = RichTable(show_header=False, box=SIMPLE)
    found = _core.info()
    cuda = found["cuda"]
    found["cuda"] = cuda["problem"] or f"{cuda['versions']}, {cuda['devices']} devices"
    for name, value in found.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        table.add_row(name, ", ".join(value) if isinstance(value, list) else str(value))
    Console().print(table)


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
    Console().print(table, f"{_core.get_num_threads()} threads. {measurements.LEGEND}")
