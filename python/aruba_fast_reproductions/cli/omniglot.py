"""The command `omniglot`: Reptile with fixed and with learned rates on handwritten characters."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import options, outputs, screen
from .app import app
from .screen import deliver, in_one_sentence, progress_bar

_METHODS = "aruba, adam, isotropic, sgd-RATE; with commas between them."


@app.command()
def omniglot(
    out: Annotated[
        Path, typer.Option(help="Folder of the runs; runs that are already there continue.")
    ] = Path("omniglot"),
    scale: Annotated[
        str, typer.Option(help="laptop: half an hour on 2 cores; paper: Reptile's, hours on a GPU.")
    ] = "laptop",
    ways: Annotated[int, typer.Option(min=2, help="Characters in a task.")] = 5,
    shots: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Drawings a character to adapt on; may be repeated; 1 and 5."),
    ] = None,
    transductive: Annotated[
        bool,
        typer.Option(
            "--transductive/--inductive",
            help="Whether queries are predicted as one batch, or alone.",
        ),
    ] = True,
    methods: Annotated[str | None, typer.Option(help=_METHODS)] = None,
    meta_iterations: Annotated[
        int | None, typer.Option(min=1, help="Number of meta-iterations, instead of the scale's.")
    ] = None,
    test_tasks: Annotated[
        int | None, typer.Option(min=1, help="Number of test tasks, instead of the scale's.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often every method is trained.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Omniglot's file or folder; if absent, in ARUBA_FAST_DATA.")
    ] = None,
    partial: Annotated[bool, typer.Option(help="Accept an incomplete Omniglot.")] = False,
    train_characters: Annotated[
        int, typer.Option(min=1, help="Characters to train on; the others are for the test.")
    ] = 1200,
    device: Annotated[str, typer.Option(help="Where PyTorch computes: cpu, cuda, cuda:1.")] = "cpu",
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the network: needs g++.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; if absent, one for each core.")
    ] = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's logs.")] = None,
    show: Annotated[
        Path | None,
        typer.Option(help="Show the numbers of this file, written by --json; train nothing."),
    ] = None,
    json_file: options.JsonFile = None,
    figures: Annotated[
        Path | None, typer.Option(help="Draw accuracy.png and rates.png into this folder.")
    ] = None,
) -> None:
    """Few-shot images: Reptile with Adam, with SGD and with learned rates, and what was learned."""
    from ..needs import require_torch

    with in_one_sentence():
        require_torch("omniglot")
        from ..files import write_json
        from ..omniglot import compare, of_scale, read_result
        from ..omniglot.methods import ARUBA
        from ..omniglot.table import render

        folders = {"figures": figures}
        if show is not None:
            result = read_result(show)
            outputs.require("omniglot", folders=folders, files={"json": json_file})
        else:
            given = {"n_tasks": test_tasks, "shots": tuple(shots) if shots else None}
            settings, evaluation = of_scale(
                scale,
                ways,
                meta_iterations,
                transductive=transductive,
                **{name: value for name, value in given.items() if value is not None},
            )
            settings = replace(settings, n_train=train_characters)
            if compiled and shutil.which(os.environ.get("CXX", "g++")) is None:
                typer.echo("No C++ compiler was found: the network is not compiled.", err=True)
                compiled = False
            folders |= {"out": out, "tensorboard": tensorboard}
            outputs.require("omniglot", folders=folders, files={"json": json_file})
            with progress_bar("meta-iterations") as bar:
                result = compare(
                    None if methods is None else [name.strip() for name in methods.split(",")],
                    settings,
                    evaluation,
                    folder=out,
                    seeds=seeds,
                    first_seed=seed,
                    data=data,
                    partial=partial,
                    device=device,
                    compiled=compiled,
                    workers=workers,
                    tensorboard=tensorboard,
                    progress=bar,
                )
        steps = []
        if json_file is not None:
            steps.append(lambda: write_json(json_file, result, "omniglot"))
        if figures is not None:
            from ..omniglot.figure import draw_accuracy, draw_rates

            steps.append(lambda: draw_accuracy(result, figures / "accuracy.png"))
            if any(run["method"] == ARUBA for run in result["runs"]):
                steps.append(lambda: draw_rates(result, figures / "rates.png"))
        deliver(*steps, lambda: screen.show(render(result)))
