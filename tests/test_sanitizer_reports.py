"""The verdict on the sanitizers' logs fails for what it is there for, planted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPORTS = Path(__file__).parents[1] / "tools" / "sanitizer_reports.py"
LEAK = """
==7==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 48 byte(s) in 2 object(s) allocated from:
    #0 0x7ffff78b89cf in __interceptor_malloc asan_malloc_linux.cpp:69
    #1 0x7ffff6f76c89 in {function} ({module}+0x1c89)

SUMMARY: AddressSanitizer: 48 byte(s) leaked in 2 allocation(s).
"""
PYTHON = LEAK.format(function="gc_alloc", module="libpython3.11.so")
CASES = {
    "Python's own": (PYTHON, 0),
    "ours at import": (
        PYTHON + LEAK.format(function="PyInit__core", module="aruba_fast/_core.cpython.so"),
        0,
    ),
    "ours": (PYTHON + LEAK.format(function="learn", module="aruba_fast/_core.cpython.so"), 1),
    "the device's": (PYTHON + LEAK.format(function="learn", module="emulated/_cuda.so"), 1),
    "a child's memory": (PYTHON + "==8==ERROR: AddressSanitizer: heap-buffer-overflow on 0x6\n", 1),
    "undefined": (PYTHON + "cpp/half.h:9:12: runtime error: shift exponent 64 is too large\n", 1),
    "one without a check": (PYTHON + "==9==LeakSanitizer has encountered a fatal error.\n", 0),
    "none with a check": ("==9==LeakSanitizer has encountered a fatal error.\n", 1),
    "no reports": ("", 1),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict(case, tmp_path):
    text, status = CASES[case]
    log = tmp_path / "log.7"
    log.write_text(text)
    done = subprocess.run(
        [sys.executable, REPORTS, log, tmp_path / "absent"], capture_output=True, text=True
    )
    assert done.returncode == status, done.stdout + done.stderr
