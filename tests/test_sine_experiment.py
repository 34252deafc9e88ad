"""`aruba-fast sine`: its sines, its jobs stopped and resumed, what it prints and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from adaptations import ends_like_one_that_was_not_stopped
from test_cli import aruba_fast, failed_in_one_sentence
from torch_models import torch

from aruba_fast_reproductions.adaptation import Result, Training
from aruba_fast_reproductions.adaptation.table import rows
from aruba_fast_reproductions.adaptation.testing import mean_score
from aruba_fast_reproductions.runs import Stop
from aruba_fast_reproductions.sine import STUDY, Method, Settings, SineJob
from aruba_fast_reproductions.sine.sines import LONG, SHORT, Sines, drawn

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = Settings(n_rounds=12, n_tests=5, n_grid=20, n_curve=3)
CPU = torch.device("cpu")


# ---- the sines -----------------------------------------------------------------------------------


def test_sines_are_those_of_maml_each_drawn_alone():
    sines = drawn(0, 0, 4000, 10)
    amplitudes, phases = (np.array([getattr(s, n) for s in sines]) for n in ("amplitude", "phase"))
    x = np.concatenate([sine.x for sine in sines])
    for values, low, high in ((amplitudes, 0.1, 5.0), (phases, 0.0, np.pi), (x, -5.0, 5.0)):
        assert low <= values.min()
        assert values.max() < high
        # Of uniform values: the error of a mean is their width / sqrt(12 n).
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(12 * len(values))
    (alone,) = drawn(0, 77, 1, 10)
    assert alone[:2] == sines[77][:2]
    np.testing.assert_array_equal(alone.x, sines[77].x)
    assert drawn(1, 77, 1, 10)[0].amplitude != alone.amplitude
    np.testing.assert_allclose(alone.at(np.array([0.5])), alone[0] * np.sin(0.5 + alone[1]))


def test_a_task_is_ten_points_in_shuffled_passes():
    sines = Sines(SMALL, 0, CPU)
    tasks = [*sines.tasks(0), *sines.tasks(1)]
    for task, sine in zip(tasks, drawn(0, 0, 10, 10), strict=True):
        points, batches = task.losses.func.__self__, task.losses.keywords["batches"]
        np.testing.assert_allclose(points.x.numpy().ravel(), sine.x, rtol=1e-6)
        np.testing.assert_allclose(points.y.numpy().ravel(), sine.at(sine.x), rtol=1e-5, atol=1e-6)
        assert batches.shape == (10, 5)
        for one, two in zip(batches[::2], batches[1::2], strict=True):
            assert sorted([*one.tolist(), *two.tolist()]) == list(range(10))
    assert sines.meta_step(0) == 1.0
    assert sines.meta_step(6) == 0.5


def test_tests_are_new_sines_the_long_ones_go_on_where_the_short_ones_end():
    sines = Sines(SMALL, 0, CPU)
    groups = sines.groups()
    known = {float(task.losses.func.__self__.x[0]) for n in range(12) for task in sines.tasks(n)}
    for short, long in zip(groups[SHORT].tests, groups[LONG].tests, strict=True):
        assert short.known.x.equal(long.known.x)
        assert len(short.batches) == 10
        assert len(long.batches) == 40
        assert short.batches.equal(long.batches[:10])
        assert float(short.known.x[0]) not in known
        np.testing.assert_allclose(short.grid.x.numpy().ravel(), np.linspace(-5, 5, 20), rtol=1e-6)
    training = Training(sines, Method.of("sgd-0.01"))
    one_by_one = [test.score(sines.network) for test in groups[SHORT].tests]
    assert mean_score(training, groups[SHORT], "before") == pytest.approx(np.mean(one_by_one))


@pytest.mark.parametrize("kind", [SHORT, LONG])
def test_a_sine_is_fitted_step_by_step_and_counted(kind):
    sines = Sines(SMALL, 4, CPU)
    training = Training(sines, Method.of("sgd-0.01"))
    group = sines.groups()[kind]
    w = [p.detach().double().numpy() for p in sines.network.parameters()]
    errors = []
    for test in group.tests:
        v = [each.copy() for each in w]
        for rows_of in test.batches.tolist():
            x, y = (z[rows_of].double().numpy() for z in (test.known.x, test.known.y))
            a = np.maximum(x @ v[0].T + v[1], 0)
            b = np.maximum(a @ v[2].T + v[3], 0)
            wrong = 2 * (b @ v[4].T + v[5] - y) / len(x)
            to_b = (wrong @ v[4]) * (b > 0)
            to_a = (to_b @ v[2]) * (a > 0)
            grads = [to_a.T @ x, to_a.sum(0), to_b.T @ a, to_b.sum(0), wrong.T @ b, wrong.sum(0)]
            v = [each - 0.01 * grad for each, grad in zip(v, grads, strict=True)]
        x, y = test.grid.x.double().numpy(), test.grid.y.double().numpy()
        hidden = np.maximum(np.maximum(x @ v[0].T + v[1], 0) @ v[2].T + v[3], 0)
        errors.append(np.square(hidden @ v[4].T + v[5] - y).mean())
    assert mean_score(training, group, "0.01") == pytest.approx(np.mean(errors), rel=1e-4)


# ---- jobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "stops"),
    [("aruba", (3, 8, 12, 13, 20)), ("adam-0.003", (1, 7, 14)), ("sgd-0.01", (5, 15))],
)
def test_an_interrupted_job_ends_like_one_that_was_not(tmp_path, method, stops):
    def make(folder):
        return SineJob(Method.of(method), 0, SMALL, folder)

    found = ends_like_one_that_was_not_stopped(make, tmp_path, stops)
    # The first looks of ARUBA come before it has a rule.
    looked = [point for point in found["history"] if "short" in point]
    assert [point["round"] for point in looked][-1] == 12
    own = {"aruba": "aruba++", "adam-0.003": "adam", "sgd-0.01": "0.01"}[method]
    assert looked[-1]["short"] == found["after"]["short"][own]


def test_a_test_that_diverges_has_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Method, "test_rates", (5.0, 0.01))
    job = SineJob(Method.of("sgd-0.01"), 0, SMALL, tmp_path)
    found = job(lambda *_: None, Stop())
    for kind in (SHORT, LONG):
        assert found["after"][kind]["5"] is None
        assert np.isfinite(found["after"][kind]["0.01"])
    assert json.loads((tmp_path / f"{job.stem}.json").read_text()) == found


# ---- the command ---------------------------------------------------------------------------------


def test_the_command_prints_writes_draws_and_shows(tmp_path):
    arguments = ["--rounds", 12, "--test-tasks", 3, "--seeds", 1, "--methods", "adam-0.01,aruba"]
    arguments += ["--workers", 1, "--out", tmp_path / "runs", "--json", tmp_path / "a.json"]
    run = aruba_fast("sine", *arguments, "--figures", tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "sine.png").read_bytes().startswith(b"\x89PNG")
    result = Result.read(STUDY, tmp_path / "a.json")
    for kind in (SHORT, LONG):
        for line in rows(result, kind):
            assert all(each in run.stdout for each in line)
    again = aruba_fast("sine", "--show", tmp_path / "a.json")
    assert again.stdout == run.stdout
    run = aruba_fast("sine", "--methods", "fedavg-1", "--out", tmp_path / "none")
    failed_in_one_sentence(run, "sine: `methods` must be known: got 'fedavg-1', expected aruba,")
    assert not (tmp_path / "none").exists()
