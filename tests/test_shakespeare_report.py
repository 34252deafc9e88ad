"""What `aruba-fast shakespeare` prints, writes and draws, and how it fails."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console
from roles import write_play
from test_cli import aruba_fast, failed_in_one_sentence

from aruba_fast_reproductions.adaptation import Result
from aruba_fast_reproductions.adaptation.result import Estimate
from aruba_fast_reproductions.adaptation.table import render, rows
from aruba_fast_reproductions.shakespeare import STUDY

BEFORE = {
    "fedavg-3": (0.30, 0.32),  # outside of the grid
    "fedavg-1": (0.10, 0.12),
    "fedavg-0.1": (0.20, 0.22),
    "aruba": (0.40, 0.44),
}
_BEST = {"fedavg-3": (0.31, 0.35), "fedavg-1": (0.11, 0.15), "fedavg-0.1": (0.21, 0.25)}
_OTHERS = ("1", "0.3", "0.03", "0.01")
AFTER = {name: {**dict.fromkeys(_OTHERS, BEFORE[name]), "0.1": _BEST[name]} for name in _BEST}
AFTER["aruba"] = dict.fromkeys(_OTHERS, BEFORE["aruba"]) | {
    "0.1": (0.41, 0.45),
    "learned": (0.42, 0.48),
    "aruba++": (0.43, 0.47),
}


def made(methods=tuple(BEFORE), n_seeds=2):
    """A result with the figures above; what seen roles have is a tenth of a percent more."""
    runs = []
    for seed in reversed(range(n_seeds)):
        for method in methods:
            about = {"method": method, "seed": seed, "n_layers": 1, "n_hidden": 6, "stride": 7}
            about |= {"n_rounds": 4, "n_clients": 3, "batch_size": 3, "length": 7}
            shares = {"unseen": BEFORE[method][seed], "seen": BEFORE[method][seed] + 0.001}
            after = {
                kind: {way: each[seed] + more for way, each in AFTER[method].items()}
                for kind, more in (("unseen", 0.0), ("seen", 0.001))
            }
            cuts = {
                "embedding.weight": [0.5, 0.8, 1.1, 2, 3],
                "lstm.weight_hh_l0": [0.1, 0.2, 0.3, 1, 2],
            }
            runs.append(
                {
                    "about": about,
                    "before": shares,
                    "after": after,
                    "n_roles": {"seen": 12, "unseen": 3},
                    "n_predictions": {"seen": 900, "unseen": 200},
                    "most_frequent": {"seen": 0.16, "unseen": 0.15 + 0.02 * seed},
                    "history": [{"round": r, **shares} for r in (2, 4)],
                    "first_rate": 1.0,
                    "rates": cuts if method == "aruba" else {},
                }
            )
    return Result(STUDY, "laptop", runs)


def test_means_and_standard_errors_are_over_seeds():
    result = made()
    assert [method.name for method in result.methods] == list(BEFORE)
    assert result.seeds == [0, 1]
    found = result.estimate("aruba", "unseen", "learned")
    assert found[:2] == pytest.approx((45.0, np.std([42, 48], ddof=1) / np.sqrt(2)))
    assert str(found) == "45.00±3.00"
    assert str(Estimate.of(np.array([50.0, 50.2]))) == "50.10±.10"
    assert str(Estimate.of(np.array([50.0]))) == "50.00"
    assert result.estimate("fedavg-1", "unseen", "learned") is None
    assert result.trivial("unseen").mean == pytest.approx(16.0)
    lines = rows(result, "unseen")
    assert lines[0] == [
        *("FedAvg", "before", "1", "0.3", "0.1", "0.03", "0.01", "learned", "ARUBA++")
    ]
    assert lines[3] == ["at 0.1", *3 * ["21.00±1.00"], "23.00±2.00", *2 * ["21.00±1.00"], "", ""]
    assert lines[4][0] == "ARUBA"
    assert lines[4][-2:] == ["45.00±3.00", "45.00±2.00"]
    assert rows(result, "seen")[4][1] == "42.10±2.00"


def test_the_table_is_whole_in_eighty_columns():
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(made()))
    text = console.export_text()
    assert "…" not in text
    for line in rows(made(), "unseen"):
        for cell in line:
            assert all(part in text for part in re.split("(?=±)", cell))


def test_claims_are_differences_by_seed_to_the_best_rival():
    claims = made().claims()
    name = "unseen, learned rates against FedAvg, best of the grid, at its best rate"
    assert claims[name][:2] == pytest.approx((22.0, 1.0))
    same = "unseen, learned rates against the same φ, at its best rate"
    assert claims[same][:2] == pytest.approx((2.0, 1.0))
    one = "unseen, ARUBA++ against FedAvg at rate 1, at its best rate"
    assert claims[one][:2] == pytest.approx((32.0, 0.0))
    # A rival that has not been run with every seed is compared with on those that it has.
    result = made()
    part = [run for run in result.runs if run["about"]["seed"] or run["about"]["method"] == "aruba"]
    assert Result(STUDY, "laptop", part).claims()[name].mean == pytest.approx(48.0 - 25.0)
    assert len(claims) == 2 * 2 * 4
    assert made(("fedavg-1",)).claims() == {}
    assert len(made(("aruba",)).claims()) == 2 * 2 * 2
    (alone, *_) = made(n_seeds=1).as_json()["claims"].values()
    assert alone["error"] is None
    json.dumps(made().as_json(), allow_nan=False)


def test_figures_are_drawn_whatever_was_run(tmp_path):
    from aruba_fast_reproductions.adaptation.figure import draw

    for number, result in enumerate((made(), made(("fedavg-1",)), made(n_seeds=1))):
        path = tmp_path / f"{number}.png"
        draw(result, path)
        assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="bmpx"):
        draw(made(), tmp_path / "a.bmpx")


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    return write_play(tmp_path_factory.mktemp("play") / "play.npz")


def test_the_command_prints_writes_draws_and_goes_on(tmp_path):
    # Roles of several steps of four long windows; five rounds of ten find the first rate.
    play = write_play(tmp_path / "play.npz", longer=12)
    (tmp_path / "figures").mkdir()
    arguments = ["--data", play, "--rounds", 5, "--seeds", 1, "--methods", "fedavg-0.1,aruba"]
    arguments += ["--workers", 1, "--out", tmp_path / "runs", "--json", tmp_path / "a.json"]
    run = aruba_fast("shakespeare", *arguments, "--figures", tmp_path / "figures")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "figures" / "shakespeare.png").read_bytes().startswith(b"\x89PNG")
    assert max(map(len, run.stdout.splitlines())) <= 80
    saved = json.loads((tmp_path / "a.json").read_text())
    result = Result(STUDY, saved["scale"], saved["runs"])
    for kind in ("seen", "unseen"):
        for line in rows(result, kind):
            assert all(each in run.stdout for each in line)
    assert saved == result.as_json()
    # Nothing is computed again: the figures, and the seconds that they took, are the same.
    again = aruba_fast("shakespeare", *arguments)
    assert json.loads((tmp_path / "a.json").read_text()) == saved
    assert again.stdout == run.stdout


def test_bad_input_is_one_sentence(tmp_path, play):
    out = ["--data", play, "--out", tmp_path / "runs"]
    for arguments, sentence in (
        (["--scale", "huge", *out], "`scale` must be known: got 'huge', expected one of paper"),
        (["--methods", "adam", *out], "shakespeare: `methods` must be known: got 'adam', expected"),
        (["--json", play / "a.json", *out], "shakespeare: `json` must be a file that can be"),
        (["--data", tmp_path], "load_shakespeare: `path` "),
        (["--device", "abacus", *out], "shakespeare: `device` must be one of PyTorch's: got"),
    ):
        failed_in_one_sentence(aruba_fast("shakespeare", *arguments), sentence)
    assert not (tmp_path / "runs").exists()


def test_without_pytorch_there_is_one_sentence():
    run = aruba_fast("shakespeare", before="import sys; sys.modules['torch'] = None;")
    failed_in_one_sentence(run, "shakespeare: PyTorch must be installed")
