"""Predicts, on paper, what the kernels reach on GPUs, and keeps the tables of docs/gpu.md.

python tools/gpu_roofline.py [--check]

At best, time is the longest of: bytes / speed of a copy; operations / rate of their pipe;
instructions / rate of issue; and bytes / what the threads that fit, or that there are, let through
(Little's law). At worst, nothing of the second longest overlaps with it. Registers and shared
memory are those of tools/cuda_resources.txt.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from bytes_in_flight import (
    MULTIPROCESSORS,
    TUNING,
    Row,
    in_flight,
    of_thread,
    resident,
    tunings,
)
from cuda_gates import TABLE, read_table

TUNINGS = tunings(TUNING.read_text())
DOCUMENT = Path(__file__).parents[1] / "docs/gpu.md"
BEGIN, END = "<!-- tools/gpu_roofline.py: {} -->", "<!-- end -->"


@dataclass(frozen=True)
class Gpu:
    """A device: numbers of its data sheet and of the CUDA C++ Programming Guide's tables."""

    name: str
    architecture: str
    sms: int
    ghz: float
    copy: float  # read and written, TB/s: H100 as measured by others, else 90 % of the data sheet
    latency_ns: float  # of a load from memory
    fp32: int  # operations a clock and SM
    fp64: int
    convert: int  # float32 <-> float64


GPUS = (
    Gpu("T4", "sm_75", 40, 1.59, 0.29, 600, 64, 2, 2),
    Gpu("A100", "sm_80", 108, 1.41, 1.40, 600, 64, 32, 16),
    Gpu("RTX 3090", "sm_86", 82, 1.70, 0.84, 600, 128, 2, 2),
    Gpu("RTX 4090", "sm_89", 128, 2.52, 0.91, 600, 128, 2, 2),
    Gpu("H100", "sm_90", 132, 1.755, 3.00, 600, 128, 64, 16),
    Gpu("B200", "sm_100", 148, 1.85, 7.20, 700, 128, 64, 16),
    Gpu("RTX 5090", "sm_120", 170, 2.41, 1.61, 600, 128, 2, 2),
)
H100 = GPUS[4]


@dataclass(frozen=True)
class Item:
    """What a kernel does for one item of its work.

    Bytes and operations are counted in rules/, instructions in the SASS of sm_90 (nvcc 13.0.88): a
    vector of a step costs about 100 beside its arithmetic; a task and column of the reduction is 22
    DADD, 2 DMUL and, in float32, 2 conversions in 56 (8 at once: 448), in float64 49; a step of a
    task with 8, 64, 512, 4096 features 148 (of a warp, for four tasks), 167, 375 and 8 x 510, with
    512 in bfloat16 397, in uint8 430; merging 336 for two columns, the meta-update 672. A correctly
    rounded division or root is 8 instructions beside the special one, in float32 as in float64.
    """

    label: str
    kernel: str
    unit: str
    read: float
    written: float
    fp32: float
    fp64: float
    convert: float
    instructions: float
    in_flight: float  # bytes that a thread has asked for before it waits; 0: as cuda/tuning.h says
    width: float  # of the example: items / threads
    example: tuple[str, int]  # size and its number of items


def steps(d: int) -> tuple[str, int]:
    """The tasks of `make bench-gpu`: 100 steps each, 2^28 numbers in all."""
    n_tasks = (1 << 28) // (100 * d)
    return f"{n_tasks} tasks of 100 steps", 100 * n_tasks


