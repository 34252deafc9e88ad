"""ARUBA in pfl: what fails, is killed, sees each user or does not fit, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
from optional import need

import aruba_fast as af

ap = need("aruba_fast.pfl")
# ruff: noqa: E402
from pfl.aggregate.simulate import SimulatedBackend
from pfl.callback.base import TrainingProcessCallback
from pfl.callback.restore_training import RestoreTrainingCallback
from pfl.data.dataset import Dataset
from pfl.exception import CheckpointNotFoundError
from pfl.metrics import Metrics
from pfl.postprocessor.base import Postprocessor
from pfl.privacy.gaussian_mechanism import GaussianMechanism
from pfl.privacy.privacy_mechanism import CentrallyAppliedPrivacyMechanism
from pfl_people import (
    BACKENDS,
    N_USERS,
    D,
    Seen,
    alone,
    model_of,
    people_of,
    pfl_dataset,
    run,
    users_of,
)
from same_learner import STATE, assert_same_bits


def with_faults(rng):
    """Users by name, of whom one has a nan and one has nothing; and the tasks of the others."""
    people = people_of(rng)
    users = users_of(people)
    x, y = users["3"]
    users["3"] = (np.where(np.arange(len(x))[:, None] == 1, np.nan, x), y)
    users["7"] = (x[:0], y[:0])
    return users, people[np.setdiff1d(np.arange(N_USERS), [3, 7])]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_user_who_fails_or_has_nothing_harms_nobody(backend, rng):
    users, _ = with_faults(rng)
    seen, data = Seen(), pfl_dataset(users)
    model = run(BACKENDS[backend](data, data), model_of(), 4, [seen], evaluated=N_USERS)
    assert np.isfinite(model.learner.phi).all()
    last = seen.rounds[-1]
    assert (last["ARUBA | n_tasks"], last["ARUBA | n_skipped"]) == (N_USERS - 2, 1)
    assert np.isfinite(last["val population | val set | loss after local training"])
    left_out = last["val population | val set | users not finite after local training"]
    assert left_out == 1
    assert (model.learner.n_tasks, model.learner.n_skipped) == (3 * (N_USERS - 2), 3)


def test_faults_are_the_same_for_both_backends_and_one_process(rng):
    users, _ = with_faults(rng)
    kept = [pair for pair in users.values() if len(pair[1])]
    offsets = np.cumsum([0, *(len(y) for _, y in kept)])
    tasks = af.Tasks(*(np.concatenate(part) for part in zip(*kept, strict=True)), offsets)
    told = []
    for backend in BACKENDS.values():
        seen, data = Seen(), pfl_dataset(users)
        model = run(backend(data, data), model_of(), callbacks=[seen], evaluated=N_USERS)
        assert_same_bits(model.learner, alone(tasks))
        told.append(seen.rounds)
    for one, other in zip(*told, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("cohort", [0, "of nobody with rows"])
def test_a_round_without_users_is_lost_and_says_so(cohort, rng, caplog):
    people = people_of(rng)
    nobody = pfl_dataset({"a": (np.zeros((0, D)), np.zeros(0))})
    users = ap.People(people)
    model = run(ap.ArubaBackend(users, users), model_of(), 3)
    before = model.learner.phi
    data, size = (users, 0) if cohort == 0 else (nobody, 1)
    seen = Seen()
    run(ap.ArubaBackend(data, data), model, 5, [seen], cohort=size)
    assert [metrics["ARUBA | lost"] for metrics in seen.rounds] == [1, 1]
    assert "round 4 is lost, nothing was learned" in caplog.messages
    np.testing.assert_array_equal(model.learner.phi, before)
    run(ap.ArubaBackend(users, users), model, 6)
    assert model.learner.n_tasks == 3 * N_USERS


class Dies(TrainingProcessCallback):
    """Ends a run in the middle of an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        del aggregate_metrics, model
        if central_iteration == self.iteration:
            raise KeyboardInterrupt
        return False, Metrics()


