"""A GPU for a quarter of an hour: the bits, then the speeds, most valuable first, in one file.

python tools/gpu_day.py [--dry-run] [--minutes M] [--json FILE]

Everything must be installed before (`make gpu-day` does that): nothing is compiled or fetched here.
Each piece that is done is written at once, and what the file has is not run again, so that a run
that was cut off goes on where it was. --dry-run rehearses all of it, shortened, through the CPU
execution of the kernels. The status is 0 where every piece was run and passed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
TAIL = 2000


class Piece(NamedTuple):
    """A command, its share of the time, and the file that it writes by itself."""

    name: str
    command: list[str]
    share: float
    figures: Path | None = None


def pieces(file: Path, *, dry: bool) -> Iterator[Piece]:
    """What is run, in the order of its worth; the speed of a wrong kernel is worth nothing."""
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m"]
    kernels = ["-x", "tests/test_device_step.py", "tests/test_device_bits.py"]
    of_jax = [*test, "gpu and not slow", "tests/test_jax_gpu.py"]
    speeds, picture = file.with_suffix(".speeds.json"), file.with_suffix(".png")
    report = [sys.executable, "benchmarks/gpu_report.py", "--json", str(speeds)]
    everything = [*report, "--plot", str(picture), "--seconds", "2"]
    if dry:
        yield Piece("bits of kernels", [*test, "gpu and not slow", kernels[1]], 0.4)
        yield Piece("bits of JAX", [*of_jax, "-k", "donated_step or in_a_scan"], 0.4)
        yield Piece("speed: all", [*everything, "--dry-run"], 0.4, speeds)
        return
    yield Piece("bits of kernels", [*test, "gpu and not slow", *kernels], 0.15)
    for only in ("fused step", "round reduction", "logistic tasks"):
        yield Piece(f"speed: {only}", [*report, "--seconds", "2", "--only", only], 0.2, speeds)
    yield Piece("bits of JAX", of_jax, 0.2)
    yield Piece("bits: all", [*test, "gpu"], 0.4)
    yield Piece("speed: all", everything, 0.5, speeds)


def run(piece: Piece, seconds: float, *, dry: bool) -> dict[str, Any]:
    """Runs a piece until its time is over."""
    # Else JAX takes three quarters of the memory that CuPy and PyTorch need too.
    real = {"ARUBA_TEST_DEVICE": "real", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    environment = os.environ | ({} if dry else real)
    start = time.perf_counter()
    try:
        done = subprocess.run(
            piece.command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        status: int | str = done.returncode
        said = done.stdout
    except subprocess.TimeoutExpired as cut:
        status, said = f"cut off after {seconds:.0f} s", (cut.stdout or b"").decode()
    return {
        "status": status,
        "seconds": round(time.perf_counter() - start, 1),
        "said": said[-TAIL:],
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="through the CPU execution")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all of it (default 8)")
    parser.add_argument("--json", type=Path, default=ROOT / "build/gpu-day.json")
    arguments = parser.parse_args()
    file, dry = arguments.json, arguments.dry_run
    file.parent.mkdir(parents=True, exist_ok=True)
    done = json.loads(file.read_text()) if file.exists() else {}
    end = time.perf_counter() + 60 * arguments.minutes
    todo = list(pieces(file, dry=dry))
    for piece in todo:
        if done.get(piece.name, {}).get("status") == 0:
            continue
        left = end - time.perf_counter()
        if left < 1:
            break
        done[piece.name] = run(piece, min(left, 60 * arguments.minutes * piece.share), dry=dry)
        if piece.figures is not None and piece.figures.exists():
            done["figures"] = json.loads(piece.figures.read_text())
        file.write_text(json.dumps(done, indent=1) + "\n")
        came = done[piece.name]
        print(f"{piece.name}: {came['status']}, {came['seconds']} s", flush=True)
    bad = [piece.name for piece in todo if done.get(piece.name, {}).get("status") != 0]
    print(f"{len(todo) - len(bad)} of {len(todo)} pieces are done, in {file}")
    for name in bad:
        print(f"not done: {name}\n{done.get(name, {}).get('said', '')}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
