"""Runs that are saved, stopped, resumed; several at a time; their logs."""

from __future__ import annotations

import doctest
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from jobs import Dying, Failing, Walk, WalkJob

from aruba_fast import checkpoint
from aruba_fast_reproductions import logs, runs
from aruba_fast_reproductions.runs import KIND, Interrupted, Run, Saved, Stop, stoppable
from aruba_fast_reproductions.workers import run_all

SETTINGS = {"seed": 0, "rate": 0.1}


def measured(walk):
    return {"distance": float(np.abs(walk.position).sum())}


def finish(path, n_rounds, stop_at=None, settings=SETTINGS, every=3):
    """Runs to the end, or until Ctrl-C comes during the given round."""
    walk, stop = Walk(), Stop()
    run = Run(walk, path, settings, n_rounds)

    def progress(done, total):
        assert total == n_rounds
        stop.requested = done == stop_at

    run.finish(stop, progress, lambda: measured(walk), every)
    return run, walk


@pytest.mark.parametrize("stops", [(1,), (7,), (3, 6, 9), tuple(range(1, 10))], ids=str)
def test_a_run_that_was_interrupted_ends_like_one_that_was_not(tmp_path, stops):
    whole, walk = finish(tmp_path / "whole", 10)
    for stop in stops:
        with pytest.raises(Saved, match=rf"saved after {stop} of 10 rounds: run the same .*part"):
            finish(tmp_path / "part", 10, stop)
    part, resumed = finish(tmp_path / "part", 10)
    np.testing.assert_array_equal(walk.position, resumed.position)
    assert resumed.n_visits == walk.n_visits == 10
    assert part.history == whole.history
    assert [entry["round"] for entry in whole.history] == [3, 6, 9, 10]
    arrays, facts, _ = checkpoint.read(tmp_path / "part", KIND)
    others, other_facts, _ = checkpoint.read(tmp_path / "whole", KIND)
    np.testing.assert_array_equal(arrays["position"], others["position"])
    for name in ("seconds", "cpu_seconds"):
        assert facts.pop(name) >= 0.0
        other_facts.pop(name)
    assert facts == other_facts


def test_a_finished_run_is_not_done_again(tmp_path):
    finish(tmp_path / "run", 10)
    run, walk = finish(tmp_path / "run", 10)
    assert walk.n_visits == 10
    assert len(run.history) == 4


def test_a_measurement_that_is_interrupted_comes_after_the_resumption(tmp_path):
    stop, walk = Stop(), Walk()
    run = Run(walk, tmp_path / "run", SETTINGS, 10)

    def interrupted():
        stop.requested = True
        stop.check()

    with pytest.raises(Saved, match="saved after 3 of 10"):
        run.finish(stop, None, interrupted, 3)
    again, _ = finish(tmp_path / "run", 10)
    whole, _ = finish(tmp_path / "whole", 10)
    assert again.history == whole.history


def test_saved_after_every_round_where_a_round_is_long(tmp_path):
    class Long(Walk):
        def round(self, number):
            if number == 4:
                raise Interrupted("in the middle of a round")
            super().round(number)

    with pytest.raises(Interrupted, match="middle"):
        Run(Long(), tmp_path / "run", SETTINGS, 10, save_every=0.0).finish(Stop())
    run = Run(Walk(), tmp_path / "run", SETTINGS, 10)
    assert run.n_done == run.training.n_visits == 4


def test_a_file_of_other_settings_is_refused(tmp_path):
    finish(tmp_path / "run", 2)
    with pytest.raises(
        ValueError,
        match=r"Run: `path` must be a run of these settings: .*its `rate` is 0\.1, expected 0\.2",
    ):
        finish(tmp_path / "run", 2, settings={**SETTINGS, "rate": 0.2})
    # What a run does not depend on may be in the file.
    finish(tmp_path / "run", 2, settings={"seed": 0})


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "run"
    finish(path, 2)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-1:]
    elif damage == "flipped":
        data[-1] ^= 1
    else:
        checkpoint.write(path, {}, {"settings": SETTINGS, "training": {}}, KIND)
        data = bytearray(path.read_bytes())
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"Run: `path` must be a run .* which is refused"):
        finish(path, 2)
    assert path.read_bytes() == data


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_requests(number):
    before = signal.getsignal(number)
    with stoppable() as stop:
        os.kill(os.getpid(), number)
        assert stop.requested
        with pytest.raises(Interrupted, match="twice"):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    with stoppable(patient=True) as stop:
        for _ in range(3):
            os.kill(os.getpid(), number)
        with pytest.raises(Interrupted, match="same command"):
            stop.check()


