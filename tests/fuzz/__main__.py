"""`make fuzz`: random calls of the API in child processes, so that a crash names its call too."""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
BATCH = 20_000
HANGS = 60.0  # seconds in one call; the longest valid one takes less than one


def reproducer(seed, number):
    """The line that makes this call again."""
    return f"PYTHONPATH=tests {sys.executable} -m fuzz --seed {seed} --call {number}"


def batch(seed, first, last, *, frameworks=True):
    """Makes calls first..last - 1 in children; returns the finds, and how many calls succeeded."""
    finds, counts = [], {"succeeded": 0, "failed": 0}
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder) / "number"
        while first < last:
            progress.write_bytes(struct.pack("<q", first))
            lines, error, code = _child(seed, first, last, progress, frameworks)
            for line in lines:
                record = json.loads(line)
                if "call" in record:
                    finds.append(record)
                else:
                    counts = {name: counts[name] + n for name, n in record.items()}
            if code == 0:
                break
            (number,) = struct.unpack("<q", progress.read_bytes())
            finds.append({"call": number, "entry": "?", "what": f"exit {code}: {error}"})
            first = number + 1
    return finds, counts


def _child(seed, first, last, progress, frameworks):
    """Runs a child to its end, or until one call takes too long."""
    command = [sys.executable, "-m", "fuzz.child", *map(str, (seed, first, last, progress))]
    environment = os.environ | {"PYTHONPATH": str(TESTS), "ARUBA_NUM_THREADS": "2"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            [*command, str(int(frameworks))], stdout=out, stderr=err, env=environment
        )
        seen, since, hangs = None, time.monotonic(), False
        while child.poll() is None:
            time.sleep(0.05)
            number = progress.read_bytes()
            if number != seen:
                seen, since = number, time.monotonic()
            elif time.monotonic() - since > HANGS:
                child.kill()
                hangs = True
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    lines = [line for line in texts[0].splitlines() if line.startswith("{")]
    error = "hangs" if hangs else " | ".join(texts[1].strip().splitlines()[:6])
    return lines, error, child.returncode


def report(seed, finds):
    """What was found, like finds together, with the line that makes the first of them again."""
    kinds = {}
    for find in finds:
        kinds.setdefault(f"{find['entry']}: {find['what']}", []).append(find["call"])
    return "\n".join(
        f"{len(numbers)} x {kind}\n    {reproducer(seed, numbers[0])}"
        for kind, numbers in kinds.items()
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, help="stop after these, whatever --calls says")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--call", type=int, help="make this one call, in this process")
    options = parser.parse_args()
    if options.call is not None:
        from .calls import shown
        from .child import Calls

        calls = Calls(options.seed)
        with calls.stack:
            name, call, _ = calls.drawn(options.call)
            arguments = {**dict(enumerate(call.args)), **call.kwargs}
            print(name, *(f"  {k}: {shown(v)}" for k, v in arguments.items()), sep="\n", flush=True)
            _, good, error = calls.make(options.call)
        if error is not None:
            raise error
        print("succeeded" if good else "refused")
        return 0
    began, found, done = time.monotonic(), [], options.first
    while done < options.first + options.calls:
        last = min(done + BATCH, options.first + options.calls)
        finds, counts = batch(options.seed, done, last)
        found, done = found + finds, last
        seconds = time.monotonic() - began
        print(f"{done} calls, {seconds:.0f} s, {counts}, {len(found)} finds", flush=True)
        if options.seconds and seconds > options.seconds:
            break
    print(report(options.seed, found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
