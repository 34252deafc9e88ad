"""What a learner says of itself: the numbers of a diagnosis, and what it finds odd."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import aruba_fast as af


def learned(n_tasks, *, d=40, move=1.0, grad_sq=1.0, n_bad=0, rounds=1, **hyper):
    """A learner of tasks that move by `move` times what noise would at its rates."""
    learner = af.MetaLearner(np.zeros(d), **({"learning_rate": 0.1} | hyper))
    for _ in range(rounds):
        theta_hat = np.full((n_tasks, d), 1.0) * learner.learning_rate * move * np.sqrt(grad_sq)
        theta_hat[:n_bad] = np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", af.DivergenceWarning)
            run = af.TaskRun(theta_hat, np.full((n_tasks, d), grad_sq))
            learner.update(run, meta_step=0.0)
    return learner


CASES = {
    "in order": ({"n_tasks": 50, "move": np.sqrt(2.0)}, []),
    "in order, tight": ({"n_tasks": 50, "bound": "tight"}, []),
    "hardly begun": ({"n_tasks": 5, "zeta": 1e9}, []),
    "a zeta that drowns the gradients": ({"n_tasks": 100, "zeta": 1e3}, ["The prior outweighs"]),
    "a zeta of the gradients' size": ({"n_tasks": 100, "zeta": 1.0, "move": np.sqrt(2.0)}, []),
    "tasks that are left out": ({"n_tasks": 50, "n_bad": 8, "move": 1.4}, ["8 of 50 tasks"]),
    "most are": ({"n_tasks": 50, "n_bad": 30, "move": 1.4}, ["Tasks diverged", "30 of 50"]),
    "rates that still rise": ({"n_tasks": 50, "move": 4.0}, ["Tasks go further"]),
    "rates that still fall": ({"n_tasks": 50, "move": 0.3}, ["Tasks turn around"]),
    "too few coordinates to tell": ({"n_tasks": 50, "d": 3, "move": 4.0}, []),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_odd_is_found_and_nothing_else(case):
    how, beginnings = CASES[case]
    found = learned(**how).diagnose()
    assert len(found.findings) == len(beginnings), found.findings
    for sentence, beginning in zip(found.findings, beginnings, strict=True):
        assert sentence.startswith(beginning)
        assert sentence in str(found).replace("\n  ", " ")


@pytest.mark.parametrize(
    "hyper", [{"zeta": 2.0}, {"zeta": 2.0, "p": 0.5, "decay": 0.1}, {}, {"decay": 0.1}], ids=str
)
def test_the_numbers_are_those_of_the_equations(hyper):
    learner = learned(7, rounds=3, grad_sq=3.0, **hyper)
    found = learner.diagnose()
    n = 21
    kept = (1.0 - hyper.get("decay", 0.0)) ** np.arange(n - 1, -1, -1)  # of each task, at the end
    if "zeta" in hyper:
        # A round's tasks are discounted together, before it is added.
        kept = np.repeat(kept[6::7], 7)
        start = 4.0 * (1.0 - hyper.get("decay", 0.0)) ** n
        own = start + 4.0 * (kept * (np.arange(n) + 2.0) ** -hyper.get("p", 1.0)).sum()
        share = own / learner.g[0]
        assert found.prior == pytest.approx(share, rel=0.5 if "decay" in hyper else 1e-12)
    else:
        mean = learner.g.mean() / kept.sum()
        assert found.prior == pytest.approx(mean / (learner.g[0] + mean), rel=1e-12)
    assert (found.n_tasks, found.n_skipped, found.first_rate) == (n, 0, 0.1)
    rate = learner.learning_rate
    assert found.rates == (rate.min(), np.median(rate), rate.max())
    assert found.rho == pytest.approx(learner.rho.mean())


def test_a_learner_that_has_seen_nothing_says_so():
    found = af.MetaLearner(np.zeros(3)).diagnose()
    assert found.first_rate is None
    assert found.findings == ()
    assert str(found).split("\n") == [
        "tasks    0, none skipped",
        "rates    0 from 0 to 0; that of the first task is not known yet",
        "rho      nan, at rest 2",
        "prior    100.0 % of g",
    ]


@pytest.mark.parametrize("hyper", [{}, {"zeta": 1.0}], ids=str)
def test_tasks_that_are_left_out_hold_the_rates(hyper):
    learner = learned(60, **hyper)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", af.DivergenceWarning)
        learner.update(af.TaskRun(np.full((30, 40), np.nan), np.ones((30, 40))))
    (said,) = (text for text in learner.diagnose().findings if "left out" in text)
    held = "; they hold all rates at 8.2% of the others'" if not hyper else ""
    assert said == (
        "30 of 90 tasks were left out: rows that are not finite, or rates at which tasks "
        f"diverge{held}."
    )


def test_tensors_have_a_line_each(rng):
    sizes = (4, 1, 35)
    learner = learned(50, tensors=sizes, bound="tight")
    run = af.TaskRun(rng.random((40, 40)), rng.random((40, 40)))
    run.grad_sq[:, 4] = 0.0
    learner.update(run, meta_step=0.0)
    found = learner.diagnose()
    assert [(t.name, t.n) for t in found.tensors] == [("0", 4), ("1", 1), ("2", 35)]
    for tensor, part in zip(found.tensors, (slice(4), slice(4, 5), slice(5, 40)), strict=True):
        cuts = np.quantile(learner.learning_rate[part], (0.05, 0.25, 0.5, 0.75, 0.95))
        np.testing.assert_allclose(tensor.rates, cuts)
        np.testing.assert_equal(tensor.rho, np.mean(learner.rho[part]))
        own = learner.g[part].mean() / 90
        np.testing.assert_allclose(tensor.prior, np.median(own / (learner.g[part] + own)))
    lines = str(found).split("\n")
    assert lines[4].split() == ["coordinates", "rates", "5", "to", "95", "%", "rho", "prior"]
    assert [line.split()[0] for line in lines[5:8]] == ["4", "1", "35"]
    assert all(len(line) <= 80 for line in lines)
