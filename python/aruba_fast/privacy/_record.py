"""`RecordPrivacy`: a machine that hides each of its rows from whoever it answers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import _check
from .._arrays import frozen
from .._check import Float64Array
from ..federated import Round, _pairs
from ..federated._private import Privacy
from ..federated._reply import Reply
from ..run import check_loss, check_on_host, check_tasks, check_type
from ..statistics import TaskRun, TaskStatistics
from ..tasks import Tasks
from ._noise import normal
from ._rounds import checked_round
from ._slopes import clipped_sum
from ._unbiased import Unbiased


@dataclass(frozen=True, eq=False, repr=False)
class RecordPrivacy(Privacy):
    """Hides single rows: each has its gradient clipped, each step gets noise, on the machine.

        server = Server(learner, privacy=RecordPrivacy(scale, noise, n_rows))

    It protects one row of a task from everybody who sees the answers of the machine, including the
    server: nobody has to be trusted. It does not protect a person with many rows: for n rows
    together, epsilon is n times that of one. `TaskPrivacy` protects people.

    A task takes n_steps steps, each on all of its rows x, from phi:

        G = 1 / n_rows (sum_x clip(grad_x) + noise),    theta <- theta - eta G

    where a gradient whose norm over `scale` is longer than clip sqrt(d) is shortened to that, d
    coordinates. The noise is Gaussian, of z sqrt(n_steps) clip sqrt(d) scale_j in coordinate j:
    the steps of a task are together one Gaussian mechanism whose noise is z times the most that a
    row can change. The sums of a reply are made of the G alone, and so are as private. Numbers of
    rows are private: G divides by one that all know, and a task weighs 1.

    The noise makes a task's squares too large by what `biases` says, often by more than they are.
    The server subtracts it from the sums of all rounds so far, and not from a task or a round,
    where most of the differences would be negative. What is left is uncertain by V, with noise of
    variance s^2 in a task's delta and sigma^2 in each of its gradients

        V_b = sum_k (1/2 s^4) + 2 s^2 b,    V_g = sum_k (2 n_steps sigma^4) + 4 sigma^2 g

    and is learned as `TaskPrivacy` has it. The step of phi stays as it is: noise is nothing there
    in the mean. All this uses replies alone, and so costs no privacy.

    Args:
        scale: Size of a row's gradient in each coordinate, float64 [n_parameters], > 0. It must be
            known without looking at anybody's data, of what was released, or a guess.
        noise: z > 0; `noise_for` finds it, with the number of times that a task is asked as its
            `n_rounds`, and no `sampling`: a server that sees who answers gains nothing from chance.
        n_rows: Rows that a task is expected to have, > 0.
        n_steps: Steps of a task, >= 1.
        clip: Longest gradient, in units of `scale`, > 0.

    Attributes:
        deviations: Standard deviation of the noise in each G, float64 [n_parameters].

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Round
        >>> from aruba_fast.privacy import RecordPrivacy
        >>> privacy = RecordPrivacy(np.ones(4), noise=2.0, n_rows=100, n_steps=9)
        >>> privacy.deviations  # 2 * 3 * 1 * 2 / 100
        array([0.12, 0.12, 0.12, 0.12])
        >>> sent = Round.of(af.MetaLearner(np.zeros(4), learning_rate=0.1), version=0)
        >>> tasks = af.Tasks(np.ones((1, 100, 4)), np.ones((1, 100)))
        >>> privacy.answer(sent, tasks, loss="squared")
        Reply(version=0, n_tasks=1, n_skipped=0, n_parameters=4, weight=1)

    Source: Li, Khodak, Caldas and Talwalkar, ICLR 2020, for task-global privacy; Abadi et al., CCS
    2016, for clipped gradients.
    """

    _ARRAY: ClassVar[str] = "scale"

    scale: Float64Array
    noise: float
    n_rows: float
    n_steps: int = 5
    clip: float = 1.0

    @np.errstate(all="ignore")
    def __post_init__(self) -> None:
        name = "RecordPrivacy"
        scale = _check.float64_array(name, "scale", self.scale, "[n_parameters]")
        _check.on_host(name, "scale", scale)
        _check.finite(name, "scale", scale, above=0.0)
        object.__setattr__(self, "scale", frozen(scale.copy()))
        for field in ("noise", "n_rows", "clip"):
            object.__setattr__(self, field, _check.positive(name, field, getattr(self, field)))
        steps = _check.integer(name, "n_steps", self.n_steps, 1)
        object.__setattr__(self, "n_steps", steps)
        squares = self.deviations**2 * steps
        if not (np.isfinite(squares).all() and (squares > 0.0).all()):
            raise ValueError(
                f"{name}: `noise` must leave the squares of the noise within float64: got "
                f"{self.noise:g} with a `clip` of {self.clip:g} and an `n_rows` of "
                f"{self.n_rows:g}, expected all of them nearer to 1"
            )

    @property
    def deviations(self) -> Float64Array:
        """Standard deviation of the noise in each G, float64 [n_parameters]."""
        noise: Float64Array = self._most * self.noise * math.sqrt(self.n_steps) * self.scale
        return noise / self.n_rows

    @property
    def _most(self) -> float:
        return self.clip * math.sqrt(self.n_parameters)

    def biases(self, round: Round) -> Float64Array:
        """How much too large a task's distance and grad_sq are, because of the noise.

            distance:  1/2 eta^2 n_steps sigma^2,    grad_sq:  n_steps sigma^2

        with `deviations` as sigma. That of grad_sq is what noise adds by itself; that of distance
        is exact where gradients do not depend on theta, and too large where losses curve, which
        pulls the noise of early steps back: of a quadratic of curvature h with q = 1 - eta h it
        counts n_steps steps, where (1 - q^(2 n_steps)) / (1 - q^2) are left.

        Args:
            round: What the server sent.

        Returns:
            Of distance and of grad_sq, float64 [2, n_parameters].

        Raises:
            TypeError: `round` is no Round.
            ValueError: It is of another size, or has no rate.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> from aruba_fast.privacy import RecordPrivacy
            >>> sent = Round.of(af.MetaLearner(np.zeros(1), learning_rate=0.5), version=0)
            >>> RecordPrivacy(np.ones(1), noise=2.0, n_rows=1, n_steps=1).biases(sent)
            array([[0.5],
                   [4. ]])
        """
        checked_round("RecordPrivacy.biases", round, self.n_parameters)
        of_squares = self.n_steps * self.deviations**2
        return np.stack([0.5 * round.rates().astype(np.float64) ** 2 * of_squares, of_squares])

    @np.errstate(all="ignore")
    def answer(self, round: Round, tasks: Tasks, *, loss: str, seed: int | None = None) -> Reply:
        """Runs tasks with linear models as the server asks, and returns what to send back.

        Args:
            round: What the server sent, with a first rate.
            tasks: The tasks of this machine, dense, of the type of phi, in host memory.
            loss: Name of the loss, as in `run_tasks`.
            seed: Of the noise, for tests: whoever knows it sees through the noise. None for the
                system's secure generator.

        Returns:
            A reply like any other, in which no row can be seen; a task weighs 1.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: Sizes do not fit, the loss is unknown, or labels lie outside its domain.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> from aruba_fast.privacy import RecordPrivacy
            >>> sent = Round.of(af.MetaLearner(np.zeros(1), learning_rate=0.5), version=0)
            >>> privacy = RecordPrivacy(np.ones(1), noise=1e-9, n_rows=2, n_steps=1)
            >>> tasks = af.Tasks([[[1.0], [1.0]]], [[0.5, 9.0]])  # the second is clipped to 1
            >>> privacy.answer(sent, tasks, loss="squared").delta.round(3)
            array([0.375])
        """
        name = "RecordPrivacy.answer"
        check_tasks(name, tasks)
        check_on_host(name, tasks)
        if tasks._csr is not None:
            raise ValueError(
                f"{name}: `tasks` must have dense rows: got CSR rows, expected dense ones: noise "
                "moves every coordinate"
            )
        checked_round(name, round, self.n_parameters)
        check_type(name, tasks, "round", round.phi.dtype)
        check_loss(name, tasks, loss, "round", round.n_parameters)
        if seed is not None:
            seed = _check.integer(name, "seed", seed, 0)
        rng = None if seed is None else np.random.default_rng(seed)
        phi, rates = round.phi.astype(np.float64), round.rates().astype(np.float64)
        sums, counts = np.zeros((3, len(phi))), np.zeros(2, np.int64)
        for k in range(len(tasks)):
            delta, grad_sq = self._deltas(tasks[k : k + 1], phi, rates, loss, rng)
            blocks = np.stack([0.5 * delta**2, grad_sq, delta])
            whole = bool(np.isfinite(blocks).all())
            counts += (whole, not whole)
            if whole:
                sums += blocks
        return Reply._of(_pairs.of(sums), np.array([float(counts[0]), 0.0]), counts, round.version)

    def _answer(self, round: Round, tasks: Tasks, loss: str, steps: Mapping[str, Any]) -> Reply:
        if dict(steps) != {"batch_size": 1, "n_epochs": 1, "radius": None}:
            raise ValueError(
                "Round.answer: `batch_size`, `n_epochs` and `radius` must be left where rows are "
                f"private: got {steps['batch_size']}, {steps['n_epochs']} and {steps['radius']}, "
                f"expected none: a task takes {self.n_steps} steps on all of its rows"
            )
        return self.answer(round, tasks, loss=loss)

    def _sums(self, round: Round, run: TaskRun | TaskStatistics) -> Reply:
        if isinstance(run, TaskRun):
            raise ValueError(
                "Round.reply: `run` must have taken private steps: got a TaskRun, expected the "
                "sums of private_steps, or round.answer in place of run_tasks"
            )
        return Reply(run, round.phi, round.version)

    def ledger(self) -> Unbiased:
        """What the server adds replies with."""
        return Unbiased(self.n_parameters)

    def _deltas(
        self,
        task: Tasks,
        phi: Float64Array,
        rates: Float64Array,
        loss: str,
        rng: "np.random.Generator | None",
    ) -> tuple[Float64Array, Float64Array]:
        """How far one task goes, and its squared gradients."""
        x, y = task.x.astype(np.float64), task.y.astype(np.float64)
        shape = (-1, task.n_features)
        scale, theta, squares = self.scale.reshape(shape), phi.copy(), np.zeros(len(phi))
        noise = self.deviations * normal((self.n_steps, len(phi)), rng)
        for own in noise:
            rows = (x, y, task.row_weights, loss)
            grad = clipped_sum(theta.reshape(shape), *rows, scale, self._most).ravel()
            grad = grad / self.n_rows + own
            theta -= rates * grad
            squares += grad**2
        return theta - phi, squares

    def __repr__(self) -> str:
        return (
            f"RecordPrivacy(n_parameters={self.n_parameters}, noise={self.noise:g}, "
            f"n_rows={self.n_rows:g}, n_steps={self.n_steps}, clip={self.clip:g})"
        )
