"""`make gpu-day`: piece by piece, each written when it is done, and none run twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import gpu_day
from gpu_day import Piece


@pytest.fixture
def day(tmp_path, monkeypatch, capsys):
    """Runs a day of the pieces (name, code), and tells its status, its file and what it printed."""
    file = tmp_path / "day.json"

    def run(*pieces, minutes=1.0):
        made = [
            Piece(name, [sys.executable, "-c", code], 0.5, tmp_path / "speeds.json")
            for name, code in pieces
        ]
        monkeypatch.setattr(gpu_day, "pieces", lambda *_, **__: made)
        monkeypatch.setattr(
            sys, "argv", ["gpu_day", "--json", str(file), "--minutes", str(minutes)]
        )
        status = gpu_day.main()
        return status, json.loads(file.read_text()), capsys.readouterr().out

    return run


def test_a_day_that_was_cut_off_goes_on_where_it_was(day, tmp_path):
    note = f"open({str(tmp_path / 'ran')!r}, 'a').write('x')"
    status, found, said = day(("good", note), ("bad", "raise SystemExit('a wrong bit')"))
    assert status == 1
    assert (found["good"]["status"], found["bad"]["status"]) == (0, 1)
    assert "a wrong bit" in said
    status, found, said = day(("good", note), ("bad", note))
    assert (status, found["bad"]["status"]) == (0, 0)
    assert (tmp_path / "ran").read_text() == "xx"
    assert "2 of 2 pieces are done" in said


def test_a_piece_has_its_share_of_the_time_and_no_more(day):
    slow = "import time; print('began', flush=True); time.sleep(60)"
    status, found, _ = day(("slow", slow), ("next", ""), minutes=0.1)
    assert status == 1
    assert found["slow"]["status"] == "cut off after 3 s"
    assert found["slow"]["said"] == "began\n"
    assert found["next"]["status"] == 0


def test_the_figures_of_the_pieces_stand_in_the_one_file(day, tmp_path):
    code = f"open({str(tmp_path / 'speeds.json')!r}, 'w').write('[1, 2]')"
    assert day(("speed", code))[1]["figures"] == [1, 2]


@pytest.mark.parametrize("dry", [False, True])
def test_what_a_day_runs_is_there(dry, tmp_path):
    for piece in gpu_day.pieces(tmp_path / "day.json", dry=dry):
        files = [part for part in piece.command if part.endswith(".py")]
        assert all((gpu_day.ROOT / file).exists() for file in files)
        assert 0 < piece.share <= 0.5
