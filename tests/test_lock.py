"""The lock of shared objects: re-entrant, lets the interpreter run, survives fork and pickling."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading

import pytest

from aruba_fast._lock import Lock


def held_elsewhere(lock):
    """Has another thread take the lock; returns what makes it let go."""
    taken, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(60)

    def let_go():
        done.set()
        thread.join()

    return let_go


def test_its_own_thread_may_take_it_again_and_others_wait():
    lock, order = Lock(), []
    with lock, lock:
        let_go_later = threading.Thread(target=lambda: (lock.__enter__(), order.append("other")))
        let_go_later.daemon = True
        let_go_later.start()
        let_go_later.join(0.05)
        order.append("own")
    let_go_later.join(60)
    assert order == ["own", "other"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("holder", ["nobody", "another thread", "the thread that forks"])
def test_a_forked_child_never_waits(holder):
    lock = Lock()
    let_go = held_elsewhere(lock) if holder == "another thread" else lambda: None
    if holder == "the thread that forks":
        lock.__enter__()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        with lock:
            pass
        if holder == "the thread that forks":
            lock.__exit__()
        with lock:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    let_go()


def test_copies_have_a_lock_of_their_own():
    lock = Lock()
    let_go = held_elsewhere(lock)
    for twin in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
        with twin:
            pass
    let_go()
