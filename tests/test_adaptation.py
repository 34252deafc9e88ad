"""What experiments share that train one way and test in several: names, Adam's state, results."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from torch_models import flat, torch

from aruba_fast_reproductions.adaptation import Result, Training
from aruba_fast_reproductions.adaptation.figure import draw
from aruba_fast_reproductions.adaptation.result import Estimate
from aruba_fast_reproductions.adaptation.table import render, rows
from aruba_fast_reproductions.adaptation.testing import mean_score
from aruba_fast_reproductions.sine import STUDY, Method, Settings
from aruba_fast_reproductions.sine.sines import Sines

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Settings(n_rounds=6, n_tests=4, n_grid=7)

# Errors of two seeds: before, at each rate of the tests, and otherwise.
_SAME = (4.0, 4.0)
ERRORS = {
    "sgd-0.05": {"before": (4.0, 4.2), "0.02": (None, 9.0), "0.005": (3.0, 3.2)},
    "sgd-0.01": {"before": _SAME, "0.02": (0.9, 0.7), "0.005": (1.0, 1.0)},
    "adam-0.003": {"before": _SAME, "0.02": (2.0, 2.0), "adam": (0.6, 0.8)},
    "isotropic": {"before": _SAME, "learned": (0.5, 0.5), "aruba++": (0.4, 0.6)},
    "aruba": {"before": _SAME, "0.02": (0.5, 0.7), "learned": (0.3, 0.5), "aruba++": (0.2, 0.4)},
}


def made(methods=tuple(ERRORS)):
    """A result with the errors above; those of the long test are half as large."""

    def of(method, seed):
        about = {"method": method, "seed": seed, **vars(SMALL)}
        both = {
            kind: {
                way: None if each[seed] is None else each[seed] * factor
                for way, each in ERRORS[method].items()
            }
            for kind, factor in (("short", 1.0), ("long", 0.5))
        }
        return {
            "about": about,
            "before": {kind: each.pop("before") for kind, each in both.items()},
            "after": both,
            "history": [{"round": 3}, {"round": 6, "short": 0.5}],
            "first_rate": 0.01,
            "rates": {"hidden 1.bias": [0.1, 0.2, 0.3, 0.4, 0.5]} if method == "aruba" else {},
        }

    return Result(STUDY, "laptop", [of(method, seed) for seed in (0, 1) for method in methods])


# ---- methods -------------------------------------------------------------------------------------


def test_what_methods_are_called_and_tested_by():
    fixed = ("0.05", "0.02", "0.01", "0.005")
    for name, title, row, ways, own in (
        ("sgd-0.01", "Reptile, rate 0.01", "at 0.01", fixed, "0.01"),
        ("adam-0.003", "Reptile, Adam 0.003", "Adam 0.003", (*fixed, "adam"), "adam"),
        ("isotropic", "Reptile + isotropic ARUBA", "isotropic", None, "aruba++"),
        ("aruba", "Reptile + ARUBA", "ARUBA", (*fixed, "learned", "aruba++"), "aruba++"),
    ):
        method = Method.of(name)
        assert (method.name, method.title, method.row, method.own_way) == (name, title, row, own)
        assert ways is None or method.ways == ways
    assert Method.columns() == ("before", *fixed, "adam", "learned", "aruba++")
    assert [each.name for each in Method.planned(None)] == list(Method.default)
    for name in ("adam", "sgd", "adam-0", "fedavg-1"):
        with pytest.raises(ValueError) as caught:
            Method.of(name)
        assert str(caught.value) == (
            f"sine: `methods` must be known: got {name!r}, expected aruba, isotropic, sgd-RATE or "
            "adam-RATE, such as sgd-0.1"
        )


def adam_steps(theta, state, gradients, rate):
    """Adam without momentum in float64, as its authors write it."""
    number, second = state
    for gradient in gradients:
        number, g = number + 1, gradient(theta)
        second = 0.999 * second + 0.001 * g**2
        theta = theta - rate * g / (np.sqrt(second / (1.0 - 0.999**number)) + 1e-8)
    return theta, (number, second)


def test_adam_goes_on_from_task_to_task_into_the_test_and_is_saved():
    problem = Sines(SMALL, 3, torch.device("cpu"))
    training = Training(problem, Method.of("adam-0.003"))
    double = Sines(SMALL, 3, torch.device("cpu")).network.double()

    def gradient(points, rows):
        def at(theta):
            torch.nn.utils.vector_to_parameters(torch.from_numpy(theta), double.parameters())
            double.zero_grad()
            x, y = points.x[rows].double(), points.y[rows].double()
            (double(x) - y).square().mean().backward()
            return np.concatenate([p.grad.numpy().ravel() for p in double.parameters()])

        return at

    phi = flat(training.network.parameters()).astype(np.float64)
    state = (0, np.zeros_like(phi))
    for number in range(2):
        ends = []
        for task in problem.tasks(number):
            own = task.losses.keywords["batches"]
            steps = [gradient(task.losses.func.__self__, rows) for rows in own]
            theta, state = adam_steps(phi, state, steps, 0.003)
            ends.append(theta)
        phi = phi + problem.meta_step(number) * (np.mean(ends, axis=0) - phi)
        training.round(number)
    np.testing.assert_allclose(flat(training.network.parameters()), phi, rtol=0, atol=3e-5)

    group = problem.groups()["short"]
    found = mean_score(training, group, "adam")
    errors = []
    for test in group.tests:
        steps = [gradient(test.known, rows) for rows in test.batches]
        theta, _ = adam_steps(phi, state, steps, 0.003)
        torch.nn.utils.vector_to_parameters(torch.from_numpy(theta), double.parameters())
        wrong = double(test.grid.x.double()) - test.grid.y.double()
        errors.append(float(wrong.detach().square().mean()))
    assert found == pytest.approx(np.mean(errors), rel=1e-3)
    assert mean_score(training, group, "adam") == found, "no test leaves anything to the next"

    other = Training(Sines(SMALL, 3, torch.device("cpu")), Method.of("adam-0.003"))
    arrays, facts = training.state()
    other.restore({name: values.copy() for name, values in arrays.items()}, facts)
    for each in (training, other):
        each.round(2)
    for a, b in zip(training.network.parameters(), other.network.parameters(), strict=True):
        assert a.equal(b)


# ---- results -------------------------------------------------------------------------------------


def test_less_error_is_better_and_who_diverged_has_none():
    result = made()
    short = rows(result, "short")
    assert short[0] == [
        *("Reptile", "before", "0.05", "0.02", "0.01", "0.005", "Adam", "learned", "ARUBA++")
    ]
    assert short[1] == ["at 0.05", "4.100±.100", "", "–", "", "3.100±.100", "", "", ""]
    assert short[3][0] == "Adam 0.003"
    assert short[3][-3] == "0.700±.100"
    assert short[5] == [
        *("ARUBA", "4.000±.000", "", "0.600±.100", "", "", "", "0.400±.100", "0.300±.100")
    ]
    assert str(Estimate.of(np.array([3e27, 5e27]), 3)) == "4e+27"
    assert result.best_rate("sgd-0.05", "short") == "0.005"
    assert result.best_rate("sgd-0.01", "short") == "0.02"
    claims = result.claims()
    for rival, mean in (
        ("Reptile, best of the grid, at its best rate", 0.3 - 0.8),
        ("Reptile with Adam, best of its grid, at its best", 0.3 - 0.7),
        ("isotropic ARUBA, likewise", 0.3 - 0.5),
        ("the same φ, at its best rate", 0.3 - 0.6),
        ("the same φ, not adapted", 0.3 - 4.0),
    ):
        assert claims[f"short, ARUBA++ against {rival}"].mean == pytest.approx(mean), rival
        assert claims[f"long, ARUBA++ against {rival}"].mean == pytest.approx(mean / 2), rival
    assert str(claims["short, ARUBA++ against isotropic ARUBA, likewise"]) == "-0.200±.000"
    assert claims["short, ARUBA++ against isotropic ARUBA, likewise"].signed == "−0.200±.000"
    assert "short, ARUBA++ against Reptile at rate 0.02, at its best rate" not in claims


def test_a_table_a_figure_and_a_file_of_it(tmp_path):
    for number, result in enumerate((made(), made(("sgd-0.05",)))):
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(render(result))
        text = console.export_text()
        assert "–: a test diverged." in " ".join(text.split())
        assert "…" not in text
        draw(result, tmp_path / f"{number}.png")
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(result.as_json(), allow_nan=False))
        assert Result.read(STUDY, file) == result


@pytest.mark.parametrize("change", ["[]", "{", '{"scale": 1, "runs": []}', "claims"])
def test_a_file_of_something_else_is_refused(tmp_path, change):
    file = tmp_path / "a.json"
    saved = made().as_json()
    saved["claims"] = {}
    file.write_text(json.dumps(saved) if change == "claims" else change)
    with pytest.raises(ValueError, match="sine: `show` must be a file that this command"):
        Result.read(STUDY, file)
    with pytest.raises(FileNotFoundError):
        Result.read(STUDY, tmp_path / "absent.json")


@pytest.mark.parametrize("name", list(vars(SMALL)))
def test_settings_of_sines_are_positive(name):
    with pytest.raises(ValueError, match=f"sine: `{name}` must be at least 1: got 0"):
        replace(SMALL, **{name: 0})
