"""`aruba-fast writers`: who adapts to what, its jobs stopped and resumed, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from adaptations import SMALL, ends_like_one_that_was_not_stopped, write_digits
from test_cli import aruba_fast, failed_in_one_sentence
from torch_models import torch

from aruba_fast.datasets import load_mnist_writers
from aruba_fast_reproductions.adaptation import Result, Training
from aruba_fast_reproductions.adaptation.table import rows
from aruba_fast_reproductions.adaptation.testing import mean_score
from aruba_fast_reproductions.writers import STUDY, Method, WritersJob
from aruba_fast_reproductions.writers.people import People

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("digits") / "digits.npz")


def pixels(images):
    """Every image as a line of numbers, to tell it from others."""
    return [tuple(line) for line in images.x.flatten(1).tolist()]


# ---- who adapts to what --------------------------------------------------------------------------


def test_a_round_is_an_epoch_of_seen_writers_weighted_by_images(digits):
    data = load_mnist_writers(digits)
    people = People(data, SMALL, 0, CPU)
    for number in range(4):
        chosen = people.of_round(number).tolist()
        assert len(set(chosen)) == 3
        assert set(chosen) <= set(people.seen)
        for writer, task in zip(chosen, people.tasks(number), strict=True):
            own = slice(*data.offsets[writer : writer + 2])
            images, size = task.losses.func.__self__, task.losses.keywords["size"]
            assert task.weight == data.sizes[writer]
            assert size == 4
            of_data = (data.images[own] / np.float32(15)).reshape(task.weight, -1)
            assert sorted(pixels(images)) == sorted(map(tuple, of_data.tolist()))
            assert sum(1 for _ in task.losses(people.network)) == -(-task.weight // 4)
    assert people.meta_step(7) == 1.0
    first, again = (next(People(data, SMALL, 0, CPU).tasks(3)) for _ in range(2))
    assert pixels(first.losses.func.__self__) == pixels(again.losses.func.__self__)


def test_unseen_writers_adapt_to_their_shots_and_are_tested_on_their_others(digits):
    data = load_mnist_writers(digits)
    people = People(data, SMALL, 0, CPU)
    (group,) = people.groups().values()
    assert not set(people.seen) & set(people.unseen)
    assert len(group.tests) == len(people.unseen) == 3
    for writer, test in zip(people.unseen.tolist(), group.tests, strict=True):
        first, second = map(pixels, test.epochs)
        assert len(first) == 6
        assert first != second
        assert sorted(first) == sorted(second)
        others = pixels(test.others)
        assert not set(first) & set(others)
        assert len(first) + len(others) == data.sizes[writer]
    assert group.total == len(group.everything.y) == sum(len(t.others.y) for t in group.tests)
    assert people.facts({"unseen": group}) == {
        "n_writers": {"unseen": 3},
        "n_images": {"unseen": group.total},
    }


def test_accuracy_is_what_plain_steps_of_another_optimizer_give(digits):
    people = People(load_mnist_writers(digits), SMALL, 0, CPU)
    training = Training(people, Method.of("fedavg-0.1"))
    for number in range(10):
        training.round(number)
    (group,) = people.groups().values()
    phi = [p.detach().clone() for p in people.network.parameters()]
    right, before, moved = 0, 0, 0.0
    for test in group.tests:
        theta = dict(zip(dict(people.network.named_parameters()), phi, strict=True))
        for k in range(2):
            for start in (0, 4):
                x, y = (z[start : start + 4] for z in (test.epochs[k].x, test.epochs[k].y))
                theta = {name: value.requires_grad_() for name, value in theta.items()}
                scores = torch.func.functional_call(people.network, theta, (x,))
                loss = -scores.log_softmax(1)[torch.arange(len(y)), y].mean()
                grads = torch.autograd.grad(loss, list(theta.values()))
                theta = {
                    name: (value - 0.3 * grad).detach()
                    for (name, value), grad in zip(theta.items(), grads, strict=True)
                }
        x, y = test.others.x, test.others.y
        right += int((torch.func.functional_call(people.network, theta, (x,)).argmax(1) == y).sum())
        before += int((people.network(x).argmax(1) == y).sum())
        moved = max(moved, float((theta["head.weight"] - phi[-2]).detach().abs().max()))
    assert moved > 1e-2
    assert mean_score(training, group, "0.3") == right / group.total
    assert mean_score(training, group, "before") == before / group.total
    assert right != before


# ---- jobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "stops"), [("aruba", (6, 24, 27)), ("fedavg-0.1", (1, 25))])
def test_an_interrupted_job_ends_like_one_that_was_not(tmp_path, digits, method, stops):
    def make(folder):
        return WritersJob(Method.of(method), 0, SMALL, folder, digits)

    found = ends_like_one_that_was_not_stopped(make, tmp_path, stops)
    assert found["history"][-1] == {"round": 24, **found["before"]}
    assert found["n_skipped"] == 0


# ---- the command ---------------------------------------------------------------------------------


def test_the_command_prints_writes_draws_and_shows(tmp_path):
    data = write_digits(tmp_path / "digits.npz", fewest=25)
    arguments = ["--data", data, "--rounds", 7, "--shots", 9, "--seeds", 1, "--workers", 1]
    arguments += ["--methods", "fedavg-0.1,aruba", "--json", tmp_path / "a.json"]
    run = aruba_fast("writers", *arguments, "--out", tmp_path / "runs", "--figures", tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "writers.png").read_bytes().startswith(b"\x89PNG")
    result = Result.read(STUDY, tmp_path / "a.json")
    assert {run["about"]["shots"] for run in result.runs} == {9}
    for line in rows(result, "unseen"):
        assert all(each in run.stdout for each in line)
    again = aruba_fast("writers", "--show", tmp_path / "a.json")
    assert again.stdout == run.stdout


def test_bad_input_is_one_sentence(tmp_path, digits):
    run = aruba_fast("writers", "--data", digits, "--methods", "adam", "--out", tmp_path / "runs")
    failed_in_one_sentence(run, "writers: `methods` must be known: got 'adam', expected aruba, iso")
    assert not (tmp_path / "runs").exists()
    few = write_digits(tmp_path / "few.npz", n_writers=3)
    for path, shots, sentence in (
        (digits, 16, r"`shots` must leave images to test on: got 16, expected less than 1\d, the"),
        (few, 6, "`data` must have writers for a round: got 2 to train on, expected at least 3"),
    ):
        with pytest.raises(ValueError, match=f"writers: {sentence}"):
            People(load_mnist_writers(path), replace(SMALL, shots=shots), 0, CPU)
    for name in vars(SMALL):
        with pytest.raises(ValueError, match=f"writers: `{name}` must be"):
            replace(SMALL, **{name: 0})
