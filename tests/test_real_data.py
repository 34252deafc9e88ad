"""What ARUBA must show on real people's data, with one protocol and nothing tuned for any of them.

The tables lie outside the repository: in the folder that ARUBA_FAST_DATA names, or in
`../shared/data`. Each claim is one on the mean over ten splits of the people.
"""

import json

import numpy as np
import pytest
from real_data import people

import aruba_fast as af
from aruba_fast_reproductions import demo
from aruba_fast_reproductions.demo import methods, protocol

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compare():
    """Runs the demo's comparison on a table, once."""
    results = {}

    def run(name):
        if name not in results:
            # The tasks are far too small to be worth a second thread.
            af.set_num_threads(1)
            results[name] = demo.run(people(name), demo.Settings(n_seeds=10))
            af.set_num_threads(None)
        return results[name]

    return run


def nothing_is_hidden(result):
    """Every error is a number, or everybody diverged and is counted; the JSON has no nan."""
    n_tested = result.n_tested // result.settings.n_seeds
    for outcome in result.outcomes:
        for error, n_diverged in zip(outcome.errors, outcome.n_diverged, strict=True):
            assert np.isfinite(error) or n_diverged == n_tested, outcome.method
    json.dumps(result.as_json(), allow_nan=False)


def test_lenk_a_rate_per_coordinate_pays(compare):
    result = compare("lenk")
    assert result.shots == 16  # the usual split of 16 and 4 ratings, as the table marks it
    nothing_is_hidden(result)
    assert result["ARUBA"].error <= 0.9 * result["Reptile"].error
    # The honest control: an oracle's pair of rates, one of them for the intercept.
    assert result["ARUBA"].error < result[methods.TWO_RATES].error


def test_school_a_rate_per_coordinate_costs_nothing(compare):
    """The negative control: schools differ so little that there is nothing to win."""
    result = compare("school")
    nothing_is_hidden(result)
    assert result["ARUBA"].error <= 1.01 * result["Reptile"].error


def test_parkinson_collinear_features_do_not_break_it(compare):
    result = compare("parkinson")
    nothing_is_hidden(result)
    assert result["ARUBA++"].error <= 0.5 * result["no adaptation"].error
    assert result["ARUBA++"].error <= 0.5 * result["Reptile"].error
    assert sum(result["ARUBA++"].n_diverged) == 0
    assert result["ARUBA++"].error < result[methods.TWO_RATES].error
    # One rate for all has no good value here, and the result says so.
    assert sum(result["isotropic ARUBA"].n_diverged) > 0


def test_parkinson_plain_rates_diverge_and_are_counted():
    split = protocol.prepare(people("parkinson"), demo.Settings(), 0)
    start = np.zeros(split.train.n_features, np.float32)
    support = split.supports[-1][1]
    run = af.run_tasks(support, start, af.OGD(0.1), loss="squared", n_epochs=5)
    lost = ~np.isfinite(run.theta_hat + run.grad_sq).all(axis=1)
    assert lost.any()
    learner = af.MetaLearner(start, learning_rate=0.1, zeta=1.0)
    with pytest.warns(af.DivergenceWarning, match=r"^MetaLearner\.update: "):
        learner.update(run)
    assert (learner.n_skipped, learner.n_tasks) == (lost.sum(), (~lost).sum())
    for values in (learner.phi, learner.b, learner.g, learner.learning_rate):
        assert np.isfinite(values).all()
    n_diverged, error = methods.score(
        methods.Candidate(start, af.OGD(0.1)), support, split.query, demo.Settings()
    )
    assert n_diverged >= lost.sum()
    assert n_diverged == len(support) or np.isfinite(error)


@pytest.mark.parametrize("seed", [76, 115])
def test_parkinson_an_outlier_among_the_first_does_not_spoil_the_start(seed):
    """Splits on which it did, without a ball, when no task was shortened."""
    settings = demo.Settings(n_seeds=1, first_seed=seed)
    result = demo.run(people("parkinson"), settings)
    assert result["ARUBA++"].error <= 0.5 * result["no adaptation"].error
    assert result["ARUBA++"].n_diverged == (0,)


@pytest.mark.filterwarnings("ignore::aruba_fast.DivergenceWarning")
def test_parkinson_a_learner_that_shortens_no_task_is_spoilt_by_it():
    settings = demo.Settings(n_seeds=1)
    split = protocol.prepare(people("parkinson"), settings, 76)
    learner = af.MetaLearner(np.zeros(split.train.n_features, np.float32), zeta=1.0)
    af.meta_train(split.train, learner, loss="squared", n_passes=10, seed=76)
    candidate = methods.Candidate(learner.phi, learner.rule())
    n_diverged, _ = methods.score(candidate, split.supports[-1][1], split.query, settings)
    assert n_diverged > 0
