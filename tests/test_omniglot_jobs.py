"""`aruba-fast omniglot`: its jobs, stopped and resumed, and what a folder may serve."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from drawings import write_npz
from few_shot import DATA, EVALUATION, NAMES, SETTINGS

from aruba_fast import checkpoint
from aruba_fast.torch import MetaOptimizer
from aruba_fast_reproductions.files import fingerprint
from aruba_fast_reproductions.omniglot.job import OmniglotJob
from aruba_fast_reproductions.omniglot.methods import Method
from aruba_fast_reproductions.omniglot.network import network
from aruba_fast_reproductions.runs import KIND, Saved, Stop

pytestmark = pytest.mark.usefixtures("one_thread")


def job(tmp_path, name, **changes):
    path = tmp_path / "omniglot28.npz"
    if not path.exists():
        write_npz(path, DATA)
    given = {"settings": SETTINGS, "evaluation": EVALUATION, "data": path, "partial": True}
    return OmniglotJob(Method.of(name), 1, **{**given, "folder": tmp_path, **changes})


def stopping(at):
    """A stop that is requested when the progress has come to some number, and a progress."""
    stop = Stop()

    def progress(done, _total):
        stop.requested = done == at

    return progress, stop


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_interrupted_ends_like_one_that_was_not(tmp_path, name):
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.mkdir()
    part.mkdir()
    seen = []
    expected = job(whole, name)(lambda done, total: seen.append((done, total)), Stop())
    assert seen[-1] == (job(whole, name).size,) * 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    for at in (1, 9, 29):  # in the middle of the search for the first rate, and after it
        with pytest.raises(Saved, match=rf"saved after {at} of 30 rounds"):
            job(part, name)(*stopping(at))
    with pytest.raises(KeyboardInterrupt, match="run the same command again"):
        job(part, name)(*stopping(30 + 2 * 8))  # in the middle of the tests
    assert job(part, name)(lambda *_: None, Stop()).keys() == expected.keys()
    stem = f"{name}-seed1"
    files = [checkpoint.read(folder / f"{stem}.safetensors", KIND) for folder in (whole, part)]
    assert files[0][0].keys() == files[1][0].keys()
    for key, values in files[0][0].items():
        np.testing.assert_array_equal(values, files[1][0][key], err_msg=key)
    results = [json.loads((folder / f"{stem}.json").read_text()) for folder in (whole, part)]
    for result in results:
        assert result.pop("seconds") > 0
        assert result.pop("cpu_seconds") > 0
    assert results[0] == results[1]
    assert [entry["round"] for entry in results[0]["history"]] == [15, 30]
    names = [name, "aruba++"] if name == "aruba" else [name]
    assert [test["method"] for test in results[0]["tests"]] == 2 * names
    # Other tests of the same training are added; the same are not done again.
    more = replace(EVALUATION, shots=(1, 2), transductive=False)
    again = job(whole, name, evaluation=more)(lambda *_: None, Stop())
    assert again["tests"][: len(results[0]["tests"])] == results[0]["tests"]
    assert len(again["tests"]) == 2 * len(results[0]["tests"])


def test_a_folder_of_another_run_is_refused(tmp_path):
    job(tmp_path, "sgd-0.1")(lambda *_: None, Stop())
    with pytest.raises(ValueError, match="its `meta_iterations` is 30, expected 5"):
        job(tmp_path, "sgd-0.1", settings=replace(SETTINGS, meta_iterations=5))(print, Stop())
    (tmp_path / "sgd-0.1-seed1.json").write_text("[")
    with pytest.raises(ValueError, match=r"`out` must hold files .*sgd-0.1-seed1.json.*refused"):
        job(tmp_path, "sgd-0.1")(lambda *_: None, Stop())
    (tmp_path / "sgd-0.1-seed1.json").unlink()
    # What SGD does not use it does not mind.
    job(tmp_path, "sgd-0.1", settings=replace(SETTINGS, adam_rate=3.0))(lambda *_: None, Stop())


@pytest.mark.parametrize("name", NAMES)
def test_looks_tell_where_the_rates_are(tmp_path, name):
    """While the first rate is searched they are nothing, and there is no rule to be tested."""
    result = job(tmp_path, name)(lambda *_: None, Stop())
    accuracies = {"round", "accuracy 1-shot", "accuracy 3-shot"}
    searching, learning = result["history"]
    if name in ("adam", "sgd-0.1"):
        assert set(searching) == set(learning) == accuracies
        assert not {"first_rate", "rates"} & set(result)
        return
    assert searching == {"round": 15, "median rate": 0.0}
    assert set(learning) == accuracies | {"median rate", "mean rho"}
    assert 0.1 < learning["median rate"] / result["first_rate"] < 10.0
    assert 0.0 < learning["mean rho"] < 10.0
    assert 6 <= result["n_tasks"] <= 30
    assert all(entry["quantiles"][0] > 0.0 for entry in result["rates"])


def test_the_rules_that_a_training_is_tested_with(tmp_path, monkeypatch):
    """ARUBA by the rates that it was trained with, ARUBA++ by the rule as it is."""
    asked, rule = [], MetaOptimizer.rule

    def told(meta, coef="auto"):
        asked.append(coef)
        return rule(meta, coef)

    monkeypatch.setattr(MetaOptimizer, "rule", told)
    job(tmp_path, "aruba")(lambda *_: None, Stop())
    look, tests = 2 * 2 * [None], 2 * (6 * [None] + 6 * ["auto"])
    assert asked == look + tests


@pytest.mark.parametrize("name", ["isotropic", "aruba"])
def test_too_few_tasks_for_the_first_rate_are_refused(tmp_path, name):
    short = job(tmp_path, name, settings=replace(SETTINGS, meta_iterations=10))
    with pytest.raises(
        ValueError, match=r"`meta_iterations` must be enough to learn .* got 10 of 2"
    ):
        short(lambda *_: None, Stop())


def test_a_training_with_rates_that_were_given_is_refused(tmp_path):
    """As files of before the first rate was found are."""
    own = job(tmp_path, "aruba", settings=replace(SETTINGS, meta_iterations=10))
    model = network(2, 1)
    given = MetaOptimizer(model.parameters(), learning_rate=1.0, zeta=1.0).state_dict()
    arrays = {f"meta.{key}": value.numpy() for key, value in given["state"].items()}
    of_data = {"data": fingerprint(DATA.images)}
    facts = {"settings": own.method.described(own.settings, 1) | of_data, "history": []}
    facts |= {"n_done": 9, "seconds": 1.0, "cpu_seconds": 1.0}
    facts["training"] = {"layout": given["layout"]}
    checkpoint.write(tmp_path / "aruba-seed1.safetensors", arrays, facts, KIND)
    with pytest.raises(ValueError, match=r"must be a run of these settings: .* its blocks are"):
        own(lambda *_: None, Stop())


def test_what_was_learned_of_other_data_is_not_served(tmp_path):
    """The same folder, the same place of the data, and other drawings in it."""
    job(tmp_path, "sgd-0.1")(lambda *_: None, Stop())
    path, found = tmp_path / "omniglot28.npz", tmp_path / "sgd-0.1-seed1.json"
    images = DATA.images.copy()
    images[-1, -1, -1, -1] ^= 1
    write_npz(path, replace(DATA, images=images))
    before = found.read_text()
    with pytest.raises(ValueError, match=r"its `data` is '\w{16}', expected '\w{16}'"):
        job(tmp_path, "sgd-0.1")(lambda *_: None, Stop())
    assert found.read_text() == before
    # Nor are its tests, should its training be gone.
    (tmp_path / "sgd-0.1-seed1.safetensors").unlink()
    other = job(tmp_path, "sgd-0.1")(lambda *_: None, Stop())
    (tmp_path / "fresh").mkdir()
    fresh = job(tmp_path, "sgd-0.1", folder=tmp_path / "fresh", data=path)(lambda *_: None, Stop())
    assert (other["data"], other["tests"]) == (fresh["data"], fresh["tests"])
    assert other["data"] != json.loads(before)["data"]
    # The same drawings in another form are the same data.
    assert job(tmp_path, "sgd-0.1")(lambda *_: None, Stop())["tests"] == fresh["tests"]
