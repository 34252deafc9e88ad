"""ARUBA with a full matrix of rates, for few parameters: float64, LAPACK through NumPy."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from .. import _check
from .._check import Float64Array
from .._lock import Lock
from ..tasks import Tasks
from .matrix_run import LARGEST_SQUARE, FullMatrixRun, outer_products, parts, run_full_matrix

MAX_PARAMETERS = 512
_ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class _Learned:
    """What a learner has learned; replaced as a whole, never written to."""

    phi: Float64Array
    B: Float64Array
    G: Float64Array
    H: Float64Array
    n_tasks: int = 0
    n_skipped: int = 0


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
        >>> learner = af.theory.FullMatrixLearner(np.zeros(2), learning_rate=0.1)
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
        scale = _check.positive(name, "zeta", zeta)
        self._zeta_sq = _check.square(name, "`zeta`", scale)
        _check.square(name, "`learning_rate` times `zeta`", rate * scale)
        self._eps_sq = _check.square(name, "`learning_rate`", rate) * self._zeta_sq
        self._p = _check.non_negative(name, "p", p)
        eye = np.eye(len(start))
        self._lock = Lock()
        self._learned = _Learned(start.copy(), self._eps_sq * eye, self._zeta_sq * eye, rate * eye)

    @property
    def phi(self) -> Float64Array:
        """The initialization, float64 [n_parameters]; a copy."""
        return self._learned.phi.copy()

    @property
    def B(self) -> Float64Array:  # noqa: N802
        """Accumulated outer products of distances, float64; a copy."""
        return self._learned.B.copy()

    @property
    def G(self) -> Float64Array:  # noqa: N802
        """Accumulated outer products of gradients, float64; a copy."""
        return self._learned.G.copy()

    @property
    def H(self) -> Float64Array:  # noqa: N802
        """The matrix of rates, float64, symmetric and positive definite; a copy."""
        return self._learned.H.copy()

    @property
    def n_tasks(self) -> int:
        """Number of tasks that it has learned from."""
        return self._learned.n_tasks

    @property
    def n_skipped(self) -> int:
        """Number of tasks that were left out: not finite, or of a round too large to learn from."""
        return self._learned.n_skipped

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
            >>> learner = af.theory.FullMatrixLearner(np.zeros(2), learning_rate=0.5)
            >>> learner.run(tasks, loss="squared")
            FullMatrixRun(n_tasks=2, n_parameters=2, n_finite=2)
        """
        now = self._learned
        return run_full_matrix(
            tasks, now.phi, now.H, loss=loss, batch_size=batch_size, n_epochs=n_epochs
        )

    def update(self, run: FullMatrixRun, *, meta_step: float | None = None) -> None:
        """Learns from a round of tasks that `run` ran: changes this learner.

        Args:
            run: The result.
            meta_step: Step of the initialization, >= 0; None for the running mean.

        Raises:
            TypeError: `run` is not a FullMatrixRun.
            ValueError: Sizes do not fit, or the gradients are not finite. Nothing is changed.

        A round beside which all that was learned before is lost in rounding (one label of 1e20) is
        skipped and counted, like a task that is not finite.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> learner = af.theory.FullMatrixLearner(np.zeros(1))
            >>> tasks = af.Tasks([[[1.0]]], [[1.0]])
            >>> learner.update(learner.run(tasks, loss="squared"))
            >>> learner.phi, learner.B, learner.G
            (array([1.]), array([[2.]]), array([[2.5]]))
        """
        name = "FullMatrixLearner.update"
        if not isinstance(run, FullMatrixRun):
            raise TypeError(f"{name}: `run` must be a FullMatrixRun: got {type(run).__name__}")
        alpha = None if meta_step is None else _check.non_negative(name, "meta_step", meta_step)
        with self._lock:
            now = self._learned
            _check.shape(name, "run", run.theta_hat, (len(run), len(now.phi)))
            _check.shape(name, "run", run.finite, (len(run),))
            _check.shape(name, "run", run.grad_outer, now.G.shape)
            _check.finite(name, "run", run.grad_outer)
            self._learned = self._after(now, run, alpha)

    def _after(self, now: _Learned, run: FullMatrixRun, alpha: float | None) -> _Learned:
        with np.errstate(all="ignore"):
            away = run.theta_hat - now.phi
            near = np.einsum("tj,tj->t", away, away) <= LARGEST_SQUARE
            away = away[np.asarray(run.finite, np.bool_) & near]
            n = len(away)
            left_out = replace(now, n_skipped=now.n_skipped + len(run) - n)
            if n == 0:
                return left_out
            schedule = sum((now.n_tasks + k + 2.0) ** -self._p for k in range(n))
            smoothing = schedule * np.eye(len(now.phi))
            b = now.B + (0.5 * outer_products(away) + self._eps_sq * smoothing)
            g = now.G + (run.grad_outer + self._zeta_sq * smoothing)
            n_tasks = now.n_tasks + n
            phi = now.phi + (n / n_tasks if alpha is None else alpha) * away.mean(axis=0)
            h = None if _drowned(now, g) else matrix_rate(b, g)
        if h is None or not np.isfinite(phi).all():
            return replace(now, n_skipped=now.n_skipped + len(run))
        return replace(left_out, phi=phi, B=b, G=g, H=h, n_tasks=n_tasks)

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
            >>> learner = af.theory.FullMatrixLearner(np.zeros(1), learning_rate=0.5)
            >>> run = learner.run(af.Tasks([[[1.0]]], [[1.0]]), loss="squared")
            >>> learner.regret_upper_bound(run, [[1.0]])
            array([1.25])
        """
        name = "FullMatrixLearner.regret_upper_bound"
        if not isinstance(run, FullMatrixRun):
            raise TypeError(
                f"{name}: `run` must be a FullMatrixRun: got {type(run).__name__}, "
                "expected the result of `FullMatrixLearner.run`"
            )
        theta_star = _check.float64_array(name, "best", best, "[n_tasks, n_parameters]")
        _check.shape(name, "best", theta_star, run.theta_hat.shape)
        now = self._learned
        away = theta_star - now.phi
        pull = np.concatenate([np.linalg.solve(now.H, part.T).T for part in parts(away)])
        bound: Float64Array = 0.5 * np.einsum("tj,tj->t", away, pull) + 0.5 * run.grad_norm_sq
        return bound

    def __repr__(self) -> str:
        return (
            f"FullMatrixLearner(n_parameters={len(self._learned.phi)}, n_tasks={self.n_tasks}, "
            f"n_skipped={self.n_skipped})"
        )


def matrix_rate(b: Float64Array, g: Float64Array) -> Float64Array | None:
    """The positive definite H with H g H = b; None where that is not within float64."""
    unit = _unit(b), _unit(g)
    b, g = b / unit[0], g / unit[1]
    try:
        values, vectors = np.linalg.eigh(g)
        values = np.maximum(values, _ROUNDING * values[-1])
        root = (vectors * np.sqrt(values)) @ vectors.T
        inverse = (vectors / np.sqrt(values)) @ vectors.T
        values, vectors = np.linalg.eigh(root @ b @ root)
    except np.linalg.LinAlgError:  # of matrices that are not finite
        return None
    h = inverse @ (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T @ inverse
    result: Float64Array = 0.5 * (h + h.T) * (math.sqrt(unit[0]) / math.sqrt(unit[1]))
    return result if np.isfinite(result).all() else None


def _drowned(now: _Learned, g: Float64Array) -> bool:
    """Has one round left nothing but rounding of the gradients of all rounds before?"""
    total = float(np.trace(g))
    if now.n_tasks == 0 or total < 2.0**20 * float(np.trace(now.G)):
        return False
    return not np.linalg.eigvalsh(g)[0] > len(g) * _ROUNDING * total


def _unit(matrix: Float64Array) -> float:
    """A power of four near the largest entry, where products of such entries may leave float64."""
    largest = float(np.abs(matrix).max())
    if not 0 < largest < math.inf or 1e-70 < largest < 1e70:
        return 1.0
    return 4.0 ** round(math.log(largest, 4.0))
