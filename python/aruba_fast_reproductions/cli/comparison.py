"""What the commands do that train and adapt: refuse early, run the jobs, write, draw, show."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import outputs
from .screen import deliver, progress_bar, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..adaptation import AdaptationJob, Result, Study


def compare(
    study: "Study",
    job: "Callable[..., AdaptationJob]",
    settings: Any,
    *,
    scale: str = "laptop",
    methods: str | None,
    seeds: range,
    out: Path,
    data: Path | None = None,
    device: str,
    workers: int | None,
    tensorboard: Path | None,
    figures: Path | None,
    json_file: Path | None,
) -> None:
    """Does the jobs of all methods and seeds, several at a time, and tells what they found.

    Args:
        study: How it is told.
        job: Trains and tests by a method with a seed.
        settings: Its settings.
        scale: Their name.
        methods: Names with commas; None for those of the table.
        seeds: The seeds.
        out: Folder of the runs.
        data: Where the data are, which have been looked at.
        device: Where PyTorch computes.
        workers: Runs at a time; None for one a core.
        tensorboard: Folder of its logs, or None.
        figures: Folder of the picture, or None.
        json_file: File of the numbers, or None.
    """
    from ..adaptation import Result
    from ..logs import require_tensorboard
    from ..needs import require_device
    from ..workers import run_all

    # Refused here, before any process begins.
    if tensorboard is not None:
        require_tensorboard()
    planned = study.method.planned(methods)
    require_device(study.name, device)
    folders = {"out": out, "figures": figures, "tensorboard": tensorboard}
    outputs.require(study.name, folders=folders, files={"json": json_file})
    jobs = [
        job(method, seed, settings, out, data, device, tensorboard)
        for seed in seeds
        for method in planned
    ]
    with progress_bar("rounds") as report:
        runs = run_all(jobs, [each.size for each in jobs], workers, report)
    _tell(Result(study, scale, runs), figures, json_file)


def tell_saved(study: "Study", file: Path, figures: Path | None, json_file: Path | None) -> None:
    """Tells what was found before, from the file of its numbers."""
    from ..adaptation import Result

    result = Result.read(study, file)
    outputs.require(study.name, folders={"figures": figures}, files={"json": json_file})
    _tell(result, figures, json_file)


def _tell(result: "Result", figures: Path | None, json_file: Path | None) -> None:
    from ..adaptation.table import render
    from ..files import write_json

    name = result.study.name
    steps = []
    if json_file is not None:
        steps.append(lambda: write_json(json_file, result.as_json(), name))
    if figures is not None:
        from ..adaptation.figure import draw

        steps.append(lambda: draw(result, figures / f"{name}.png"))
    deliver(*steps, lambda: show(render(result)))
