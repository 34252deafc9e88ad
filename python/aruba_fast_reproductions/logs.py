"""Measurements of a run for TensorBoard, where it is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .runs import Measurement


class Log:
    """Takes measurements as `Run.finish` makes them; without a writer it forgets them."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def add(self, round: int, found: Measurement) -> None:
        """Writes the numbers of one round."""
        if self._writer is not None:
            for name, value in found.items():
                self._writer.add_scalar(name, value, round)


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
def open_log(folder: Path | None, name: str) -> Iterator[Log]:
    """A context for the log of one run: `folder`/`name`, or none if `folder` is None."""
    if folder is None:
        yield Log()
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / name)) as writer:
        yield Log(writer)
