"""`TorchModel`: users who train a PyTorch model by a loop of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pfl.data.dataset import AbstractDataset

from .. import _check
from .._check import Float64Array
from ..federated import FirstRate, Reply
from ..federated._private import Privacy
from ..learner import MetaLearner, MetaStep
from ._model import ArubaModel, checked_users

if TYPE_CHECKING:
    from ..torch import MetaOptimizer

_NAME = "TorchModel"


class TorchModel(ArubaModel):
    """A model for pfl whose users train a PyTorch model by your loop.

    A user is a task: any data set of pfl's that your loop takes, with a length. Users without rows
    are ignored. Users with numbers that are not finite are left out whole, and counted. With
    `learning_rate="auto"` the first round only finds the first rate, which takes up to 17 passes of
    a user.

    Args:
        learner: The learner of the parameters of `meta`, in their order, in host memory; from now
            on only the model changes it.
        meta: The `aruba_fast.torch.MetaOptimizer` of the model that users train.
        train: Takes the steps of a user, `train(optimizer, dataset)`.
        metrics: Functions by name; each returns a mean over the rows of a data set, such as the
            model's error.
        weights: "rows" to weight users by the lengths of their data sets, as FedAvg does; None for
            1 each.
        meta_step: The step of phi, as `MetaLearner.apply`.
        privacy: As `aruba_fast.federated.Server`; with one, a user weighs 1.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or the learner is of other parameters.

    Example:
        >>> import numpy as np, torch, aruba_fast as af, aruba_fast.torch
        >>> from pfl.data.dataset import Dataset
        >>> from aruba_fast.pfl import TorchModel
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> def train(optimizer, dataset):
        ...     for row in dataset.raw_data[0]:
        ...         optimizer.zero_grad()
        ...         (weight - torch.from_numpy(row)).square().sum().backward()
        ...         optimizer.step()
        >>> learner = af.MetaLearner(np.zeros(2, np.float32), learning_rate=0.5)
        >>> model = TorchModel(learner, aruba_fast.torch.MetaOptimizer([weight]), train)
        >>> model.answer([Dataset((np.ones((3, 2), np.float32),))])
        Reply(version=0, n_tasks=1, n_skipped=0, n_parameters=2, weight=3)

    Source: pfl, https://github.com/apple/pfl-research.
    """

    def __init__(
        self,
        learner: MetaLearner,
        meta: "MetaOptimizer",
        train: Callable[[Any, AbstractDataset], object],
        *,
        metrics: Mapping[str, Callable[[AbstractDataset], float]] | None = None,
        weights: str | None = "rows",
        meta_step: MetaStep = None,
        privacy: Privacy | None = None,
    ) -> None:
        if not hasattr(meta, "follow"):
            raise TypeError(
                f"{_NAME}: `meta` must be a MetaOptimizer: got {_check.shown(meta)}, expected "
                "aruba_fast.torch.MetaOptimizer(model.parameters())"
            )
        if not callable(train):
            raise TypeError(
                f"{_NAME}: `train` must be a function: got {_check.shown(train)}, expected one of "
                "an optimizer and a data set"
            )
        if metrics is not None and not (
            isinstance(metrics, Mapping) and all(map(callable, metrics.values()))
        ):
            raise TypeError(
                f"{_NAME}: `metrics` must be functions by name: got {_check.shown(metrics)}, "
                "expected {'loss': a function of a data set}"
            )
        rows = _check.by_rows(_NAME, weights)
        super().__init__(learner, meta_step, privacy)
        meta.follow(self.round())  # says so where they do not fit
        self._meta = meta
        self._train = train
        self._metrics = dict(metrics or {})
        self._weight = len if rows else None

    def answer(self, users: Sequence[AbstractDataset]) -> Reply | FirstRate | None:
        """Runs users from phi, one after the other.

        Args:
            users: Their data sets.

        Returns:
            Their reply together; None if nobody has any rows.

        Raises:
            TypeError: `users` are no data sets of pfl.
            RuntimeError: As `MetaOptimizer.task`.
        """
        found = checked_users(f"{_NAME}.answer", "users", users)
        there = [user for user in found if len(user)]
        if not there:
            return None
        return self._meta.answer(self.round(), there, self._train, weight=self._weight)

    def _measured(
        self, users: Sequence[AbstractDataset], support: Sequence[AbstractDataset] | None
    ) -> Mapping[str, Float64Array]:
        self._meta.follow(self.round(personal=support is not None))
        found = np.empty((len(self._metrics), len(users)))
        for k, user in enumerate(users):
            if support is not None:
                self._train(self._meta.rule(), support[k])
            found[:, k] = [metric(user) for metric in self._metrics.values()]
        self._meta.restore()
        return dict(zip(self._metrics, found, strict=True))
