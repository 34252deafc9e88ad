"""Builds the wheels that a release would have, and uses them where nothing else is.

python tools/wheels.py [--only cp312 ...]     (`make wheels`; CUDACXX names nvcc)

The sdist builds a wheel for every CPython at hand, without a network, CPU and CUDA inside;
auditwheel makes it one for the oldest Linux that this machine's compiler allows. Each is installed
into an empty environment without a compiler, where a newcomer's first minute is timed and the quick
part of the suite runs. What came out is written to docs/results/wheels.json and docs/install.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from judge_wheel import CIBUILDWHEEL, FOR_JAX, PROJECT, has_jax, judged
from wheel_table import write

ROOT = Path(__file__).resolve().parents[1]
WORK, DIST = ROOT / "build/wheels", ROOT / "dist"
JAX_HEADERS = next(
    one["build"]["requires"]
    for one in PROJECT["tool"]["scikit-build"]["overrides"]
    if "ARUBA_JAX" in one["if"].get("env", {})
)
NEWER = "a newer Debian"  # tools/newer_python.sh
ASK = """
import json, platform, sys
free = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else "t"
tag = "cp%d%d" % sys.version_info[:2] + free
print(json.dumps([platform.python_implementation(), platform.python_version() + free, tag]))
"""
FIRST = """
import aruba_fast as af, shutil, sys
assert "_cuda" not in " ".join(sys.modules) and shutil.which("g++") is None
cuda = af.info()["cuda"]
assert cuda["built"], cuda
print(cuda["problem"])
"""


def run(command: list[str | Path], log: Path | None = None, **options: object) -> str:
    """What a command prints; the end of it and of the log is shown where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options,
    )  # fmt: skip
    if log is not None:
        log.write_text(done.stdout)
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}\n{' '.join(map(str, command))}: status {done.returncode}")
    return done.stdout


