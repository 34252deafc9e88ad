"""Judges wheels: their size, what is inside and what must not be, and what they need of NVIDIA.

python tools/judge_wheel.py FILE...
"""

from __future__ import annotations

import re
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import tomllib
from elftools.elf.elffile import ELFFile

LIMIT = 10 * 2**20  # bytes
MEMBERS = [r"_core\..+\.so", r"py\.typed", r"_core\.pyi", r"data/wages\.npz"]
CUDA, JAX = r"_cuda\..+\.so", r"_jax\..+\.so"
PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
CIBUILDWHEEL = PROJECT["tool"]["cibuildwheel"]
FOR_JAX = next(one for one in CIBUILDWHEEL["overrides"] if "ARUBA_JAX" in one["environment"])


def has_jax(name: str) -> bool:
    """Whether what JAX calls belongs into a wheel; its name is of a file, or cp312-manylinux."""
    return any(fnmatch(name, f"*{pattern}") for pattern in FOR_JAX["select"])


def _needed(wheel: zipfile.ZipFile, name: str) -> list[str]:
    """The libraries that a shared object asks the system for."""
    with wheel.open(name) as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        return [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]


def judged(path: Path) -> dict[str, Any]:
    """What is in a wheel; the process ends where it is refused."""
    # NVIDIA has a driver for Linux with glibc alone.
    has_cuda = re.search("-(many)?linux_", path.name) is not None
    with zipfile.ZipFile(path) as wheel:
        sizes = {member.filename: member.compress_size for member in wheel.infolist()}
        for wanted in [*MEMBERS, *[CUDA] * has_cuda, *[JAX] * has_jax(path.name)]:
            if not any(re.fullmatch(f"aruba_fast/{wanted}", name) for name in sizes):
                sys.exit(f"{path.name} has no file aruba_fast/{wanted}")
        cuda = [name for name in sizes if re.fullmatch(f"aruba_fast/{CUDA}", name)]
        asked = [library for name in cuda for library in _needed(wheel, name)]
    if wrong := [name for name in sizes if re.search(r"\.(h|a|cmake|pc)$|libaruba_fast", name)]:
        sys.exit(f"{path.name} has the C++ package in it: {wrong}")
    libraries = [Path(name).name for name in sizes if re.search(r"\.libs/.+\.so", name)]
    if wrong := [name for name in [*libraries, *asked] if re.search("cuda|nv", name)]:
        sys.exit(f"{path.name} needs {wrong}: cudart must be linked statically")
    total = path.stat().st_size
    if total > LIMIT:
        largest = sorted(sizes.items(), key=lambda item: -item[1])[:4]
        sys.exit(f"{path.name} has {total} bytes, more than {LIMIT}: the largest are {largest}")
    return {
        "file": path.name,
        "bytes": total,
        "bytes_of_cuda": sum(sizes[name] for name in cuda),
        "jax": any(re.fullmatch(f"aruba_fast/{JAX}", name) for name in sizes),
        "libraries": libraries,
        "sboms": [Path(name).name for name in sizes if re.search(r"/sboms/.", name)],
    }


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(judged(Path(argument)))
