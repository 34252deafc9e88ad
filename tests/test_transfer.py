"""Online to batch: averages of what was learned, and the risk on new tasks."""

from __future__ import annotations

import numpy as np
import pytest
from cases import smoothed
from scipy import stats

import aruba_fast as af
from aruba_fast import theory
from aruba_fast.theory.transfer import student_quantile


def test_averages_of_starts_and_rates(rng):
    learner, average = smoothed(np.zeros(3)), theory.MetaAverage()
    starts, rates = [], []
    for size in (1, 4, 2):
        average.add(learner, size)
        starts += [learner.phi.copy()] * size
        rates += [learner.learning_rate.copy()] * size
        learner.update(af.TaskRun(rng.standard_normal((size, 3)), rng.random((size, 3))))
    np.testing.assert_allclose(average.phi, np.mean(starts, axis=0), atol=1e-14)
    np.testing.assert_allclose(average.learning_rate, np.mean(rates, axis=0), rtol=1e-13)


def test_the_average_pair_is_no_worse_than_the_average_of_pairs(rng):
    """Jensen, on the bounds of any one task."""
    learner, average = smoothed(np.zeros(3)), theory.MetaAverage()
    star, squares = rng.standard_normal((1, 3)), rng.random((1, 3))
    run, bounds = af.TaskRun(star, squares), []
    for _ in range(50):
        average.add(learner)
        bounds.append(theory.regret_upper_bound(run, star, learner.phi, learner.rule(coef=None))[0])
        learner.update(af.TaskRun(rng.standard_normal((1, 3)), rng.random((1, 3))))
    both = theory.regret_upper_bound(run, star, average.phi, af.OGD(average.learning_rate))
    assert both[0] <= np.mean(bounds)


@pytest.mark.parametrize("freedom", [4, 5, 9, 30, 1000])
@pytest.mark.parametrize("probability", [0.75, 0.95, 0.975, 0.995])
def test_quantiles_of_student(freedom, probability):
    expected = stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(expected, rel=2e-2 / freedom)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """500 experiments of 20 tasks each; 95 % intervals of the mean risk over all tasks."""
    rng, covered = np.random.default_rng(0), 0
    x = rng.standard_normal((500 * 20, 6, 2))
    theta = rng.standard_normal((500 * 20, 2))
    support, query = af.Tasks(x, np.einsum("tmd,td->tm", x, theta)).shots(4)
    risks = []
    for k in range(500):
        part = slice(20 * k, 20 * k + 20)
        risks.append(
            theory.transfer_risk(
                support[part], query[part], np.zeros(2), af.OGD(0.05), loss="huber"
            )
        )
    truth = np.mean([r.mean for r in risks])
    covered = np.mean([r.low <= truth <= r.high for r in risks])
    assert 0.92 <= covered <= 0.98


def test_risk_of_average_and_last_iterate(rng):
    x = rng.standard_normal((30, 9, 2))
    support, query = af.Tasks(x, x.sum(axis=2)).shots(6)
    run = af.run_tasks(support, np.zeros(2), af.OGD(0.1), loss="squared", average=True)
    for last, theta in ((False, run.theta_bar), (True, run.theta_hat)):
        found = theory.transfer_risk(
            support, query, np.zeros(2), af.OGD(0.1), loss="squared", last=last
        )
        np.testing.assert_array_equal(found.risk, af.evaluate(query, theta, loss="squared"))
        low, high = stats.t.interval(0.95, 29, found.risk.mean(), stats.sem(found.risk))
        assert (found.low, found.high) == (
            pytest.approx(low, rel=1e-4),
            pytest.approx(high, rel=1e-4),
        )


def test_average_excess_risk_is_below_average_regret_over_m(rng):
    """The expectation of online to batch, averaged over many tasks."""
    m = 20
    x = rng.standard_normal((3000, m + 30, 2))
    theta = rng.standard_normal((3000, 2))
    y = np.einsum("tmd,td->tm", x, theta) + rng.standard_normal((3000, m + 30))
    support, query = af.Tasks(x, y).shots(m)
    rule = af.OGD(0.1)
    risk = theory.transfer_risk(support, query, np.zeros(2), rule, loss="squared")
    least = af.evaluate(query, theta, loss="squared").mean()
    run = af.run_tasks(support, np.zeros(2), rule, loss="squared")
    regret = theory.regret(run, theory.best_in_hindsight(support, loss="squared")).mean()
    assert 0 < risk.mean - least <= regret / m
