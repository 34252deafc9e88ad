"""`MetaLearner`: learns an initialization and a learning rate per coordinate across tasks."""

import numbers
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from . import _arrays, _check, _divergence
from ._check import Float64Array
from ._ruled import Ruled
from ._state import Hyperparameters, initial_arrays
from .statistics import TaskRun, TaskStatistics, checked_weights
from .tasks import Tasks

MetaStep: TypeAlias = float | Callable[[int], float | None] | None


# What to write where something else than a TaskRun was given.
_REMEDIES = {
    Tasks: "af.run_tasks(tasks, learner.phi, learner.rule(None), loss=...)",
    TaskStatistics: "learner.apply(statistics)",
}


class MetaLearner(Ruled):
    """Learns an initialization `phi` and a learning rate per coordinate, by ARUBA.

        b   <- b + sum_k 1/2 (theta_hat_k - phi)^2
        g   <- g + sum_k (sum of grad^2 of task k)
        phi <- phi + meta_step (weighted mean of theta_hat - phi)
        eta  = sqrt(b') / sqrt(g'),    b' = b + mean(b) / w,    g' = g + mean(g) / w

    for a round of tasks k = 1, 2, ...; w is the number of tasks so far, and the means are over the
    coordinates. The means smooth the rates by one average task, so that no number with a unit has
    to be chosen. With `isotropic`, eta = sqrt(sum b) / sqrt(sum g). No rate exceeds
    `max_learning_rate`. With `decay`, the old b and g are first multiplied by
    (1 - decay)^(tasks in the round), and w forgets likewise.

    A single task that diverges does not decide the rates. A task spreads by
    sum_j (theta_hat_j - phi_j)^2 / eta_j + eta_j grad_sq_j. If this is more than ten times the mean
    of the tasks before, the task is shortened to that limit: theta_hat is moved towards phi by a
    factor, and grad_sq is multiplied by the factor's square. A task that is not finite is left out,
    and lowers the rates: after s such tasks all rates are multiplied by e^(-5 s/w), until other
    tasks count.

    With a number for `zeta`, b and g start at eps^2 and zeta^2, eps = learning_rate * zeta, and get
    eps^2 / (t + k)^p and zeta^2 / (t + k)^p with every task, the first being t + k = 2. There is no
    other smoothing, and no task is shortened. The first eta is `learning_rate`, and a coordinate
    that never gets a gradient keeps it exactly.

    Threads may share a learner. Calls of `update`, `apply` and `meta_train` run one after the
    other. What is read, saved or copied is the state at one moment; during a `meta_train`, at one
    between two rounds. A function that `meta_train` calls may use the learner, but must not wait
    for another thread that changes it. Threads may share a learner on a CUDA device if they use one
    stream, or order their streams.

    Args:
        phi: First initialization, [n_parameters] float32 or float64, finite; copied. All parameters
            have its type. For softmax, [n_classes, n_features] flattened. If it is an array on a
            CUDA device, the learner lives there, with CuPy's arrays.
        learning_rate: First learning rate, > 0. With "auto" it is that of `first_rate`, which
            `meta_train` finds by itself.
        zeta: "auto" to smooth by one average task. A number > 0 is the paper's smoothing of the
            squared gradients: the rate moves only after their sum has become larger than zeta^2.
        p: Exponent of the smoothing schedule, >= 0; unused if `zeta` is "auto".
        decay: Share of the past that every task discounts, in [0, 1); for drifting tasks.
        isotropic: One learning rate for all coordinates.
        max_learning_rate: Upper limit of the learning rate, > 0, or None.
        bound: The regret bound that the rates minimize. "blog" takes half of the squared distances.
            "tight" takes all of them: the rates of OGD are then sqrt(2) times as large, and rest
            where the gradients of a task are uncorrelated. ARUBA++, whose rates fall within the
            task, starts from those of "blog" either way.
        train: "learned" to train tasks with a rate for each coordinate; "scalar" to train them with
            one rate, sqrt(sum b) / sqrt(sum g), while b and g are learned for each coordinate.
        tensors: Sizes of the parts of `phi`, such as a network's tensors. Each part is smoothed by
            the means of its own coordinates, and with `isotropic` has a rate of its own. A part
            without distances or gradients is smoothed by the means of all. None for one part.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or `phi` is empty or not finite.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks(np.ones((8, 4, 2), np.float32), np.ones((8, 4)))
        >>> learner = af.MetaLearner(np.zeros(2, np.float32))
        >>> learner.first_rate(tasks, loss="squared")
        0.5
        >>> for round in tasks.rounds(4):
        ...     rule = learner.rule(coef=None)
        ...     learner.update(af.run_tasks(round, learner.phi, rule, loss="squared"))
        >>> learner.n_tasks, learner.learning_rate.shape
        (8, (2,))

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    def __init__(
        self,
        phi: ArrayLike,
        *,
        learning_rate: float | str = "auto",
        zeta: float | str = "auto",
        p: float = 1.0,
        decay: float = 0.0,
        isotropic: bool = False,
        max_learning_rate: float | None = None,
        bound: str = "blog",
        train: str = "learned",
        tensors: Sequence[int] | None = None,
    ) -> None:
        if isinstance(phi, numbers.Integral):
            raise TypeError(
                f"MetaLearner: `phi` must be an array: got {_check.shown(phi)}, "
                f"expected the first initialization, as np.zeros({phi}, np.float32)"
            )
        given = _check.float_array("MetaLearner", "phi", phi, "[n_parameters]")
        if not len(given):
            raise ValueError("MetaLearner: `phi` must not be empty: got (0,), expected >= 1 value")
        start = _arrays.host(given)
        _check.finite("MetaLearner", "phi", start)
        hyper = Hyperparameters(
            learning_rate, zeta, p, decay, isotropic, max_learning_rate, bound, train, tensors
        )
        arrays = initial_arrays(start, hyper)
        self._hold(hyper, {name: _arrays.moved(arrays[name], given) for name in arrays})

    def __repr__(self) -> str:
        phi = self._arrays["phi"]
        hyper = ", ".join(f"{key}={value}" for key, value in asdict(self._hyper).items())
        return (
            f"MetaLearner(n_parameters={len(phi)}, dtype={phi.dtype}, {hyper}, "
            f"n_tasks={self.n_tasks}, n_skipped={self.n_skipped}"
            f"{_arrays.shown(phi)})"
        )

    def statistics(self, run: TaskRun, weights: ArrayLike | None = None) -> TaskStatistics:
        """Sums a round of tasks into what `apply` needs; the learner is not changed.

        Args:
            run: Tasks that were run from this learner's `phi` with its learning rate.
            weights: Weights of the tasks in the mean of `theta_hat`, [n_tasks], 0 or 1e-150 to
                1e150. None for 1 each (Reptile); `run.weight`, the number of rows, for FedAvg.
                Where all are 0, `phi` stays.

        Returns:
            TaskStatistics. Tasks that are not finite are left out whole, and counted; so are those
            with a negative square, and those with a distance beyond 1e271 or a square beyond 1e289.

        Raises:
            TypeError: `run` is not a TaskRun of this learner's type, or `weights` not real.
            ValueError: Sizes do not fit, or a weight is negative or not finite.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> run = af.TaskRun([[1.0], [np.nan]], [[1.0], [1.0]])
            >>> af.MetaLearner(np.zeros(1)).statistics(run)
            TaskStatistics(n_tasks=1, n_skipped=1, n_parameters=1, weight=1)
        """
        return self._statistics(run, self._weights("MetaLearner.statistics", run, weights))

    def _statistics(self, run: TaskRun, weights: Float64Array | None) -> TaskStatistics:
        limits = ("rate", "limit") if self._hyper.average_task else ()
        phi, *limited = self._read("phi", *limits)
        return TaskStatistics._of_round(run, phi, weights, *limited)

    def _weights(self, name: str, run: TaskRun, weights: ArrayLike | None) -> Float64Array | None:
        """The weights as float64 where this learner is; native code looks at all else."""
        if not isinstance(run, TaskRun):
            raise TypeError(
                f"{name}: `run` must be a TaskRun: got {_check.shown(run)}, "
                f"expected {_REMEDIES.get(type(run), 'af.TaskRun(theta_hat, grad_sq)')}"
            )
        return checked_weights(name, run, weights, self._arrays["phi"])

    def apply(self, statistics: TaskStatistics, meta_step: MetaStep = None) -> None:
        """Learns from the merged statistics of one round: changes this learner.

        Args:
            statistics: Sum of all parts of the round.
            meta_step: Step of the initialization. None for a mean of all `theta_hat`. If `zeta` is
                a number this is the running mean, (weight of the round) / (weight of all rounds);
                else a mean that gradually forgets the first tasks, 10 / (t + 9) after t tasks of
                equal weight, and 1 at most. A float >= 0; or a function of the number of tasks,
                including those of this round.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: Sizes do not fit, the step is negative or not finite, or b, g or phi would
                not be finite. Nothing is changed; a learner on a CUDA device, which nothing waits
                for, counts the tasks as skipped instead.

        Warns:
            DivergenceWarning: More than half of the tasks were skipped; once, and in host memory.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> learner = af.MetaLearner(np.zeros(1))
            >>> parts = [af.TaskRun([[k]], [[1.0]]) for k in (1.0, 2.0, 6.0)]
            >>> learner.apply(sum(learner.statistics(part) for part in parts))
            >>> learner.phi
            array([3.])
        """
        name = "MetaLearner.apply"
        if not isinstance(statistics, TaskStatistics):
            raise TypeError(
                f"{name}: `statistics` must be TaskStatistics: got {_check.shown(statistics)}, "
                "expected learner.statistics(run)"
            )
        phi = self._arrays["phi"]
        _check.together(name, "statistics", statistics.sums, "phi", phi)
        with self._lock:
            self._require_unit(name)
            self._apply(statistics, meta_step)
        if isinstance(phi, np.ndarray) and statistics.n_skipped:
            n_skipped = statistics.n_skipped
            _divergence.look(name, self, statistics.n_tasks + n_skipped, n_skipped)

    def _require_unit(self, function: str) -> None:
        """B is kept in units of the first rate, where there is a smoothing."""
        if not self._hyper.average_task:
            self._require_rate(function)

    def _apply(self, statistics: TaskStatistics, meta_step: MetaStep) -> None:
        if callable(meta_step):
            meta_step = meta_step(self.n_tasks + statistics.n_tasks)
        self._state.apply(statistics._parts(), meta_step)

    def update(
        self, run: TaskRun, *, weights: ArrayLike | None = None, meta_step: MetaStep = None
    ) -> None:
        """Learns from a round of tasks: `apply(statistics(run, weights), meta_step)`.

        Args:
            run: Tasks that were run from this learner's `phi` with its learning rate.
            weights: As `statistics`.
            meta_step: As `apply`.

        Raises:
            TypeError: As `statistics` and `apply`.
            ValueError: As `statistics` and `apply`. Nothing is changed.

        Warns:
            DivergenceWarning: As `apply`; or the mean of `run.loss` has grown a thousandfold, its
                median where tasks that go too far are shortened.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> learner = af.MetaLearner(np.zeros(1))
            >>> learner.update(af.TaskRun([[1.0], [3.0]], [[1.0], [1.0]]), meta_step=0.5)
            >>> learner.phi
            array([1.])
        """
        name = "MetaLearner.update"
        weights = self._weights(name, run, weights)
        counts = self._arrays["counts"]
        on_host = isinstance(counts, np.ndarray)
        with self._lock:
            self._require_unit(name)
            before = counts.item(1) if on_host else 0
            if on_host and not callable(meta_step):
                self._state.learn(run.theta_hat, run.grad_sq, weights, meta_step)
            else:
                self._apply(self._statistics(run, weights), meta_step)
            if not on_host:
                return
            n_skipped = counts.item(1) - before
        if n_skipped or run.loss is not None or len(run) == 1:
            shortens = self._hyper.average_task
            _divergence.look(name, self, len(run), n_skipped, run.loss, shortens=shortens)


def check_learner(function: str, learner: object, remedy: str = "af.MetaLearner(phi)") -> None:
    """Refuses what is no learner."""
    if not isinstance(learner, MetaLearner):
        raise TypeError(
            f"{function}: `learner` must be a MetaLearner: got {_check.shown(learner)}, "
            f"expected {remedy}"
        )
