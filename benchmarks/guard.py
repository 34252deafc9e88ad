"""Has a headline ratio got worse? Ten races, and the instructions of small calls.

python benchmarks/guard.py [--update] [--seconds S] [--file FILE]

A ratio is how much faster ours is than a rival in the same run, the median of three races. It fails
where it is 15 % below the one that was committed for this kind of machine, and by more than both
have spread. Instructions are counted by callgrind from where a call enters native code to where it
leaves, and fail where they grew by half a percent: two runs of one build gave the same number.
--update writes what is measured into the file, and its table into docs/benchmarks.md. The status is
1 where something got worse, 2 where the file knows nothing of this kind of machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import guard_page

import aruba_fast as af

ROOT = Path(__file__).parents[1]
FILE = guard_page.FILE
LOST, GREW = 0.15, 0.005
# The work, and the rival that a user would take instead.
RATIOS = (
    ("fused step, n = 2^24", "numba, fused loop"),
    ("fused step, n = 1000", "NumPy, out="),
    ("ARUBA++ step, n = 2^24", "torch, the reference's formulas"),
    ("1000 tensors x 1000, one call", "torch, _foreach_addcmul_"),
    ("round reduction, [1000, 100 000]", "NumPy, float64 sums"),
    ("logistic tasks, d = 8 (50000 tasks)", "numba, parallel loop"),
    ("logistic tasks, d = 512 (781 tasks)", "torch, batched"),
    ("proximal rule, squared, 2000 tasks of 7 x 13", "NumPy, batched LAPACK"),
    ("optimizer step, 2-layer LSTM", "the authors' formulas"),
    ("meta-update, 5 tasks, 2-layer LSTM", "the authors' formulas"),
)
# Calls whose cost is what surrounds the arithmetic, in a process of their own.
CALLS = {
    "step, n = 10": "af.step(a, b, c, grad_sq=d)",
    "step, 20 tensors of 10": "af.step(*lists[:3], grad_sq=lists[3])",
    "StepPlan.step, 20 tensors of 10": "plan.step()",
    "run_tasks, one task of 3 rows": "af.run_tasks(tasks, phi, rule, loss='squared')",
    "MetaLearner.update, one task": "learner.update(run)",
}
SCRIPT = """
import sys
import numpy as np, aruba_fast as af
a, b, c, d = (np.ones(10, np.float32) for _ in range(4))
lists = [[np.ones(10, np.float32) for _ in range(20)] for _ in range(4)]
tasks, phi, rule = af.Tasks(np.ones((1, 3, 4)), np.ones((1, 3))), np.zeros(4), af.OGD(0.1)
learner = af.MetaLearner(phi, learning_rate=0.1)
run = af.run_tasks(tasks, phi, rule, loss="squared")
plan = af.StepPlan(af.step, *lists[:3], grad_sq=lists[3])
for _ in range(int(sys.argv[1])):
    {call}
"""


def machine() -> str:
    """The kind of this machine: what speeds may be compared with."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(re.findall(r"^(vendor_id|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    info = af.info()
    return " ".join([*fields.values(), info["isa"], f"{info['threads']} threads"])


def ratios(seconds: float) -> dict[str, list[float]]:
    """Median and spread of three races each."""
    import report

    works, found = {work.name: work for work in report.WORKS}, {}
    for name, rival in RATIOS:
        races = [report.race(works[name], seconds)["seconds"] for _ in range(3)]
        each = [best[rival] / best["ours"] for best in races]
        found[f"{name}: {rival}"] = [statistics.median(each), max(each) - min(each)]
        print(f"{statistics.median(each):8.2f} x  {name}: {rival}", flush=True)
    return found


def instructions(build: Path) -> dict[str, int]:
    """Of one call, in the package that is installed, with the symbols of what was built."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        package = Path(af.__file__).parent
        copy = shutil.copytree(package, Path(folder) / package.name)
        (core,) = build.glob("_core.*.so")
        shutil.copy(core, copy)
        for name, call in CALLS.items():
            few, many = (_counted(SCRIPT.format(call=call), n, folder) for n in (20, 220))
            found[name] = round((many - few) / 200)
            print(f"{found[name]:8d} instructions  {name}", flush=True)
    return found


def _counted(script: str, n: int, folder: str) -> int:
    still = {"PYTHONHASHSEED": "0", "ARUBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # Valgrind knows no AVX-512.
    environment = os.environ | still | {"PYTHONPATH": folder, "ARUBA_ISA": "avx2"}
    command = [
        "setarch",
        "-R",
        "valgrind",
        "--tool=callgrind",
        f"--callgrind-out-file={os.devnull}",
    ]
    command += ["--toggle-collect=pybind11::cpp_function::dispatcher*", sys.executable]
    done = subprocess.run(
        [*command, "-c", script, str(n)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected, done.stderr
    return int(collected[1])


def worse(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What got worse, in words."""
    found = []
    for name, (ratio, spread) in before["ratios"].items():
        got, own = now["ratios"].get(name, [0.0, 0.0])
        if got < (1 - LOST) * ratio and ratio - got > spread + own:
            found.append(f"{name}: {got:.2f} x, was {ratio:.2f} x")
    for name, count in before["instructions"].items():
        got = now["instructions"].get(name, sys.maxsize)
        if got - count > GREW * count:
            found.append(f"{name}: {got} instructions, were {count}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the figures into the file")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a race (default 5)")
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    arguments = parser.parse_args()
    known = json.loads(arguments.file.read_text()) if arguments.file.exists() else {}
    kind = machine()
    print(kind)
    now = {"ratios": ratios(arguments.seconds), "instructions": instructions(arguments.build)}
    if arguments.update:
        known[kind] = now
        arguments.file.write_text(json.dumps(known, indent=1) + "\n")
        if arguments.file == FILE:
            guard_page.write()
        return 0
    if kind not in known:
        print(f"nothing to compare with: {arguments.file} has {', '.join(known) or 'nothing'}")
        return 2
    found = worse(known[kind], now)
    print("\n".join(["worse:", *found] if found else ["nothing got worse"]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
