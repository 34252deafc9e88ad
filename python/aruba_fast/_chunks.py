"""Tasks that need not be in memory together: an iterable of `Tasks`, each of them a chunk."""

from collections.abc import Callable, Iterable, Iterator
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
        self._close: Callable[[], object] | None = None
        self.n_tasks: int | None = None
        self.is_read_once = False
        self._source: Iterable[Any]
        if isinstance(tasks, Tasks):
            self._source = (tasks,)
        elif isinstance(tasks, (list, tuple)):
            self._source = tuple(tasks)
        else:
            if not isinstance(tasks, Iterable) or hasattr(tasks, "__array__"):
                check_tasks(function, tasks)
            self._source, self.is_read_once = tasks, isinstance(tasks, Iterator)

    def require(self, check: Check) -> None:
        """Has every chunk checked: those that are there now, others when they come.

        Args:
            check: Refuses a chunk, on behalf of what it is given as the function's name.
        """
        self._check = check
        if not isinstance(self._source, tuple):
            return
        for number, chunk in enumerate(self._source):
            self._require(chunk, number)
        self.n_tasks = sum(map(len, self._source))
        if not self.n_tasks:
            raise self._empty()

    def __iter__(self) -> Iterator[Tasks]:
        """A pass; what is no chunk is refused when it comes, and a pass of another length too."""
        return iter(self._source) if isinstance(self._source, tuple) else self._coming()

    def _coming(self) -> Iterator[Tasks]:
        chunks = self._begun()
        # An iterator of ours may hold files and a thread; one of the caller's is the caller's.
        self._close = None if self.is_read_once else getattr(chunks, "close", None)
        n_seen = 0
        for number, chunk in enumerate(chunks):
            self._require(chunk, number)
            n_seen += len(chunk)
            if self.n_tasks is not None and n_seen > self.n_tasks:
                raise self._unlike(f"{n_seen} or more")
            yield chunk
        if not n_seen:
            raise self._empty()
        if self.n_tasks is not None and n_seen != self.n_tasks:
            raise self._unlike(str(n_seen))
        self.n_tasks = n_seen

    def __enter__(self) -> None:
        """Within, an exception ends the pass that was begun, too."""

    def __exit__(self, *_: object) -> None:
        if self._close is not None:
            self._close()

    def _begun(self) -> Iterator[Any]:
        try:
            return iter(self._source)
        except TypeError as error:  # of an object that is none after all
            raise TypeError(
                f"{self._function}: `tasks` must be Tasks, or an iterable of them: got "
                f"{_check.shown(self._source)} ({error}), expected af.Tasks(x, y, offsets)"
            ) from error

    def _require(self, chunk: Any, number: int) -> None:
        assert self._check is not None
        alone = isinstance(self._source, tuple) and len(self._source) == 1
        name = self._function if alone else f"{self._function} (chunk {number} of `tasks`)"
        check_tasks(name, chunk)
        self._check(name, chunk)

    def _empty(self) -> ValueError:
        return ValueError(
            f"{self._function}: `tasks` must hold a task: got an iterable of no chunk, "
            "expected at least one af.Tasks"
        )

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

    def tell(self, n_tasks: int | None, *, needed: bool) -> None:
        """Takes the number of tasks in a pass from the caller; an iterator may have it, too.

        Args:
            n_tasks: What the caller gave, or None.
            needed: Whether there is nothing to be done without it.
        """
        if self.is_read_once and n_tasks is None:
            n_tasks = getattr(self._source, "n_tasks", None)
        if n_tasks is not None:
            self._take(n_tasks)
        elif needed and self.is_read_once:
            raise ValueError(
                f"{self._function}: `n_tasks` must be given where `tasks` is read once, for the "
                "steps of phi fall to nothing over all of them: got None, expected the number of "
                "tasks, or a `meta_step`"
            )

    def count(self, *, needed: bool, wanted: bool) -> None:
        """Finds the number of tasks, if nobody knows it: the iterable's own, or by a pass over it.

        Args:
            needed: Whether there is nothing to be done without it.
            wanted: Whether it is worth to ask the iterable, which may have to look for it.
        """
        if self.n_tasks is None and not self.is_read_once and (needed or wanted):
            n_tasks = getattr(self._source, "n_tasks", None)
            if n_tasks is not None:
                self._take(n_tasks)
            elif needed:
                for _ in self:
                    pass

    def _take(self, n_tasks: int) -> None:
        given = _check.integer(self._function, "n_tasks", n_tasks, 1)
        counted, self.n_tasks = self.n_tasks, given
        if counted not in (None, given):
            raise self._unlike(str(counted))


def _joined(first: Tasks, others: Iterator[Tasks]) -> Iterator[Tasks]:
    yield first
    yield from others
