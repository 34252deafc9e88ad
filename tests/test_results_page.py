"""docs/results.md: its tables and differences are those of the files that were measured."""

from __future__ import annotations

import os
import re

import pytest
from documentation import ROOT
from optional import need

need("torch")
from aruba_fast_reproductions import shakespeare, sine, writers  # noqa: E402
from aruba_fast_reproductions.adaptation import Result  # noqa: E402
from aruba_fast_reproductions.adaptation.table import rows  # noqa: E402

STUDIES = {each.STUDY.name: each.STUDY for each in (shakespeare, writers, sine)}
TABLES = {
    ("shakespeare", "unseen"): "### Unseen roles",
    ("shakespeare", "seen"): "### Seen roles",
    ("writers", "unseen"): "### Unseen writers",
    ("sine", "short"): "### As many steps as in training",
    ("sine", "long"): "### Four times as many steps",
}
TITLES = {"shakespeare": "Shakespeare", "writers": "MNIST by writer", "sine": "Sines"}


def section(name):
    path = ROOT / "docs" / "results.md"
    if not path.exists() and not os.environ.get("CI"):
        pytest.skip("tests are run without the source tree around them")
    page = path.read_text(encoding="utf-8")
    return page.split(f"\n## {TITLES[name]}\n")[1].split("\n## ")[0]


def measured(name, suffix=""):
    """The numbers; that they are read shows that their differences follow from their runs."""
    return Result.read(STUDIES[name], ROOT / "docs" / "results" / f"{name}{suffix}.json")


@pytest.mark.parametrize(("name", "kind"), TABLES)
def test_the_tables_are_what_was_measured(name, kind):
    (table,) = section(name).split(f"\n{TABLES[name, kind]}\n")[1:]
    found = [
        [cell.strip(" *") for cell in line.strip("|").split("|")]
        for line in table.split("\n### ")[0].splitlines()
        if line.startswith("|") and "---" not in line
    ]
    assert found == rows(measured(name), kind)


@pytest.mark.parametrize("name", STUDIES)
def test_the_differences_are_what_was_measured(name):
    claims = measured(name).claims()
    kinds = "|".join(STUDIES[name].titles)
    quoted = re.findall(rf"^\| ((?:{kinds}), .+?) \| (.+?) \|$", section(name), re.MULTILINE)
    assert len(quoted) >= 4
    for claim, text in quoted:
        assert text == claims[claim].signed


def test_what_flower_learned_is_what_was_measured():
    here, there = measured("shakespeare"), measured("shakespeare", "-flower")
    own = {key: value for key, value in there.of("aruba")[0]["about"].items() if key != "nodes"}
    assert own == here.of("aruba")[0]["about"], "of the same settings and the same plays"
    for kind in ("unseen", "seen"):
        for way, named in (("before", "before"), ("aruba++", "ARUBA++")):
            values = [result.values("aruba", kind, way) for result in (here, there)]
            gains = [values[1][seed] - one for seed, one in values[0].items()]
            cells = [str(result.estimate("aruba", kind, way)) for result in (here, there)]
            cells.append(here._estimate(gains).signed)
            assert f"| {named}, {kind} | {' | '.join(cells)} |" in section("shakespeare")
