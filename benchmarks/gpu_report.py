"""How much of the device's memory speed do the kernels reach, and who else reaches how much?

python benchmarks/gpu_report.py [--dry-run] [--seconds S] [--only TEXT] [--json FILE] [--plot FILE]

Every entrant's answer is asserted against float64 NumPy before it is timed; then all entrants of a
work and kernels that only move as many bytes (gpu_yardstick.py) run in turns, and minima count.
Works come in the order of their worth. With --json each is written when it is done, and what the
file has of the same device and version is not run again. --dry-run runs everything
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
YARDSTICKS = {
    "*copy": "a kernel that copies as many bytes",
    "*triad": "one that adds two arrays into a third",
    "*memcpy": "the driver's copy",
}
# What is asked of the data sheet; of all other works a share of the fastest yardstick.
GOALS = {
    "fused step, n = 2^28": {"sheet": 0.92, "kernel": 0.97},
    "fused step, n = 2^24": {"sheet": 0.79, "kernel": 0.95},
}
# Most valuable first: a run may end early.
FIRST = ("fused step, n = 2^28", "round reduction", "logistic tasks, d = 8", "fused step, n = 2^24")


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
    """Times all entrants of one work in turns with the yardsticks; answers are asserted first."""
    if device.free_bytes() < 4 * work.n_bytes:  # inputs, and what each entrant writes
        return {"seconds": {}, "errors": {}, "absent": {"ours": "too little memory"}}
    inputs = work.inputs()
    expected = work.expected(inputs)
    runs = {f"*{kind}": run for kind, run in device.yardsticks(work.n_bytes).items()}
    errors, absent = {}, {}
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
    return {"seconds": fastest(device, runs, seconds), "errors": errors, "absent": absent}


def limits(work: Work, best: dict[str, float], sheet: float | None) -> dict[str, float]:
    """Seconds that the bytes of a work take: in the fastest yardstick, and by the data sheet."""
    found = {"kernel": min(s for name, s in best.items() if name.startswith("*"))}
    return found | ({"sheet": work.n_bytes / sheet / 1e9} if sheet else {})


def rows(
    work: Work, result: dict[str, Any], sheet: float | None, *, goals: bool
) -> list[list[str]]:
    """The lines of the table of one work: the yardsticks first, then ours."""
    best, errors = result["seconds"], result["errors"]
    limit = limits(work, best, sheet) if best else {}
    lines = []
    for name, seconds in best.items():
        size = duration(seconds)
        if work.unit and not name.startswith("*"):
            size += f" ({duration(seconds / work.n_units)} a {work.unit})"
        rival = name != "ours" and not name.startswith("*")
        verdict = f"{seconds / best['ours']:.2f}x" if rival else ""
        if name == "ours" and goals:
            verdict = ", ".join(
                f"(>= {share:.0%} of the {kind}"
                + ("" if limit[kind] / seconds >= share else ": MISSED")
                + ")"
                for kind, share in GOALS.get(work.name, {"kernel": work.share}).items()
                if share and kind in limit
            )
        shares = [f"{limit[k] / seconds:.0%}" if k in limit else "" for k in ("kernel", "sheet")]
        lines.append([
            "" if lines else work.name,
            YARDSTICKS.get(name, name),
            size, f"{work.n_bytes / seconds / 1e9:.1f}", *shares, verdict,
            f"{errors[name]:.0e}" if name in errors else "",
        ])  # fmt: skip
    lines += [["", name, "absent", "", "", "", why, ""] for name, why in result["absent"].items()]
    return lines


def plot(results: list[tuple[Work, dict[str, Any]]], title: str, file: Path) -> None:
    """GB/s against n for the fused step; share of the yardstick for every other work."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    done = [(work, found["seconds"]) for work, found in results if found["seconds"]]
    steps = sorted(
        ((w, best) for w, best in done if w.name.startswith("fused step")),
        key=lambda each: each[0].n_bytes,
    )
    others = [each for each in done if not each[0].name.startswith("fused step")]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for name in dict.fromkeys(n for _, best in steps for n in best):
        with_it = [(w, best[name]) for w, best in steps if name in best]
        n = [w.n_bytes / 24 for w, _ in with_it]
        speed = [w.n_bytes / seconds / 1e9 for w, seconds in with_it]
        left.loglog(
            n, speed, "k--" if name.startswith("*") else "o-", label=YARDSTICKS.get(name, name)
        )
    left.set_xscale("log", base=2)
    left.set(xlabel="n", ylabel="GB/s", title="theta -= rate grad; grad_sq += grad²")
    left.legend(fontsize="small")
    shares = [100 * limits(w, best, None)["kernel"] / best["ours"] for w, best in others]
    right.barh([w.name for w, _ in others], shares)
    right.axvline(90, color="k", linestyle="--")
    right.set(xlabel="% of the fastest kernel that only moves the bytes", title="ours")
    right.invert_yaxis()
    figure.suptitle(title)
    figure.savefig(file, dpi=120)


def in_order(works: list[Work]) -> list[Work]:
    """Those that tell most come first."""

    def place(work: Work) -> int:
        return next((k for k, name in enumerate(FIRST) if work.name.startswith(name)), len(FIRST))

    return sorted(works, key=place)


def known(file: Path | None, about: dict[str, Any]) -> dict[str, Any]:
    """What a run before has measured of the same device with the same software."""
    if file is None or not file.exists():
        return {}
    before = json.loads(file.read_text())
    works: dict[str, Any] = before["works"] if before["device"] == about else {}
    return works


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
    print("| work | who | time | GB/s | of kernel | of sheet | ours is faster by | error |")
    print("|---|---|---:|---:|---:|---:|---|---:|")
    start, results, missed = time.perf_counter(), [], False
    # A dry run is a check: it runs everything.
    figures = {} if device.dry else known(arguments.json, about)
    for work in in_order(gpu_step.works(device) + gpu_tasks.works(device)):
        if arguments.only not in work.name:
            continue
        if work.name not in figures:
            figures[work.name] = race(device, work, 0.0 if device.dry else arguments.seconds)
            gc.collect()
            if arguments.json:
                text = json.dumps({"device": about, "works": figures}, indent=1)
                arguments.json.write_text(text + "\n")
        results.append((work, figures[work.name]))
        for line in rows(work, figures[work.name], device.peak(), goals=not device.dry):
            missed |= "MISSED" in line[6]
            print("| " + " | ".join(line) + " |", flush=True)
    minutes = (time.perf_counter() - start) / 60
    print(f"\n{len(results)} works in {minutes:.1f} minutes")
    if arguments.plot:
        plot(results, about["device"], arguments.plot)
    if device.dry:
        print("a dry run: answers were asserted, times mean nothing")
        return 0
    return int(arguments.strict and (missed or minutes > MINUTES))


if __name__ == "__main__":
    sys.exit(main())
