"""The command `writers`: federated learning of a small network, adapted to new people's digits."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import comparison, options
from .app import app
from .screen import in_one_sentence


@app.command()
def writers(
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: aruba, isotropic, fedavg-RATE. If absent, all of the table."
        ),
    ] = None,
    rounds: options.Rounds = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Images that a new writer adapts to; 20 if absent.")
    ] = None,
    seeds: options.Seeds = 5,
    seed: options.FirstSeed = 0,
    out: options.Out = Path("writers-runs"),
    json_file: options.JsonFile = None,
    figures: options.Figures = None,
    data: Annotated[
        Path | None, typer.Option(help="MNIST by writer; in ARUBA_FAST_DATA if not given.")
    ] = None,
    device: options.Device = "cpu",
    workers: options.Workers = None,
    tensorboard: options.TensorBoard = None,
    show: options.Show = None,
) -> None:
    """FedAvg and FedAvg+ARUBA on MNIST by writer; new writers adapt to a few of their digits."""
    from ..needs import require_torch

    with in_one_sentence():
        require_torch("writers")
        from aruba_fast.datasets import load_mnist_writers

        from ..writers import STUDY, Settings, WritersJob

        if show is not None:
            comparison.tell_saved(STUDY, show, figures, json_file)
            return
        load_mnist_writers(data)
        given = {"n_rounds": rounds, "shots": shots}
        comparison.compare(
            STUDY,
            WritersJob,
            replace(Settings(), **{name: value for name, value in given.items() if value}),
            methods=methods,
            seeds=range(seed, seed + seeds),
            out=out,
            data=data,
            device=device,
            workers=workers,
            tensorboard=tensorboard,
            figures=figures,
            json_file=json_file,
        )
