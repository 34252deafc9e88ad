"""The lock of an object that several threads may share."""

import os
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from threading import RLock
else:
    RLock = type(threading.RLock())


class Lock(RLock):  # type: ignore[misc]  # its own methods take 0.05 us, those of a class in Python 0.3
    """Held by one thread, which may take it again; others wait, and the interpreter runs on.

    A pickle or a deep copy of its owner gets a lock of its own. A forked child, in which no other
    thread lives on, never waits for one of the parent's.
    """

    def __init__(self) -> None:
        _locks.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Lock, ()


_locks: "WeakSet[Lock]" = WeakSet()


def _free_in_child() -> None:
    for lock in list(_locks):
        # Taken at once: it was free, or belongs to the thread that forked.
        if lock.acquire(blocking=False):
            lock.release()
        else:
            lock._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)
