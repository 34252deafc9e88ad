"""Judges the machine code of every CUDA kernel for every architecture, without a GPU.

python tools/cuda_gates.py [--update] FILE...     (objects or extensions made by nvcc)

No spills, stack or local memory; 16-byte accesses in the element-wise kernels; nothing in PTX but
plain, correctly rounded operations, none that the assembler may contract; as many bytes on the way
from memory as cuda/tuning.h asks for; registers, shared memory and fused multiply-adds as in the
committed table. --update writes that table anew.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bytes_in_flight import Row, shortfalls
from machine_code import Kernel, MachineCode, read

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
TABLE = Path(__file__).with_name("cuda_resources.txt")
# Kernels whose time is memory's: every one has a path of 16-byte loads and stores.
ELEMENTWISE = re.compile(r"^(step|merge_sums|update_meta)")
# Kernels whose rules (rules/meta.h: TwoSum, distances) have no fma: one there is a contraction. A
# task is shortened by one, and the restraint of all rates is an exp.
WITHOUT_FMA = re.compile(r"^(sum_(?!all$|\w+<\w+, true>)|merge|commit|find_not_finite)")
# Kernels whose state lies in shared memory or in global, which is known at run time only.
EITHER_MEMORY = re.compile(r"^run_wide_tasks")
_BITS = r"(8|16|32|64)"
PLAIN = re.compile(
    "|".join(
        (
            # memory: caches may be hinted at; asynchronous copies and volatile are not plain
            rf"(ld|st)\.(param|global|shared|const)(\.(nc|cs|cg|ca|wb))?(\.v[24])?\.[bfsu]{_BITS}",
            rf"mov\.([bfsu]{_BITS}|pred)",
            r"cvta(\.to)?\.(global|shared)\.u64",
            # integers
            rf"(add|sub|mul|mad|div|rem|neg|abs|min|max)(\.(lo|hi|wide))?\.[su]{_BITS}",
            rf"(and|or|xor|not|shl|shr|popc|clz|brev|prmt|shf\.[lr]\.(wrap|clamp))\.[bsu]{_BITS}",
            rf"(bfe|bfi|bfind)(\.shiftamt)?\.[bsu]{_BITS}",
            r"(and|or|xor|not)\.pred",
            # floats: round to nearest, said in the instruction, so that nothing is contracted
            r"(add|sub|mul|div|rcp|sqrt|fma)\.rn\.f(32|64)",
            r"(neg|abs)\.f(32|64)",
            rf"setp\.\w+(\.(and|or|xor))?\.[bfsu]{_BITS}",
            rf"selp\.[bfsu]{_BITS}",
            rf"cvt(\.(rn|rz|rzi|rni))?\.(bf16|[fsu]{_BITS})\.(bf16|[fsu]{_BITS})",
            # control, warps and blocks
            r"bra(\.uni)?|brx\.idx|ret|exit",
            r"bar(rier)?(\.cta)?\.(warp\.)?sync(\.aligned)?",
            r"shfl\.sync\.(bfly|down|up|idx)\.b32|vote\.sync\.(any|all|ballot|uni)\.(pred|b32)",
            # counters and flags: sums of integers do not depend on their order
            r"(atom|red)(\.relaxed\.gpu)?\.global\.(add|or|and|max|min|exch|cas)\.[bsu](32|64)",
        )
    )
)
GENERIC = re.compile(rf"(ld|st)(\.v[24])?\.[bfsu]{_BITS}")


def _memory(kernel: Kernel) -> Iterator[str]:
    if kernel.stack:
        yield f"{kernel.stack} bytes of stack"
    if kernel.local:
        yield f"{kernel.local} bytes of local memory"
    if spills := sum(n for op, n in kernel.sass.items() if op.startswith(("LDL", "STL"))):
        yield f"{spills} loads and stores of local memory (spills)"


def _width(kernel: Kernel) -> Iterator[str]:
    for operation, what in (("LDG", "load"), ("STG", "store")):
        wide = re.compile(rf"{operation}\.E\.(\w+\.)*(128|256)\b")
        if not any(wide.match(op) for op in kernel.sass):
            yield f"no {what} of 16 bytes ({operation}.E.128)"


def _instructions(name: str, code: MachineCode) -> Iterator[str]:
    for target, kernels in code.ptx.items():
        for operation in sorted(kernels.get(name, {})):
            generic = GENERIC.fullmatch(operation) and EITHER_MEMORY.match(name)
            if PLAIN.fullmatch(operation) or generic:
                continue
            yield f"PTX for {target}: {operation} is not a plain operation"
        if WITHOUT_FMA.match(name) and (n := _fma(code, name)):
            yield f"PTX for {target}: {n} fma where the rules have none"


def _fma(code: MachineCode, name: str) -> int:
    """The most among the targets: they differ where a loop is unrolled differently."""
    counts = [
        sum(n for op, n in kernels.get(name, {}).items() if op.startswith("fma."))
        for kernels in code.ptx.values()
    ]
    return max(counts, default=0)


def violations(code: MachineCode, architectures: tuple[str, ...]) -> list[str]:
    """What is wrong with the code itself, whatever the table says."""
    wrong = []
    kernels = {name for group in code.sass.values() for name in group}
    if not kernels:
        wrong.append("there is no kernel at all")
    if architectures[0] not in code.ptx:
        wrong.append(f"there is no PTX for {architectures[0]}, and so no support of those between")
    for architecture in sorted(set(architectures) ^ set(code.sass)):
        state = "not wanted" if architecture in code.sass else "missing"
        wrong.append(f"{architecture}: {state}")
    for architecture in architectures:
        group = code.sass.get(architecture, {})
        for name in sorted(kernels):
            if name not in group:
                wrong.append(f"{architecture} {name}: missing")
                continue
            kernel = group[name]
            found = [*_memory(kernel)]
            if ELEMENTWISE.match(name):
                found += _width(kernel)
            wrong += [f"{architecture} {name}: {what}" for what in found]
    for target, names in code.ptx.items():
        wrong += [f"PTX for {target}: {name} is missing" for name in sorted(kernels - set(names))]
        kernels |= set(names)
    wrong += [
        f"{name}: no __launch_bounds__" for name, threads in code.threads.items() if not threads
    ]
    wrong += [f"{name}: {what}" for name in sorted(kernels) for what in _instructions(name, code)]
    return wrong


# ---- the table ---------------------------------------------------------------------------------

HEAD = """\
# Most threads of a block, fused multiply-adds in PTX, then registers a thread / bytes of static
# shared memory a block on each architecture, as compiled by nvcc {compiler}. `make cuda-gates`
# fails where the code differs; where that is meant, `make cuda-gates ARGS=--update` writes this.
"""


def table_of(code: MachineCode) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for architecture, group in code.sass.items():
        for name, kernel in group.items():
            row = rows.setdefault(
                name, {"threads": str(code.threads.get(name, 0)), "fma": str(_fma(code, name))}
            )
            row[architecture] = f"{kernel.registers}/{kernel.shared}"
    return rows


def table_text(code: MachineCode, architectures: tuple[str, ...]) -> str:
    columns = ("threads", "fma", *architectures)
    lines = ["".join(f"{c:>9}" for c in columns) + "  kernel"]
    for name, row in sorted(table_of(code).items()):
        lines.append("".join(f"{row.get(c, ''):>9}" for c in columns) + f"  {name}")
    compiler = ", ".join(sorted(code.compilers))
    return HEAD.format(compiler=compiler) + "\n".join(lines) + "\n"


def read_table(text: str) -> tuple[str, dict[str, Row]]:
    """The compiler's version, and the rows."""
    compiler = re.search(r"nvcc ([\d.]+\d)", text)
    if not compiler:
        raise SystemExit("the table names no compiler")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    columns = lines[0].split()[:-1]
    rows = {}
    for line in lines[1:]:
        *numbers, name = line.split(maxsplit=len(columns))
        rows[name] = dict(zip(columns, numbers, strict=True))
    return compiler[1], rows


