"""The command `diagnose`: what a saved learner has learned, as a table and as a picture."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from . import outputs
from .app import app
from .screen import deliver, in_one_sentence, show


@app.command()
def diagnose(
    file: Annotated[
        Path, typer.Argument(help="The file of MetaLearner.save or MetaOptimizer.save.")
    ],
    figure: Annotated[Path | None, typer.Option(help="Draw the rates into this file.")] = None,
) -> None:
    """Show the learned rates of a saved learner, and warn if something looks wrong."""
    from ..diagnosis import read

    with in_one_sentence():
        outputs.require("diagnose", folders={}, files={"figure": figure})
        found = read(file)
        steps = []
        if figure is not None:
            from ..diagnosis.figure import draw

            steps.append(lambda: draw(found, figure))
        deliver(*steps, lambda: show(Text(str(found))))
