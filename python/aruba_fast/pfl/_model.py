"""`ArubaModel`: what pfl trains, a server's learner and the way in which users answer it."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
from pfl.common_types import Saveable
from pfl.data.dataset import AbstractDataset
from pfl.exception import CheckpointNotFoundError
from pfl.metrics import Metrics, StringMetricName, Summed, Weighted
from pfl.model.base import EvaluatableModel

from .. import _check
from .._check import Float64Array
from ..federated import FirstRate, Reply, Round, Server
from ..federated._private import Privacy
from ..learner import MetaLearner, MetaStep, check_learner
from ._statistics import ArubaStatistics, FirstRates

_FILE = "aruba.safetensors"
_LOG = getLogger(__name__)

Named = Callable[[str], StringMetricName]


class ArubaModel(EvaluatableModel, Saveable):
    """The base of `LinearModel` and `TorchModel`: the learner of a server, as a model of pfl.

    It holds all that is learned and the number of rounds, which `save` writes to one file, whole or
    not at all. So `RestoreTrainingCallback([model], folder)` is all that a run needs to go on after
    it was killed at any moment.

    Args:
        learner: What learns, in host memory; the model's own from now on.
        meta_step: The step of phi, as `MetaLearner.apply`.
        privacy: As `Server`.
    """

    def __init__(
        self,
        learner: MetaLearner,
        meta_step: MetaStep = None,
        privacy: Privacy | None = None,
    ) -> None:
        name = type(self).__name__
        check_learner(name, learner)
        if not callable(meta_step):
            _check.meta_step(name, meta_step, lambda: 0)
        self._meta_step = meta_step
        self._server = Server(learner, meta_step=meta_step, max_age=0, privacy=privacy)
        self._personal: Round | None = None

    @property
    def learner(self) -> MetaLearner:
        """What has learned."""
        return self._server.learner

    @property
    def version(self) -> int:
        """The rounds of before."""
        return self._server.version

    @property
    def allows_distributed_evaluation(self) -> bool:
        """Yes: metrics are sums over users."""
        return True

    def round(self, *, personal: bool = False) -> Round:
        """What users are sent.

        Args:
            personal: Also the rule for new tasks.
        """
        if not personal:
            return self._server.round()
        if self._personal is None or self._personal.version != self.version:
            self._personal = self._server.round(personal=True)
        return self._personal

    @abstractmethod
    def answer(self, users: Any) -> Reply | FirstRate | None:
        """Runs users, who have rows or not, and returns what they tell."""

    @abstractmethod
    def _measured(
        self, users: Sequence[AbstractDataset], support: Sequence[AbstractDataset] | None
    ) -> Mapping[str, Float64Array]:
        """How well users are served by phi, or after steps on their support."""

    def _size(self, user: AbstractDataset) -> float:
        """How much a user counts in the mean over rows."""
        return len(user)

    def apply_model_update(self, statistics: Any) -> tuple["ArubaModel", Metrics]:
        """Learns from a round.

        Args:
            statistics: What users have told; None for a round without any.

        Returns:
            The model itself, and what came of the round.

        Raises:
            TypeError: `statistics` are not those of such users. Nothing is changed.
        """
        if statistics is not None and not isinstance(statistics, (ArubaStatistics, FirstRates)):
            raise TypeError(
                f"{type(self).__name__}.apply_model_update: `statistics` must be those of "
                f"ArubaAlgorithm: got {_check.shown(statistics)}, expected ArubaStatistics or None"
            )
        parts: tuple[Reply | FirstRate, ...] = () if statistics is None else statistics.told
        for number, told in enumerate(parts):
            self._server.receive(told, number)
        report = self._server.close()
        if report.lost:
            _LOG.warning("round %d is lost, nothing was learned", report.version)
        for reason in report.reasons:
            _LOG.warning("round %d: %s", report.version, reason)
        counts = {"n_tasks": report.n_tasks, "n_skipped": report.n_skipped, "lost": report.lost}
        named = ((StringMetricName(f"ARUBA | {key}"), int(n)) for key, n in counts.items())
        return self, Metrics(named)

    def evaluate(
        self,
        dataset: AbstractDataset,
        name_formatting_fn: Named = StringMetricName,
        eval_params: object = None,
    ) -> Metrics:
        """Tells how well phi serves the rows of a data set, before any step.

        Args:
            dataset: The rows.
            name_formatting_fn: Makes a name of pfl's from a plain one.
            eval_params: Not used.
        """
        del eval_params
        return self.evaluate_users([dataset], name_formatting_fn)

    def evaluate_users(
        self,
        users: Sequence[AbstractDataset],
        name_formatting_fn: Named,
        support: Sequence[AbstractDataset] | None = None,
    ) -> Metrics:
        """Tells how well users are served, in the mean over their rows.

        Args:
            users: The rows that are predicted; users without any do not count.
            name_formatting_fn: Makes a name of pfl's from a plain one.
            support: The rows that each user takes steps on before, by the rule for new tasks, or
                None for how well phi serves them as it is.

        Returns:
            The metrics, and how many users were left out because a number was not finite.

        Raises:
            TypeError: `users` or `support` are no data sets of pfl.
            ValueError: There is not one of `support` for each of `users`.
        """
        name = f"{type(self).__name__}.evaluate_users"
        users = checked_users(name, "users", users)
        there = [i for i, user in enumerate(users) if len(user)]
        own = None
        if support is not None:
            every = checked_users(name, "support", support)
            if len(every) != len(users):
                raise ValueError(
                    f"{name}: `support` must have one of each user: got {len(every)}, expected "
                    f"{len(users)}"
                )
            own = [every[i] for i in there]
        sizes = np.array([self._size(users[i]) for i in there], np.float64)
        measured = self._measured([users[i] for i in there], own)
        finite = np.ones(len(there), bool)
        for values in measured.values():
            finite &= np.isfinite(values)
        metrics = Metrics()
        for name, values in measured.items():
            total = float(values[finite] @ sizes[finite])
            metrics[name_formatting_fn(name)] = Weighted(total, float(sizes[finite].sum()))
        metrics[name_formatting_fn("users not finite")] = Summed(int((~finite).sum()))
        return metrics

    # ---- pfl's protocol of checkpoints ----

    def save(self, dir_path: str) -> None:
        """Writes all that was learned, and the number of rounds, to a folder.

        Args:
            dir_path: The folder; made where it is not there.

        Raises:
            OSError: The file cannot be written.
        """
        folder = Path(dir_path)
        folder.mkdir(parents=True, exist_ok=True)
        self._server._write(folder / _FILE)

    def load(self, dir_path: str) -> None:
        """Goes on from what `save` wrote.

        Args:
            dir_path: The folder.

        Raises:
            CheckpointNotFoundError: There is none.
            OSError: It cannot be read.
            ValueError: It is damaged, or of another model; the message has the reason. Nothing is
                changed.
        """
        path = Path(dir_path) / _FILE
        if not path.exists():
            raise CheckpointNotFoundError(str(path))
        server = Server.load(path, meta_step=self._meta_step, max_age=0)
        ours, theirs = self.learner.phi, server.learner.phi
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            raise ValueError(
                f"ArubaModel.load: `dir_path` must hold this model: got {len(theirs)} parameters "
                f"of {theirs.dtype}, expected {len(ours)} of {ours.dtype}"
            )
        server._path = None  # pfl tells when to save
        self._server, self._personal = server, None


def checked_users(function: str, name: str, users: Any) -> list[AbstractDataset]:
    """Returns data sets of pfl as a list."""
    listed = isinstance(users, (list, tuple))
    found = [*users] if listed else []
    odd = [user for user in found if not isinstance(user, AbstractDataset)]
    if odd or not listed:
        got = f"{_check.shown(odd[0])} among them" if odd else _check.shown(users)
        raise TypeError(
            f"{function}: `{name}` must be a list of data sets of pfl: got {got}, expected "
            "[pfl.data.dataset.Dataset(raw_data), ...]"
        )
    return found
