"""Prints the speed table of the README: every work, every rival, interleaved, with its error.

python benchmarks/report.py [--seconds S] [--only TEXT] [--json FILE] [--strict]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import bench_engine
import bench_hindsight
import bench_jax
import bench_many_tensors
import bench_narrow
import bench_pfl
import bench_proximal
import bench_reduction
import bench_sparse
import bench_step
import bench_torch
from _pytest.outcomes import Skipped
from race import Work, bandwidth_run, error, interleaved_minima

import aruba_fast as af

WORKS = (
    bench_step.WORKS
    + bench_many_tensors.WORKS
    + bench_reduction.WORKS
    + bench_engine.WORKS
    + bench_narrow.WORKS
    + bench_hindsight.WORKS
    + bench_proximal.WORKS
    + bench_sparse.WORKS
    + bench_torch.WORKS
    + bench_jax.WORKS
    + bench_pfl.WORKS
)


def race(work: Work, seconds: float) -> dict[str, Any]:
    """Times all entrants of one work in turns, and the machine's memory with them."""
    inputs = work.inputs()
    expected = work.expected(inputs)
    runs, errors, absent = {}, {}, {}
    for name, build in work.build.items():
        try:
            entrant = build(inputs)
        except Skipped as why:
            absent[name] = str(why)
            continue
        errors[name] = error(entrant, expected)
        runs[name] = entrant.run
    memory = {kind: bandwidth_run(kind) for kind in {"update", work.bandwidth}}
    runs |= {f"*{kind}": m[0] for kind, m in memory.items() if m}
    best = interleaved_minima(runs, seconds)
    speeds = {kind: m[1] / best.pop(f"*{kind}") / 1e9 for kind, m in memory.items() if m}
    return {"work": work, "seconds": best, "errors": errors, "absent": absent, "memory": speeds}


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def rows(result: dict[str, Any]) -> list[list[str]]:
    """The lines of the table of one work, ours first."""
    work, best, errors = result["work"], result["seconds"], result["errors"]
    lines = []
    for name, seconds in best.items():
        speed = work.n_bytes / seconds / 1e9
        size = duration(seconds)
        if work.unit:
            size += f" ({duration(seconds / work.n_units)} a {work.unit})"
        ratio = seconds / best["ours"]
        wanted = work.at_least.get(name)
        verdict = "" if name == "ours" else f"{ratio:.2f}×"
        if wanted:
            verdict += f" (≥ {wanted:.3g}×{'' if ratio >= wanted else ': MISSED'})"
        if name == "ours" and (limit := result["memory"].get(work.bandwidth)) and work.share:
            share = speed / limit
            missed = "" if share >= work.share else ": MISSED"
            verdict = f"{share:.0%} of {work.bandwidth} (≥ {work.share:.0%}{missed})"
        first = work.name if name == "ours" else ""
        lines.append([first, name, size, f"{speed:.1f}", verdict, f"{errors[name]:.0e}"])
    lines += [["", name, "skipped", "", why, ""] for name, why in result["absent"].items()]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="per work (default 15)")
    parser.add_argument("--only", default="", help="works whose name contains this text")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--strict", action="store_true", help="fail when a threshold is missed")
    arguments = parser.parse_args()
    info = af.info()
    print(f"{platform.machine()}, {info['isa']}, {info['threads']} threads, {info['compiler']}\n")
    print("| work | who | time | GB/s | ours is faster by | error |\n|---|---|---:|---:|---:|---:|")
    figures, missed = {}, False
    for work in WORKS:
        if arguments.only not in work.name:
            continue
        result = race(work, arguments.seconds)
        for line in rows(result):
            missed |= "MISSED" in line[4]
            print("| " + " | ".join(line) + " |", flush=True)
        figures[work.name] = {key: result[key] for key in ("seconds", "errors", "memory")}
        memory = ", ".join(f"{kind} {v:.1f}" for kind, v in sorted(result["memory"].items()))
        print(f"| | memory, GB/s: {memory} | | | | |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(arguments.strict and missed)


if __name__ == "__main__":
    sys.exit(main())
