"""The lock of an object that several threads may share."""

import os
from threading import RLock
from typing import Any
from weakref import WeakSet


class Lock:
    """Held by one thread, which may take it again; others wait, and the interpreter runs on.

    A pickle or a deep copy of its owner gets a lock of its own. A forked child, in which no other
    thread lives on, never waits for one of the parent's.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return Lock, ()


_locks: "WeakSet[Lock]" = WeakSet()


def _free_in_child() -> None:
    for lock in list(_locks):
        # Taken at once: it was free, or belongs to the thread that forked.
        if lock._lock.acquire(blocking=False):
            lock._lock.release()
        else:
            lock._lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)
