"""Makes the calls of a range, one after the other; tells before each which one it is."""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import struct
import sys
import traceback
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from . import entries, federated, learners, sparse, theory
from .calls import ALLOWED, Broken
from .values import Draw

ENTRIES = (
    *(*entries.ENTRIES, *learners.ENTRIES, *sparse.ENTRIES, *theory.ENTRIES),
    *federated.ENTRIES,
)


def limit_memory(n_bytes=1 << 31):
    """Lets no more be allocated from here on: what asks for 2^40 numbers gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


class Calls:
    """The calls of a seed.

    Args:
        seed: Of all calls.
        frameworks: Whether tensors of PyTorch and, where it can be emulated, a device take part.
    """

    def __init__(self, seed, *, frameworks=True):
        self.seed, self.torch, self.device = seed, None, None
        self.stack = ExitStack()
        warnings.simplefilter("ignore")
        if not frameworks:
            return
        try:
            import torch

            self.torch = torch
        except ModuleNotFoundError:
            pass
        import device

        if device.missing() is None and not device.REAL:
            self.stack.enter_context(device.installed())
            self.device = device.array

    def drawn(self, number, *, wild=True):
        """Returns the entry, its call and the draw that it came from."""
        draw = Draw(self.seed, number, wild=wild, torch=self.torch)
        if self.device and draw.chance(0.04):
            draw.device = self.device
        entry = draw.choice(ENTRIES)
        with np.errstate(all="ignore"):
            call = entry(draw)
        if wild and draw.chance(0.6):
            call.spoil(draw)
        return entry.__name__, call, draw

    def make(self, number, *, wild=True):
        """Makes one call; returns the name of its entry, whether it succeeded, and what broke."""
        name = "the draw of arguments"
        try:
            name, call, draw = self.drawn(number, wild=wild)
        except ALLOWED:
            return name, False, None
        except Exception as error:
            return name, False, error
        try:
            return name, call.run(draw), None
        except MemoryError:  # of copies to compare with: what the call raises is looked at in `run`
            return name, False, None
        except (Exception, KeyboardInterrupt) as error:
            return name, False, error


def described(error):
    """One line on an exception, and where it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "fuzz" not in f.filename]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    kind = "" if isinstance(error, Broken) else f"{type(error).__name__}: "
    return f"{kind}{str(error)[:200]}{where}"


def main(seed, first, last, progress, frameworks):
    """Runs calls first..last - 1; prints finds as lines of JSON, and the counts at the end."""
    faulthandler.enable()
    with Path(progress).open("r+b") as file:
        current = mmap.mmap(file.fileno(), 8)
    calls = Calls(seed, frameworks=frameworks)
    if Path("/proc/self/statm").exists() and "ARUBA_SANITIZED" not in os.environ:
        limit_memory()
    succeeded = failed = 0
    with calls.stack:
        for number in range(first, last):
            current[:] = struct.pack("<q", number)
            name, good, error = calls.make(number)
            succeeded, failed = succeeded + good, failed + (not good)
            if error is not None:
                find = {"call": number, "entry": name, "what": described(error)}
                print(json.dumps(find), flush=True)
    print(json.dumps({"succeeded": succeeded, "failed": failed}), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4], sys.argv[5] == "1")
