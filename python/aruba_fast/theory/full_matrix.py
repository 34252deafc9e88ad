"""ARUBA with a full matrix of rates, for few parameters: float64, LAPACK through NumPy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check
from .._check import Float64Array
from ..rules import OGD
from ..run import check_loss, check_on_host, check_tasks, run_tasks
from ..tasks import Tasks

MAX_PARAMETERS = 512


@dataclass(frozen=True, eq=False, repr=False)
class FullMatrixRun:
    """What tasks leave behind that were run with a matrix of rates.

    Attributes:
        theta_hat: Last iterates, float64 [n_tasks, n_parameters].
        theta_bar: Mean of the iterates before every update, likewise.
        loss: Sum over a task's rounds of the loss before the update, float64 [n_tasks].
        grad_norm_sq: Sum over a task's rounds of grad^T H grad, float64 [n_tasks]: its bound's.
        grad_outer: Sum over all tasks and rounds of grad grad^T, float64
            [n_parameters, n_parameters]; of the tasks whose result is finite.
        finite: Which tasks have a finite result, bool [n_tasks].
    """

    theta_hat: Float64Array
    theta_bar: Float64Array
    loss: Float64Array
    grad_norm_sq: Float64Array
    grad_outer: Float64Array
    finite: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        n, d = self.theta_hat.shape
        return f"FullMatrixRun(n_tasks={n}, n_parameters={d}, n_finite={int(self.finite.sum())})"


class FullMatrixLearner:
    """Learns an initialization and a positive definite matrix of rates H, by ARUBA.

        step     theta <- theta - H grad
        B        <- B + sum_k 1/2 (theta_hat_k - phi)(theta_hat_k - phi)^T + eps^2/(t+1)^p I
        G        <- G + sum_k sum of grad grad^T                           + zeta^2/(t+1)^p I
        H        = G^(-1/2) (G^(1/2) B G^(1/2))^(1/2) G^(-1/2), the one solution of H G H = B

    The tasks' bounds sum to tr(H^-1 B) + tr(H G)/2 up to constants, and this H balances the two. It
    follows correlations that a rate per coordinate cannot see, at d^2 numbers and a d^3 update.

    Args:
        phi: First initialization, [n_parameters], at most 512; finite; copied to float64.
        learning_rate: First learning rate, > 0: H begins as learning_rate * I.
        zeta: Smoothing of the gradients, > 0; eps = learning_rate * zeta.
        p: Exponent of the smoothing schedule, >= 0.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or there are more than 512 parameters: use
            `MetaLearner`, a rate per coordinate, there.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks(np.ones((8, 4, 2)), np.ones((8, 4)))
        >>> learner = af.FullMatrixLearner(np.zeros(2), learning_rate=0.1)
        >>> for round in tasks.rounds(4):
        ...     learner.update(learner.run(round, loss="squared"))
        >>> np.allclose(learner.H @ learner.G @ learner.H, learner.B)
        True

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    def __init__(
        self,
        phi: ArrayLike,
        *,
        learning_rate: float = 1.0,
        zeta: float = 1.0,
        p: float = 1.0,
    ) -> None:
        name = "FullMatrixLearner"
        start = _check.float64_array(name, "phi", phi, "[n_parameters]")
        if not 1 <= len(start) <= MAX_PARAMETERS:
            raise ValueError(
                f"{name}: `phi` must have 1 to {MAX_PARAMETERS} parameters, for the matrix has "
                f"their square: got {len(start)}, expected MetaLearner for more"
            )
        _check.finite(name, "phi", start)
        rate = _check.positive(name, "learning_rate", learning_rate)
        self._zeta_sq = _check.positive(name, "zeta", zeta) ** 2
        self._eps_sq = rate**2 * self._zeta_sq
        self._p = _check.non_negative(name, "p", p)
        self._phi = start.copy()
        self._B, self._G = (s * np.eye(len(start)) for s in (self._eps_sq, self._zeta_sq))
        self._H = rate * np.eye(len(start))
        self._n_tasks = self._n_skipped = 0

    @property
    def phi(self) -> Float64Array:
        """The initialization, float64 [n_parameters]; a copy."""
        return self._phi.copy()

    @property
    def B(self) -> Float64Array:  # noqa: N802
        """Accumulated outer products of distances, float64; a copy."""
        return self._B.copy()

    @property
    def G(self) -> Float64Array:  # noqa: N802
        """Accumulated outer products of gradients, float64; a copy."""
        return self._G.copy()

    @property
    def H(self) -> Float64Array:  # noqa: N802
        """The matrix of rates, float64, symmetric and positive definite; a copy."""
        return self._H.copy()

    @property
    def n_tasks(self) -> int:
        """Number of tasks that it has learned from."""
        return self._n_tasks

    @property
    def n_skipped(self) -> int:
        """Number of tasks that were left out because they were not finite."""
        return self._n_skipped

    def run(
        self, tasks: Tasks, *, loss: str, batch_size: int = 1, n_epochs: int = 1
    ) -> FullMatrixRun:
        """Runs tasks from `phi` with the matrix of rates, all tasks in lock-step.

        Args:
            tasks: The tasks, float64.
            loss: As in `run_tasks`.
            batch_size: As in `run_tasks`.
            n_epochs: As in `run_tasks`.

        Returns:
            FullMatrixRun.

        Raises:
            TypeError: As `run_tasks`, or `tasks` are not float64.
            ValueError: As `run_tasks`.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> tasks = af.Tasks([[[1.0, 0.0]], [[0.0, 2.0]]], [[1.0], [1.0]])
            >>> af.FullMatrixLearner(np.zeros(2), learning_rate=0.5).run(tasks, loss="squared")
            FullMatrixRun(n_tasks=2, n_parameters=2, n_finite=2)
        """
        return run_full_matrix(
            tasks, self._phi, self._H, loss=loss, batch_size=batch_size, n_epochs=n_epochs
        )

    def update(self, run: FullMatrixRun, *, meta_step: float | None = None) -> None:
        """Learns from a round of tasks that `run` ran: changes this learner.

        Args:
            run: The result.
            meta_step: Step of the initialization, >= 0; None for the running mean.

        Raises:
            TypeError: `run` is not a FullMatrixRun.
            ValueError: Sizes do not fit. Nothing is changed.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> learner = af.FullMatrixLearner(np.zeros(1))
            >>> tasks = af.Tasks([[[1.0]]], [[1.0]])
            >>> learner.update(learner.run(tasks, loss="squared"))
            >>> learner.phi, learner.B, learner.G
            (array([1.]), array([[2.]]), array([[2.5]]))
        """
        name = "FullMatrixLearner.update"
        if not isinstance(run, FullMatrixRun):
            raise TypeError(f"{name}: `run` must be a FullMatrixRun: got {type(run).__name__}")
        _check.shape(name, "run", run.theta_hat, (len(run), len(self._phi)))
        alpha = None if meta_step is None else _check.non_negative(name, "meta_step", meta_step)
        ends = run.theta_hat[run.finite]
        n = len(ends)
        self._n_skipped += len(run) - n
        if n == 0:
            return
        schedule = sum((self._n_tasks + k + 2.0) ** -self._p for k in range(n))
        away = ends - self._phi
        self._B += 0.5 * (away.T @ away) + self._eps_sq * schedule * np.eye(len(self._phi))
        self._G += run.grad_outer + self._zeta_sq * schedule * np.eye(len(self._phi))
        self._n_tasks += n
        step = n / self._n_tasks if alpha is None else alpha
        self._phi += step * away.mean(axis=0)
        self._H = matrix_rate(self._B, self._G)

    def regret_upper_bound(self, run: FullMatrixRun, best: ArrayLike) -> Float64Array:
        """Bounds the regret of every task that was just run, before `update`.

            1/2 (theta* - phi)^T H^-1 (theta* - phi) + 1/2 sum of grad^T H grad

        Args:
            run: Result of `run` with the present phi and H.
            best: Best parameters in hindsight, [n_tasks, n_parameters].

        Returns:
            float64 [n_tasks].

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: Sizes do not fit.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> learner = af.FullMatrixLearner(np.zeros(1), learning_rate=0.5)
            >>> run = learner.run(af.Tasks([[[1.0]]], [[1.0]]), loss="squared")
            >>> learner.regret_upper_bound(run, [[1.0]])
            array([1.25])
        """
        name = "FullMatrixLearner.regret_upper_bound"
        theta_star = _check.float64_array(name, "best", best, "[n_tasks, n_parameters]")
        _check.shape(name, "best", theta_star, run.theta_hat.shape)
        away = theta_star - self._phi
        pull = np.linalg.solve(self._H, away.T).T
        bound: Float64Array = 0.5 * np.einsum("tj,tj->t", away, pull) + 0.5 * run.grad_norm_sq
        return bound

    def __repr__(self) -> str:
        return (
            f"FullMatrixLearner(n_parameters={len(self._phi)}, n_tasks={self.n_tasks}, "
            f"n_skipped={self.n_skipped})"
        )


