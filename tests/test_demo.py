"""The demo: its methods, its table and figure, and the same bits from a seed on any machine."""

import dataclasses
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cases import smoothed
from tables import written
from test_same_bits import ANOTHER_BLAS

import aruba_fast as af
from aruba_fast import datasets
from aruba_fast_reproductions import demo
from aruba_fast_reproductions.demo import figure, methods, protocol, table

ONE_SEED = demo.Settings(n_seeds=1, n_passes=2)


@pytest.fixture(scope="module")
def wages():
    return datasets.load_wages()


@pytest.fixture(scope="module")
def result(wages):
    return demo.run(wages, demo.Settings(n_seeds=2, n_passes=2))


def load(tmp_path, **changes):
    return datasets.load_table(written(tmp_path / "t.npz", **changes))


# ---- the methods ---------------------------------------------------------------------------------


def test_reptile_is_the_loop_with_a_rate_that_stays(wages):
    """The heavy prior that holds the rate is exact, and so is the scaled column of "two rates"."""
    split = protocol.prepare(wages, ONE_SEED, 0)
    trained = methods.train(split, ONE_SEED, 0, lambda: None)
    for name, fast in ((methods.REPTILE, 1.0), (methods.TWO_RATES, 10.0)):
        wanted = (0.0032, 0.0032 * fast)
        candidate = next(c for c in trained.candidates[name] if c.choice == pytest.approx(wanted))
        rate = np.full(13, 0.0032, np.float32)
        rate[-1] *= np.float32(fast)
        learner, total = smoothed(np.zeros(13, np.float32)), 2 * len(split.train)
        for round in split.train.rounds(1, 2, 0):
            run = af.run_tasks(round, learner.phi, af.OGD(rate), loss="squared")
            learner.update(run, meta_step=1.0 - learner.n_tasks / total)
        if fast == 1.0:
            np.testing.assert_array_equal(candidate.phi, learner.phi)
        np.testing.assert_allclose(candidate.phi, learner.phi, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(candidate.rule.learning_rate, rate, rtol=1e-6)


def test_path_of_rates_is_that_of_the_loop(wages):
    split = protocol.prepare(wages, ONE_SEED, 0)
    trained = methods.train(split, ONE_SEED, 0, lambda: None)
    learner = af.MetaLearner(np.zeros(13, np.float32))
    assert learner.first_rate(split.train, loss="squared") == trained.path_rates[0, 0]
    path, total = {0: learner.learning_rate.copy()}, 2 * len(split.train)
    for round in split.train.rounds(1, 2, 0):
        run = af.run_tasks(round, learner.phi, learner.rule(coef=None), loss="squared")
        learner.update(run, meta_step=1.0 - learner.n_tasks / total)
        path[learner.n_tasks] = learner.learning_rate.copy()
    assert trained.path_tasks[0] == 0
    assert trained.path_tasks[-1] == total
    np.testing.assert_array_equal(trained.path_rates, [path[n] for n in trained.path_tasks])


def test_a_person_who_diverges_is_counted_and_costs_the_choice(tmp_path):
    people = load(tmp_path)
    split = protocol.prepare(people, ONE_SEED, 0)
    start = np.zeros(4, np.float32)
    support = split.supports[-1][1]
    scores = {
        rate: methods.score(methods.Candidate(start, af.OGD(rate)), support, split.query, ONE_SEED)
        for rate in (0.01, 1e6, 1e30)
    }
    n_people = len(split.query)
    assert scores[0.01][0] == 0
    assert scores[1e6] == scores[1e30] == (n_people, np.inf)
    assert min(scores, key=scores.get) == 0.01


def test_every_method_is_there_and_knows_what_it_chose(result):
    assert tuple(outcome.method for outcome in result.outcomes) == methods.METHODS
    assert result.counts == (0, 1, 2, 3)
    for outcome in result.outcomes:
        assert outcome.curve.shape == (2, 4)
        np.testing.assert_array_equal(outcome.curve[:, -1], outcome.errors)
        assert all(c == () or np.isfinite(c).all() for c in outcome.choices)
        assert outcome.n_diverged == outcome.n_skipped == (0, 0)
    for nothing_chosen in ("no adaptation", "isotropic ARUBA", "ARUBA", "ARUBA++"):
        assert {len(c) for c in result[nothing_chosen].choices} == {0}
    # More candidates for the oracle can only help it.
    two, one = np.array(result[methods.TWO_RATES].errors), np.array(result[methods.REPTILE].errors)
    assert (two <= one).all()


@pytest.mark.slow
def test_wages_show_what_the_readme_says(wages):
    # Seeds that no choice of the protocol has seen.
    shown = demo.run(wages, demo.Settings(n_seeds=10, first_seed=100))
    aruba, alone = shown["ARUBA"].error, shown["each person alone"].error
    assert aruba < 0.97 * shown["Reptile"].error
    assert aruba < 0.5 * shown["no adaptation"].error
    assert aruba < 0.5 * alone
    assert shown["ARUBA++"].error < 1.01 * aruba
    # The control that is granted two rates by an oracle is not far ahead.
    assert aruba < 1.08 * shown[methods.TWO_RATES].error


# ---- same seed, same bits ------------------------------------------------------------------------

_AS_JSON = (
    "import json; from aruba_fast import datasets;"
    "from aruba_fast_reproductions import demo;"
    "print(json.dumps(demo.run(datasets.load_wages(),"
    "demo.Settings(n_seeds=1, n_passes=2)).as_json(), allow_nan=False))"
)


def test_bits_do_not_depend_on_threads_instruction_set_or_blas(wages, threads):
    """Ours, that is: a mixed model is NumPy's linear algebra, whose sums follow its own threads."""
    expected, mixed = _apart(demo.run(wages, ONE_SEED).as_json())
    for n in (1, 7):
        threads(n)
        assert _apart(demo.run(wages, ONE_SEED).as_json())[0] == expected
    for choice in (*(("ARUBA_ISA", isa) for isa in af.info()["isas"]), *ANOTHER_BLAS):
        run = subprocess.run(
            [sys.executable, "-c", _AS_JSON],
            env=os.environ | dict([choice]),
            capture_output=True,
            text=True,
            check=True,
        )
        ours, theirs = _apart(json.loads(run.stdout))
        assert ours == expected, choice
        np.testing.assert_allclose(theirs, mixed, rtol=1e-6)


def _apart(result):
    """What is ours, to the last digit, and the curves of the mixed models."""
    rivals = (methods.MIXED, methods.MIXED_FULL)
    theirs = [o["curve"] for o in result["outcomes"] if o["method"] in rivals]
    ours = [o for o in result["outcomes"] if o["method"] not in rivals]
    assert len(theirs) == 2
    return json.dumps(result | {"outcomes": ours}, allow_nan=False), theirs


def test_other_seeds_give_other_people(wages, result):
    other = demo.run(wages, demo.Settings(n_seeds=1, first_seed=1, n_passes=2))
    for outcome in result.outcomes:
        assert other[outcome.method].errors[0] == outcome.errors[1]
    assert result["ARUBA"].errors[0] != result["ARUBA"].errors[1]


# ---- table and figure ----------------------------------------------------------------------------


def rendered(result, width=80):
    console = pytest.importorskip("rich.console").Console(width=width, file=io.StringIO())
    console.print(table.render(result))
    return console.file.getvalue()


def diverged(result):
    """The same result, had one method lost everybody in a seed and a visit in training."""
    lost = dataclasses.replace(
        result["isotropic ARUBA"],
        errors=(0.5, np.inf),
        n_diverged=(3, 238),
        n_skipped=(0, 1),
        curve=np.full((2, 4), np.inf),
    )
    others = (lost if o.method == lost.method else o for o in result.outcomes)
    return dataclasses.replace(result, outcomes=tuple(others))


def test_table_fits_80_columns_and_names_every_method(result):
    text = rendered(result)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for name in methods.METHODS:
        assert name in text
    assert f"{result['ARUBA'].error:.4f} ± {result['ARUBA'].standard_error:.4f}" in text
    assert "Nobody diverged, and no task was skipped." in text


def test_divergence_is_written_where_it_happened(result, tmp_path):
    lost = diverged(result)
    text = " ".join(rendered(lost).split())
    assert "isotropic ARUBA diverged" in text
    assert "isotropic ARUBA: 241 of 476 held-out people diverged" in text
    assert "1 of 1428 visits in meta-training were skipped" in text
    assert "nan" not in text
    plain = json.dumps(lost.as_json(), allow_nan=False)
    entry = next(o for o in json.loads(plain)["outcomes"] if o["method"] == "isotropic ARUBA")
    assert entry["errors"] == [0.5, None]
    assert entry["n_diverged"] == [3, 238]
    figure.draw(lost, tmp_path / "lost.png")


def test_one_seed_has_no_standard_error(wages):
    single = demo.run(wages, ONE_SEED)
    assert "nan" not in rendered(single)
    assert json.loads(json.dumps(single.as_json()))["outcomes"][0]["standard_error"] is None


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_figure_is_drawn(result, tmp_path, suffix):
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[suffix]
    path = tmp_path / f"demo.{suffix}"
    figure.draw(result, path)
    assert path.read_bytes().startswith(start)
    assert 10_000 < path.stat().st_size < 200_000


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "PNG"])
def test_same_result_is_the_same_picture(result, tmp_path, suffix):
    for name in ("a", "b"):
        figure.draw(result, tmp_path / f"{name}.{suffix}")
    first, second = (tmp_path / f"{name}.{suffix}" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_figure_of_very_many_features_names_the_extremes(tmp_path):
    rng = np.random.default_rng(0)
    names = np.array([f"f{j}" for j in range(50)])
    people = load(tmp_path, x=rng.standard_normal((60, 50)), feature_names=names)
    outcome = demo.run(people, demo.Settings(n_seeds=2, n_passes=1))
    shown = figure._shown(outcome)
    assert len(shown) == 30
    figure.draw(outcome, tmp_path / "many.png")


def test_names_are_moved_apart_within_the_panel(rng):
    heights = np.sort(np.concatenate([rng.random(6), [0.5] * 6]))
    placed = figure._apart(heights, 0.05)
    assert (np.diff(placed) > 0.04).all()
    assert placed.min() >= 0
    assert placed.max() <= 1