N26 = ("n = 2^26", 1 << 26)
N24 = ("n = 2^24", 1 << 24)
ROUND = ("[1000, 100 000]", 100_000_000)
ITEMS = (
    Item("step, float32, one rate", "step_array<Ogd, float, float, float>", "coordinate",
         8, 4, 2, 0, 0, 22, 32, 4, N26),
    Item("step, float32, own rates, grad_sq", "step_array<Ogd, float, float, float>", "coordinate",
         16, 8, 2, 0, 0, 27, 64, 4, N26),
    Item("the same, bfloat16 gradients", "step_array<Ogd, float, BFloat16, float>", "coordinate",
         14, 8, 2, 0, 0, 28, 56, 4, N26),
    Item("the same, bfloat16 rates", "step_array<Ogd, float, float, BFloat16>", "coordinate",
         14, 8, 2, 0, 0, 28, 56, 4, N26),
    Item("the same, float64", "step_array<Ogd, double, double, double>", "coordinate",
         32, 16, 0, 2, 0, 52, 64, 2, N26),
    Item("ARUBA++ step, float32", "step_array<ArubaInPlace, float, float, float>", "coordinate",
         16, 8, 27, 0, 0, 52, 64, 4, N26),
    Item("ARUBA++ step, float64", "step_array<ArubaInPlace, double, double, double>", "coordinate",
         32, 16, 0, 27, 0, 77, 64, 2, N26),
    Item("AdaGrad step, float32", "step_array<AdaGrad, float, float, float>", "coordinate",
         12, 8, 19, 0, 0, 44, 48, 4, N26),
    Item("AdaGrad step, float64", "step_array<AdaGrad, double, double, double>", "coordinate",
         24, 16, 0, 19, 0, 69, 48, 2, N26),
    Item("many tensors in one launch", "step_arrays<Ogd, float, float, float>", "coordinate",
         16, 8, 2, 0, 0, 32, 64, 4, N26),
    Item("round reduction, float32", "sum_columns<float, false>", "task and column",
         8, 0, 0, 24, 2, 56, 0, 1000, ROUND),
    Item("round reduction, float64", "sum_columns<double, false>", "task and column",
         16, 0, 0, 24, 0, 49, 0, 1000, ROUND),
    Item("merging of two sums", "merge_sums", "column",
         96, 48, 0, 33, 0, 168, 192, 2, N24),
    Item("meta-update, float32", "update_meta<float>", "column",
         76, 40, 0, 45, 3, 336, 152, 2, N24),
    Item("logistic tasks, d = 8", "run_tasks<float, Ogd, WarpTeam<float, 8>, 8, 1, true, 128>",
         "step", 36, 0, 464, 0, 0, 1184, 4, 12.5, steps(8)),
    Item("logistic tasks, d = 64", "run_tasks<float, Ogd, WarpTeam<float, 32>, 32, 2, true, 128>",
         "step", 260, 0, 2144, 0, 0, 5344, 8, 3.125, steps(64)),
    Item("logistic tasks, d = 512",
         "run_tasks<float, Ogd, WarpTeam<float, 32>, 32, 16, true, 128>",
         "step", 2052, 0, 3936, 0, 0, 12000, 64, 3.125, steps(512)),
    Item("the same, bfloat16 features",
         "run_tasks<float, Ogd, WarpTeam<float, 32>, 32, 16, true, 128>",
         "step", 1028, 0, 3936, 0, 0, 12704, 32, 3.125, steps(512)),
    Item("the same, uint8 features",
         "run_tasks<float, Ogd, WarpTeam<float, 32>, 32, 16, true, 128>",
         "step", 516, 0, 4960, 0, 0, 13760, 16, 3.125, steps(512)),
    Item("logistic tasks, d = 4096", "run_tasks<float, Ogd, BlockTeam<float>, 32, 16, true, 256>",
         "step", 16388, 0, 39424, 0, 0, 130560, 64, 0.390625, steps(4096)),
)  # fmt: skip


def limits(gpu: Gpu, item: Item, row: Row) -> dict[str, float]:
    """Seconds an item takes if nothing but this limited it."""
    per_clock = gpu.sms * gpu.ghz * 1e9
    issue = item.instructions / 128  # 4 warps a clock
    threads = min(resident(gpu.architecture, row), item.example[1] / item.width / gpu.sms)
    of_one = item.in_flight or of_thread(item.kernel, TUNINGS[gpu.architecture]) or 0
    on_the_way = threads * of_one  # bytes, in an SM
    n_bytes = item.read + item.written
    return {
        "memory": n_bytes / (gpu.copy * 1e12),
        "float32": item.fp32 / (gpu.fp32 * per_clock),
        "float64": item.fp64 / (gpu.fp64 * per_clock),
        "conversions": item.convert / (gpu.convert * per_clock),
        "instructions": issue / per_clock,
        "latency": item.read * gpu.latency_ns * 1e-9 / (on_the_way * gpu.sms),
    }