def differences(code: MachineCode, table: str) -> list[str]:
    """Where the code is not what the table says, and in which direction."""
    compiler, expected = read_table(table)
    if code.compilers != {compiler}:
        return [
            f"compiled by nvcc {', '.join(sorted(code.compilers))}, the table by {compiler}: "
            f"make cuda-gates CUDA_VERSION={compiler}"
        ]
    got, found = table_of(code), []
    for name in sorted(got.keys() | expected.keys()):
        if name not in expected:
            found.append(f"{name}: not in the table")
        elif name not in got:
            found.append(f"{name}: in the table, but there is no such kernel")
        else:
            found += [
                f"{column} {name}: {_verdict(row, expected[name].get(column, ''))}"
                for column, row in got[name].items()
                if row != expected[name].get(column)
            ]
    return found


def _verdict(got: str, expected: str) -> str:
    number = [int(n) for n in got.split("/")], [int(n) for n in expected.split("/") if n]
    grew = any(a > b for a, b in zip(*number, strict=False)) or not number[1]
    return f"{got}, the table says {expected or 'nothing'}: {'grew' if grew else 'shrank'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--update", action="store_true", help="write the table anew")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES)
    arguments = parser.parse_args()
    architectures = tuple(arguments.architectures)
    code = read(arguments.files)
    wrong = violations(code, architectures)
    wrong += shortfalls(table_of(code), architectures)
    if arguments.update:
        arguments.table.write_text(table_text(code, architectures))
    elif not arguments.table.exists():
        wrong.append(f"there is no table: {arguments.table}")
    else:
        found = differences(code, arguments.table.read_text())
        wrong += found
        if found:
            wrong.append("where that is meant: make cuda-gates ARGS=--update, and say why")
    for line in wrong:
        print(line)
    n_kernels = len({name for group in code.sass.values() for name in group})
    n_code = sum(sum(k.sass.values()) for group in code.sass.values() for k in group.values())
    print(
        f"cuda_gates: {n_kernels} kernels x {len(code.sass)} architectures, {n_code} instructions, "
        f"{len(wrong)} violations"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
