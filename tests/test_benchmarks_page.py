"""docs/benchmarks.md: its figures are those of the files and pages that they come from."""

from __future__ import annotations

import json
import os
import sys

import pytest
from documentation import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import guard_page

if not guard_page.PAGE.exists() and not os.environ.get("CI"):
    pytest.skip("tests are run without the source tree around them", allow_module_level=True)

PAGE = guard_page.PAGE.read_text(encoding="utf-8")
# What the page says of a loss, and the words of the page that has the measurement.
QUOTED = {
    "**.34 to .37 times**": "docs/jax.md: **.34 to .37 times** as fast",
    "109 µs, SGD 67": "docs/design.md: 109 µs, SGD 67",
    "of 1000 takes 147 µs in one call, 119": "README.md: one call | 147 µs (planned 119",
    "one flat array take 103": "README.md: one flat array 103",
    "up to three times as long": "docs/league.md: a third as fast",
    "twice as long as SciPy's product": "docs/design.md: twice as long as SciPy's product",
}


def test_the_ratios_are_those_that_were_committed():
    known = json.loads(guard_page.FILE.read_text())
    assert len(guard_page.table(known).splitlines()) >= 14
    assert guard_page.on_page(PAGE, known) == PAGE


def test_another_file_is_another_page():
    other = {"a machine": {"ratios": {"work, n = 1: rival, way": [0.5, 0.25]}}}
    page = guard_page.on_page(PAGE, other)
    assert "| work, n = 1 | rival, way | 0.50 × | 0.25 |" in page
    assert page != PAGE


def test_the_times_are_those_of_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Speed")[1]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) > 8
    assert "\n".join(lines) in PAGE


@pytest.mark.parametrize("here", QUOTED)
def test_a_loss_is_told_as_where_it_was_measured(here):
    page, _, there = QUOTED[here].partition(": ")
    assert here in PAGE
    assert there in (ROOT / page).read_text(encoding="utf-8")
