"""The C++ package as its files tell it; `make consumer` builds and runs it."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEADERS = sorted((ROOT / "include" / "aruba_fast").glob("*.h"))

if not HEADERS and not os.environ.get("CI"):
    pytest.skip("tests are run without the source tree around them", allow_module_level=True)

by_name = {header.name: header for header in HEADERS}


@pytest.fixture(params=by_name)
def text(request):
    return by_name[request.param].read_text()


def test_there_are_headers():
    assert {"aruba_fast.h", "learner.h", "tasks.h", "step.h"} <= set(by_name)


def test_the_page_shows_the_program_that_is_compiled():
    page = (ROOT / "docs" / "cpp.md").read_text()
    program = (ROOT / "tests" / "consumer" / "wages.cpp").read_text()
    assert f"```cpp\n{program}```" in page


def test_one_header_brings_all():
    umbrella = (ROOT / "include" / "aruba_fast" / "aruba_fast.h").read_text()
    included = set(re.findall(r'#include "(\w+\.h)"', umbrella))
    assert included == set(by_name) - {"aruba_fast.h", "cuda.h", "export.h"}


def test_a_public_header_includes_only_public_and_standard_ones(text):
    """No kernel, no rule: what is installed stands alone."""
    for quoted, standard in re.findall(r'#include (?:"([^"]*)"|<([^>]*)>)', text):
        assert quoted in by_name or re.fullmatch(r"\w+", standard)


def documented(text):
    """What each `///` comment says, and the line that it is about."""
    found = re.findall(r"((?:^ *///.*\n)+)(?:^ *template.*\n)?(^.*)$", text, re.MULTILINE)
    return [(comment, line.strip()) for comment, line in found]


def test_every_function_tells_its_arguments_errors_and_an_example(text):
    for comment, line in documented(text):
        # Neither a class nor what only hands out what a learner holds.
        if "(" not in line or line.endswith("}"):
            continue
        assert "Example:" in comment, line
        if "()" not in line:
            assert "Args:" in comment, line
            assert "Throws" in comment, line


def test_every_function_that_is_shown_has_a_comment(text):
    lines = text.splitlines()
    for number, line in enumerate(lines):
        # Overloads stand below the first of them, and template lines above what they are of.
        if not line.startswith("ARUBA_FAST_API"):
            continue
        above = number
        while above > 0 and not lines[above - 1].strip().startswith("///"):
            above -= 1
            assert lines[above].strip(), f"{line} has no comment"
