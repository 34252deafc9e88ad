"""`Round`: what a server sends out, and all that a machine needs to run its tasks and to answer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _arrays, _check
from .._check import Float64Array, FloatArray
from .._first_rate import first_rate, is_limit
from .._value import Value
from ..learner import MetaLearner, check_learner
from ..rules import OGD, ArubaPlusPlus
from ..run import check_loss, check_on_host, check_tasks, check_type, run_tasks
from ..statistics import TaskRun, TaskStatistics, checked_weights
from ..tasks import Tasks
from . import _wire
from ._first_rate import FirstRate
from ._private import Privacy, restored
from ._reply import Reply

_KIND = "Round"
_REMEDY = "the server's learner, in host memory"
# Before the names of a privacy's arrays among the others.
_HIDDEN = "privacy."


@dataclass(frozen=True, eq=False, repr=False)
class Round(Value):
    """What a server sends to the machines of a round: a numbered phi, and how to run tasks from it.

    With it a machine runs its tasks as the learner itself would, to the bit: from `phi`, by `rule`,
    and no task counts for more than ten average ones (`limit`). For float32 the message takes 8
    bytes a coordinate, 24 with the rule for new tasks.

    Made by `Round.of`, or by a `Server`.

    Attributes:
        version: The number of phi, >= 0.
        phi: Where tasks start, [n_parameters] float32 or float64, read-only.
        rule: The rule that tasks are trained with, `OGD`; None if the first rate is not known yet,
            and the machines are asked for it.
        limit: How far a task may spread at these rates; infinite in the first rounds, None for a
            learner that shortens no task.
        personal: The rule for new tasks, `ArubaPlusPlus`; None if it was not asked for.
        privacy: How replies hide tasks or their rows; None if they do not. With a privacy every
            task has the weight 1, as numbers of rows are private too.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Round
        >>> learner = af.MetaLearner(np.zeros(2), learning_rate=0.5)
        >>> received = Round.from_bytes(Round.of(learner, version=0).to_bytes())
        >>> received
        Round(version=0, n_parameters=2, dtype=float64, rule=OGD(learning_rate=float64[2] in ...
        >>> tasks = af.Tasks([[[1.0, 0.0], [1.0, 0.0]]], [[1.0, 1.0]])
        >>> received.answer(tasks, loss="squared")
        Reply(version=0, n_tasks=1, n_skipped=0, n_parameters=2, weight=2)
    """

    version: int
    phi: FloatArray
    rule: OGD | None
    limit: float | None
    personal: OGD | ArubaPlusPlus | None = None
    privacy: Privacy | None = None

    @classmethod
    def of(cls, learner: MetaLearner, version: int, *, personal: bool = False) -> "Round":
        """Takes a round from what a learner has learned.

        Args:
            learner: The server's, in host memory.
            version: The number that its phi gets, >= 0.
            personal: Whether to include the rule for new tasks, for evaluations.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: `version` is out of range.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> Round.of(af.MetaLearner(np.zeros(3)), version=0).rule is None  # not known yet
            True
        """
        return cls._taken("Round.of", learner, version, personal)

    @classmethod
    def _taken(
        cls, name: str, learner: MetaLearner, version: int, personal: bool = False
    ) -> "Round":
        """As `of`, for the function that is named where it refuses."""
        check_learner(name, learner, _REMEDY)
        if learner.device != "cpu":
            raise TypeError(
                f"{name}: `learner` must live in host memory: got one on {learner.device}, "
                "expected learner.to('cpu')"
            )
        number = _check.integer(name, "version", version, 0, _wire.MOST_VERSION)
        wanted = _check.boolean(name, "personal", personal)
        with learner._lock:
            known = learner.n_tasks > 0 or learner._hyper.knows_rate
            phi, limit = learner._read("phi", "limit")
            return cls._of(
                version=number,
                phi=_arrays.frozen(phi),
                rule=OGD._of(learning_rate=learner.learning_rate) if known else None,
                limit=float(limit[0]) if learner._hyper.average_task else None,
                personal=learner.rule() if wanted and known else None,
            )

    @property
    def n_parameters(self) -> int:
        """Number of coordinates."""
        return len(self.phi)

    def rates(self) -> FloatArray:
        """The rate of every coordinate, [n_parameters] of the type of `phi`; zero if unknown.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> Round.of(af.MetaLearner(np.zeros(2), learning_rate=0.5), version=0).rates()
            array([0.5, 0.5])
        """
        rate = 0.0 if self.rule is None else self.rule.learning_rate
        return np.broadcast_to(np.asarray(rate, self.phi.dtype), self.phi.shape).copy()

    def reply(self, run: TaskRun | TaskStatistics, weights: ArrayLike | None = None) -> Reply:
        """Returns the reply for tasks that were run from this phi by this rule.

        Args:
            run: The tasks, as `MetaLearner.statistics` takes them; or their sums, from
                `MetaOptimizer.statistics` after `MetaOptimizer.follow`. With a `TaskPrivacy` they
                are the sums of one task, with a `RecordPrivacy` those of private steps.
            weights: As `MetaLearner.statistics`; None with sums, which contain weights, and with a
                privacy.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: Sizes do not fit, or a weight is out of range.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> sent = Round.of(af.MetaLearner(np.ones(2), learning_rate=0.1), version=4)
            >>> sent.reply(af.TaskRun([[2.0, 1.0]], [[1.0, 1.0]]), weights=[3.0]).delta
            array([3., 0.])
        """
        name = "Round.reply"
        weighed = isinstance(run, TaskStatistics) or self.privacy is not None
        if weighed and weights is not None:
            raise ValueError(
                f"{name}: `weights` must be None where `run` has the sums, or tasks are private: "
                f"got {_check.shown(weights)}, expected them where the tasks were run"
            )
        if self.privacy is not None and isinstance(run, (TaskRun, TaskStatistics)):
            return self.privacy._sums(self, run)
        if isinstance(run, TaskStatistics):
            return Reply(run, self.phi, self.version)
        if not isinstance(run, TaskRun):
            raise TypeError(
                f"{name}: `run` must be a TaskRun or TaskStatistics: got {_check.shown(run)}, "
                "expected af.TaskRun(theta_hat, grad_sq)"
            )
        own = checked_weights(name, run, weights, self.phi)
        limited = () if self.limit is None else (self.rates(), np.array([self.limit]))
        statistics = TaskStatistics._of_round(run, self.phi, own, *limited)
        return Reply(statistics, self.phi, self.version)

    def answer(
        self,
        tasks: Tasks,
        *,
        loss: str,
        weights: str | ArrayLike | None = "rows",
        batch_size: int = 1,
        n_epochs: int = 1,
        radius: float | None = None,
    ) -> Reply | FirstRate:
        """Runs tasks with linear models as the server asks, and returns the answer.

        Args:
            tasks: The tasks of this machine, of the type of `phi`, in host memory.
            loss: Name of the loss, as in `run_tasks`.
            weights: "rows" to weight each task by its number of rows, as FedAvg does; None for 1
                each, which a privacy requires; or a weight for each task.
            batch_size: As `run_tasks`.
            n_epochs: As `run_tasks`.
            radius: As `run_tasks`.

        Returns:
            A `Reply`; or a `FirstRate`, if the server does not know the first rate yet.

        Raises:
            TypeError: As `run_tasks`.
            ValueError: As `run_tasks`.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> first = Round.of(af.MetaLearner(np.zeros(1)), version=0)
            >>> first.answer(af.Tasks([[[2.0], [1.0]]], [[1.0, 1.0]]), loss="squared")
            FirstRate(rate=0.25, version=0, is_limit=True)
        """
        name = "Round.answer"
        check_tasks(name, tasks)
        check_on_host(name, tasks)
        if self.rule is None:
            check_type(name, tasks, "phi", self.phi.dtype)
            check_loss(name, tasks, loss, "phi", self.n_parameters)
            rate = first_rate([tasks], loss, self.phi)
            return FirstRate(np.inf if rate is None else rate, self.version, is_limit(loss))
        steps: dict[str, Any] = {"batch_size": batch_size, "n_epochs": n_epochs, "radius": radius}
        by_rows = isinstance(weights, str)
        if by_rows:
            _check.by_rows(name, weights, ", expected 'rows', None, or one for each task")
        if self.privacy is not None and (by_rows or weights is None):
            return self.privacy._answer(self, tasks, loss, steps)
        run = run_tasks(tasks, self.phi, self.rule, loss=loss, **steps)
        return self.reply(run, run.weight if by_rows else weights)

    def __repr__(self) -> str:
        more = {"personal": self.personal, "privacy": self.privacy}
        told = "".join(f", {name}={it}" for name, it in more.items() if it is not None)
        return (
            f"Round(version={self.version}, n_parameters={self.n_parameters}, "
            f"dtype={self.phi.dtype}, rule={self.rule}{told})"
        )

    # ---- bytes ----

    def to_bytes(self) -> bytes:
        """Returns the round as a safetensors file, with a checksum; nothing is lost.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> learner = af.MetaLearner(np.zeros(1000, np.float32), learning_rate=0.1)
            >>> len(Round.of(learner, version=0).to_bytes()) // 1000
            8
        """
        arrays: dict[str, NDArray[Any]] = {"phi": self.phi}
        values: dict[str, Any] = {"version": self.version}
        if self.limit is not None:
            arrays["limit"] = np.array([self.limit])
        if self.rule is not None:
            arrays["rate"] = np.atleast_1d(np.asarray(self.rule.learning_rate))
            values["one_rate"] = isinstance(self.rule.learning_rate, float)
        if isinstance(self.personal, ArubaPlusPlus):
            arrays |= {"b": np.asarray(self.personal.b), "g": np.asarray(self.personal.g)}
            values["coef"] = self.personal.coef
        values["personal"] = self.personal is not None
        if self.privacy is not None:
            own, values["privacy"] = self.privacy._stored()
            arrays |= {_HIDDEN + name: array for name, array in own.items()}
        return _wire.written(arrays, values, _KIND)

    @classmethod
    @np.errstate(all="ignore")
    def from_bytes(cls, data: bytes) -> "Round":
        """Reads what `to_bytes` wrote.

        Args:
            data: The bytes.

        Raises:
            TypeError: `data` is no bytes.
            ValueError: The bytes are damaged, of a newer version or no round; the message has the
                reason. Nothing of them was executed: they hold numbers only.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> sent = Round.of(af.MetaLearner(np.zeros(2), learning_rate=0.5), version=3)
            >>> Round.from_bytes(sent.to_bytes()) == sent
            True
        """
        return _wire.read("Round.from_bytes", data, _KIND, cls._made)

    @classmethod
    def _made(cls, arrays: dict[str, NDArray[Any]], values: dict[str, Any]) -> "Round":
        phi = _check.float_array("phi", "phi", arrays["phi"], "[n_parameters]")
        _check.finite("phi", "phi", phi)
        rule = personal = limit = privacy = None
        if "rate" in arrays:
            rate = arrays["rate"]
            one = _check.boolean("one_rate", "one_rate", values["one_rate"])
            _check.shape("rate", "rate", rate, (1,) if one else phi.shape)
            rule = OGD(float(rate[0]) if one else rate)
        if "limit" in arrays:
            limit = float(arrays["limit"].item())
            if not limit > 0.0:
                raise ValueError(f"`limit` must be positive: got {limit:g}")
        if values["personal"]:
            personal = rule if "b" not in arrays else _plus(arrays["b"], arrays["g"], values, phi)
        if "privacy" in values:
            own = {name.removeprefix(_HIDDEN): array for name, array in arrays.items()}
            privacy = restored(own, values["privacy"])
            _check.shape("privacy", "privacy", phi, (privacy.n_parameters,))
        number = _check.integer("version", "version", values["version"], 0, _wire.MOST_VERSION)
        return cls._of(
            version=number,
            phi=_arrays.frozen(phi),
            rule=rule,
            limit=limit,
            personal=personal,
            privacy=privacy,
        )


def _plus(
    b: Float64Array, g: Float64Array, values: dict[str, Any], phi: FloatArray
) -> ArubaPlusPlus:
    _check.shape("b", "b", b, phi.shape)
    return ArubaPlusPlus(b, g, values["coef"])
