"""Runs that take minutes to hours: seeded, saved often, stopped at once, resumed bit for bit.

A run is a `Training` and a file. The training advances round by round and depends on its settings
and on what it has learned alone: what is random in a round is drawn from the seed and the number of
the round. Then the file of the last save and the rounds that follow it give the same bits as a run
that was never interrupted.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from aruba_fast import checkpoint

KIND = "Run"
_KEPT = ("n_done", "seconds", "cpu_seconds", "history")
# What is heard as a request to stop: Ctrl-C, and a polite kill.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOPPED = "interrupted: run the same command again to continue from the saved runs"
Progress = Callable[[int, int], object]
# What is measured of a run, at one round: numbers by name.
Measurement = dict[str, float]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a sentence."""


class Saved(Interrupted):
    """Ctrl-C, after which the run was saved; the sentence says how far it had come."""


class Training(Protocol):
    """What can be run: rounds, and a state that says all about those that are done."""

    def round(self, number: int) -> None:
        """Does a round, by its number from 0."""

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Returns arrays by name, and what JSON can hold: all that later rounds depend on."""

    def restore(self, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Takes what `state` gave; raises a ValueError if it is of another training."""


class Stop:
    """Whether Ctrl-C has been pressed; asked between two steps of a run.

    Example:
        >>> from aruba_fast_reproductions.runs import Stop
        >>> stop = Stop()
        >>> stop.requested
        False
        >>> stop.check()
    """

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raises `Interrupted` if it has been: for long rounds, whose start is saved already."""
        if self.requested:
            raise Interrupted(STOPPED)


@contextmanager
def stoppable(*, patient: bool = False) -> Iterator[Stop]:
    """Turns Ctrl-C and a polite kill into a request that a run fulfils where its state is whole.

    A second one interrupts at once, and the last save counts.

    Args:
        patient: Whether the second one is a request as well: a process of a group may hear of the
            same Ctrl-C from the terminal and from its parent.

    Returns:
        A context manager that gives a `Stop`. Outside the main thread, which alone hears signals,
        it is never requested.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(_number: int, _frame: object) -> None:
        if stop.requested and not patient:
            raise Interrupted("interrupted twice: what was saved before stands")
        stop.requested = True

    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Run:
    """A training, its file, and what was measured on the way.

    Args:
        training: What advances.
        path: The file that it is saved to; its folder exists.
        settings: What the training was made with, as JSON can hold it: a file with others is
            refused, because going on from it would be neither run.
        n_rounds: How many rounds it has.
        save_every: Seconds between two saves; 0 saves after every round.

    Attributes:
        n_done: Number of rounds done.
        seconds: Wall time of the rounds, over all sessions.
        cpu_seconds: Processor time of this process in them, which a busy machine does not inflate.
        history: `{"round": ..., name: number, ...}` for every measurement.

    Raises:
        ValueError: The file is damaged, or of a run with other settings.
        OSError: The file cannot be read.
    """

    def __init__(
        self,
        training: Training,
        path: Path,
        settings: Mapping[str, Any],
        n_rounds: int,
        *,
        save_every: float = 30.0,
    ) -> None:
        self.training, self.path, self.n_rounds = training, path, n_rounds
        self._settings, self._save_every = dict(settings), save_every
        self.n_done, self.seconds, self.cpu_seconds = 0, 0.0, 0.0
        self.history: list[dict[str, float]] = []
        if path.is_file():
            self._load()

    def _load(self) -> None:
        try:
            arrays, facts, checksum = checkpoint.read(self.path, KIND)
            checkpoint.require_whole(arrays, facts, checksum)
            for name, value in self._settings.items():
                if facts["settings"].get(name) != value:
                    got = facts["settings"].get(name)
                    raise ValueError(f"its `{name}` is {got!r}, expected {value!r}")
            self.training.restore(arrays, facts["training"])
        except ValueError as error:
            raise ValueError(
                f"Run: `path` must be a run of these settings: got {str(self.path)!r}, which is "
                f"refused: {error}"
            ) from None
        for name in _KEPT:
            setattr(self, name, facts[name])

    def save(self) -> None:
        """Writes the file, which is replaced as a whole or not at all."""
        arrays, facts = self.training.state()
        own = {name: getattr(self, name) for name in _KEPT}
        facts = {"settings": self._settings, "training": facts, **own}
        checkpoint.write(self.path, arrays, facts, KIND)

    def finish(
        self,
        stop: Stop,
        progress: Progress | None = None,
        measure: Callable[[], Measurement] | None = None,
        measure_every: int = 0,
        on_measured: Callable[[int, Measurement], object] | None = None,
    ) -> None:
        """Does all rounds that are left, and saves.

        Args:
            stop: Asked after every round.
            progress: Called with (done, total).
            measure: Looks at the training between rounds, and changes nothing of it.
            measure_every: Rounds between two measurements; after the last there is one too.
            on_measured: Called with every new measurement, as a log does.

        Raises:
            Saved: A stop was requested; the rounds done are saved.
        """
        saved = time.monotonic()
        while True:
            if measure is not None and self._is_due(measure_every):
                try:
                    found = measure()
                except Interrupted:
                    raise self._saved() from None
                self.history.append({"round": self.n_done, **found})
                if on_measured is not None:
                    on_measured(self.n_done, found)
            if self.n_done == self.n_rounds:
                self.save()
                return
            if stop.requested:
                raise self._saved()
            began, cpu = time.monotonic(), time.process_time()
            self.training.round(self.n_done)
            self.n_done += 1
            now = time.monotonic()
            self.seconds += now - began
            self.cpu_seconds += time.process_time() - cpu
            if progress is not None:
                progress(self.n_done, self.n_rounds)
            if now - saved >= self._save_every:
                self.save()
                saved = now

    def _saved(self) -> Saved:
        """Saves, and says so."""
        self.save()
        return Saved(
            f"interrupted and saved after {self.n_done} of {self.n_rounds} rounds: run the same "
            f"command again to continue from {self.path}"
        )

    def _is_due(self, every: int) -> bool:
        """Whether this is a round to measure at, and that has not been done."""
        if not every or not self.n_done or self._last == self.n_done:
            return False
        return self.n_done % every == 0 or self.n_done == self.n_rounds

    @property
    def _last(self) -> float:
        return self.history[-1]["round"] if self.history else -1
