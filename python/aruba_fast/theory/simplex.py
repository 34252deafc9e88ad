"""Meta-learning on the simplex: a prior and a rate for exponentiated gradient."""

import math
from dataclasses import dataclass, replace

import numpy as np

from .. import _check
from .._check import Float64Array
from .._lock import Lock
from ..rules import EG
from ..run import check_tasks, run_tasks
from ..statistics import TaskRun
from ..tasks import Tasks
from .scale import exact_sum
from .similarity import kl_divergence

_NAME = "SimplexLearner"


@dataclass(frozen=True, eq=False)
class _Learned:
    """What a learner has learned; replaced as a whole, never written to."""

    mean: Float64Array
    b: float
    g: float
    n_tasks: int = 0
    n_skipped: int = 0


class SimplexLearner:
    """Learns where exponentiated gradient starts and how fast it moves, by ARUBA with KL.

        mean <- running mean of theta_hat;   phi = (1 - mixing) mean + mixing / d
        b    <- b + sum_k KL(theta_hat_k, phi)           + eps^2 / (t + 1)^p
        g    <- g + 1/2 sum_k (sum of |grad|_inf^2)      + zeta^2 / (t + 1)^p
        eta  = sqrt(b / g)

    which minimizes the tasks' bounds KL(theta_hat, phi) / eta + eta/2 sum |grad|_inf^2. Without
    `mixing` a coordinate that no task has used so far would cost the first that needs it
    infinitely much; with it, at most log(d / mixing).

    Args:
        n_parameters: d, >= 2; the first start is uniform.
        learning_rate: First learning rate, > 0; eps = learning_rate * zeta.
        mixing: Share of the uniform distribution in the start, in (0, 1).
        zeta: Smoothing of the squared gradients, > 0.
        p: Exponent of the smoothing schedule, >= 0.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> rng = np.random.default_rng(0)
        >>> x = rng.random((50, 20, 4))
        >>> tasks = af.Tasks(x, x[:, :, 2])  # every task wants the third weight
        >>> learner = af.theory.SimplexLearner(4, learning_rate=2.0)
        >>> for round in tasks.rounds(1):
        ...     learner.update(learner.run(round, loss="squared"))
        >>> int(learner.phi.argmax())
        2

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    def __init__(
        self,
        n_parameters: int,
        *,
        learning_rate: float = 1.0,
        mixing: float = 0.01,
        zeta: float = 1.0,
        p: float = 1.0,
    ) -> None:
        size = _check.integer(_NAME, "n_parameters", n_parameters, 2)
        first = _check.positive(_NAME, "learning_rate", learning_rate)
        self._mixing = _check.fraction(_NAME, "mixing", mixing)
        scale = _check.positive(_NAME, "zeta", zeta)
        self._zeta_sq = _check.square(_NAME, "`zeta`", scale)
        _check.square(_NAME, "`learning_rate` times `zeta`", first * scale)
        self._eps_sq = _check.square(_NAME, "`learning_rate`", first) * self._zeta_sq
        self._p = _check.non_negative(_NAME, "p", p)
        self._lock = Lock()
        self._learned = _Learned(np.full(size, 1.0 / size), self._eps_sq, self._zeta_sq)

    @property
    def phi(self) -> Float64Array:
        """The start for the next task, float64 [n_parameters], positive and of sum 1."""
        return self._start(self._learned.mean)

    def _start(self, mean: Float64Array) -> Float64Array:
        mixed = (1.0 - self._mixing) * mean + self._mixing / len(mean)
        start: Float64Array = mixed / mixed.sum()
        return start

    @property
    def learning_rate(self) -> float:
        """The learning rate for the next task."""
        return self._rate(self._learned)

    @staticmethod
    def _rate(now: _Learned) -> float:
        return math.sqrt(now.b) / math.sqrt(now.g)

    @property
    def b(self) -> float:
        """Accumulated divergences."""
        return self._learned.b

    @property
    def g(self) -> float:
        """Accumulated halves of the squared gradients."""
        return self._learned.g

    @property
    def n_tasks(self) -> int:
        """Number of tasks that it has learned from."""
        return self._learned.n_tasks

    @property
    def n_skipped(self) -> int:
        """Number of tasks that were left out because they were not finite."""
        return self._learned.n_skipped

    def rule(self) -> EG:
        """The within-task rule as learned so far: `EG(learning_rate)`.

        Returns:
            EG.

        Example:
            >>> import aruba_fast as af
            >>> af.theory.SimplexLearner(3, learning_rate=0.5).rule()
            EG(learning_rate=0.5)
        """
        return EG(self.learning_rate)

    def update(self, run: TaskRun) -> None:
        """Learns from tasks that were run with `rule()` from `phi`: changes this learner.

        Args:
            run: Result of `run_tasks` with EG.

        Raises:
            TypeError: `run` is not a TaskRun.
            ValueError: Sizes do not fit, or parameters are off the simplex. Nothing is changed.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> learner = af.theory.SimplexLearner(2, mixing=0.5)
            >>> learner.update(af.TaskRun([[1.0, 0.0]], [[1.0, 1.0]]))
            >>> learner.phi, learner.b, learner.g
            (array([0.75, 0.25]), 2.1931471805599454, 2.0)
        """
        name = f"{_NAME}.update"
        if not isinstance(run, TaskRun):
            raise TypeError(f"{name}: `run` must be a TaskRun: got {type(run).__name__}")
        ends, squares = run.theta_hat.astype(np.float64), run.grad_sq.astype(np.float64)
        good = np.isfinite(ends).all(axis=1) & np.isfinite(squares).all(axis=1)
        with self._lock:
            now = self._learned
            _check.shape(name, "run", run.theta_hat, (len(run), len(now.mean)))
            if good.any():
                _check.on_simplex(name, "run", run.theta_hat[good])
                _check.finite(name, "run", squares[good], at_least=0.0)
                now = self._after(name, now, ends[good], squares[good, 0])
            self._learned = replace(now, n_skipped=now.n_skipped + int((~good).sum()))

    def _after(
        self, name: str, now: _Learned, ends: Float64Array, squares: Float64Array
    ) -> _Learned:
        n = len(ends)
        schedule = math.fsum((now.n_tasks + k + 2.0) ** -self._p for k in range(n))
        divergence = exact_sum(kl_divergence(ends, self._start(now.mean)))
        b = now.b + (divergence + self._eps_sq * schedule)
        g = now.g + (0.5 * exact_sum(squares) + self._zeta_sq * schedule)
        if not (0 < b < math.inf and 0 < g < math.inf):
            raise ValueError(
                f"{name}: `run` must leave sums within float64: got b = {b:g}, g = {g:g}"
            )
        n_tasks = now.n_tasks + n
        mean = now.mean + (ends.sum(axis=0) - n * now.mean) / n_tasks
        return _Learned(mean, b, g, n_tasks, now.n_skipped)

    def run(self, tasks: Tasks, *, loss: str, batch_size: int = 1, n_epochs: int = 1) -> TaskRun:
        """Runs tasks from `phi` with `rule()`.

        Args:
            tasks: The tasks.
            loss: As in `run_tasks`; not softmax.
            batch_size: As in `run_tasks`.
            n_epochs: As in `run_tasks`.

        Returns:
            TaskRun, with the average iterates.

        Raises:
            TypeError: As `run_tasks`.
            ValueError: As `run_tasks`.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> tasks = af.Tasks(np.ones((3, 2, 2)), np.ones((3, 2)))
            >>> af.theory.SimplexLearner(2).run(tasks, loss="absolute").theta_hat[0]
            array([0.5, 0.5])
        """
        check_tasks(f"{_NAME}.run", tasks)
        now = self._learned
        return run_tasks(
            tasks,
            self._start(now.mean).astype(tasks.dtype),
            EG(self._rate(now)),
            loss=loss,
            batch_size=batch_size,
            n_epochs=n_epochs,
            average=True,
        )

    def __repr__(self) -> str:
        return (
            f"SimplexLearner(n_parameters={len(self._learned.mean)}, learning_rate="
            f"{self.learning_rate:g}, mixing={self._mixing:g}, n_tasks={self.n_tasks})"
        )
