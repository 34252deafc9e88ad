"""How much of the device's memory speed do the kernels reach, and who else reaches how much?

python benchmarks/gpu_report.py [--dry-run] [--seconds S] [--only TEXT] [--json FILE] [--plot FILE]

Every entrant's answer is asserted against float64 NumPy before it is timed; then all entrants of a
work and a device copy of as many bytes run in turns, and minima count. --dry-run runs everything
tiny through the CPU execution of the kernels: it shows that the benchmark works, and no speed.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import gpu_step
import gpu_tasks
from _pytest.outcomes import Skipped
from gpu_device import CpuExecution, Device, Gpu
from race import Work, error
from report import duration

MINUTES = 8.0  # the promise of the whole run


def fastest(device: Device, runs: dict[str, Any], seconds: float) -> dict[str, float]:
    """Seconds per call of each, the least of many batches taken in turns (see race.py)."""
    calls = {}
    for name, run in runs.items():
        device.seconds(run, 1)
        calls[name] = max(1, min(1000, int(2e-3 / device.seconds(run, 1))))
    best = dict.fromkeys(runs, float("inf"))
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < (1 if device.dry else 5) or time.perf_counter() < end:
        for name, run in runs.items():
            device.seconds(run, 1)  # whoever comes next finds the caches of its own last call
            best[name] = min(best[name], device.seconds(run, calls[name]))
        rounds += 1
    return best


def race(device: Device, work: Work, seconds: float) -> dict[str, Any]:
    """Times all entrants of one work in turns with a device copy; answers are asserted first."""
    if device.free_bytes() < 4 * work.n_bytes:  # inputs, and what each entrant writes
        return {"work": work, "seconds": {}, "errors": {}, "absent": {"ours": "too little memory"}}
    inputs = work.inputs()
    expected = work.expected(inputs)
    runs, errors, absent = {"*copy": device.copy(work.n_bytes)}, {}, {}
    for name, build in work.build.items():
        try:
            entrant = build(inputs)
        except Skipped as why:
            absent[name] = str(why)
            continue
        errors[name] = wrong = error(entrant, expected)
        assert wrong <= work.tolerance, f"{work.name}, {name}: off by {wrong:.1e}: nothing to time"
        runs[name] = entrant.run
    assert "ours" in runs, f"{work.name}: {absent['ours']}"
    return {
        "work": work,
        "seconds": fastest(device, runs, seconds),
        "errors": errors,
        "absent": absent,
    }


def rows(result: dict[str, Any], goals: bool) -> list[list[str]]:
    """The lines of the table of one work: the copy first, then ours."""
    work, best, errors = result["work"], result["seconds"], result["errors"]
    lines = []
    for name, seconds in best.items():
        size = duration(seconds)
        if work.unit:
            size += f" ({duration(seconds / work.n_units)} a {work.unit})"
        share = best["*copy"] / seconds
        verdict = "" if name in ("*copy", "ours") else f"{seconds / best['ours']:.2f}x"
        if name == "ours" and work.share and goals:
            missed = "" if share >= work.share else ": MISSED"
            verdict = f"(>= {work.share:.0%} of copy{missed})"
        speed = f"{work.n_bytes / seconds / 1e9:.1f}"
        lines.append([
            work.name if name == "*copy" else "",
            name.replace("*copy", "device copy of as many bytes"),
            size, speed, f"{share:.0%}", verdict,
            f"{errors[name]:.0e}" if name in errors else "",
        ])  # fmt: skip
    lines += [["", name, "absent", "", "", why, ""] for name, why in result["absent"].items()]
    return lines


def plot(results: list[dict[str, Any]], title: str, file: Path) -> None:
    """GB/s against n for the fused step; share of the copy for every other work."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    steps = [r for r in results if r["work"].name.startswith("fused step") and r["seconds"]]
    others = [r for r in results if r not in steps and r["seconds"]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for name in dict.fromkeys(n for r in steps for n in r["seconds"]):
        done = [r for r in steps if name in r["seconds"]]
        n = [r["work"].n_bytes / 24 for r in done]
        speed = [r["work"].n_bytes / r["seconds"][name] / 1e9 for r in done]
        style = "k--" if name == "*copy" else "o-"
        left.loglog(n, speed, style, label=name.replace("*copy", "device copy"))
    left.set_xscale("log", base=2)
    left.set(xlabel="n", ylabel="GB/s", title="theta -= rate grad; grad_sq += grad²")
    left.legend(fontsize="small")
    shares = [100 * r["seconds"]["*copy"] / r["seconds"]["ours"] for r in others]
    right.barh([r["work"].name for r in others], shares)
    right.axvline(90, color="k", linestyle="--")
    right.set(xlabel="% of the device copy", title="ours")
    right.invert_yaxis()
    figure.suptitle(title)
    figure.savefig(file, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="tiny, through the CPU execution")
    parser.add_argument("--seconds", type=float, default=5.0, help="per work (default 5)")
    parser.add_argument("--only", default="", help="works whose name contains this text")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--plot", type=Path, help="draw them into this file as well")
    parser.add_argument("--strict", action="store_true", help="fail when a goal is missed")
    arguments = parser.parse_args()
    device: Device = CpuExecution() if arguments.dry_run else Gpu()
    about = device.describe()
    print(", ".join(f"{key} {value}" for key, value in about.items()), "\n")
    print("| work | who | time | GB/s | of copy | ours is faster by | error |")
    print("|---|---|---:|---:|---:|---|---:|")
    start, results, missed = time.perf_counter(), [], False
    for work in gpu_step.works(device) + gpu_tasks.works(device):
        if arguments.only not in work.name:
            continue
        results.append(race(device, work, 0.0 if device.dry else arguments.seconds))
        gc.collect()
        for line in rows(results[-1], not device.dry):
            missed |= "MISSED" in line[5]
            print("| " + " | ".join(line) + " |", flush=True)
    minutes = (time.perf_counter() - start) / 60
    print(f"\n{len(results)} works in {minutes:.1f} minutes")
    if arguments.json:
        figures = {
            r["work"].name: {k: r[k] for k in ("seconds", "errors", "absent")} for r in results
        }
        text = json.dumps({"device": about, "works": figures}, indent=1)
        arguments.json.write_text(text + "\n")
    if arguments.plot:
        plot(results, about["device"], arguments.plot)
    if device.dry:
        print("a dry run: answers were asserted, times mean nothing")
        return 0
    return int(arguments.strict and (missed or minutes > MINUTES))


if __name__ == "__main__":
    sys.exit(main())
