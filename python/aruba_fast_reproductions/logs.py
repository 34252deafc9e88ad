"""Measurements of a run for TensorBoard, where it is installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .runs import Measurement


def require_tensorboard() -> None:
    """Refuses to begin hours of work whose log could not be written.

    Raises:
        ValueError: TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise ValueError(
            "`tensorboard` must be installed to be logged to: got no module of that name, "
            "expected it from pip install tensorboard"
        )


@contextmanager
def open_log(
    folder: Path | None, name: str
) -> Iterator[Callable[[int, Measurement], object] | None]:
    """A context for the log of one run: `folder`/`name`, or none if `folder` is None."""
    if folder is None:
        yield None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / name)) as writer:
        yield partial(_add, writer)


def _add(writer: Any, number: int, found: Measurement) -> None:
    for name, value in found.items():
        writer.add_scalar(name, value, number)
