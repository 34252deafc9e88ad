"""People of a few rows as users of pfl, and what pfl is asked to do with them."""

from __future__ import annotations

import numpy as np
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import PersonalizedNNAlgorithmParams
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import ModelHyperParams
from pfl.metrics import Metrics, get_overall_value
from same_learner import one_process

import aruba_fast as af
from aruba_fast.pfl import ArubaAlgorithm, ArubaBackend, LinearModel

D, N_USERS = 6, 24
BACKENDS = {"loop": SimulatedBackend, "whole cohorts": ArubaBackend}


def people_of(rng, dtype=np.float64, loss="squared"):
    """Tasks of 3 to 6 rows."""
    sizes = rng.integers(3, 7, N_USERS)
    group = np.repeat(np.arange(N_USERS), sizes)
    x = rng.standard_normal((len(group), D)).astype(dtype)
    own = 1.0 + 0.3 * rng.standard_normal((N_USERS, D))
    y = np.einsum("ij,ij->i", x, own[group]) + 0.1 * rng.standard_normal(len(group))
    labels = y > 0 if loss == "logistic" else y
    return af.Tasks.from_groups(x, labels.astype(dtype), group)


def params(n_rounds, cohort=N_USERS, evaluated=0, every=1):
    return PersonalizedNNAlgorithmParams(
        central_num_iterations=n_rounds,
        evaluation_frequency=every,
        train_cohort_size=cohort,
        val_cohort_size=evaluated,
        val_split_fraction=0.5,
        min_train_size=1,
        min_val_size=1,
    )


def model_of(dtype=np.float64, loss="squared", **options):
    hyper = options.pop("hyper", {})
    return LinearModel(af.MetaLearner(np.zeros(D, dtype), **hyper), loss, **options)


def run(backend, model, n_rounds=6, callbacks=None, **asked):
    """Lets pfl run rounds; returns the model."""
    return ArubaAlgorithm().run(
        params(n_rounds, **asked),
        backend,
        model,
        ModelHyperParams(),
        callbacks=callbacks,
        send_metrics_to_platform=False,
    )


def pfl_dataset(data):
    """Users by name, each once in a cohort of all, as pfl has them."""
    return FederatedDataset.from_slices(data, get_user_sampler("minimize_reuse", list(data)))


def users_of(tasks):
    return {str(i): (task.x, task.y) for i, task in enumerate(tasks)}


class Seen(TrainingProcessCallback):
    """Keeps the metrics of every iteration, by name."""

    def __init__(self):
        self.rounds = []

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        del model
        found = {str(name): get_overall_value(value) for name, value in aggregate_metrics}
        self.rounds.append({"iteration": central_iteration, **found})
        return False, Metrics()


def alone(people, n_rounds=6, **how):
    """One process; the first round finds the rate."""
    return one_process(people, n_rounds - 1, **how)