def test_other_threads_hear_no_signals():
    found = []

    def work():
        with stoppable() as stop:
            found.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_jobs_are_done_in_their_order(tmp_path, n_workers):
    seen = []
    jobs = [WalkJob(tmp_path / str(seed), seed) for seed in range(3)]
    results = run_all(jobs, [20] * 3, n_workers, lambda *pair: seen.append(pair))
    for seed, (got, position, _) in enumerate(results):
        walk = Walk(seed)
        for number in range(20):
            walk.round(number)
        assert (got, position) == (seed, walk.position.tolist())
    assert seen[0] == (0, 60)
    assert seen[-1] == (60, 60)
    assert all(a <= b for a, b in itertools.pairwise(seen))
    pids = {pid for *_, pid in results}
    assert (pids == {os.getpid()}) == (n_workers == 1)


@pytest.mark.parametrize(
    ("job", "error", "message"),
    [
        (Failing(ValueError("a sentence")), ValueError, "^a sentence$"),
        (Failing(OSError(2, "gone")), OSError, "gone"),
        (Failing(KeyError("name")), RuntimeError, r"jobs.py(.|\n)*KeyError: 'name'"),
        (Dying(), RuntimeError, "a process died with status 3"),
    ],
    ids=["value", "os", "other", "death"],
)
def test_a_job_that_fails_ends_all(tmp_path, job, error, message):
    """The other one, which would take a minute, saves what it has."""
    path = tmp_path / "walk"
    began = time.monotonic()
    with pytest.raises(error, match=message):
        run_all([WalkJob(path, n_rounds=6000, seconds=0.01), job], [6000, 1], 2)
    assert time.monotonic() - began < 30.0


@pytest.mark.timing
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_saves_every_process(tmp_path):
    jobs = [WalkJob(tmp_path / str(seed), seed, 6000, 0.01) for seed in range(3)]

    came = []

    def progress(done, _total):
        if done > 20 and not came:
            came.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Saved, match=r"saved after \d+ of 6000 rounds"):
        run_all(jobs, [6000] * 3, 2, progress)
    assert time.monotonic() - came[0] < 2.0
    done = [Run(Walk(seed), tmp_path / str(seed), {"seed": seed}, 6000).n_done for seed in range(2)]
    assert sum(done) > 20
    assert not (tmp_path / "2").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_before_anything_has_begun(tmp_path, capfd):
    """Processes that are still importing when a terminal's Ctrl-C comes end without a word."""
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))

    def progress(_done, _total):
        if timer.ident is None:
            timer.start()

    with pytest.raises(Interrupted, match="run the same command again"):
        run_all([WalkJob(tmp_path / "walk", 0, 6000, 0.01)] * 2, [6000] * 2, 2, progress)
    assert capfd.readouterr().err == ""


def test_measurements_go_to_tensorboard(tmp_path, monkeypatch):
    written = []

    class Writer(nullcontext):
        def add_scalar(self, name, value, step):
            written.append((self.enter_result, name, value, step))

        def __enter__(self):
            return self

    tensorboard = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", tensorboard)
    walk, folder = Walk(), str(tmp_path / "logs" / "run")
    with logs.open_log(tmp_path / "logs", "run") as log:
        Run(walk, tmp_path / "run", SETTINGS, 4).finish(
            Stop(), None, lambda: {"n": float(walk.n_visits)}, 2, log
        )
    assert written == [(folder, "n", 2.0, 2), (folder, "n", 4.0, 4)]
    with logs.open_log(None, "run") as log:
        assert log is None
    monkeypatch.setattr(logs, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"`tensorboard` must be installed .* pip install"):
        logs.require_tensorboard()


def test_the_examples_run():
    assert doctest.testmod(runs).attempted > 0
    assert doctest.testmod(runs).failed == 0


def test_runs_need_no_torch():
    code = (
        "import sys, aruba_fast_reproductions.runs, aruba_fast_reproductions.workers; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
