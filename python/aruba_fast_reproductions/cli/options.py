"""Options that several commands have, and the help of each."""

from pathlib import Path
from typing import Annotated

import typer

Rounds = Annotated[int | None, typer.Option(min=1, help="Number of training rounds.")]
Seeds = Annotated[int, typer.Option(min=1, help="Number of repetitions.")]
FirstSeed = Annotated[int, typer.Option(min=0, help="The first seed.")]
Out = Annotated[
    Path, typer.Option(help="Folder of the runs; it is made if absent, and runs in it continue.")
]
Show = Annotated[
    Path | None,
    typer.Option(help="Show the numbers of this file, written by --json; train nothing."),
]
Figures = Annotated[
    Path | None, typer.Option(help="Draw a figure into this folder, named after the command.")
]
Device = Annotated[str, typer.Option(help="Where PyTorch computes: cpu, cuda, cuda:1.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at a time, of one thread each; if absent, one for each core."),
]
TensorBoard = Annotated[
    Path | None, typer.Option(help="Folder for TensorBoard's logs; needs pip install tensorboard.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")]