def matrix_rate(b: Float64Array, g: Float64Array) -> Float64Array:
    """The positive definite H with H g H = b, for positive definite b and g."""
    values, vectors = np.linalg.eigh(g)
    root = (vectors * np.sqrt(values)) @ vectors.T
    inverse = (vectors / np.sqrt(values)) @ vectors.T
    values, vectors = np.linalg.eigh(root @ b @ root)
    h = inverse @ (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T @ inverse
    result: Float64Array = 0.5 * (h + h.T)
    return result


def run_full_matrix(
    tasks: Tasks,
    phi: Float64Array,
    h: Float64Array,
    *,
    loss: str,
    batch_size: int = 1,
    n_epochs: int = 1,
) -> FullMatrixRun:
    """Round after round of all tasks: gradients from the engine, steps with H from BLAS."""
    name = "FullMatrixLearner.run"
    check_tasks(name, tasks)
    check_on_host(name, tasks)
    if tasks.dtype != np.float64:
        raise TypeError(f"{name}: `tasks` must be float64: got {tasks.dtype}, expected float64")
    check_loss(name, tasks, loss, "phi", len(phi))
    size = _check.integer(name, "batch_size", batch_size, 1)
    epochs = _check.integer(name, "n_epochs", n_epochs, 1)
    n_tasks = len(tasks)
    theta = np.tile(phi, (n_tasks, 1))
    total, losses, norms = np.zeros_like(theta), np.zeros(n_tasks), np.zeros(n_tasks)
    outer, parts = np.zeros((len(phi), len(phi))), []
    n_rounds = -(-tasks.sizes // size)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(epochs):
            for i in range(int(n_rounds.max())):
                now = np.flatnonzero(n_rounds > i)
                starts = tasks._starts[now] + i * size
                batch = tasks._view(starts, np.minimum(starts + size, tasks._stops[now]))
                # One step of rate 1 leaves the gradient behind; the loss is the engine's.
                one = run_tasks(batch, theta[now], OGD(1.0), loss=loss, batch_size=size)
                assert one.loss is not None
                grad = theta[now] - one.theta_hat
                step = grad @ h
                losses[now] += one.loss
                total[now] += theta[now]
                norms[now] += np.einsum("tj,tj->t", grad, step)
                theta[now] -= step
                parts.append((now, grad))
    finite = np.asarray(np.isfinite(theta).all(axis=1))
    for now, grad in parts:
        kept = grad[finite[now]]
        outer += kept.T @ kept
    mean = total / (epochs * n_rounds)[:, None]
    return FullMatrixRun(theta, mean, losses, norms, outer, finite)
