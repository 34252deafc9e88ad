"""docs/league.md: its tables and sentences are those of the file that was measured."""

from __future__ import annotations

import json

import pytest
from documentation import ROOT
from optional import need

need("statsmodels")
from league import protocol, standings  # noqa: E402


@pytest.fixture(scope="module")
def results():
    return json.loads((ROOT / "docs" / "results" / "league.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "league.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("shots", protocol.SHOTS)
def test_the_errors_are_what_was_measured(results, page, shots):
    assert "\n".join(standings.page(results, shots)) in page


def test_the_seconds_and_sums_are_what_was_measured(results, page):
    assert "\n".join(standings.page_of_seconds(results)) in page
    assert "\n".join(standings.page_online(results)) in page
    assert "\n".join(standings.page_of_statsmodels(results)) in page
    for sentence in standings.summary(results):
        assert sentence in page or sentence.startswith("statsmodels")  # which has a table
