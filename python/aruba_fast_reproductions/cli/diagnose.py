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
        Path, typer.Argument(help="What MetaLearner.save or MetaOptimizer.save wrote.")
    ],
    figure: Annotated[Path | None, typer.Option(help="Draw it into this file.")] = None,
) -> None:
    """Tell what the rates of a saved learner have become, and what is odd about it."""
    from ..diagnosis import read

    with in_one_sentence():
        outputs.require("diagnose", folders={}, files={"figure": figure})
        found = read(file)
        steps = []
        if figure is not None:
            from ..diagnosis.figure import draw

            steps.append(lambda: draw(found, figure))
        deliver(*steps, lambda: show(Text(str(found))))
