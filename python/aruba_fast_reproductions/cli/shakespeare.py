"""The command `shakespeare`: federated learning of a character LSTM, personalized to each role."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import outputs
from .app import app
from .screen import deliver, in_one_sentence, progress_bar, show


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
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds of federated training; the scale's if absent.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of repetitions.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder of the runs, which are resumed from it; made if absent.")
    ] = Path("shakespeare-runs"),
    json_file: outputs.JsonFile = None,
    figures: Annotated[
        Path | None, typer.Option(help="Draw into this folder, as shakespeare.png.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Shakespeare; in ARUBA_FAST_DATA if not given.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where PyTorch computes: cpu, cuda, cuda:1.")] = "cpu",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time, one thread each; one a core if absent."),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder of TensorBoard's logs; pip install tensorboard.")
    ] = None,
) -> None:
    """FedAvg and FedAvg+ARUBA on the roles of Shakespeare, before and after personalization."""
    from ..needs import require_device, require_torch

    with in_one_sentence():
        require_torch("shakespeare")
        from aruba_fast.datasets import load_shakespeare

        from ..files import write_json
        from ..logs import require_tensorboard
        from ..shakespeare import SCALES, Result, ShakespeareJob, planned, table
        from ..workers import run_all

        if scale not in SCALES:
            raise ValueError(
                f"shakespeare: `scale` must be known: got {scale!r}, "
                f"expected one of {', '.join(SCALES)}"
            )
        if tensorboard is not None:
            require_tensorboard()
        # Refused here, before any process begins.
        chosen_methods = planned(methods)
        load_shakespeare(data)
        require_device("shakespeare", device)
        chosen = SCALES[scale] if rounds is None else replace(SCALES[scale], n_rounds=rounds)
        outputs.require(
            "shakespeare",
            folders={"out": out, "figures": figures, "tensorboard": tensorboard},
            files={"json": json_file},
        )
        jobs = [
            ShakespeareJob(method, number, chosen, out, data, device, tensorboard)
            for number in range(seed, seed + seeds)
            for method in chosen_methods
        ]
        with progress_bar("rounds") as report:
            runs = run_all(jobs, [job.size for job in jobs], workers, report)
        result = Result(scale, runs)
        steps = []
        if json_file is not None:
            steps.append(lambda: write_json(json_file, result.as_json(), "shakespeare"))
        if figures is not None:
            from ..shakespeare.figure import draw

            steps.append(lambda: draw(result, figures / "shakespeare.png"))
        deliver(*steps, lambda: show(table.render(result)))
