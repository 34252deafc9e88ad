"""docs/gpu.md says what its script computes from the table of registers, and notices a change."""

from __future__ import annotations

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
    row = next(i for i, line in enumerate(lines) if line.endswith("step_array<Ogd, float, float>"))
    lines[row] = re.sub(r" \d+/", " 96/", lines[row])
    table = tmp_path / "table.txt"
    table.write_text("\n".join(lines) + "\n")
    assert check(DOCUMENT, table).returncode == 1


@pytest.mark.parametrize(
    ("registers", "threads", "resident"),
    [(32, 256, 2048), (40, 256, 1536), (64, 256, 1024), (65, 256, 768), (168, 128, 384)],
)
def test_occupancy_is_that_of_nvidias_calculator(registers, threads, resident):
    """On an H100: 64 K registers an SM, handed out in pieces of 256 a warp; known values."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import gpu_roofline
    finally:
        sys.path.pop(0)
    row = {"threads": str(threads), "sm_90": f"{registers}/1024"}
    assert gpu_roofline.resident(gpu_roofline.H100, row) == (resident, 2048)
