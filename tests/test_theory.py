"""What `aruba-fast theory` shows holds: slopes, geometry, drift, regret below its bounds."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from real_data import FOLDER, people
from tables import small_table, written
from typer.testing import CliRunner

from aruba_fast.datasets import load_table
from aruba_fast_reproductions.theory import drift, geometry, guarantee, scaling

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1])
def test_regret_goes_like_v_sqrt_m(seed):
    """Slopes 1 in log V and 1/2 in log m, and the constant of the lower bound within 5 %."""
    report = scaling(seed)
    slopes = {k: v for k, v in report.facts.items() if k.startswith("slope in log m, V")}
    assert len(slopes) == 3
    for name, slope in slopes.items():
        assert abs(slope - 0.5) <= 0.05, name
    assert abs(report.facts["slope in log V"] - 1.0) <= 0.05
    for row in report.rows:
        assert float(row[2]) == pytest.approx(report.facts["lower bound"], rel=0.05)
    # Alone, the same tasks cost what the domain says, however alike they are.
    curves = {curve.label: curve.y for curve in report.curves}
    assert (curves["one task alone"] > 1.4 * curves["meta-learned, V = 1"]).all()
    assert (curves["one task alone"] > 12 * curves["meta-learned, V = 0.1"]).all()
    assert (curves["one task alone"] <= curves["D√m"]).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_rates_per_coordinate_end_near_the_best_in_hindsight(seed):
    facts = geometry(seed).facts
    assert facts["a rate each, tight form / best fixed"] <= 1.05
    assert facts["bound of the learner / bound of the best fixed pair"] <= 1.05
    # ARUBA as it is minimizes the blog's form, at a small price in regret itself.
    assert facts["a rate each, ARUBA / best fixed"] <= 1.08
    assert facts["one rate, best fixed / best fixed"] >= 1.2
    assert facts["AdaGrad, best fixed, from φ / best fixed"] >= 1.2
    assert (
        facts["one rate, tight form / best fixed"]
        >= facts["one rate, best fixed / best fixed"] - 0.02
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_experts_are_near_the_best_step_at_every_speed(seed):
    facts = drift(seed).facts
    ratios = [v for k, v in facts.items() if k.startswith("experts")]
    assert len(ratios) == 3
    assert max(ratios) <= 1.15
    means = [v for k, v in facts.items() if k.startswith("running mean")]
    assert means[0] == pytest.approx(1.0, abs=0.02)
    assert means[1] > 1.5
    assert means[2] > 5.0


@pytest.mark.parametrize("loss", ["absolute", "squared", "huber"])
def test_no_task_is_above_its_bound(loss):
    from aruba_fast_reproductions.theory.guarantee import GuaranteeSettings

    tables = {name: people(name) for name in ("wages", "lenk", "school", "parkinson")}
    report = guarantee(0, GuaranteeSettings(loss=loss), tables=tables)
    assert report.facts["tasks above their bound"] == 0
    assert len(report.rows) == 4 * 5
    assert {row[0] for row in report.rows} == set(tables)
    for row in report.rows:
        assert 0.0 < float(row[4]) <= 1.0
    alone = {row[0]: float(row[2]) for row in report.rows if row[1] == "OGD alone"}
    learned = {
        row[0]: float(row[2]) for row in report.rows if row[1] == "a rate each, meta-learned"
    }
    if loss == "absolute":
        assert learned["wages"] < 0.8 * alone["wages"]
        assert learned["lenk"] < 0.8 * alone["lenk"]


def test_the_same_seed_gives_the_same_numbers():
    first, second, other = (json.dumps(drift(seed).as_json()) for seed in (3, 3, 4))
    assert first == second
    assert first != other


def spoiled(values, number):
    values = values.copy()
    values.flat[7] = number
    return values


Y = small_table()["y"]


@pytest.mark.parametrize(
    "changes",
    [
        {"y": np.full(60, 3.7)},
        {"y": 100.0 + 1.4e-14 * np.arange(60).clip(0, 4)},
        {"y": spoiled(Y, 1.79e308)},
        {"y": spoiled(Y, -1e100)},
        {"x": spoiled(small_table()["x"], 1e300)},
    ],
)
def test_a_table_that_a_guarantee_says_nothing_of_is_refused(tmp_path, changes):
    table = load_table(written(tmp_path / "t.npz", **changes))
    with pytest.raises(ValueError, match=r"^guarantee: `tables` must have targets that vary, and"):
        guarantee(0, tables={"spoiled": table})


def test_columns_that_vary_by_rounding_only_are_zeros(tmp_path):
    x = np.column_stack([small_table()["x"], np.full(60, 0.1), 100 + 1e-14 * np.arange(60)])
    names = np.array(list("abcde"))
    tables = [
        load_table(written(tmp_path / f"{k}.npz", x=columns, feature_names=names))
        for k, columns in enumerate((x, np.where(np.arange(5) < 3, x, 0.0)))
    ]
    found = [guarantee(0, tables={"a": table}).as_json() for table in tables]
    assert found[0] == found[1]


def run(*arguments):
    from aruba_fast_reproductions.cli import theory  # noqa: F401  adds its command
    from aruba_fast_reproductions.cli.app import app

    return CliRunner().invoke(app, ["theory", *arguments])


def test_the_command_writes_table_json_and_figure(tmp_path):
    people("lenk")
    target = tmp_path / "numbers.json"
    result = run(
        "guarantee",
        "--data",
        str(FOLDER / "lenk.npz"),
        "--json",
        str(target),
        "--figures",
        str(tmp_path),
    )
    assert result.exit_code == 0, result.output
    assert "tasks above their bound: 0" in result.output
    found = json.loads(target.read_text())
    assert [report["name"] for report in found] == ["guarantee"]
    assert {row[0] for row in found[0]["rows"]} == {"wages", "lenk"}
    points = [curve for curve in found[0]["curves"] if curve["label"] == "OGD alone"]
    assert [len(curve["x"]) for curve in points] == [595, 180]
    for curve in points:
        assert (np.array(curve["y"]) <= np.array(curve["x"]) * (1 + 1e-9)).all()
    assert (tmp_path / "guarantee.png").read_bytes()[:4] == b"\x89PNG"


def test_tables_of_one_name_are_both_there(tmp_path):
    given = []
    for k, name in enumerate(("one/exam.npz", "two/exam.npz", "wages.npz")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        given.append(str(written(tmp_path / name, seed=k)))
    target = tmp_path / "numbers.json"
    options = [word for path in given for word in ("--data", path)]
    result = run("guarantee", *options, "--json", str(target))
    assert result.exit_code == 0, result.output
    names = {row[0] for row in json.loads(target.read_text())[0]["rows"]}
    assert names == {"wages", *given}


def test_the_guarantee_can_fail(monkeypatch):
    """A regret or bound that is not a number is above its bound."""
    from aruba_fast_reproductions.theory import guarantee as module

    monkeypatch.setattr(
        sys.modules[module.__module__],
        "regret_upper_bound",
        lambda run, *_args, **_more: np.full(len(run), np.nan),
    )
    assert guarantee(0).facts["tasks above their bound"] == 5 * 595


def test_names_of_files_are_shown_as_they_are_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    names = ["$a_b$", "[bold]x[", "a long name of a table, " + 40 * "x", "表"]
    paths = [written(tmp_path / f"{name}.npz", seed=k) for k, name in enumerate(names)]
    arguments = [text for path in paths for text in ("--data", str(path))]
    result = run("guarantee", *arguments, "--figures", str(tmp_path / "new"))
    assert result.exit_code == 0, result.output
    assert all(name in result.output for name in names)
    assert (tmp_path / "new" / "guarantee.png").read_bytes()[:4] == b"\x89PNG"


def test_what_came_before_a_failure_is_not_lost(tmp_path, monkeypatch):
    from aruba_fast_reproductions import theory as experiments

    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    chosen = {"drift": experiments.EXPERIMENTS["drift"], "guarantee": interrupted}
    monkeypatch.setattr(experiments, "EXPERIMENTS", chosen)
    result = run("--json", str(tmp_path / "a.json"))
    assert result.exit_code == 130
    assert "running mean" in result.output
    assert [each["name"] for each in json.loads((tmp_path / "a.json").read_text())] == ["drift"]


def test_the_command_refuses_in_one_sentence(tmp_path):
    for arguments, message in (
        (("escape",), "no experiment 'escape', expected one of scaling"),
        (("drift", "--figures", "/dev/null/new"), "theory: `figures` must be a folder that can be"),
        (("guarantee", "--data", str(tmp_path / "none.npz")), "none.npz"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert message in result.output
        assert "Traceback" not in result.output
