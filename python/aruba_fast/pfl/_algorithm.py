"""`ArubaAlgorithm`: what pfl's loop asks of users, and what becomes of what they tell."""

from collections.abc import Sequence
from typing import Any

from pfl.algorithm.base import FederatedNNAlgorithm, PersonalizedNNAlgorithmParams
from pfl.common_types import Population
from pfl.context import CentralContext
from pfl.data.dataset import AbstractDataset
from pfl.metrics import Metrics, TrainMetricName

from .. import _check
from ._model import ArubaModel
from ._statistics import statistics_of


class ArubaAlgorithm(FederatedNNAlgorithm):
    """ARUBA as an algorithm of pfl: rates for every coordinate, learned from rounds of users.

    Its parameters are pfl's `PersonalizedNNAlgorithmParams`. Users of the training population run
    from phi at the learned rates. In rounds with an evaluation, users of the other population
    measure the error on the rows that they hold out, before and after they take steps on their
    other rows by the rule for new tasks. There is no evaluation before the first rate is known. All
    state is in the model, with the number of the iteration, so that a restored model continues.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from pfl.algorithm.base import PersonalizedNNAlgorithmParams
        >>> from pfl.hyperparam.base import ModelHyperParams
        >>> from aruba_fast.pfl import ArubaAlgorithm, ArubaBackend, LinearModel, People
        >>> people = People(af.Tasks(np.ones((50, 4, 2)), np.ones((50, 4))))
        >>> params = PersonalizedNNAlgorithmParams(
        ...     central_num_iterations=5, evaluation_frequency=1, train_cohort_size=20,
        ...     val_cohort_size=10, val_split_fraction=0.5, min_train_size=1, min_val_size=1)
        >>> model = LinearModel(af.MetaLearner(np.zeros(2)), loss="squared")
        >>> backend = ArubaBackend(people, people)
        >>> model = ArubaAlgorithm().run(
        ...     params, backend, model, ModelHyperParams(), send_metrics_to_platform=False)
        >>> model.learner.n_tasks  # the first round found the rate
        80

    Source: pfl, https://github.com/apple/pfl-research.
    """

    def get_next_central_contexts(
        self,
        model: ArubaModel,
        iteration: int,
        algorithm_params: PersonalizedNNAlgorithmParams,
        model_train_params: Any,
        model_eval_params: Any = None,
    ) -> tuple[tuple[CentralContext, ...] | None, ArubaModel, Metrics]:
        """As pfl has it, from the number of rounds that the model has behind it."""
        if not isinstance(model, ArubaModel):
            raise TypeError(
                f"ArubaAlgorithm: `model` must be one of aruba_fast.pfl: got {_check.shown(model)},"
                " expected a LinearModel or a TorchModel"
            )
        if not isinstance(algorithm_params, PersonalizedNNAlgorithmParams):
            raise TypeError(
                "ArubaAlgorithm: `algorithm_params` must tell how rows are held out: got "
                f"{_check.shown(algorithm_params)}, expected pfl's PersonalizedNNAlgorithmParams"
            )
        iteration = min(model.version, algorithm_params.central_num_iterations)
        self._current_central_iteration = iteration
        contexts, _, metrics = super().get_next_central_contexts(
            model, iteration, algorithm_params, model_train_params, model_eval_params
        )
        return contexts, model, metrics

    def train_one_user(
        self,
        initial_model_state: object,
        model: ArubaModel,
        user_dataset: AbstractDataset,
        central_context: CentralContext,
    ) -> tuple[Any, Metrics]:
        """Runs one user from phi."""
        del initial_model_state, central_context
        return statistics_of(model.answer([user_dataset])), Metrics()

    def simulate_one_user(
        self, model: ArubaModel, user_dataset: AbstractDataset, central_context: CentralContext
    ) -> tuple[Any, Metrics]:
        """Trains a user of the training population, and evaluates one of the other."""
        if central_context.population == Population.TRAIN:
            return self.train_one_user(None, model, user_dataset, central_context)
        return None, self.evaluate_users(model, [user_dataset], central_context)

    def evaluate_users(
        self, model: ArubaModel, users: Sequence[AbstractDataset], central_context: CentralContext
    ) -> Metrics:
        """Evaluates users on the rows that they hold out.

        Args:
            model: The model.
            users: Their data sets; users with too few rows to hold some out do not count.
            central_context: pfl's context, which says how many rows are held out.

        Returns:
            Metrics before and after personalization; none before the first rate is known.
        """
        if model.round().rule is None:
            return Metrics()
        params, population = central_context.algorithm_params, central_context.population
        least = (params.min_train_size, params.min_val_size)
        parts = [
            user.split(params.val_split_fraction, *least)
            for user in users
            if len(user) >= sum(least)
        ]
        support, held_out = ([part[i] for part in parts] for i in range(2))
        metrics = Metrics()
        for after, own in ((False, None), (True, support)):

            def named(name: str, after: bool = after) -> TrainMetricName:
                return TrainMetricName(name, population, after, local_partition="val")

            metrics |= model.evaluate_users(held_out, named, own)
        return metrics

    def process_aggregated_statistics(
        self,
        central_context: CentralContext,
        aggregate_metrics: Metrics,
        model: ArubaModel,
        statistics: Any,
    ) -> tuple[ArubaModel, Metrics]:
        """Learns from a round."""
        del central_context, aggregate_metrics
        return model.apply_model_update(statistics)

    def process_aggregated_statistics_from_all_contexts(
        self,
        stats_context_pairs: tuple[tuple[CentralContext, Any], ...],
        aggregate_metrics: Metrics,
        model: ArubaModel,
    ) -> tuple[ArubaModel, Metrics]:
        """Learns from a round, which is lost if there is no result."""
        if not stats_context_pairs:
            return model.apply_model_update(None)
        ((context, statistics),) = stats_context_pairs
        return self.process_aggregated_statistics(context, aggregate_metrics, model, statistics)

    def save(self, dir_path: str) -> None:
        """Writes nothing: the model knows all."""

    def load(self, dir_path: str) -> None:
        """Reads nothing: the model knows all."""
