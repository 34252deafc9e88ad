"""`ArubaBackend`: a whole cohort of users in one native call."""

from logging import getLogger
from typing import Any

from pfl.aggregate.base import (
    get_num_datapoints_weight_name,
    get_num_devices_weight_name,
    get_num_params_weight_name,
    get_total_weight_name,
)
from pfl.aggregate.simulate import SimulatedBackend
from pfl.common_types import Population
from pfl.context import CentralContext
from pfl.data.federated_dataset import FederatedDatasetBase
from pfl.internal.ops.selector import get_default_framework_module
from pfl.metrics import Metrics, Weighted
from pfl.postprocessor.base import Postprocessor

from .. import _check
from ._algorithm import ArubaAlgorithm
from ._model import ArubaModel
from ._people import People
from ._statistics import ArubaStatistics, statistics_of

_LOG = getLogger(__name__)


class ArubaBackend(SimulatedBackend):
    """Runs a cohort of users as a whole: what pfl's `SimulatedBackend` does, without its loop.

    Linear models of `People` run in one native call, in less than a hundredth of the time that
    pfl's loop takes for users who do nothing. Users of another federated data set are fetched one
    by one, which is most of the cost of pfl's loop, and then run together. The result is that of
    the loop, to the bit, except for the first rate of a loss without a limit (absolute, Poisson):
    the loop takes the median over users, this backend the rate of all rows. The first rate of a
    network is found in one pass.

    Postprocessors act on the server as usual. If one must see the statistics of each user, as pfl's
    privacy mechanisms and weightings must, users run one by one, as in `SimulatedBackend`, and the
    log says so. They also do with several processes of PyTorch, between which pfl sends float32:
    sums are rounded to 2^-24 of themselves, once in each process and once in each addition, and
    counts are exact up to 2^24 users.

    Args:
        training_data: Users to learn from.
        val_data: Users to evaluate with.
        postprocessors: As `SimulatedBackend`.

    Raises:
        TypeError: An argument is of the wrong type.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.pfl import ArubaBackend, People
        >>> people = People(af.Tasks(np.ones((50, 4, 2)), np.ones((50, 4))))
        >>> backend = ArubaBackend(people, people)

    Source: pfl, https://github.com/apple/pfl-research.
    """

    def __init__(
        self,
        training_data: FederatedDatasetBase,
        val_data: FederatedDatasetBase,
        postprocessors: list[Postprocessor] | None = None,
    ) -> None:
        name = type(self).__name__
        for argument, data in (("training_data", training_data), ("val_data", val_data)):
            if not isinstance(data, FederatedDatasetBase):
                raise TypeError(
                    f"{name}: `{argument}` must be a federated data set: got "
                    f"{_check.shown(data)}, expected People(tasks), or one of pfl's"
                )
        listed = postprocessors is None or isinstance(postprocessors, (list, tuple))
        if not listed or not all(isinstance(p, Postprocessor) for p in postprocessors or ()):
            raise TypeError(
                f"{name}: `postprocessors` must be a list of pfl's: got "
                f"{_check.shown(postprocessors)}, expected [pfl.postprocessor.base.Postprocessor]"
            )
        super().__init__(training_data, val_data, postprocessors)
        seeing = [type(p).__name__ for p in self._postprocessors if _sees_users(p)]
        if seeing:
            _LOG.warning("users run one by one, for %s sees each", ", ".join(seeing))
        self._one_by_one = bool(seeing)

    async def async_gather_results(
        self,
        model: ArubaModel,
        training_algorithm: ArubaAlgorithm,
        *,
        central_context: CentralContext,
    ) -> tuple[Any, Metrics]:
        """Runs a cohort.

        Args:
            model: The model that users train.
            training_algorithm: The algorithm.
            central_context: The request: population, size of the cohort and parameters.

        Returns:
            The sums over the users, or None, and the metrics of `SimulatedBackend`.
        """
        processes = get_default_framework_module().distributed.world_size
        ours = type(training_algorithm) is ArubaAlgorithm
        if self._one_by_one or processes > 1 or not ours:
            loop = super().async_gather_results
            statistics, metrics = await loop(
                model, training_algorithm, central_context=central_context
            )
            return statistics, metrics
        population, size = central_context.population, central_context.cohort_size
        trains = population == Population.TRAIN
        data = self._training_dataset if trains else self._val_dataset
        told, metrics = None, Metrics()
        if trains and isinstance(data, People):
            tasks = data.cohort(size)
            n_rows = 0 if tasks is None else tasks.n_rows
            told = None if tasks is None else model.answer(tasks)
        else:
            users = [user for user, _ in data.get_cohort(size)]
            size, n_rows = len(users), sum(map(len, users))
            if trains:
                told = model.answer(users)
            else:
                metrics = training_algorithm.evaluate_users(model, users, central_context)
        metrics[get_num_devices_weight_name(population)] = size
        metrics[get_num_datapoints_weight_name(population)] = Weighted(n_rows, size)
        return self._postprocessed(statistics_of(told), metrics, central_context)

    def _postprocessed(
        self, statistics: Any, metrics: Metrics, central_context: CentralContext
    ) -> tuple[Any, Metrics]:
        """What the server does with the sums, the last postprocessor first."""
        if isinstance(statistics, ArubaStatistics):
            name = get_total_weight_name(central_context.population)
            told = statistics.reply
            metrics[name] = Weighted(told.weight, told.n_tasks + told.n_skipped)
        known: dict[str, Any] = {"central_context": central_context}
        for p in self._postprocessors[::-1]:
            metrics |= p.postprocess_server_metrics(**known, aggregate_metrics=metrics)
        if statistics is None:
            return None, metrics
        for p in self._postprocessors[::-1]:
            statistics, more = p.postprocess_server(
                stats=statistics, **known, aggregate_metrics=metrics
            )
            metrics |= more
        metrics[get_num_params_weight_name()] = statistics.num_parameters
        return statistics, metrics


def _sees_users(postprocessor: Postprocessor) -> bool:
    """Whether it does anything with what one user tells."""
    hooks = ("postprocess_one_user", "postprocess_one_user_metrics")
    return any(getattr(type(postprocessor), h) is not getattr(Postprocessor, h) for h in hooks)
