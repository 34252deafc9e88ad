"""What a kernel has on the way from memory, by architecture, beside what cuda/tuning.h asks for.

Bytes of an SM are those of a thread, asked for before it waits, times the threads that fit: by
their registers and shared memory, as compiled. A thread's are counted at its poorest: one number
for a rate, no statistics.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

Row = dict[str, str]  # of tools/cuda_resources.txt: "threads", "fma", architectures
TUNING = Path(__file__).parents[1] / "cuda/tuning.h"


@dataclass(frozen=True)
class Multiprocessor:
    """Limits of the CUDA C++ Programming Guide; each has 64 K registers."""

    threads: int
    blocks: int
    shared_kb: int


MULTIPROCESSORS = {
    "sm_75": Multiprocessor(1024, 16, 64),
    "sm_80": Multiprocessor(2048, 32, 164),
    "sm_86": Multiprocessor(1536, 16, 100),
    "sm_89": Multiprocessor(1536, 24, 100),
    "sm_90": Multiprocessor(2048, 32, 228),
    "sm_100": Multiprocessor(2048, 32, 228),
    "sm_120": Multiprocessor(1536, 24, 100),
}


def resident(architecture: str, row: Row) -> int:
    """Threads of a kernel that an SM holds."""
    sm = MULTIPROCESSORS[architecture]
    threads = int(row["threads"])
    registers, shared = (int(n) for n in row[architecture].split("/"))
    of_warp = -(-registers * 32 // 256) * 256  # registers come in pieces of 256 a warp
    reserved = 0 if architecture == "sm_75" else 1024  # of the driver, in every block
    blocks = min(
        sm.threads // threads,
        sm.blocks,
        65536 // (of_warp * (threads // 32)) if threads >= 32 else sm.blocks,
        sm.shared_kb * 1024 // max(shared, reserved) if max(shared, reserved) else sm.blocks,
    )
    return blocks * threads


@dataclass(frozen=True)
class Tuning:
    """A row of kTunings."""

    bytes_in_flight: int
    reduce_blocks: int
    reduce_bytes: int


def tunings(text: str) -> dict[str, Tuning]:
    """The table of cuda/tuning.h, by architecture."""
    rows = re.findall(r"\{(\d+), (\d+) \* 1024, (\d+), (\d+)\}", text)
    return {f"sm_{a}": Tuning(1024 * int(kib), int(b), int(n)) for a, kib, b, n in rows}


SIZES = {"double": 8, "float": 4, "BFloat16": 2, "Float16": 2}


def _of_step(kernel: str, _: Tuning) -> int:
    """16 bytes of theta, as many gradients and, unless the rule has none, statistics.

    Rates are an array for certain where they are narrower than theta.
    """
    name, arguments = kernel.rstrip(">").split("<")
    rule, of_theta, of_grad, last = arguments.split(", ")
    has_state = rule != "Ogd" or name == "step_leaves"
    more = 16 * has_state + 16 * (last == "true")
    if last in SIZES and last != of_theta:
        more += 16 * SIZES[last] // SIZES[of_theta]
    return 16 + 16 * SIZES[of_grad] // SIZES[of_theta] + more


def _of_spread(_: str, tuning: Tuning) -> int:
    """Theta_hat, grad_sq, phi and rates of some coordinates, as in cuda/spread-inl.cuh."""
    return 2 * min(tuning.reduce_bytes, 64)


# The kernels whose time is memory's, and what a thread of theirs asks for.
ASKED: tuple[tuple[str, Callable[[str, Tuning], int]], ...] = (
    (r"step_(array|arrays|leaves)<.*", _of_step),
    (r"sum_(columns|chunks)<.*", lambda _, tuning: tuning.reduce_bytes),
    (r"spread_tasks<.*", _of_spread),
    (r"merge_chunks", lambda *_: 4 * 48),
    (r"merge_sums", lambda *_: 2 * 96),
    (r"check_meta<.*", lambda *_: 72),
    (r"update_meta<float>", lambda *_: 2 * (72 + 4)),
    (r"update_meta<double>", lambda *_: 2 * (72 + 8)),
)
# The poorest step has fewer where an SM should have most, and registers forbid more: bounded to 40
# (48 for float64), which is one block more an SM, ptxas spills 4 to 40 bytes in just the kernels
# that are short. This much they have, more than bandwidth x latency of an idle memory. With a rate
# for every coordinate and statistics no step is short.
STEP = re.compile(r"step_(array|arrays|leaves)<.*")
LEAST_OF_STEP = {"sm_90": 30 * 1024, "sm_100": 36 * 1024}


def of_thread(kernel: str, tuning: Tuning) -> int | None:
    """Bytes that a thread asks for at once; None of kernels that memory does not limit."""
    for pattern, count in ASKED:
        if re.fullmatch(pattern, kernel):
            return count(kernel, tuning)
    return None


def in_flight(kernel: str, architecture: str, row: Row, tuning: Tuning) -> int | None:
    """Bytes that an SM full of the kernel has on the way; None where memory is no limit."""
    n_bytes = of_thread(kernel, tuning)
    return None if n_bytes is None else n_bytes * resident(architecture, row)


def shortfalls(
    rows: dict[str, Row], architectures: tuple[str, ...], tuning: str | None = None
) -> Iterator[str]:
    """The kernels that have less on the way than their architecture's row of tuning.h asks for."""
    table = tunings(TUNING.read_text() if tuning is None else tuning)
    for architecture in architectures:
        if architecture not in table:
            yield f"{architecture}: cuda/tuning.h has no row for it"
            continue
        wanted = table[architecture].bytes_in_flight
        for kernel, row in rows.items():
            if architecture not in row:
                continue
            found = in_flight(kernel, architecture, row, table[architecture])
            # What is on the way needs a place to arrive at: a count that registers belie is wrong.
            n_bytes = of_thread(kernel, table[architecture]) or 0
            registers = int(row[architecture].split("/")[0])
            if n_bytes > 4 * registers:
                yield (
                    f"{architecture} {kernel}: {registers} registers have no room for {n_bytes} "
                    "bytes on the way"
                )
            least = LEAST_OF_STEP.get(architecture, wanted) if STEP.match(kernel) else wanted
            if found is not None and found < least:
                yield (
                    f"{architecture} {kernel}: {found / 1024:.1f} KiB on the way in an SM, "
                    f"where {least / 1024:g} are asked for"
                )
