"""Learning an initialization in a world that changes: experts over the step, dynamic regret."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .. import _check
from .._check import Float64Array
from .._lock import Lock

_NAME = "InitializationExperts"


@dataclass(frozen=True, eq=False)
class _Learned:
    """What the experts have learned; replaced as a whole, never written to."""

    experts: Float64Array
    losses: Float64Array
    largest_sq: float = 0.0
    n_tasks: int = 0


class InitializationExperts:
    """Learns an initialization without a step to choose: experts with every step, mixed.

        expert k     phi_k <- phi_k + alpha_k (theta - phi_k)
        mixture      phi   = sum_k p_k phi_k,
                     p_k   ~ exp(-sum over tasks of |phi_k - theta|^2 / (2 D^2))

    The loss 1/2 |phi - theta|^2 is 1/D^2-exp-concave where |phi - theta| <= D: the mixture loses at
    most D^2 log(number of experts) more than the best expert, whatever the tasks do. The experts
    are a grid of constant steps, geometric from 1/sqrt(n_tasks) to 1, of which one is within a
    factor `ratio` of the best constant step for any path of the tasks, and the running mean, the
    best for tasks that do not drift.

    Args:
        phi: First initialization, [n_parameters], finite; copied.
        n_tasks: Number of tasks that are expected, >= 1: where the grid begins.
        alphas: The constant steps, in (0, 1]; None for the grid.
        ratio: Ratio of neighbouring steps in the grid, > 1.
        diameter: D, > 0; None for the largest |phi_k - theta| met so far, which costs the guarantee
            a constant.

    Attributes:
        alphas: Steps of the experts, float64 [n_experts]; the last is nan, for the running mean.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> experts = af.theory.InitializationExperts(np.zeros(1), n_tasks=16)
        >>> experts.alphas
        array([0.25, 0.5 , 1.  ,  nan])
        >>> for theta in (1.0, 2.0, 3.0, 4.0):  # tasks that run away
        ...     experts.update([theta])
        >>> float(experts.alphas[experts.weights.argmax()])
        1.0

    Source: Zhang, Lu, Zhou, NeurIPS 2018 (Ader); Hazan, Agarwal, Kale, Machine Learning 69 (2007).
    """

    def __init__(
        self,
        phi: ArrayLike,
        *,
        n_tasks: int,
        alphas: ArrayLike | None = None,
        ratio: float = 2.0,
        diameter: float | None = None,
    ) -> None:
        start = _check.float64_array(_NAME, "phi", phi, "[n_parameters]")
        _check.finite(_NAME, "phi", start)
        tasks = _check.integer(_NAME, "n_tasks", n_tasks, 1)
        factor = _check.positive(_NAME, "ratio", ratio)
        if factor <= 1.0:
            raise ValueError(f"{_NAME}: `ratio` must be above 1: got {factor}")
        if alphas is None:
            count = math.ceil(0.5 * math.log(tasks) / math.log(factor) - 1e-9) + 1
            steps = factor ** -np.arange(count - 1.0, -1.0, -1.0)
        else:
            steps = _check.float64_array(_NAME, "alphas", alphas, "[n_experts]")
            if not ((steps > 0) & (steps <= 1)).all():
                raise ValueError(f"{_NAME}: `alphas` must lie in (0, 1]: got {steps}")
        self.alphas: Float64Array = np.append(steps, np.nan)
        self._diameter_sq = None
        if diameter is not None:
            wide = _check.positive(_NAME, "diameter", diameter)
            self._diameter_sq = _check.square(_NAME, "`diameter`", wide)
        n = len(self.alphas)
        self._lock = Lock()
        self._learned = _Learned(np.tile(start, (n, 1)), np.zeros(n))

    @property
    def n_tasks(self) -> int:
        """Number of tasks that it has learned from."""
        return self._learned.n_tasks

    @property
    def weights(self) -> Float64Array:
        """Weight of every expert, float64 [n_experts], of sum 1."""
        return self._weights(self._learned)

    def _weights(self, now: _Learned) -> Float64Array:
        width_sq = now.largest_sq if self._diameter_sq is None else self._diameter_sq
        with np.errstate(all="ignore"):
            scaled = (now.losses.min() - now.losses) / (width_sq if width_sq > 0 else 1.0)
            weight = np.exp(scaled)
            return np.asarray(weight / weight.sum(), np.float64)

    @property
    @np.errstate(all="ignore")
    def phi(self) -> Float64Array:
        """The initialization for the next task, float64 [n_parameters]."""
        now = self._learned
        return np.asarray(self._weights(now) @ now.experts, np.float64)

    @property
    def experts(self) -> Float64Array:
        """The initialization of every expert, float64 [n_experts, n_parameters]; a copy."""
        return self._learned.experts.copy()

    @property
    def losses(self) -> Float64Array:
        """Sum over the tasks of 1/2 |phi_k - theta|^2 of every expert, float64; a copy."""
        return self._learned.losses.copy()

    def update(self, theta: ArrayLike) -> None:
        """Learns from one task, or from several in their order: changes this learner.

        Args:
            theta: Best parameters in hindsight or last iterates, [n_parameters] or
                [n_tasks, n_parameters].

        Raises:
            TypeError: `theta` is not real.
            ValueError: Sizes do not fit or a value is not finite. Nothing is changed.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> experts = af.theory.InitializationExperts(np.zeros(2), n_tasks=4, alphas=[0.5])
            >>> experts.update([[2.0, 0.0], [2.0, 0.0]])
            >>> experts.experts
            array([[1.5, 0. ],
                   [2. , 0. ]])
        """
        name = f"{_NAME}.update"
        ends = np.atleast_2d(_check.real_array(name, "theta", theta))
        ends = _check.float64_array(name, "theta", ends, "[n_tasks, n_parameters]")
        _check.shape(name, "theta", ends, (len(ends), self._learned.experts.shape[1]))
        _check.finite(name, "theta", ends)
        with self._lock:
            self._learned = self._after(name, self._learned, ends)

    def _after(self, name: str, now: _Learned, ends: Float64Array) -> _Learned:
        experts, losses, largest_sq = now.experts.copy(), now.losses.copy(), now.largest_sq
        for t, end in enumerate(ends, start=now.n_tasks + 1):
            with np.errstate(all="ignore"):
                away = end - experts
                distance_sq = np.einsum("kj,kj->k", away, away)
                losses += 0.5 * distance_sq
            if not np.isfinite(losses).all():
                raise ValueError(
                    f"{name}: `theta` must have squared distances from the experts whose sum is "
                    f"within float64: got {end} for task {t}"
                )
            largest_sq = max(largest_sq, float(distance_sq.max()))
            experts += np.where(np.isnan(self.alphas), 1.0 / t, self.alphas)[:, None] * away
        return _Learned(experts, losses, largest_sq, now.n_tasks + len(ends))

    def __repr__(self) -> str:
        return (
            f"InitializationExperts(n_experts={len(self.alphas)}, "
            f"n_parameters={self._learned.experts.shape[1]}, n_tasks={self.n_tasks})"
        )


@np.errstate(all="ignore")
def dynamic_regret(phi: ArrayLike, theta: ArrayLike, path: ArrayLike) -> float:
    """Regret of a sequence of initializations against a path that knew the tasks.

        sum_t 1/2 |phi_t - theta_t|^2 - sum_t 1/2 |path_t - theta_t|^2

    Args:
        phi: The initializations, each chosen before its task, [n_tasks, n_parameters].
        theta: Where the tasks ended, of the same shape.
        path: The comparators, of the same shape, or [n_parameters] for one that stands still.

    Returns:
        Float. Constant steps alpha keep it below `dynamic_regret_bound`, whatever the tasks.

    Raises:
        TypeError: An argument is not real.
        ValueError: Sizes do not fit.

    Example:
        >>> import aruba_fast as af
        >>> af.theory.dynamic_regret([[0.0], [1.0]], [[1.0], [2.0]], [[1.0], [2.0]])
        1.0

    Source: Zinkevich, ICML 2003.
    """
    starts, ends, compared = _paths("dynamic_regret", phi, theta, path)
    return 0.5 * float(((starts - ends) ** 2).sum() - ((compared - ends) ** 2).sum())


@np.errstate(all="ignore")
def dynamic_regret_bound(
    phi: ArrayLike, theta: ArrayLike, path: ArrayLike, *, alpha: float, diameter: float
) -> float:
    """Bounds the dynamic regret of the constant step alpha from above.

        (D^2 + 2 D P) / (2 alpha) + alpha/2 sum_t |phi_t - theta_t|^2,
        P = sum_t |path_{t+1} - path_t|

    Args:
        phi: As `dynamic_regret`, made by phi <- phi + alpha (theta - phi).
        theta: As `dynamic_regret`.
        path: As `dynamic_regret`; within a distance D of every phi.
        alpha: The step, > 0.
        diameter: D, > 0.

    Returns:
        Float.

    Raises:
        TypeError: An argument is not real.
        ValueError: Sizes do not fit or an argument is out of range.

    Example:
        >>> import aruba_fast as af
        >>> phi, theta = [[0.0], [1.0]], [[1.0], [2.0]]
        >>> af.theory.dynamic_regret_bound(phi, theta, theta, alpha=1.0, diameter=2.0)
        5.0

    Source: Zinkevich, ICML 2003.
    """
    name = "dynamic_regret_bound"
    starts, ends, compared = _paths(name, phi, theta, path)
    step = _check.positive(name, "alpha", alpha)
    wide = _check.positive(name, "diameter", diameter)
    length = float(np.linalg.norm(np.diff(compared, axis=0), axis=1).sum())
    return (wide * wide + 2.0 * wide * length) / (2.0 * step) + 0.5 * step * float(
        ((starts - ends) ** 2).sum()
    )


def _paths(
    name: str, phi: ArrayLike, theta: ArrayLike, path: ArrayLike
) -> tuple[Float64Array, Float64Array, Float64Array]:
    starts = _check.float64_array(name, "phi", phi, "[n_tasks, n_parameters]")
    ends = _check.float64_array(name, "theta", theta, "[n_tasks, n_parameters]")
    _check.shape(name, "theta", ends, starts.shape)
    compared = _check.real_array(name, "path", path)
    if compared.ndim == 1:
        _check.shape(name, "path", compared, starts.shape[1:])
        compared = np.broadcast_to(compared, starts.shape)
    compared = _check.float64_array(name, "path", compared, "[n_tasks, n_parameters]")
    _check.shape(name, "path", compared, starts.shape)
    return starts, ends, compared
