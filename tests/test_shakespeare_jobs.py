"""`aruba-fast shakespeare`: its jobs, resumed and side by side, and what they can be told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from adaptations import ends_like_one_that_was_not_stopped, without_time
from roles import SMALL, write_play

from aruba_fast_reproductions.runs import Stop
from aruba_fast_reproductions.shakespeare import (
    SCALES,
    Method,
    ShakespeareJob,
)
from aruba_fast_reproductions.shakespeare.network import seeded_network
from aruba_fast_reproductions.workers import run_all

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def play(tmp_path_factory):
    return write_play(tmp_path_factory.mktemp("play") / "play.npz")


def job(folder, play, method="aruba", seed=0, **settings):
    folder.mkdir(exist_ok=True)
    return ShakespeareJob(Method.of(method), seed, replace(SMALL, **settings), folder, play)


@pytest.mark.parametrize(
    ("method", "stops"),
    [("aruba", (6, 24)), ("aruba", (1, 9, 19, 20, 21, 24, 25, 28)), ("fedavg-0.1", (1, 25, 28))],
)
def test_an_interrupted_job_ends_like_one_that_was_not(tmp_path, play, method, stops):
    ends_like_one_that_was_not_stopped(lambda folder: job(folder, play, method), tmp_path, stops)


def test_two_processes_give_the_bits_of_one(tmp_path, play):
    results = []
    for n_workers in (1, 2):
        jobs = [job(tmp_path / str(n_workers), play, "aruba", seed) for seed in range(2)]
        results.append(run_all(jobs, [each.size for each in jobs], n_workers))
    assert [without_time(r) for r in results[0]] == [without_time(r) for r in results[1]]
    assert results[0][0]["before"] != results[0][1]["before"]


def test_a_run_of_other_settings_or_another_text_is_refused(tmp_path, play):
    job(tmp_path / "runs", play)(lambda *_: None, Stop())
    with pytest.raises(ValueError, match=r"its `n_hidden` is 6, expected 7"):
        job(tmp_path / "runs", play, n_hidden=7)(lambda *_: None, Stop())
    other = write_play(tmp_path / "other.npz", 16)
    with pytest.raises(ValueError, match=r"its `data` is '\w+', expected"):
        job(tmp_path / "runs", other)(lambda *_: None, Stop())
    # Nor is what was found of the first served for the other, should its training be gone.
    first = job(tmp_path / "runs", play)
    (tmp_path / "runs" / f"{first.stem}.safetensors").unlink()
    found = job(tmp_path / "runs", other)(lambda *_: None, Stop())
    assert without_time(found) == without_time(
        job(tmp_path / "fresh", other)(lambda *_: None, Stop())
    )
    for text in ("[", "[]"):
        (tmp_path / "runs" / f"{first.stem}.json").write_text(text)
        with pytest.raises(
            ValueError, match="shakespeare: `out` must hold files that this command"
        ):
            job(tmp_path / "runs", other)(lambda *_: None, Stop())


def test_what_a_job_measures(tmp_path, play):
    result = job(tmp_path / "runs", play)(lambda *_: None, Stop())
    assert [point["round"] for point in result["history"]] == [12, 24]
    last = result["history"][-1]
    assert {kind: last[kind] for kind in ("seen", "unseen")} == result["before"]
    assert result["n_roles"] == {"seen": 12, "unseen": 3}
    assert 3 < result["n_tasks"] <= 72 - 30, "those that find the first rate are not learned from"
    assert result["n_skipped"] == 0
    assert result["first_rate"] > 0.0
    names = [name for name, _ in seeded_network(SMALL, 0).named_parameters()]
    assert list(result["rates"]) == names
    assert all(np.all(np.diff(cuts) >= 0) and cuts[0] > 0 for cuts in result["rates"].values())
    # Symbols that nobody says have the rate of the average weight, and are left out.
    assert result["rates"]["embedding.weight"][0] != result["rates"]["embedding.weight"][-1]


# ---- names and scales ----------------------------------------------------------------------------


def test_names_of_methods():
    assert [method.name for method in Method.planned(None)] == list(Method.default)
    assert [m.name for m in Method.planned("aruba, fedavg-0.10,aruba")] == ["aruba", "fedavg-0.1"]
    for name in (
        "adam",
        "fedavg",
        "fedavg-",
        "fedavg-0",
        "fedavg-nan",
        "fedavg-inf",
        "aruba-1",
        "",
    ):
        with pytest.raises(ValueError) as caught:
            Method.of(name)
        assert str(caught.value) == (
            f"shakespeare: `methods` must be known: got {name!r}, expected aruba, isotropic or "
            "fedavg-RATE, such as fedavg-0.1"
        )


def test_the_paper_is_the_papers():
    paper = SCALES["paper"]
    assert (paper.n_layers, paper.n_hidden, paper.n_embedding, paper.length) == (2, 256, 8, 80)
    assert (paper.n_rounds, paper.n_clients, paper.batch_size) == (500, 10, 10)
    assert (paper.role_fraction, paper.line_fraction, paper.stride) == (0.8, 0.8, 1)
    assert paper.n_evaluated is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_hidden": 0}, "`n_hidden` must be at least 1: got 0"),
        ({"n_rounds": 1.5}, "`n_rounds` must be an integer: got 1.5, a float"),
        ({"stride": 8}, "`stride` must not skip characters: got 8, expected at most `length` = 7"),
        ({"line_fraction": 1.0}, "`line_fraction` must be a fraction: got 1.0"),
        ({"n_evaluated": 0}, "`n_evaluated` must be at least 1: got 0"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        replace(SMALL, **change)
    assert str(caught.value).startswith(f"shakespeare: {message}")
