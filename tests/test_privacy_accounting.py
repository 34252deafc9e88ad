"""What noise is worth: known answers, closed forms, and an attack that must not do better."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from documentation import run_examples
from optional import need
from scipy import optimize, stats

import aruba_fast as af
import aruba_fast.privacy
from aruba_fast.federated import Round
from aruba_fast.privacy import FixedSize, Poisson, RecordPrivacy, TaskPrivacy, epsilon, noise_for
from aruba_fast.privacy._released import Released

need("dp_accounting")


def analytic(z, delta):
    """Epsilon of one Gaussian mechanism, exactly (Balle and Wang, ICML 2018)."""

    def beyond(e):
        inside = stats.norm.cdf(0.5 / z - e * z) - np.exp(e) * stats.norm.cdf(-0.5 / z - e * z)
        return inside - delta

    return optimize.brentq(beyond, 0.0, 500.0)


def closed_form(z, n_rounds, delta):
    """Epsilon of RDP's n alpha / (2 z^2) at the best order (Canonne, Kamath and Steinke, 2020)."""
    alpha = np.linspace(1.01, 200.0, 400_000)
    rdp = n_rounds * alpha / (2 * z**2)
    best = rdp + np.log1p(-1 / alpha) - np.log(delta * alpha) / (alpha - 1)
    return best.min()


@pytest.mark.parametrize(("accountant", "known"), [("rdp", 1.97675), ("pld", 1.75299)])
def test_known_answers_of_poisson_sampling(accountant, known):
    got = epsilon(1.1, 1000, 1e-6, sampling=Poisson(0.01), accountant=accountant)
    assert got == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize(("z", "n_rounds"), [(1.0, 1), (3.0, 1), (5.0, 40), (30.0, 500)])
def test_without_sampling_the_accountants_are_the_closed_forms(z, n_rounds):
    assert epsilon(z, n_rounds, 1e-5, accountant="pld") == pytest.approx(
        analytic(z / np.sqrt(n_rounds), 1e-5), rel=2e-3
    )
    assert epsilon(z, n_rounds, 1e-5) == pytest.approx(closed_form(z, n_rounds, 1e-5), rel=2e-2)
    assert epsilon(z, n_rounds, 1e-5) > analytic(z / np.sqrt(n_rounds), 1e-5)


@pytest.mark.parametrize("z", [2.0, 4.0])
def test_a_sample_of_all_people_is_a_mechanism_of_twice_the_clip(z):
    got = epsilon(z, 10, 1e-5, sampling=FixedSize(50, 50))
    assert got == pytest.approx(closed_form(z / 2, 10, 1e-5), rel=2e-2)
    assert epsilon(z, 10, 1e-5, sampling=FixedSize(50, 5000)) < got / 3


# That of privacy loss distributions takes ten seconds.
@pytest.mark.parametrize(("accountant", "wanted"), [("rdp", 0.5), ("rdp", 2.0), ("pld", 0.5)])
def test_noise_is_found_that_is_just_enough(accountant, wanted):
    settings = {"sampling": Poisson(0.02), "accountant": accountant}
    z = noise_for(wanted, 50, 1e-5, **settings)
    assert epsilon(z, 50, 1e-5, **settings) <= wanted
    assert epsilon(z - 3e-3, 50, 1e-5, **settings) > wanted


