"""Reads the kernels out of an object file or extension: resources, SASS and PTX of each.

NVIDIA's cuobjdump and nvdisasm (PyPI, `pip install aruba_fast[gates]`) take the files apart; here
their text becomes counts of instructions.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Kernel:
    """One kernel as compiled for one architecture: bytes, registers and counted instructions."""

    registers: int = 0
    stack: int = 0
    local: int = 0
    shared: int = 0
    sass: Counter[str] = field(default_factory=Counter)


@dataclass
class MachineCode:
    """`sass[architecture][kernel]`; `ptx[target][kernel]` counts PTX instructions.

    `threads[kernel]` is the most threads of a block, from its __launch_bounds__.
    """

    compilers: set[str] = field(default_factory=set)
    sass: dict[str, dict[str, Kernel]] = field(default_factory=dict)
    ptx: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    threads: dict[str, int] = field(default_factory=dict)


def _tool(name: str) -> str:
    found = list(Path(sysconfig.get_path("purelib")).glob(f"nvidia/cu*/bin/{name}"))
    if not found:
        raise SystemExit(f"{name} is not installed: pip install aruba_fast[gates]")
    return str(found[0])


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def short_names(mangled: Iterable[str]) -> dict[str, str]:
    """A kernel's name and template arguments, without namespace, result and parameters."""
    symbols = sorted(set(mangled))
    # `-p` leaves out the parameters: they follow from the template arguments.
    demangled = subprocess.run(
        ["c++filt", "-p"], input="\n".join(symbols), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = {}
    for symbol, name in zip(symbols, demangled, strict=True):
        name = re.sub(r"^void ", "", name)
        name = re.sub(r"\b(aruba_fast|cuda)::", "", name)
        names[symbol] = re.sub(r"\(unsigned char\)|\(anonymous namespace\)::", "", name)
    if len(set(names.values())) != len(names):
        raise SystemExit("two kernels differ in their parameters alone: give them two names")
    return names


def _resources(text: str) -> dict[str, Kernel]:
    kernels = {}
    for symbol, numbers in re.findall(r"Function (\S+):\n\s*(REG:.*)", text):
        value = dict(re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", numbers))
        kernels[symbol] = Kernel(
            int(value["REG"]), int(value["STACK"]), int(value["LOCAL"]), int(value["SHARED"])
        )
    return kernels


def _sass(lines: Iterable[str]) -> dict[str, Counter[str]]:
    """Instructions of each section .text.KERNEL, predicates left out."""
    sections: dict[str, Counter[str]] = {}
    current: Counter[str] = Counter()
    for line in lines:
        if opening := re.match(r"\.text\.(\S+):", line):
            current = sections.setdefault(opening[1], Counter())
        elif instruction := re.match(
            r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ +)?([A-Z][\w.]*)", line
        ):
            current[instruction[1]] += 1
    return sections


def _ptx(text: str) -> Iterator[tuple[str, int, Counter[str]]]:
    """Threads and instructions of each .entry; what stands outside of any has the name ''."""
    name, threads, counts = "", 0, Counter[str]()
    for line in text.splitlines():
        if entry := re.search(r"\.(?:entry|func)\b.*?([\w$]+)\(", line):
            yield name, threads, counts
            name, threads, counts = entry[1], 0, Counter()
        elif bound := re.match(r"\s*\.maxntid (\d+)", line):
            threads = int(bound[1])
        elif instruction := re.match(r"\s*\{?\s*(?:@!?%\w+\s+)?([a-z][\w.:]*)", line):
            counts[instruction[1]] += 1
    yield name, threads, counts


def _read_cubin(cubin: Path) -> tuple[str, set[str], dict[str, Kernel]]:
    architecture = cubin.suffixes[-2].lstrip(".")
    compilers = set(
        re.findall(rb"Cuda compilation tools, release [\d.]+, V([\d.]+)", cubin.read_bytes())
    )
    kernels = _resources(_run(_tool("cuobjdump"), "-res-usage", str(cubin)))
    for symbol, counts in _sass(_run(_tool("nvdisasm"), "-c", str(cubin)).splitlines()).items():
        kernels[symbol].sass = counts
    return architecture, {c.decode() for c in compilers}, kernels


def read(files: Iterable[Path]) -> MachineCode:
    """Everything that nvcc left in `files`: objects, extensions or executables."""
    code = MachineCode()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(2) as pool:
        for number, file in enumerate(files):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            for what in ("-xelf", "-xptx"):
                _run(_tool("cuobjdump"), what, "all", str(file.resolve()), cwd=folder)
            for architecture, compilers, kernels in pool.map(
                _read_cubin, sorted(folder.glob("*.cubin"))
            ):
                code.compilers |= compilers
                code.sass.setdefault(architecture, {}).update(kernels)
            for ptx in sorted(folder.glob("*.ptx")):
                text = ptx.read_text()
                target = re.search(r"\.target (\w+)", text)
                kernels_of = code.ptx.setdefault(target[1] if target else "", {})
                for name, threads, counts in _ptx(text):
                    if counts:
                        kernels_of[name] = counts
                        code.threads[name] = threads
    symbols = {s for group in (code.sass, code.ptx) for kernels in group.values() for s in kernels}
    names = short_names(symbols - {""})
    names[""] = "outside of any kernel"
    code.sass = {a: {names[s]: k for s, k in ks.items()} for a, ks in code.sass.items()}
    code.threads = {names[s]: threads for s, threads in code.threads.items()}
    code.ptx = {t: {names[s]: c for s, c in cs.items()} for t, cs in code.ptx.items()}
    return code
