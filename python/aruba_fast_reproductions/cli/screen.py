"""What commands have in common: files first, then the screen; errors in a sentence; progress."""

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from aruba_fast._paths import told

# Below the first, a progress bar is a count; below the second there is no room for one.
_BAR_WIDTH, _COUNT_WIDTH = 60, 24
_ENDLESS = 100_000
_ASCII = str.maketrans("±–−…", "~--.")


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Turns a refused file or argument into one sentence, and Ctrl-C into a clean end."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        typer.echo(f"aruba-fast: {str(interrupt) or 'interrupted'}", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # Whoever was read by has seen enough.
        raise typer.Exit(1) from None
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"aruba-fast: {told(error) if isinstance(error, OSError) else error}", err=True)
        raise typer.Exit(1) from None


def deliver(*steps: Callable[[], object]) -> None:
    """Takes every step, whatever becomes of those before it; then raises the first error.

    A computation of hours must not be lost because a screen is closed, nor its table because a
    picture could not be drawn: files come first, then the screen.
    """
    errors: list[BaseException] = []
    for step in steps:
        try:
            step()
        except (Exception, KeyboardInterrupt) as error:
            errors.append(error)
    if errors:
        raise errors[0]


def show(*parts: RenderableType) -> None:
    """Prints tables and texts as they are: no number cut at any width, no markup read.

    Raises:
        BrokenPipeError: Nobody reads.
        OSError: The screen, or the file in its place, cannot be written to.
    """
    try:
        for part in parts:
            for one in part.renderables if isinstance(part, Group) else (part,):
                console = Console(markup=False, emoji=False)
                width = max(console.width, _needed(console, one))
                Console(markup=False, emoji=False, width=width).print(one, crop=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        raise unseen(error) from None


def unseen(error: OSError) -> OSError:
    """What to raise where the screen failed; Python will not fail at it once more when it ends."""
    _silence()
    if isinstance(error, BrokenPipeError):
        return error
    return OSError(f"the screen cannot be written to: {error.strerror}")


def _needed(console: Console, part: RenderableType) -> int:
    """Width without which a word is cut; columns of a table get what their words need."""
    options = console.options.update(max_width=_ENDLESS)
    if isinstance(part, RichTable):
        for column in part.columns:
            cells = [
                Measurement.get(console, options, cell) for cell in (column.header, *column.cells)
            ]
            column.min_width = max(
                cell.maximum if column.no_wrap else cell.minimum for cell in cells
            )
    return Measurement.get(console, options, part).minimum


def _silence() -> None:
    """What is left in the buffer would fail once more when Python ends."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that a screen has not, as wide as they are."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "replace").decode(), error.end


@contextmanager
def any_screen() -> Iterator[None]:
    """Lets any screen show what it can, be it ASCII's, and tells in a sentence where it fails."""
    codecs.register_error("aruba_fast", _in_ascii)
    with suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="aruba_fast")  # type: ignore[union-attr]
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        told_once = unseen(error)
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"aruba-fast: {told_once}")


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """Progress on standard error, if that is a terminal, as a function of (done, total)."""
    console = Console(stderr=True, markup=False)
    if not console.is_terminal or console.width < _COUNT_WIDTH:
        yield lambda _done, _total: None
        return
    wide = (TextColumn(title, markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    columns = wide if console.width >= _BAR_WIDTH else (MofNCompleteColumn(),)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
