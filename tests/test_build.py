"""What it cannot be built with is refused in a sentence, and what nobody asks for is not built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow  # configures, and the sanitizers have nothing to see here


def configure(folder, *definitions, **environment):
    """CMake's run over this repository, and what it says of errors on one line."""
    places = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    if (cmake := shutil.which("cmake", path=places)) is None:
        pytest.skip("no cmake: the Makefile installs it into .venv")
    command = [cmake, "-S", ROOT, "-B", folder / "build", "-DARUBA_PYTHON=OFF"]
    command += [f"-D{definition}" for definition in definitions]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, " ".join(done.stderr.split())


def pretender(folder, compiler, macro, version):
    """A compiler that is `compiler` and says it is of another version."""
    (folder / "version.h").write_text(f"#undef {macro}\n#define {macro} {version}\n")
    script = folder / Path(compiler).name
    script.write_text(f'#!/bin/sh\nexec "{compiler}" -include "{folder}/version.h" "$@"\n')
    script.chmod(0o755)
    return script


def test_an_older_gcc_is_refused(tmp_path):
    if (gcc := shutil.which("g++")) is None:
        pytest.skip("no g++")
    old = pretender(tmp_path, gcc, "__GNUC__", 10)
    status, said = configure(tmp_path, f"CMAKE_CXX_COMPILER={old}")
    assert status != 0
    assert "aruba_fast must be compiled by GCC 11 or newer, or by Clang: got GNU 10." in said


def test_an_older_nvcc_is_refused(tmp_path):
    found = sorted(ROOT.glob(".venv/cuda-*/nvidia/cu*/bin/nvcc"))
    if not (nvcc := shutil.which("nvcc") or (found and str(found[-1]))):
        pytest.skip("no nvcc: make cuda-gates brings one")
    old = pretender(tmp_path, nvcc, "__CUDACC_VER_MAJOR__", 11)
    status, said = configure(tmp_path, "ARUBA_CUDA=ON", f"CMAKE_CUDA_COMPILER={old}")
    assert status != 0
    assert "must be compiled by nvcc 12.8 or newer, the first for Blackwell: got 11." in said


def test_nobody_gets_cuda_without_asking(tmp_path):
    """A compiler for it is not reason enough: it takes minutes for each architecture."""
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(f'#!/bin/sh\ntouch "{tmp_path}/called"\nexit 1\n')
    nvcc.chmod(0o755)
    status, said = configure(tmp_path, CUDACXX=str(nvcc))
    assert status == 0, said
    assert not (tmp_path / "called").exists()
    status, said = configure(tmp_path, "ARUBA_CUDA=ON", CUDACXX=str(nvcc))
    assert status != 0
    assert (tmp_path / "called").exists()


def test_a_shared_library_is_not_for_what_it_hides(tmp_path):
    status, said = configure(tmp_path, "BUILD_SHARED_LIBS=ON", "ARUBA_TESTS=ON")
    assert status != 0
    assert "BUILD_SHARED_LIBS must be OFF with ARUBA_PYTHON, ARUBA_TESTS" in said