def interpreters() -> list[dict[str, str]]:
    """Every CPython of ours on this machine: Debian's, pyenv's, uv's, and of a newer Debian."""
    home = Path.home()
    places = {
        "the system": Path("/usr/bin").glob("python3.*[0-9]*"),
        "pyenv": Path(os.environ.get("PYENV_ROOT", home / ".pyenv")).glob("versions/*/bin/python"),
        "uv": (home / ".local/share/uv/python").glob("*/bin/python3"),
        NEWER: (ROOT / "build/pythons").glob("*/usr/bin/python3.*[0-9]"),
    }
    found = {}
    for source, paths in places.items():
        for path in sorted(paths):
            try:
                answer = subprocess.run([path, "-c", ASK], capture_output=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            kind, number, tag = json.loads(answer.stdout)
            if kind == "CPython" and tuple(map(int, number.rstrip("t").split(".")[:2])) >= (3, 10):
                found.setdefault(
                    path.resolve(),
                    {"python": number, "from": source, "tag": tag, "path": str(path)},
                )
    return sorted(found.values(), key=lambda one: (len(one["tag"]), one["tag"], one["python"]))


def environment(folder: Path, python: str) -> Path:
    """An empty environment with the newest pip; returns its interpreter."""
    shutil.rmtree(folder, ignore_errors=True)
    run([python, "-m", "venv", "--without-pip", folder])
    pip, ours = next(WORK.glob("pip-*.whl")), folder / "bin/python"
    run([ours, pip / "pip", "install", "-q", "--no-index", pip])  # a wheel of pip runs as it is
    return ours


def offline() -> list[str]:
    """What takes the network away from a command, where that is allowed."""
    cut = ["unshare", "--net"]
    if shutil.which("unshare") is None:
        return []
    return cut if subprocess.run([*cut, "true"], check=False).returncode == 0 else []


def install(python: Path, *what: str | Path) -> None:
    run([python, "-m", "pip", "--disable-pip-version-check", "install", "-q", *what])


def build(sdist: Path, one: dict[str, str]) -> Path:
    """The wheel of one interpreter, from the sdist and from nothing else."""
    python = environment(WORK / one["tag"] / "build", one["path"])
    install(python, *PROJECT["build-system"]["requires"], "cmake", "ninja")
    # Its headers are beside the system: what they include of each other is not found there.
    include = Path(one["path"]).parents[1] / "include"
    variables = {"CXXFLAGS": f"-isystem {include}"} if one["from"] == NEWER else {}
    if has_jax(f"{one['tag']}-manylinux"):
        install(python, *JAX_HEADERS)
        variables |= FOR_JAX["environment"]
    raw, unpacked = WORK / one["tag"] / "raw", WORK / one["tag"] / "unpacked"
    shutil.rmtree(raw, ignore_errors=True)
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    run(
        [
            *offline(), python, "-m", "pip", "wheel", "-v", "--no-build-isolation", "--no-index",
            "--no-deps", "-w", raw, "--config-settings=cmake.define.ARUBA_CUDA=ON", sdist,
        ],
        log=WORK / f"{one['tag']}.log",
        # Debian's Python would ask for the same compiler by another name, as if it were another.
        env={"CXX": "c++", **os.environ, **variables, "TMPDIR": str(unpacked)},
    )  # fmt: skip
    return next(raw.glob("*.whl"))


def repaired(raw: Path, tag: str) -> Path:
    """The wheel with what it needs inside, for every Linux that has a C library as new."""
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run([sys.executable, "-m", "auditwheel", "repair", "-w", DIST, raw], env=tools)
    return next(DIST.glob(f"*-{tag}-{tag}-*.whl"))


def newcomer(folder: Path, python: str, wheel: Path, env: dict[str, str]) -> float:
    """Seconds from an empty environment to learned rates: the page's own commands."""
    page = (ROOT / "docs/install.md").read_text()
    writes, learns = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[:2]
    ours = environment(folder, python)
    there = folder / "hers"
    there.mkdir()
    start = time.perf_counter()
    run([ours, "-m", "pip", "install", "-q", wheel])
    run([ours, "-c", writes + learns], cwd=there, env=env)
    seconds = time.perf_counter() - start
    run([ours, "-c", FIRST], cwd=there, env=env)
    return round(seconds, 1)


def tried(one: dict[str, str], wheel: Path) -> dict[str, object]:
    """The wheel in an empty environment of one interpreter, and the suite there."""
    folder = WORK / one["tag"] / f"bare-{one['from'].replace(' ', '-')}"
    # No compiler in PATH, nothing of the repository in the way, nobody's settings.
    kept = os.environ.keys() & {"HOME", "LANG", "ARUBA_FAST_DATA"}
    env = {name: os.environ[name] for name in kept} | {
        "PATH": f"{folder}/bin:{shells()}",
        "ARUBA_CUDA_EMULATED_MODULE": str(folder / "none"),
        **CIBUILDWHEEL["test-environment"],
    }
    seconds = newcomer(folder, one["path"], wheel, env)
    python = folder / "bin/python"
    also = FOR_JAX["test-requires"] if has_jax(wheel.name) else []
    install(python, wheel, *CIBUILDWHEEL["test-requires"], *also)
    start = time.perf_counter()
    log = WORK / f"{folder.name}-{one['tag']}.log"
    command = shlex.split(CIBUILDWHEEL["test-command"].format(project=ROOT))
    said = run([python, "-m", *command], cwd=folder / "hers", env=env, log=log)
    counts = re.findall(r"(\d+) (passed|skipped)", said.splitlines()[-1])
    return {
        **{name: one[name] for name in ("python", "from", "tag")},
        "platform": wheel.stem.split("-")[-1].split(".")[0],
        "newcomer_s": seconds,
        **{what: int(n) for n, what in counts},
        "suite_s": round(time.perf_counter() - start),
    }


def shells() -> Path:
    """A folder with what tests start besides Python, and no compiler."""
    folder = WORK / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("bash", "sh", "env", "cat", "sleep", "kill", "dirname"):
        if (path := shutil.which(name)) and not (folder / name).exists():
            (folder / name).symlink_to(path)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds and tries the wheels of a release.")
    parser.add_argument("--only", nargs="+", metavar="TAG", help="as cp312; the others stay")
    only = parser.parse_args().only
    if not only:
        shutil.rmtree(DIST, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    for old in WORK.glob("pip-*.whl"):
        old.unlink()
    run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", WORK, "pip"])
    run([sys.executable, "-m", "build", "--sdist", "--no-isolation", "-o", DIST, ROOT])
    sdist = next(DIST.glob("*.tar.gz"))
    wheels: dict[str, dict[str, object]] = {}
    rows = []
    for one in interpreters():
        tag = one["tag"]
        if only and tag not in only:
            continue
        if tag not in wheels:
            for old in DIST.glob(f"*-{tag}-{tag}-*.whl"):
                old.unlink()
            start = time.perf_counter()
            path = repaired(build(sdist, one), tag)
            wheels[tag] = {**judged(path), "build_s": round(time.perf_counter() - start)}
            print(json.dumps(wheels[tag]), flush=True)
        rows.append(tried(one, DIST / str(wheels[tag]["file"])))
        print(json.dumps(rows[-1]), flush=True)
    nvcc = run([os.environ.get("CUDACXX", "nvcc"), "--version"])
    made = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {'-'.join(platform.libc_ver())}",
        "auditwheel": version("auditwheel"),
        "nvcc": re.findall(r"V([\d.]+)", nvcc)[-1],
        "network_while_building": "none" if offline() else "not asked",
    }
    write({"made_by": made, "wheels": list(wheels.values()), "pythons": rows}, keep=bool(only))


if __name__ == "__main__":
    main()
