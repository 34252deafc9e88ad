"""What privacy costs: the table of the page is of numbers that were measured."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import real_data
from documentation import ROOT
from optional import need

need("dp_accounting")
from aruba_fast.datasets import Shakespeare, load_mnist_writers  # noqa: E402
from aruba_fast_reproductions import private  # noqa: E402


@pytest.mark.parametrize("measured", ["private.json", "private-text.json"])
def test_a_table_of_the_page_is_what_was_measured(measured):
    page = ROOT / "docs" / "privacy.md"
    if not page.exists() and not os.environ.get("CI"):
        pytest.skip("tests are run without the source tree around them")
    rows = json.loads((ROOT / "docs" / "results" / measured).read_text())
    assert private.table(rows) in page.read_text(encoding="utf-8")


def test_a_table_has_means_their_errors_and_the_best_of_the_grid():
    rows = []
    for seed, shift in enumerate((0.0, 2.0)):
        facts = {"seed": seed, "epsilon": 1.0, "noise": 20.0}
        rows.append(
            facts
            | {"arm": "ARUBA", "before": 80 + shift, "learned": 82 + shift, "plus": 83 + shift}
        )
        for rate, before in ((0.1, 60.0), (1.0, 90.0)):
            adapted = [before, before + 1, *([0.0] * 4)]
            rows.append(
                facts
                | {"arm": "FedAvg", "rate": rate, "clip": 0.4, "before": before, "adapted": adapted}
            )
    assert private.table(rows).splitlines()[2:] == [
        "| 1 | 20.00 | ARUBA | 81.00±1.00 | 83.00±1.00 | 84.00±1.00 |",
        "| 1 | 20.00 | FedAvg, best of the grid (1, clip 0.4) | 90.00±0.00 | 91.00±0.00 | |",
        "| 1 | 20.00 | FedAvg at .1, best clip (0.1, clip 0.4) | 60.00±0.00 | 61.00±0.00 | |",
    ]


def test_the_experiment_learns_and_noise_costs(monkeypatch):
    real_data.require("mnist_writers14.npz")
    for name, value in {
        "N_ROUNDS": 3,
        "RATES": (0.3,),
        "CLIPS": (0.8,),
        "EPSILONS": (np.inf, 0.1),
        "ARMS": {"ARUBA": {}},
    }.items():
        monkeypatch.setattr(private, name, value)
    writers = load_mnist_writers(real_data.FOLDER / "mnist_writers14.npz")
    rows = list(private.measured(private.of_writers(writers, 0), 0))
    free, noisy = ({row["arm"]: row for row in rows if row["epsilon"] == e} for e in (None, 0.1))
    for arm in ("ARUBA", "FedAvg"):
        assert free[arm]["before"] > 70
        assert noisy[arm]["before"] < free[arm]["before"] - 20
    assert free["ARUBA"]["learned"] > free["ARUBA"]["before"] + 1
    assert free["ARUBA"]["n_refused"] == 0


def test_of_a_role_the_next_character_is_told_from_the_last_three():
    lines = ["Ab c!\n" * 40, "zz.\n" * 30, "x\n", *["Hark, who goes?\n" * 9] * 9]
    text = np.frombuffer("".join(lines).encode(), np.uint8)
    offsets = np.cumsum([0, *map(len, lines)])
    plays = Shakespeare(text, offsets, tuple(f"role {i}" for i in range(len(lines))))
    people = private.of_roles(plays, 0, n_shots=20, n_most=60)
    assert people.n_parameters == 28 * 84
    assert people.support.sizes.tolist() == [20] * len(people.query)
    tasks = {len(task.y): task for task in people.train}
    assert max(tasks) == 58
    signs = "abcdefghijklmnopqrstuvwxyz_?"
    for task in people.train:
        read = ["".join(signs[k] for k in np.flatnonzero(row) % 28) for row in task.x]
        spoken = read[0] + "".join(signs[int(k)] for k in task.y)
        assert [spoken[i : i + 3] for i in range(len(read))] == read
        assert any(
            "".join(
                c.lower() if c.isalpha() else "_" if c in " \n" else "?" for c in line
            ).startswith(spoken)
            for line in lines
        )
