"""Processes with a gloo group on this machine: one imports, and the others are its forks."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
import traceback
from datetime import timedelta

from optional import need

need("torch")


def _enter(rank, size, store, timeout, work, args, results):
    import torch
    import torch.distributed as dist

    import aruba_fast as af

    torch.set_num_threads(1)
    af.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{store}",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=timeout),
        )
        results.put((rank, work(rank, *args), None))
        dist.destroy_process_group()
    except BaseException:
        results.put((rank, None, traceback.format_exc()))


def run(size, work, *args, store, timeout=60.0, dying=()):
    """What `work(rank, *args)` returns on every rank; None on those that end by themselves.

    Args:
        size: Number of processes, all in the default group.
        work: A function of a module that is not collected: forks import it by its name.
        args: Its arguments.
        store: A file that does not exist.
        timeout: Seconds that one waits for the others.
        dying: Ranks that do not come back.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.distributed", "aruba_fast.torch"])
    results = context.Queue()
    started = [
        context.Process(
            target=_enter, args=(rank, size, store, timeout, work, args, results), daemon=True
        )
        for rank in range(size)
    ]
    for process in started:
        process.start()
    found = [None] * size
    missing = set(range(size)) - set(dying)
    end = time.monotonic() + 3 * timeout
    try:
        while missing:
            try:
                rank, result, error = results.get(timeout=0.5)
            except queue.Empty:
                ended = [rank for rank in missing if started[rank].exitcode]
                assert not ended, f"ranks {ended} ended without a result"
                assert time.monotonic() < end, f"ranks {sorted(missing)} hang"
                continue
            assert error is None, f"rank {rank}: {error}"
            found[rank] = result
            missing.remove(rank)
    finally:
        for process in started:
            process.join(5)
            if process.is_alive():
                process.kill()
    return found
