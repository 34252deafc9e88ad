"""`LinearModel`: users with linear models, of whom a whole cohort is run in one native call."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pfl.data.dataset import AbstractDataset

from .. import _check
from .._check import Float64Array
from .._rows import stacked
from .._sparse import is_sparse
from ..adaptation import adapt, evaluate
from ..federated import FirstRate, Reply
from ..federated._private import Privacy
from ..learner import MetaLearner, MetaStep
from ..run import LOSSES
from ..tasks import Tasks
from ._model import ArubaModel, checked_users

_NAME = "LinearModel"
_EVALUATE = f"{_NAME}.evaluate_users"


class LinearModel(ArubaModel):
    """A model for pfl whose users have linear models, with features and labels as data.

    A user is a task: a data set of pfl's with `raw_data` (x, y), x [n_rows, n_features] of the type
    of phi, y [n_rows]; or (x, y, row_weights), as in `Tasks`. Users without rows are ignored. Users
    with numbers that are not finite are left out whole, and counted. With `learning_rate="auto"`
    the first round only finds the first rate. The metric is called "loss", and weights rows by
    their weights.

    Args:
        learner: The learner, in host memory; from now on only the model changes it.
        loss: Name of the loss, as in `run_tasks`.
        weights: "rows" to weight users by their number of rows, or the sum of the rows' weights, as
            FedAvg does; None for 1 each.
        batch_size: As `run_tasks`.
        n_epochs: As `run_tasks`.
        meta_step: The step of phi, as `MetaLearner.apply`.
        privacy: As `aruba_fast.federated.Server`; with one, a user weighs 1.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from pfl.data.dataset import Dataset
        >>> from aruba_fast.pfl import LinearModel
        >>> model = LinearModel(af.MetaLearner(np.zeros(2), learning_rate=0.5), loss="squared")
        >>> user = Dataset((np.ones((3, 2)), np.ones(3)))
        >>> model.answer([user])
        Reply(version=0, n_tasks=1, n_skipped=0, n_parameters=2, weight=3)

    Source: pfl, https://github.com/apple/pfl-research.
    """

    def __init__(
        self,
        learner: MetaLearner,
        loss: str,
        *,
        weights: str | None = "rows",
        batch_size: int = 1,
        n_epochs: int = 1,
        meta_step: MetaStep = None,
        privacy: Privacy | None = None,
    ) -> None:
        self._loss = _check.one_of(_NAME, "loss", loss, tuple(LOSSES))
        self._weights = _check.by_rows(_NAME, weights)
        self._options: dict[str, Any] = {
            "batch_size": _check.integer(_NAME, "batch_size", batch_size, 1),
            "n_epochs": _check.integer(_NAME, "n_epochs", n_epochs, 1),
        }
        super().__init__(learner, meta_step, privacy)

    def answer(self, users: Sequence[AbstractDataset] | Tasks) -> Reply | FirstRate | None:
        """Runs users from phi, all in one native call.

        Args:
            users: Their data sets, or their tasks.

        Returns:
            Their reply together; None if nobody has any rows.

        Raises:
            TypeError: As `Tasks` and `run_tasks`.
            ValueError: As `Tasks` and `run_tasks`.
        """
        name = f"{_NAME}.answer"
        tasks: Tasks | None
        if isinstance(users, Tasks):
            tasks = users
        else:
            tasks = _joined(name, checked_users(name, "users", users))
        if tasks is None:
            return None
        return self.round().answer(tasks, loss=self._loss, weights=self._weights, **self._options)

    def _measured(
        self, users: Sequence[AbstractDataset], support: Sequence[AbstractDataset] | None
    ) -> Mapping[str, Float64Array]:
        rows = _joined(_EVALUATE, users)
        if rows is None:
            return {"loss": np.zeros(0)}
        sent = self.round(personal=support is not None)
        theta = sent.phi
        if support is not None:
            own = _joined(_EVALUATE, support)
            assert own is not None
            assert sent.personal is not None
            theta = adapt(own, theta, sent.personal, loss=self._loss, **self._options)
        return {"loss": evaluate(rows, theta, loss=self._loss)}

    def _size(self, user: AbstractDataset) -> float:
        weights = _rows(_EVALUATE, user.raw_data)[2]
        return len(user) if weights is None else float(np.sum(weights))


def _joined(function: str, users: Sequence[AbstractDataset]) -> Tasks | None:
    """The rows of users, one task for each who has any."""
    parts = [_rows(function, user.raw_data) for user in users]
    parts = [part for part in parts if len(part[1])]
    if not parts:
        return None
    kinds = {(x.dtype, x.shape[1:]) for x, _, _ in parts}
    if len(kinds) > 1:
        (one, size), (other, another) = [*kinds][:2]
        raise ValueError(
            f"{function}: users must have features of one number and type: got {size} of {one} "
            f"beside {another} of {other}, expected [n_rows, n_features] of the type of phi"
        )
    x, y, weights = stacked(parts)
    return Tasks(x, y, np.cumsum([0, *(len(y) for _, y, _ in parts)]), row_weights=weights)


def _rows(function: str, raw: Any) -> tuple[Any, Any, Any]:
    """Features, labels and weights of a user, which fit: beside others nobody would see it."""
    if not isinstance(raw, (tuple, list)) or len(raw) not in (2, 3):
        raise TypeError(
            f"{function}: `raw_data` of a user must be (x, y): got {_check.shown(raw)}, expected "
            "features [n_rows, n_features] and labels [n_rows], and row_weights [n_rows] if any"
        )
    x, y, *weights = raw
    if not is_sparse(x):
        x = _check.float_array(function, "x", x, "[n_rows, n_features]")
    y = _check.real_array(function, "y", y)
    weights = [_check.real_array(function, "row_weights", each) for each in weights]
    for name, values in zip(("y", "row_weights"), (y, *weights), strict=False):
        _check.shape(function, name, values, x.shape[:1])
    return x, y, weights[0] if weights else None
