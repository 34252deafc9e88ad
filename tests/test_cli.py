"""The command `aruba-fast`: what it prints and writes, how it fails and how it stops."""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tables import written

import aruba_fast as af
from aruba_fast import datasets
from aruba_fast_reproductions import demo
from aruba_fast_reproductions.cli import bench

MAIN = "from aruba_fast_reproductions.cli import main; print('ready', flush=True); main()"


def aruba_fast(*arguments, before="", **options):
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", before + MAIN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
        timeout=300,
        **options,
    )


def failed_in_one_sentence(run, sentence):
    assert run.returncode == 1, run.stderr
    assert sentence in " ".join(run.stderr.split())
    assert len(run.stderr.strip().splitlines()) == 1
    assert "Traceback" not in run.stderr


def test_entry_point_is_the_one_in_the_metadata():
    commands = importlib.metadata.entry_points(group="console_scripts", name="aruba-fast")
    assert {command.value for command in commands} == {"aruba_fast_reproductions.cli:main"}


def test_info_tells_all_there_is_to_tell():
    run = aruba_fast("info")
    assert run.returncode == 0, run.stderr
    for name, value in af.info().items():
        assert name in run.stdout
        if isinstance(value, (list, tuple)):
            assert all(entry in run.stdout for entry in value)
        elif isinstance(value, dict):
            assert (value["problem"] or value["versions"]) in " ".join(run.stdout.split())
        elif not isinstance(value, bool):
            assert str(value) in run.stdout


def test_help_names_every_command():
    run = aruba_fast("--help")
    assert run.returncode == 0
    assert all(command in run.stdout for command in ("demo", "info", "bench"))


def test_demo_prints_writes_and_draws(tmp_path):
    files = [tmp_path / "demo.json", tmp_path / "demo.png"]
    run = aruba_fast("demo", "--seeds", 1, "--json", files[0], "--figure", files[1])
    assert run.returncode == 0, run.stderr
    assert all(method in run.stdout for method in demo.METHODS)
    assert files[1].read_bytes().startswith(b"\x89PNG")
    expected = demo.run(datasets.load_wages(), demo.Settings(n_seeds=1)).as_json()
    assert json.loads(files[0].read_text()) == json.loads(json.dumps(expected))


def test_demo_takes_a_table_shots_and_a_seed(tmp_path):
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(10, dtype=np.int32), 6)
    np.savez(
        tmp_path / "table.npz",
        x=rng.standard_normal((60, 2)),
        y=rng.standard_normal(60),
        task=task,
        task_names=np.array(list("abcdefghij")),
        feature_names=np.array(["height", "weight"]),
        info=np.array("{}"),
    )
    out = tmp_path / "out.json"
    arguments = ["--shots", 2, "--seed", 3, "--seeds", 2, "--json", out]
    run = aruba_fast("demo", "--data", tmp_path / "table.npz", *arguments)
    assert run.returncode == 0, run.stderr
    values = json.loads(out.read_text())
    assert values["features"] == ["height", "weight", "intercept"]
    assert values["shots"] == 2
    assert values["settings"]["first_seed"] == 3


def test_bad_input_is_one_sentence(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing of the kind")
    for arguments, sentence in (
        (["--data", tmp_path / "bad.npz"], "which is refused: it is no archive"),
        (["--data", tmp_path / "absent.npz"], "/absent.npz' does not exist"),
        (["--shots", 7], "demo: `shots` must leave a row to be tested on: got 7, expected at most"),
        (["--json", tmp_path / "bad.npz" / "a.json"], "demo: `json` must be a file that can be"),
    ):
        failed_in_one_sentence(aruba_fast("demo", *arguments), sentence)


def test_missing_extra_is_one_sentence():
    run = aruba_fast("info", before="import sys; sys.modules['typer'] = None;")
    failed_in_one_sentence(
        run, "aruba-fast needs typer, not installed here: pip install 'aruba_fast[reproductions]'"
    )


def test_the_extra_by_its_old_name_brings_what_it_brought():
    wanted = importlib.metadata.requires("aruba_fast")
    of = {
        extra: {re.match(r"\w+", w)[0] for w in wanted if re.search(rf"extra == .{extra}.$", w)}
        for extra in ("cli", "reproductions")
    }
    assert of["reproductions"] == {"typer", "rich", "matplotlib"}
    assert of["cli"] == {"aruba_fast", "tqdm"}
    assert any(w.startswith("aruba_fast[reproductions]") and "cli" in w for w in wanted)


def test_import_of_the_library_does_not_need_the_extra():
    code = "import sys, aruba_fast; print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    heavy = ["typer", "rich", "matplotlib", "tqdm", "PIL", "aruba_fast_reproductions"]
    run = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child on Windows")
def test_ctrl_c_ends_cleanly_and_loses_no_seed_that_was_done(tmp_path):
    path, table = tmp_path / "demo.json", written(tmp_path / "people.npz")
    options = ["--data", table, "--seeds", "100000", "--json", path]
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(8.0)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    n_done = json.loads(path.read_text())["settings"]["n_seeds"]
    assert n_done >= 1
    assert f"{n_done} of 100000 seeds are done" in stdout


def test_bench_agrees_with_numpy_and_measures(monkeypatch):
    for name, small in (
        ("_LENGTH", 5000),
        ("_ROUND", (5, 300)),
        ("_ENGINE", ((8, 7), (64, 3))),
        ("_BUDGET", 0.0),
    ):
        monkeypatch.setattr(bench, name, small)
    monkeypatch.setattr(bench, "_seconds", lambda work: (work(), 1e-3)[1])
    seen = []
    rows = list(bench.rows(lambda done, total: seen.append((done, total))))
    assert len(rows) == 5
    assert all(len(row) == 5 for row in rows)
    assert seen == [(done, 5) for done in range(1, 6)]


def test_bench_refuses_wrong_answers():
    with pytest.raises(ValueError, match="disagree"):
        bench._check(np.ones(3, np.float32), np.zeros(3, np.float32))
