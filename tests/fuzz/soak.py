"""`make soak`: valid calls of every entry over and over; memory must stay where it is."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path

from .child import ENTRIES, Calls

# Calls of a lap: every entry many times, in all its forms. A lap is the same calls every time, so
# that nothing but a leak makes the next one need more.
LAP = 40 * len(ENTRIES)
WARM = 3  # laps until allocators and caches have what they need
LIMIT = 0.01


def resident():
    """Memory of this process in bytes, after what nobody holds is gone."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS: a soak needs Linux")


def soak(seconds, *, frameworks=True, report=None):
    """Returns memory after warming up and at the end, and the number of calls."""
    calls = Calls(seed=2, frameworks=frameworks)
    began, first, laps, succeeded = time.monotonic(), 0, 0, 0
    # Python's table of interned strings doubles once enough of them came and went: a MiB, and late.
    for number in range(1 << 17):
        sys.intern(f"soak {number}")
    with calls.stack:
        while laps <= WARM or time.monotonic() - began < seconds:
            for number in range(LAP):
                _, good, error = calls.make(number, wild=False)
                if error is not None:
                    raise error
                succeeded += good
            laps += 1
            if laps == WARM:
                first = resident()
            if report:
                report(laps, resident())
    if succeeded < 0.8 * laps * LAP:
        raise AssertionError(f"only {succeeded} of {laps * LAP} calls did something")
    return first, resident(), laps * LAP


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()

    def report(laps, n_bytes):
        if laps % 20 == 1:
            print(f"{laps * LAP} calls: {n_bytes / 2**20:.1f} MiB", flush=True)

    first, last, n_calls = soak(options.seconds, report=report)
    print(f"{n_calls} calls: {first / 2**20:.1f} MiB, then {last / 2**20:.1f} MiB")
    return int(last > first * (1 + LIMIT))


if __name__ == "__main__":
    raise SystemExit(main())
