"""`LinearModel`: users with linear models, of whom a whole cohort is run in one native call."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pfl.data.dataset import AbstractDataset

from .. import _check
from .._check import Float64Array
from ..federated import FirstRate, Reply
from ..learner import MetaLearner, MetaStep
from ..run import LOSSES, evaluate, run_tasks
from ..tasks import Tasks
from ._model import ArubaModel

if TYPE_CHECKING:
    from ..federated._private import Privacy

_NAME = "LinearModel"


class LinearModel(ArubaModel):
    """Linear models of users, whose data are features and labels: what pfl trains.

    A user is a task: a data set of pfl's with `raw_data` (x, y), x [n_rows, n_features] of the type
    of phi, y [n_rows]. Users without rows tell nothing. Those whose numbers are not finite are left
    out whole, and counted. With `learning_rate="auto"` the first round asks for the first rate, and
    learns nothing else. Metrics have the name "loss".

    Args:
        learner: What learns, in host memory; the model's own from now on.
        loss: Name of the loss, as in `run_tasks`.
        weights: "rows" for the numbers of rows, as FedAvg has them; None for 1 each.
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
        privacy: "Privacy | None" = None,
    ) -> None:
        self._loss = _check.one_of(_NAME, "loss", loss, tuple(LOSSES))
        if weights is not None:
            _check.one_of(_NAME, "weights", weights, ("rows",))
        self._weights = weights
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
            What they tell together; None where nobody has any rows.

        Raises:
            TypeError: As `Tasks` and `run_tasks`.
            ValueError: As `Tasks` and `run_tasks`.
        """
        tasks = users if isinstance(users, Tasks) else _joined(users)
        if tasks is None:
            return None
        return self.round().answer(tasks, loss=self._loss, weights=self._weights, **self._options)

    def _measured(
        self, users: Sequence[AbstractDataset], support: Sequence[AbstractDataset] | None
    ) -> Mapping[str, Float64Array]:
        rows = _joined(users)
        if rows is None:
            return {"loss": np.zeros(0)}
        sent = self.round(personal=support is not None)
        theta = sent.phi
        if support is not None:
            own = _joined(support)
            assert own is not None
            assert sent.personal is not None
            run = run_tasks(own, theta, sent.personal, loss=self._loss, **self._options)
            theta = run.theta_hat
        return {"loss": evaluate(rows, theta, loss=self._loss)}


def _joined(users: Sequence[AbstractDataset]) -> Tasks | None:
    """The rows of users, one task for each who has any."""
    pairs = [_rows(user.raw_data) for user in users if len(user)]
    if not pairs:
        return None
    x, y = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return Tasks(x, y, np.cumsum([0, *(len(labels) for _, labels in pairs)]))


def _rows(raw: Any) -> tuple[Any, Any]:
    if not isinstance(raw, (tuple, list)) or len(raw) != 2:
        raise TypeError(
            f"{_NAME}: `raw_data` of a user must be (x, y): got {_check.shown(raw)}, expected "
            "features [n_rows, n_features] and labels [n_rows]"
        )
    return raw[0], raw[1]
