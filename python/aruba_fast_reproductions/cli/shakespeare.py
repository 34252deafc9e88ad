"""The command `shakespeare`: federated learning of a character LSTM, personalized to each role."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from . import comparison, options
from .app import app
from .screen import in_one_sentence


@app.command()
def shakespeare(
    scale: Annotated[
        str, typer.Option(help="laptop: half an hour on 2 cores; paper: the paper's, for a GPU.")
    ] = "laptop",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: aruba, isotropic, fedavg-RATE. If absent, all of the table."
        ),
    ] = None,
    rounds: options.Rounds = None,
    seeds: options.Seeds = 5,
    seed: options.FirstSeed = 0,
    out: options.Out = Path("shakespeare-runs"),
    json_file: options.JsonFile = None,
    figures: options.Figures = None,
    data: Annotated[
        Path | None, typer.Option(help="Shakespeare; in ARUBA_FAST_DATA if not given.")
    ] = None,
    device: options.Device = "cpu",
    workers: options.Workers = None,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, help="Train on so many nodes of Flower's simulation; aruba alone."),
    ] = None,
    tensorboard: options.TensorBoard = None,
    show: options.Show = None,
) -> None:
    """FedAvg and FedAvg+ARUBA on the roles of Shakespeare, before and after personalization."""
    from ..needs import require_torch

    with in_one_sentence():
        require_torch("shakespeare")
        from aruba_fast.datasets import load_shakespeare

        from ..shakespeare import SCALES, STUDY, ShakespeareJob

        if show is not None:
            comparison.tell_saved(STUDY, show, figures, json_file)
            return
        if scale not in SCALES:
            raise ValueError(
                f"shakespeare: `scale` must be known: got {scale!r}, "
                f"expected one of {', '.join(SCALES)}"
            )
        load_shakespeare(data)
        comparison.compare(
            STUDY,
            partial(ShakespeareJob, nodes=nodes),
            SCALES[scale] if rounds is None else replace(SCALES[scale], n_rounds=rounds),
            scale=scale,
            methods=methods,
            seeds=range(seed, seed + seeds),
            out=out,
            data=data,
            device=device,
            workers=workers if nodes is None else 1,
            tensorboard=tensorboard,
            figures=figures,
            json_file=json_file,
        )
