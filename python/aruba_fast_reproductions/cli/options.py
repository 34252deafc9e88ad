"""Options that several commands have, and the help of each."""

from pathlib import Path
from typing import Annotated

import typer

Rounds = Annotated[int | None, typer.Option(min=1, help="Rounds of training, other than usual.")]
Seeds = Annotated[int, typer.Option(min=1, help="Number of repetitions.")]
FirstSeed = Annotated[int, typer.Option(min=0, help="The first seed.")]
Out = Annotated[
    Path, typer.Option(help="Folder of the runs, which are resumed from it; made if absent.")
]
Show = Annotated[
    Path | None,
    typer.Option(help="Show the numbers of this file, written by --json; train nothing."),
]
Figures = Annotated[
    Path | None, typer.Option(help="Draw into this folder, a file named as the command.")
]
Device = Annotated[str, typer.Option(help="Where PyTorch computes: cpu, cuda, cuda:1.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Runs at a time, one thread each; one a core if absent.")
]
TensorBoard = Annotated[
    Path | None, typer.Option(help="Folder of TensorBoard's logs; pip install tensorboard.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write all numbers to this file.")]