def prediction(gpu: Gpu, item: Item, row: Row) -> tuple[str, float, float, float]:
    """The limit, seconds of the example, and the share of a copy's speed, at best and at worst."""
    each = limits(gpu, item, row)
    second, limit = sorted(each, key=lambda name: each[name])[-2:]
    longest = each[limit]
    worst = longest + each[second]
    return limit, longest * item.example[1], each["memory"] / longest, each["memory"] / worst


def on_paper(rows: dict[str, Row]) -> str:
    lines = [
        "| kernel | bytes | float32 ops | float64 ops | limited by | example | predicted "
        "| of a copy, at best | at worst |",
        "|---|---:|---:|---:|---|---|---:|---:|---:|",
    ]
    for item in ITEMS:
        limit, seconds, best, worst = prediction(H100, item, rows[item.kernel])
        cells = (
            item.label, f"{item.read + item.written:g} a {item.unit}", f"{item.fp32:g}",
            f"{item.fp64:g}", limit, item.example[0], f"{seconds * 1e6:.0f} µs", f"{best:.0%}",
            f"{worst:.0%}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def occupancy(rows: dict[str, Row]) -> str:
    head = "| kernel | threads a block | " + " | ".join(g.name for g in GPUS) + " |"
    lines = [head, "|---|---:|" + "---:|" * len(GPUS)]
    for kernel in dict.fromkeys(item.kernel for item in ITEMS):
        row = rows[kernel]
        cells = []
        for gpu in GPUS:
            threads = resident(gpu.architecture, row)
            most = MULTIPROCESSORS[gpu.architecture].threads
            registers = row[gpu.architecture].split("/")[0]
            cells.append(f"{registers} → {threads / most:.0%}")
        lines.append(f"| `{kernel}` | {row['threads']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def elsewhere(rows: dict[str, Row]) -> str:
    lines = [
        "| kernel | " + " | ".join(g.name for g in GPUS) + " |",
        "|---|" + "---:|" * len(GPUS),
    ]
    for item in ITEMS:
        cells = []
        for gpu in GPUS:
            limit, _, best, _ = prediction(gpu, item, rows[item.kernel])
            cells.append(f"{best:.0%}" + ("" if limit == "memory" else f" ({limit})"))
        lines.append(f"| {item.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def on_the_way(rows: dict[str, Row]) -> str:
    lines = [
        "| kernel | " + " | ".join(g.name for g in GPUS) + " |",
        "|---|" + "---:|" * len(GPUS),
    ]
    wanted = (f"{TUNINGS[g.architecture].bytes_in_flight // 1024}" for g in GPUS)
    lines.append("| **asked for** | " + " | ".join(wanted) + " |")
    # The kernels of the table above, and those that stand beside them in a round.
    beside = ("sum_chunks<float, true>", "spread_tasks<float>", "merge_chunks", "check_meta<float>")
    for kernel in dict.fromkeys((*(item.kernel for item in ITEMS), *beside)):
        found = [in_flight(kernel, a, rows[kernel], TUNINGS[a]) for a in TUNINGS]
        if all(found):
            cells = " | ".join(f"{(n or 0) / 1024:.0f}" for n in found)
            lines.append(f"| `{kernel}` | {cells} |")
    return "\n".join(lines)


SECTIONS = {
    "on paper": on_paper,
    "occupancy": occupancy,
    "on the way": on_the_way,
    "elsewhere": elsewhere,
}


def updated(document: str, rows: dict[str, Row]) -> str:
    """The document with every section between its marks made anew."""
    for name, make in SECTIONS.items():
        before, mark, rest = document.partition(BEGIN.format(name))
        _, end, after = rest.partition(END)
        if not mark or not end:
            raise SystemExit(f"{DOCUMENT.name} has no section {BEGIN.format(name)} ... {END}")
        document = f"{before}{mark}\n{make(rows)}\n{end}{after}"
    return document


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where the document differs")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    parser.add_argument("--table", type=Path, default=TABLE)
    arguments = parser.parse_args()
    before = arguments.document.read_text()
    after = updated(before, read_table(arguments.table.read_text())[1])
    if arguments.check:
        if before != after:
            print(f"{arguments.document} is out of date: python tools/gpu_roofline.py")
        return int(before != after)
    arguments.document.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
