"""Tasks that need not be in memory together: an iterable of `Tasks`, each of them a chunk."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, nullcontext
from typing import Any

from . import _check
from .run import check_tasks
from .tasks import Tasks

Check = Callable[[str, Tasks], None]


class Chunks:
    """Passes over tasks, chunk after chunk: over one `Tasks`, or an iterable of them.

    Attributes:
        n_tasks: Number of tasks in a pass; None while it is not known.
        is_read_once: Whether the tasks come from an iterator, which begins only once.
    """

    def __init__(self, function: str, tasks: Tasks | Iterable[Tasks]) -> None:
        """Takes tasks on behalf of a function; `require` has to follow.

        Args:
            function: Name of the public function, for messages.
            tasks: The tasks.
        """
        self._function = function
        self._check: Check | None = None
        self.n_tasks: int | None = None
        self.is_read_once = isinstance(tasks, Iterator)
        self._source: Iterable[Any]
        if isinstance(tasks, Tasks):
            self._source = (tasks,)
        elif isinstance(tasks, (list, tuple)):
            self._source = tuple(tasks)
        else:
            if not isinstance(tasks, Iterable) or hasattr(tasks, "__array__"):
                check_tasks(function, tasks)
            self._source = tasks

    def require(self, check: Check) -> None:
        """Has every chunk checked: those that are there now, others when they come.

        Args:
            check: Refuses a chunk, on behalf of what it is given as the function's name.
        """
        self._check = check
        if isinstance(self._source, tuple):
            for _ in self:
                pass
            self._check = None

    def __iter__(self) -> Generator[Tasks, None, None]:
        """A pass; what is no chunk is refused when it comes, and a pass of another length too."""
        chunks = self._begun()
        # An iterator of ours may hold files and a thread; one of the caller's is the caller's.
        close = not self.is_read_once and hasattr(chunks, "close")
        n_seen = 0
        with closing(chunks) if close else nullcontext():  # type: ignore[type-var]
            for number, chunk in enumerate(chunks):
                self._require(chunk, number)
                n_seen += len(chunk)
                if self.n_tasks is not None and n_seen > self.n_tasks:
                    raise self._unlike(f"{n_seen} or more")
                yield chunk
        if not n_seen:
            raise ValueError(
                f"{self._function}: `tasks` must hold a task: got an iterable of no chunk, "
                "expected at least one af.Tasks"
            )
        if self.n_tasks is not None and n_seen != self.n_tasks:
            raise self._unlike(str(n_seen))
        self.n_tasks = n_seen

    def _begun(self) -> Iterator[Any]:
        try:
            return iter(self._source)
        except TypeError as error:  # of an object that is none after all
            raise TypeError(
                f"{self._function}: `tasks` must be Tasks, or an iterable of them: got "
                f"{_check.shown(self._source)} ({error}), expected af.Tasks(x, y, offsets)"
            ) from error

    def _require(self, chunk: Any, number: int) -> None:
        if self._check is None:
            return
        alone = isinstance(self._source, tuple) and len(self._source) == 1
        name = self._function if alone else f"{self._function} (chunk {number} of `tasks`)"
        check_tasks(name, chunk)
        self._check(name, chunk)

    def _unlike(self, got: str) -> ValueError:
        return ValueError(
            f"{self._function}: `tasks` must have as many tasks in a pass as was told or counted "
            f"before: got {got}, expected {self.n_tasks}"
        )

    def first(self) -> tuple[Tasks, ...]:
        """The first chunk of an iterator, which the pass over it begins with nevertheless."""
        chunks = self._begun()
        chunk: Any = next(chunks, None)
        if chunk is None:
            return tuple(self)  # says what is missing
        self._require(chunk, 0)
        self._source = _joined(chunk, chunks)
        return (chunk,)

    def count(self, n_tasks: int | None, *, needed: bool, wanted: bool) -> None:
        """Finds the number of tasks in a pass: as given, the iterable's own, or by a pass over it.

        Args:
            n_tasks: What the caller gave, or None.
            needed: Whether there is nothing to be done without it.
            wanted: Whether it is worth to ask the iterable, which may have to look for it.
        """
        if n_tasks is None and self.n_tasks is None and (needed or wanted):
            n_tasks = getattr(self._source, "n_tasks", None)
        if n_tasks is not None:
            given = _check.integer(self._function, "n_tasks", n_tasks, 1)
            counted, self.n_tasks = self.n_tasks, given
            if counted not in (None, given):
                raise self._unlike(str(counted))
        if self.n_tasks is not None or not needed:
            return
        if self.is_read_once:
            raise ValueError(
                f"{self._function}: `n_tasks` must be given where `tasks` is read once, for the "
                "steps of phi fall to nothing over all of them: got None, expected the number of "
                "tasks, or a `meta_step`"
            )
        for _ in self:
            pass


def _joined(first: Tasks, others: Iterator[Tasks]) -> Iterator[Tasks]:
    yield first
    yield from others
