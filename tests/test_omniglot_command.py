"""`aruba-fast omniglot`: what it prints, writes and refuses; its table and its pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drawings import small, write_npz
from PIL import Image
from torch_models import torch
from typer.testing import CliRunner

import aruba_fast_reproductions.cli.omniglot  # adds the command
from aruba_fast import checkpoint
from aruba_fast_reproductions import needs
from aruba_fast_reproductions.cli.app import app
from aruba_fast_reproductions.omniglot import figure, rows
from aruba_fast_reproductions.omniglot.network import LAYERS
from aruba_fast_reproductions.omniglot.rates import QUANTILES
from aruba_fast_reproductions.omniglot.table import best_rate, percent
from aruba_fast_reproductions.runs import KIND

ROOT = Path(__file__).parent.parent
# 8 meta-iterations are 40 tasks, of which at most 34 find the first rate.
TINY = ("--partial", "--train-characters", "6", "--ways", "2", "--meta-iterations", "11")


@pytest.fixture
def data(tmp_path):
    return write_npz(tmp_path / "omniglot28.npz", small(np.random.default_rng(0)))


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def invoke(*arguments):
    return CliRunner().invoke(app, ["omniglot", *map(str, arguments)])


def markdown(result):
    """The table as docs/results.md has it: a column for each test, a line for each method."""
    tests, lines = {}, {}
    for row in rows(result):
        test = f"{row.shots}-shot" + ("" if row.transductive else ", inductive"), row.n_tasks
        tests[test] = None
        lines.setdefault(row.title, {})[test] = percent(row)
    cells = {title: [found.get(test, "") for test in tests] for title, found in lines.items()}
    heads = {"method": [head for head, _ in tests]}
    table = [f"| {name} | {' | '.join(row)} |" for name, row in (heads | cells).items()]
    return "\n".join([table[0], "|---|" + "---:|" * len(tests), *table[1:]])


def test_the_command_trains_tests_prints_and_draws(tmp_path, data):
    own = ("--data", data, "--out", tmp_path / "runs", "--json", tmp_path / "all.json")
    few = ("--shots", "1", "--test-tasks", "1", "--workers", "1", "--figures", tmp_path)
    run = invoke(*TINY, *own, *few, "--methods", "sgd-0.1, aruba", "--seeds", "2", "--inductive")
    assert run.exit_code == 0, run.output
    for part in ("2-way, 11 meta-iterations", "1-shot, inductive", "SGD 0.1", "ARUBA++"):
        assert part in run.output
    result = json.loads((tmp_path / "all.json").read_text())
    assert result == json.loads((tmp_path / "runs" / "omniglot.json").read_text())
    assert [(one["method"], one["seed"]) for one in result["runs"]] == [
        *(("sgd-0.1", 0), ("aruba", 0), ("sgd-0.1", 1), ("aruba", 1))
    ]
    for one in result["runs"]:
        assert {test["n_tasks"] for test in one["tests"]} == {1}
        assert one["evaluation"]["steps"] == 50
        _, facts, _ = checkpoint.read(
            tmp_path / "runs" / f"{one['method']}-seed{one['seed']}.safetensors", KIND
        )
        assert facts["n_done"] == one["settings"]["meta_iterations"] == 11
    sgd, aruba = result["runs"][:2]
    assert [test["method"] for test in sgd["tests"] + aruba["tests"]] == [
        *("sgd-0.1", "aruba", "aruba++")
    ]
    assert aruba["first_rate"] > 0.0
    assert "first_rate" not in sgd
    for name in ("accuracy.png", "rates.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width > 600
    again = invoke(*TINY, *own, *few, "--methods", "aruba", "--seeds", "1", "--inductive")
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "all.json").read_text())["runs"][0] == result["runs"][1]


@pytest.mark.parametrize("found", [True, False])
def test_numbers_are_shown_again(tmp_path, found):
    """Those of before the first rate was found, too."""
    result = result_of([0.1, 0.2, 0.2, 0.3, 0.5], aruba=0.95, adam=0.94)
    assert figure.first_rate(result["runs"][0]) == 0.125
    if not found:
        for run in result["runs"]:
            del run["first_rate"]
            run["settings"]["learning_rate"] = 0.5
            run["tests"][0]["coef"] = None
        assert figure.first_rate(result["runs"][0]) == 0.5
    path = tmp_path / "all.json"
    path.write_text(json.dumps(result))
    run = invoke(
        "--show", path, "--json", tmp_path / "new" / "copy.json", "--figures", tmp_path / "new"
    )
    assert run.exit_code == 0, run.output
    assert "95.0 ± 1.0" in run.output
    assert json.loads((tmp_path / "new" / "copy.json").read_text()) == result
    assert (tmp_path / "new" / "rates.png").exists()
    path.write_text('{"walks": []}')
    run = invoke("--show", path)
    assert run.exit_code == 1
    assert "`show` must be a file that this command wrote" in " ".join(run.output.split())


def test_a_device_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = invoke("--device", "cuda", "--out", tmp_path)
    assert run.exit_code == 1
    assert "`device` must be there: got 'cuda', expected cpu" in " ".join(run.output.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--methods", "adagrad"), "`methods` must be known: got 'adagrad'"),
        (("--scale", "moon"), "`scale` must be known: got 'moon', expected laptop or paper"),
        (("--data", "nowhere"), "nowhere"),
        (
            ("--figures", "/dev/null/new"),
            "omniglot: `figures` must be a folder that can be written",
        ),
        (
            ("--json", "/dev/null/all.json"),
            "omniglot: `json` must be a file that can be written to",
        ),
        (("--out", "/dev/null/runs"), "omniglot: `out` must be a folder that can be written to"),
        (("--show", "nowhere.json"), "the file 'nowhere.json' does not exist"),
        (("--train-characters", "9"), "`n_train` must leave a character for meta-testing: got 9"),
        (("--ways", "5"), "`n_way` must not exceed the number of classes: got 5"),
        (("--methods", "aruba", "--meta-iterations", "2"), "`meta_iterations` must be enough to"),
        (("--shots", "20"), "`k_shot` + `n_query` must not exceed the examples of a class"),
    ],
)
def test_refused_in_one_sentence(tmp_path, data, arguments, sentence):
    base = (*TINY, "--data", data, "--out", tmp_path / "runs", "--workers", "1", "--test-tasks", 1)
    run = invoke(*base, "--methods", "sgd-0.1", *arguments)
    assert run.exit_code == 1
    assert sentence in " ".join(run.output.split())
    assert "Traceback" not in run.output


def test_without_torch_or_compiler(tmp_path, data, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    run = invoke(
        *(*TINY, "--data", data, "--out", tmp_path, "--workers", "1", "--compile"),
        *("--methods", "adam", "--test-tasks", "1", "--shots", "1"),
    )
    assert run.exit_code == 0, run.output
    assert "No C++ compiler was found: the network is not compiled." in run.output
    monkeypatch.setattr(needs, "find_spec", lambda _: None)
    run = invoke(*TINY)
    assert run.exit_code == 1
    assert "omniglot: PyTorch must be installed" in " ".join(run.output.split())


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_saves_and_says_so(tmp_path, data):
    """From a terminal, whose signal comes to all processes; and the same command goes on."""
    code = "from aruba_fast_reproductions.cli import main; main()"
    command = [sys.executable, "-c", code, "omniglot", *TINY, "--data", str(data), "--workers", "2"]
    command += ["--meta-iterations", "100000", "--methods", "adam,aruba", "--test-tasks", "1"]
    command += ["--out", str(tmp_path / "runs")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ
    )
    out = tmp_path / "runs"
    while not out.exists():
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(3.0)  # the processes import, or train already: both end in a sentence
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    sentence = " ".join(error.split())
    assert "aruba-fast: interrupted" in sentence
    assert "run the same command again" in sentence
    assert "Traceback" not in error
    for file in out.iterdir():
        assert 0 <= checkpoint.read(file, KIND)[1]["n_done"] < 100_000


def result_of(moved, **tests):
    """A result as `compare` returns it, with the given movement by layer and accuracies."""
    spread = np.exp(np.linspace(-1.0, 1.0, len(QUANTILES)))
    rates = [
        {
            "layer": layer,
            "parameter": "weight",
            "quantiles": (value * spread).tolist(),
            "size": 0.5,
            "moved": value,
            "filter_rates": np.geomspace(value / 2, value * 2, 64).tolist(),
            "filter_moved": np.geomspace(value / 2, value * 2, 64).tolist(),
        }
        for layer, value in zip(LAYERS, moved, strict=True)
    ]
    own = {"n_way": 5, "meta_iterations": 10}
    common = {"standard_error": 0.01, "n_tasks": 100, "transductive": True, "shots": 1}
    runs = []
    for method, accuracy in tests.items():
        name = method.replace("sgd_", "sgd-0.")
        test = {"method": name, "accuracy": accuracy, **common}
        run = {"method": name, "seed": 0, "settings": own, "rates": rates, "tests": [test]}
        runs.append({**run, "first_rate": 0.125})
    return {"runs": runs}


def test_the_table_orders_and_finds_the_best_rate():
    result = result_of([1.0] * 5, aruba=0.95, sgd_3=0.91, sgd_1=0.9, adam=0.94)
    found = rows(result)
    assert [row.method for row in found] == ["adam", "sgd-0.1", "sgd-0.3", "aruba"]
    assert best_rate(found) is found[2]
    assert best_rate(found[:1]) is None
    result["runs"] += [{**run, "seed": 1} for run in result_of([1.0] * 5, aruba=0.97)["runs"]]
    (aruba,) = [row for row in rows(result) if row.method == "aruba"]
    assert aruba.seeds == (0.95, 0.97)
    assert aruba.accuracy == pytest.approx(0.96)
    assert markdown(result).splitlines() == [
        "| method | 1-shot |",
        "|---|---:|",
        "| Reptile, Adam | 94.0 ± 1.0 |",
        "| Reptile, SGD 0.1 | 90.0 ± 1.0 |",
        "| Reptile, SGD 0.3 | 91.0 ± 1.0 |",
        "| ARUBA | 96.0 ± 1.0 |",
    ]


@pytest.mark.parametrize(
    ("moved", "sentence"),
    [
        (
            (0.01, 0.02, 0.02, 0.03, 0.2),
            "Lower layers move less than the head: in a task conv 1 by 2 % of its weights, the "
            "head by 40 %",
        ),
        (
            (0.01, 0.2, 0.02, 0.03, 0.02),
            "In a task conv 2 moves most, by 40 % of its weights, conv 1 least, by 2 %",
        ),
        (
            (0.05, 0.04, 0.03, 0.02, 0.01),
            "In a task conv 1 moves most, by 10 % of its weights, head least, by 2 %",
        ),
    ],
)
def test_the_picture_says_what_the_layers_do(moved, sentence):
    result = result_of(moved, aruba=0.9)
    weights = {entry["layer"]: entry for entry in result["runs"][0]["rates"]}
    assert figure.reading(weights) == sentence


def test_the_page_shows_what_the_command_wrote():
    page = ROOT / "docs" / "results.md"
    if not page.exists() and not os.environ.get("CI"):
        pytest.skip("tests are run without the source tree around them")
    text, folder = page.read_text(encoding="utf-8"), page.parent / "results"
    for name in ("omniglot-20way", "omniglot"):
        result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert markdown(result) in text
    for name in ("accuracy.png", "rates.png"):
        assert f"](results/{name})" in text
        assert (folder / name).stat().st_size > 10_000
    for run in result["runs"]:
        minutes = f"{run['seconds'] / 60:.0f}"
        processor = f"{run['cpu_seconds'] / 60:.0f}"
        assert f"| {run['title']} | {minutes} | {processor} |" in text
    aruba = next(run for run in result["runs"] if run["method"] == "aruba")
    weights = {entry["layer"]: entry for entry in aruba["rates"] if entry["parameter"] == "weight"}
    assert figure.reading(weights) in " ".join(text.split())


def test_pictures_that_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="`result` must hold a run of aruba: got none"):
        figure.draw_rates(result_of([1.0] * 5, adam=0.9), tmp_path / "rates.png")
    with pytest.raises(ValueError, match="abc"):
        figure.draw_accuracy(result_of([1.0] * 5, adam=0.9), tmp_path / "accuracy.abc")
    assert aruba_fast_reproductions.cli.omniglot.omniglot.__doc__