def test_noise_is_found_for_all_samplings():
    for sampling in (None, FixedSize(10, 1000)):
        z = noise_for(2.0, 30, 1e-5, sampling=sampling)
        assert epsilon(z, 30, 1e-5, sampling=sampling) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: epsilon(0.0, 1, 1e-5), ValueError, "`noise` must be positive"),
        (lambda: epsilon(1.0, 0, 1e-5), ValueError, "`n_rounds` must be at least 1"),
        (lambda: epsilon(1.0, 1, 1.0), ValueError, "`delta` must be a fraction"),
        (lambda: epsilon(1.0, 1, 0.1, sampling=0.1), TypeError, "as Poisson(rate=0.01)"),
        (lambda: epsilon(1.0, 1, 0.1, accountant="a"), ValueError, "`accountant` must be known"),
        (
            lambda: epsilon(1.0, 1, 0.1, sampling=FixedSize(1, 2), accountant="pld"),
            ValueError,
            "dp_accounting does not have for FixedSize",
        ),
        (lambda: noise_for(0.0, 1, 1e-5), ValueError, "`epsilon` must be positive"),
        (lambda: Poisson(1.0), ValueError, "`rate` must be a fraction"),
        (lambda: FixedSize(3, 2), ValueError, "`n_people` must be at least 3"),
    ],
)
def test_wrong_use_is_one_sentence(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- the audit ----

N_RUNS, DELTA, D = 4000, 1e-5, 4


def shown(privacy, canary, here, seed):
    """How far releases point to the canary, in N_RUNS trainings of one round with or without it."""
    released = Released(D, seed)
    others = af.TaskRun(np.zeros((3, D)), np.ones((3, D)))
    total = privacy.clipped(others, here)
    if canary is not None:
        total += privacy.clipped(canary, here)
    return np.array([released.reply(privacy, here, total).delta.sum() for _ in range(N_RUNS)])


def least_epsilon(without, beside):
    """A lower bound of 95 %: a threshold of one half of the runs, Clopper-Pearson of the other."""
    half = N_RUNS // 2

    def bound(threshold, a, b):
        hits, alarms = (b > threshold).sum(), (a > threshold).sum()
        n = len(a)
        least = stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
        most = stats.beta.ppf(0.975, alarms + 1, n - alarms) if alarms < n else 1.0
        return np.log(max(least - DELTA, 1e-300) / most)

    thresholds = np.quantile(np.append(without[:half], beside[:half]), np.linspace(0.01, 0.99, 99))
    best = max(thresholds, key=lambda t: bound(t, without[:half], beside[:half]))
    return bound(best, without[half:], beside[half:])


def audited(privacy):
    here = Round.of(af.MetaLearner(np.zeros(D), learning_rate=0.1), 0)
    canary = af.TaskRun(np.full((1, D), 1e3), np.ones((1, D)))
    return least_epsilon(shown(privacy, None, here, 1), shown(privacy, canary, here, 2))


def test_an_attack_on_a_canary_stays_below_the_claim():
    claim = epsilon(1.0, 1, DELTA, accountant="pld")
    assert 0.3 < audited(TaskPrivacy(np.ones((2, D)), 1.0, 10)) < claim


def test_the_attack_catches_noise_that_is_ten_times_too_small(monkeypatch):
    claim = epsilon(1.0, 1, DELTA, accountant="pld")
    right = TaskPrivacy.deviations.fget
    monkeypatch.setattr(TaskPrivacy, "deviations", property(lambda self: right(self) / 10))
    assert audited(TaskPrivacy(np.ones((2, D)), 1.0, 10)) > claim


def test_the_attack_catches_a_task_that_is_not_clipped(monkeypatch):
    claim = epsilon(1.0, 1, DELTA, accountant="pld")
    monkeypatch.setattr(TaskPrivacy, "clipped", lambda _, run, here: here.reply(run))
    assert audited(TaskPrivacy(np.ones((2, D)), 1.0, 10)) > claim


# ---- the same for a row ----


def records(privacy, canary, seed):
    """What N_RUNS tasks send of themselves, each with the canary as one of its rows, or without."""
    x = np.concatenate([0.01 * np.ones((3, D)), np.full((canary, D), 1e3)])
    y = np.append(np.ones(3), np.full(canary, 1e12))  # which no step comes near to
    task = af.Tasks(x[None], y[None])
    rows = (np.zeros(D), np.full(D, 0.1), "squared", np.random.default_rng(seed))
    return np.array([privacy._deltas(task, *rows)[0].sum() for _ in range(N_RUNS)])


def audited_rows(privacy):
    return least_epsilon(records(privacy, 0, 1), records(privacy, 1, 2))


@pytest.mark.parametrize("n_steps", [1, 4])
def test_an_attack_on_a_row_stays_below_the_claim(n_steps):
    claim = epsilon(1.0, 1, DELTA, accountant="pld")
    privacy = RecordPrivacy(np.ones(D), 1.0, n_rows=5, n_steps=n_steps)
    assert 0.3 < audited_rows(privacy) < claim


def test_the_attack_catches_noise_of_one_step_in_each_of_many(monkeypatch):
    """Noise that forgets that a row is in every step is 6 times too small for 36 of them."""
    claim = epsilon(1.0, 1, DELTA, accountant="pld")
    right = RecordPrivacy.deviations.fget
    monkeypatch.setattr(RecordPrivacy, "deviations", property(lambda self: right(self) / 6))
    assert audited_rows(RecordPrivacy(np.ones(D), 1.0, n_rows=5, n_steps=36)) > claim


def test_the_attack_catches_a_row_that_is_not_clipped(monkeypatch):
    claim = epsilon(1.0, 1, DELTA, accountant="pld")
    monkeypatch.setattr(RecordPrivacy, "_most", property(lambda _: 1e9))
    monkeypatch.setattr(RecordPrivacy, "deviations", property(lambda _: np.full(D, 0.4)))
    assert audited_rows(RecordPrivacy(np.ones(D), 1.0, n_rows=5, n_steps=1)) > claim


# ---- the package ----


def examples():
    for name in aruba_fast.privacy.__all__:
        public = getattr(aruba_fast.privacy, name)
        yield name, public
        for member in vars(public).values():
            function = getattr(member, "__func__", member)
            if getattr(function, "__doc__", None) and "Example:" in str(function.__doc__):
                yield f"{name}.{function.__name__}", function


@pytest.mark.parametrize(("name", "public"), list(examples()))
def test_the_examples_of_a_docstring_run(name, public):
    assert run_examples(name, public.__doc__)


@pytest.mark.parametrize("module", ["aruba_fast.federated", "aruba_fast.privacy"])
def test_dp_accounting_is_imported_where_it_is_called(module):
    code = f"import sys, {module}; print('dp_accounting' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_dp_accounting_is_asked_for_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ImportError) as caught:
        epsilon(1.0, 1, 1e-5)
    assert str(caught.value) == (
        "epsilon: dp_accounting must be installed: got no module named 'dp_accounting', "
        "expected it from pip install 'aruba_fast[privacy]'"
    )
