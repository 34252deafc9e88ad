"""The command `sine`: few-shot regression of sines by Reptile, with fixed and learned rates."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import comparison, options
from .app import app
from .screen import in_one_sentence


@app.command()
def sine(
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: aruba, isotropic, sgd-RATE, adam-RATE. All of the table if "
            "absent."
        ),
    ] = None,
    rounds: options.Rounds = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Points that a sine is known by; 10 if absent.")
    ] = None,
    test_tasks: Annotated[
        int | None, typer.Option(min=1, help="Sines of the test; 200 if absent.")
    ] = None,
    seeds: options.Seeds = 5,
    seed: options.FirstSeed = 0,
    out: options.Out = Path("sine-runs"),
    json_file: options.JsonFile = None,
    figures: options.Figures = None,
    device: options.Device = "cpu",
    workers: options.Workers = None,
    tensorboard: options.TensorBoard = None,
    show: options.Show = None,
) -> None:
    """Reptile with fixed rates, Adam and learned rates on sines; new sines from a few points."""
    from ..needs import require_torch

    with in_one_sentence():
        require_torch("sine")
        from ..sine import STUDY, Settings, SineJob

        if show is not None:
            comparison.tell_saved(STUDY, show, figures, json_file)
            return
        given = {"n_rounds": rounds, "shots": shots, "n_tests": test_tasks}
        comparison.compare(
            STUDY,
            SineJob,
            replace(Settings(), **{name: value for name, value in given.items() if value}),
            methods=methods,
            seeds=range(seed, seed + seeds),
            out=out,
            device=device,
            workers=workers,
            tensorboard=tensorboard,
            figures=figures,
            json_file=json_file,
        )
