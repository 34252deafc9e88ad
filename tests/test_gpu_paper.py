"""docs/gpu.md says what its script computes from the table of registers, and notices a change."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE, DOCUMENT = ROOT / "tools/cuda_resources.txt", ROOT / "docs/gpu.md"


def check(document, table):
    command = [sys.executable, ROOT / "tools/gpu_roofline.py", "--check"]
    command += ["--document", document, "--table", table]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_document_agrees_with_the_table():
    done = check(DOCUMENT, TABLE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("pattern", "other"),
    [(r"(\d+) µs \|", "1 µs |"), (r"→ (\d+)%", "→ 1%"), (r"\((float64)\)", "(memory)")],
    ids=["predicted time", "occupancy", "limit"],
)
def test_an_edited_number_is_noticed(tmp_path, pattern, other):
    edited = tmp_path / "gpu.md"
    text = DOCUMENT.read_text()
    edited.write_text(re.sub(pattern, other, text, count=1))
    assert edited.read_text() != text
    done = check(edited, TABLE)
    assert done.returncode == 1
    assert "is out of date" in done.stdout


def test_a_kernel_that_takes_more_registers_is_noticed(tmp_path):
    lines = TABLE.read_text().splitlines()
    row = next(
        i for i, line in enumerate(lines) if line.endswith("step_array<Ogd, float, float, float>")
    )
    lines[row] = re.sub(r" \d+/", " 96/", lines[row])
    table = tmp_path / "table.txt"
    table.write_text("\n".join(lines) + "\n")
    assert check(DOCUMENT, table).returncode == 1


@pytest.mark.parametrize(
    ("registers", "threads", "resident"),
    [(32, 256, 2048), (40, 256, 1536), (64, 256, 1024), (65, 256, 768), (168, 128, 384)],
)
def test_occupancy_is_that_of_nvidias_calculator(bytes_in_flight, registers, threads, resident):
    """On an H100: 64 K registers an SM, handed out in pieces of 256 a warp; known values."""
    row = {"threads": str(threads), "sm_90": f"{registers}/1024"}
    assert bytes_in_flight.resident("sm_90", row) == resident


# ---- what is on the way from memory ----


@pytest.fixture
def bytes_in_flight(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("bytes_in_flight")


@pytest.fixture
def rows(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("cuda_gates").read_table(TABLE.read_text())[1]


def architectures():
    listed = re.search(
        r"^set\(architectures (.*)\)$", (ROOT / "cuda/CMakeLists.txt").read_text(), re.M
    )
    return tuple(f"sm_{name.removesuffix('-real')}" for name in listed[1].split())


def test_every_architecture_that_is_built_has_a_row_of_tuning(bytes_in_flight):
    table = bytes_in_flight.tunings(bytes_in_flight.TUNING.read_text())
    assert tuple(table) == architectures()
    assert tuple(bytes_in_flight.MULTIPROCESSORS) == architectures()


def test_every_kernel_has_the_bytes_on_the_way_that_its_architecture_asks_for(
    bytes_in_flight, rows
):
    assert list(bytes_in_flight.shortfalls(rows, architectures())) == []


def test_no_step_with_its_own_rates_and_statistics_is_short(bytes_in_flight, rows):
    table = bytes_in_flight.tunings(bytes_in_flight.TUNING.read_text())
    steps = {k: row for k, row in rows.items() if bytes_in_flight.STEP.match(k)}
    narrow = {k for k in steps if k.endswith("float, float, BFloat16>") or "16, BFloat16>" in k}
    assert len(steps) > 50
    assert len(narrow) == 18
    for kernel, row in steps.items():
        more = 16 * (kernel not in narrow)
        more += 16 * kernel.startswith(("step_array<Ogd", "step_arrays<Ogd"))
        for architecture, tuning in table.items():
            n_bytes = bytes_in_flight.of_thread(kernel, tuning) + more
            threads = bytes_in_flight.resident(architecture, row)
            assert n_bytes * threads >= tuning.bytes_in_flight, (kernel, architecture)


@pytest.mark.parametrize("architecture", architectures())
def test_a_reduction_of_too_many_registers_is_a_shortfall(bytes_in_flight, rows, architecture):
    kernel = "sum_columns<float, false>"
    rows[kernel][architecture] = "255/0"
    (said,) = bytes_in_flight.shortfalls(rows, (architecture,))
    tuning = bytes_in_flight.tunings(bytes_in_flight.TUNING.read_text())[architecture]
    # 255 registers: two blocks of 128 threads.
    assert said.startswith(f"{architecture} {kernel}: {256 * tuning.reduce_bytes / 1024:.1f} KiB")


def test_a_kernel_without_room_for_what_it_is_said_to_ask_for_is_noticed(bytes_in_flight, rows):
    rows["merge_chunks"]["sm_90"] = "32/0"
    said = list(bytes_in_flight.shortfalls(rows, ("sm_90",)))
    assert said == ["sm_90 merge_chunks: 32 registers have no room for 192 bytes on the way"]


def test_an_architecture_without_a_row_is_a_shortfall(bytes_in_flight, rows):
    (said,) = bytes_in_flight.shortfalls(rows, ("sm_130",))
    assert said == "sm_130: cuda/tuning.h has no row for it"


def test_what_a_thread_asks_for_is_counted_from_the_kernels_types(bytes_in_flight):
    tuning = bytes_in_flight.tunings(bytes_in_flight.TUNING.read_text())["sm_90"]
    counted = {
        "step_array<Ogd, float, float, float>": 32,
        "step_array<Ogd, float, BFloat16, float>": 24,
        "step_array<Ogd, float, float, BFloat16>": 40,
        "step_arrays<ArubaInPlace, double, double, double>": 48,
        "step_arrays<AdamInPlace, float, Float16, BFloat16>": 48,
        "step_leaves<Ogd, float, Float16, true>": 56,
        "sum_chunks<double, true>": 64,
        "update_meta<double>": 160,
        "prepare_meta": None,
    }
    assert {kernel: bytes_in_flight.of_thread(kernel, tuning) for kernel in counted} == counted
