"""Several runs at a time, each in a process of its own, with one progress and one end."""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from aruba_fast import set_num_threads

from .runs import SIGNALS, STOPPED, Interrupted, Progress, Saved, Stop, stoppable

# A signal is noticed this many seconds after it came, at most.
_PATIENCE = 0.2


class Job(Protocol):
    """What a process does: a picklable object that is called with `progress` and `stop`."""

    def __call__(self, progress: Progress, stop: Stop) -> Any:
        """Does the work; returns something picklable."""


@dataclass
class _Worker:
    number: int
    process: Any
    pipe: Connection
    has_begun: bool = False


def one_thread() -> None:
    """Gives this process one thread: its networks are small, and runs gain more of many cores.

    It also makes the bits independent of the number of threads.
    """
    import torch

    torch.set_num_threads(1)
    set_num_threads(1)


def run_all(
    jobs: Sequence[Job],
    sizes: Sequence[int],
    n_workers: int | None,
    progress: Progress | None = None,
) -> list[Any]:
    """Does all jobs, `n_workers` at a time; a job's error ends all of them.

    Args:
        jobs: What is to be done, the longest first.
        sizes: How many steps each has, for the progress.
        n_workers: Number of processes; with 1 everything happens in this one. None for one a core.
        progress: Called with (steps done, steps of all).

    Returns:
        What the jobs returned, in their order.

    Raises:
        Interrupted: Ctrl-C; every job has saved what it had.
        Exception: What a job raised, after all others have been stopped.
    """
    if n_workers is None:
        n_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    total, finished = sum(sizes), 0
    report = (lambda _done, _total: None) if progress is None else progress
    report(0, total)
    if n_workers == 1:
        results = []
        with stoppable() as stop:
            for job, size in zip(jobs, sizes, strict=True):
                results.append(job(_Part(report, finished, total), stop))
                finished += size
                report(finished, total)
        return results
    return _in_processes(jobs, sizes, n_workers, report)


@dataclass
class _Part:
    """The progress of one job as a part of that of all."""

    report: Progress
    before: int
    total: int

    def __call__(self, done: int, _total: int) -> None:
        self.report(self.before + done, self.total)


def _in_processes(
    jobs: Sequence[Job], sizes: Sequence[int], n_workers: int, report: Progress
) -> list[Any]:
    # Neither PyTorch's threads nor OpenMP's survive a fork.
    context = multiprocessing.get_context("spawn")
    # It is started with the first process otherwise, and lets in the signals that are to wait.
    resource_tracker.ensure_running()
    waiting = list(range(len(jobs)))
    results: list[Any] = [None] * len(jobs)
    failure: BaseException | None = None
    running: list[_Worker] = []
    done = [0] * len(jobs)
    with stoppable() as stop:
        while running or (waiting and failure is None):
            if stop.requested and failure is None:
                failure = Interrupted(STOPPED)
                _end(running)
            while waiting and failure is None and len(running) < n_workers:
                number = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_work, args=(jobs[number], theirs))
                with _signals_held():
                    process.start()
                theirs.close()
                running.append(_Worker(number, process, ours))
            for pipe in wait([worker.pipe for worker in running], timeout=_PATIENCE):
                worker = next(w for w in running if w.pipe is pipe)
                try:
                    kind, value = worker.pipe.recv()
                except EOFError:
                    worker.process.join()
                    kind = "failed"
                    value = RuntimeError(f"a process died with status {worker.process.exitcode}")
                worker.has_begun = True
                if kind == "begun":
                    continue
                if kind == "progress":
                    done[worker.number] = value
                    report(sum(done), sum(sizes))
                    continue
                worker.process.join()
                worker.pipe.close()
                running.remove(worker)
                if kind == "result":
                    results[worker.number] = value
                    done[worker.number] = sizes[worker.number]
                    report(sum(done), sum(sizes))
                elif failure is None or (type(failure) is Interrupted and isinstance(value, Saved)):
                    # How far a run has come says more than that it was stopped.
                    failure = value
                    _end(running)
    if failure is not None:
        raise failure
    return results


def _end(running: Sequence[_Worker]) -> None:
    """Asks the others to save and end; who has not begun, still importing, has nothing to save."""
    for worker in running:
        if worker.has_begun:
            worker.process.terminate()
        else:
            worker.process.kill()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait, in this process until the end of the context; one started in it lets them in.

    Without it, Ctrl-C would end a process in the middle of an import, with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _let_signals_in() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _work(job: Job, pipe: Connection) -> None:
    """What happens in a process."""
    try:
        with stoppable(patient=True) as stop:
            _let_signals_in()
            pipe.send(("begun", None))
            result = job(lambda done, _total: pipe.send(("progress", done)), stop)
        pipe.send(("result", result))
    except BrokenPipeError:
        return
    except BaseException as error:
        pipe.send(("failed", _told(error)))


def _told(error: BaseException) -> BaseException:
    """What is told in a sentence goes as it is; of anything else the place is wanted too."""
    if isinstance(error, (KeyboardInterrupt, ValueError, OSError, ImportError)):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))
