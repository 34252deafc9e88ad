"""What a report of a bug says: nothing is imported for it, and nothing is missing from it."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distributions, requires, version

import pytest

import aruba_fast as af
from aruba_fast import _report

# Extras of those who develop the library, and of its results.
OURS = "test|test-frameworks|lint|gpu|docs|gates|bench|league|wheels|zig"


def shown(capsys):
    """What is printed, by its name."""
    af.show_versions()
    lines = capsys.readouterr().out.splitlines()
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines if line)


def test_the_build_is_told_as_info_tells_it(capsys):
    found, info = shown(capsys), af.info()
    assert found["aruba_fast"] == info["version"]
    assert found["python"].split(",")[0].split()[1] == sys.version.split()[0]
    for name in ("isa", "threads", "openmp", "compiler"):
        assert found[name] == str(info[name])
    assert found["isas"].split(", ") == info["isas"]
    assert found["cuda"] == info["cuda"]["problem"] or info["cuda"]["versions"] in found["cuda"]


def test_a_device_is_told(capsys, monkeypatch):
    cuda = {"built": True, "versions": "13.0", "devices": 2, "problem": None}
    monkeypatch.setattr(_report._core, "info", lambda info=af.info: {**info(), "cuda": cuda})
    assert shown(capsys)["cuda"] == "CUDA 13.0, 2 devices"


def test_packages_are_those_that_are_installed(capsys):
    found = shown(capsys)
    there = {(one.metadata["Name"] or "").lower() for one in distributions()}
    assert found.keys() & set(_report.PACKAGES) == there & set(_report.PACKAGES)
    assert found["numpy"] == version("numpy")


def test_no_package_of_a_user_is_forgotten():
    asked = {
        re.match(r"[\w.-]+", line)[0].lower()
        for line in requires("aruba_fast")
        if not re.search(rf"extra == ['\"]({OURS})['\"]", line)
    }
    assert asked - {"aruba-fast", "aruba_fast"} <= set(_report.PACKAGES)
    assert len(asked) > 10


@pytest.mark.parametrize(
    ("name", "is_told"), [("ARUBA_NUM_THREADS", True), ("OMP_NUM_THREADS", True), ("TOKEN", False)]
)
def test_of_the_environment_only_what_matters_is_told(capsys, monkeypatch, name, is_told):
    """A report is pasted where everybody can read it."""
    monkeypatch.setenv(name, "3")
    assert (shown(capsys).get(name) == "3") is is_told


def test_nothing_is_imported_for_it():
    code = (
        "import sys, aruba_fast as af; assert 'aruba_fast._report' not in sys.modules; "
        "af.show_versions(); print({m.partition('.')[0] for m in sys.modules} & "
        "{'torch', 'jax', 'sklearn', 'pandas', 'cupy', 'flwr', 'distributed', 'matplotlib'})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
