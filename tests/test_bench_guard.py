"""`make bench-guard`: what counts as worse, and what its status says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import guard

BEFORE = {"ratios": {"a": [2.0, 0.1]}, "instructions": {"b": 1000}}


@pytest.mark.parametrize(
    ("ratio", "spread", "count", "found"),
    [
        (2.0, 0.0, 1000, []),
        (9.0, 0.0, 10, []),
        (1.71, 0.0, 1005, []),  # 15 % is not more than 15 %
        (1.69, 0.0, 1000, ["a: 1.69 x, was 2.00 x"]),
        (1.69, 0.3, 1000, []),  # within what the races have spread
        (2.0, 0.0, 1006, ["b: 1006 instructions, were 1000"]),
        (0.5, 0.0, 2000, ["a: 0.50 x, was 2.00 x", "b: 2000 instructions, were 1000"]),
    ],
)
def test_what_is_worse(ratio, spread, count, found):
    now = {"ratios": {"a": [ratio, spread]}, "instructions": {"b": count}}
    assert guard.worse(BEFORE, now) == found


def test_what_is_gone_is_worse():
    assert len(guard.worse(BEFORE, {"ratios": {}, "instructions": {}})) == 2


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    def run(ratio, *arguments):
        monkeypatch.setattr(guard, "ratios", lambda _: {"a": [ratio, 0.0]})
        monkeypatch.setattr(guard, "instructions", lambda _: {"b": 7})
        monkeypatch.setattr(sys, "argv", ["guard", "--file", str(tmp_path / "f"), *arguments])
        return guard.main(), capsys.readouterr().out

    run.file = tmp_path / "f"
    return run


def test_figures_are_those_of_a_kind_of_machine(run, monkeypatch):
    assert run(3.0)[0] == 2
    assert run(3.0, "--update")[0] == 0
    assert json.loads(run.file.read_text())[guard.machine()]["ratios"] == {"a": [3.0, 0.0]}
    assert run(2.9) == (0, f"{guard.machine()}\nnothing got worse\n")
    assert run(1.0)[0] == 1
    monkeypatch.setattr(guard, "machine", lambda: "another")
    assert run(1.0)[0] == 2
    assert run(1.0, "--update")[0] == 0
    assert len(json.loads(run.file.read_text())) == 2


def test_every_headline_is_a_work_with_its_rival():
    """Run by `make bench-check`, where the rivals are."""
    for module in ("torch", "numba", "pfl", "flwr", "jax"):
        pytest.importorskip(module)
    import report

    builds = {work.name: work.build for work in report.WORKS}
    assert len(set(guard.RATIOS)) == 10
    for name, rival in guard.RATIOS:
        assert {"ours", rival} <= set(builds[name])