@pytest.mark.parametrize("when", ["before the file is written", "after"])
@pytest.mark.parametrize("with_algorithm", [False, True])
def test_a_run_that_was_killed_goes_on_from_its_file(when, with_algorithm, rng, tmp_path):
    users = ap.People(people_of(rng))
    backend = ap.ArubaBackend(users, users)
    whole = run(backend, model_of(), 8)
    died, resumed = model_of(), model_of()
    for model, dies in ((died, True), (resumed, False)):
        algorithm = ap.ArubaAlgorithm()
        saved = [model, algorithm] if with_algorithm else [model]
        callbacks = [RestoreTrainingCallback(saved, str(tmp_path))]
        if dies:
            callbacks.insert(0 if when.startswith("before") else 1, Dies(4))
            with pytest.raises(KeyboardInterrupt):
                run(backend, model, 8, callbacks)
        else:
            run(backend, model, 8, callbacks)
    assert_same_bits(resumed.learner, whole.learner)
    assert resumed.version == 8


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    model = model_of()
    with pytest.raises(CheckpointNotFoundError):
        model.load(str(tmp_path))
    ap.LinearModel(af.MetaLearner(np.zeros(D + 1)), "squared").save(str(tmp_path))
    with pytest.raises(ValueError, match="got 7 parameters of float64, expected 6 of float64"):
        model.load(str(tmp_path))
    (tmp_path / "aruba.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="must be what a server has written"):
        model.load(str(tmp_path))
    assert model.version == 0


# ---- postprocessors ----


class Doubles(Postprocessor):
    """Acts on the server alone."""

    def postprocess_server(self, *, stats, central_context, aggregate_metrics):
        del central_context, aggregate_metrics
        return stats + stats if isinstance(stats, ap.ArubaStatistics) else stats, Metrics()


def test_postprocessors_of_the_server_act_on_the_whole_cohort(rng):
    users = ap.People(people_of(rng))
    models = [run(b(users, users, [Doubles()]), model_of()) for b in BACKENDS.values()]
    assert_same_bits(models[0].learner, models[1].learner)
    assert models[0].learner.n_tasks == 5 * 2 * N_USERS


def test_privacy_of_pfl_sees_each_user(rng, caplog):
    """Users run one by one, which is said; what a bound leaves alone is within rounding."""
    people = people_of(rng)
    users = ap.People(people)
    hyper = {"learning_rate": 0.05}

    def private(bound, noise):
        mechanism = CentrallyAppliedPrivacyMechanism(GaussianMechanism(bound, noise))
        return run(ap.ArubaBackend(users, users, [mechanism]), model_of(hyper=hyper), 4).learner

    free = run(ap.ArubaBackend(users, users), model_of(hyper=hyper), 4).learner
    bare, clipped, noisy = private(1e9, 1e-30), private(1e-3, 1e-30), private(1.0, 10.0)
    assert "users run one by one, for CentrallyAppliedPrivacyMechanism sees each" in caplog.text
    for name in STATE:
        np.testing.assert_allclose(getattr(bare, name), getattr(free, name), rtol=1e-12)
    assert np.linalg.norm(clipped.phi) < 0.01 * np.linalg.norm(free.phi)
    assert np.isfinite(noisy.learning_rate).all()
    assert not np.allclose(noisy.phi, free.phi)


def test_privacy_does_not_ask_for_the_first_rate(rng):
    users = ap.People(people_of(rng))
    mechanism = CentrallyAppliedPrivacyMechanism(GaussianMechanism(1.0, 1.0))
    with pytest.raises(TypeError, match=r"the first rate must be known .* expected a number"):
        run(SimulatedBackend(users, users, [mechanism]), model_of())


# ---- what does not fit ----


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ap.People(np.zeros(3)), TypeError, "People: `tasks` must be Tasks"),
        (lambda: ap.People(people(), seed=-1), ValueError, "People: `seed`"),
        (lambda: ap.People(people()).cohort(25), ValueError, "got 25, expected <= 24"),
        (lambda: ap.People(people()).cohort(1.5), TypeError, "People: `cohort_size`"),
        (lambda: model_of(loss="cubic"), ValueError, "LinearModel: `loss`"),
        (lambda: model_of(weights="users"), ValueError, "LinearModel: `weights`"),
        (lambda: model_of(batch_size=0), ValueError, "LinearModel: `batch_size`"),
        (lambda: ap.LinearModel(3, "squared"), TypeError, "`learner` must be a MetaLearner"),
        (lambda: model_of().answer([Dataset((np.ones((2, D)),))]), TypeError, r"must be \(x, y\)"),
        (lambda: model_of().answer(mismatched()), ValueError, r"`y` must fit in shape"),
        (lambda: run(None, 3), TypeError, "ArubaAlgorithm: `model` must be one of aruba_fast.pfl"),
    ],
)
def test_bad_input_says_so(make, error, message):
    with pytest.raises(error, match=message):
        make()


def mismatched():
    """Users who have as many labels as rows only together."""
    return [Dataset((np.ones((n, D)), np.ones(5 - n))) for n in (2, 3)]


def people():
    return people_of(np.random.default_rng(0))
