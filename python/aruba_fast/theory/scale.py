"""Learning the scale of the learning rate across tasks whose similarity is not known."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import _check
from .._check import Float64Array
from .._deprecated import renamed_arguments
from .._lock import Lock
from ..rules import OGD

_NAME = "ScaleLearner"
# Points of the integral over the scale, on a logarithmic grid where the weight is above e^-700.
_GRID, _LOWEST = 4097, 700.0


class _Learned(NamedTuple):
    """What a learner has learned; replaced as a whole."""

    max_sigma: float
    n_tasks: int = 0
    sum_sigma: float = 0.0
    sum_distance: float = 0.0


class ScaleLearner:
    """Learns the scale v of the rate eta = v / (G sqrt(m)) from the distances that tasks travel.

    With that rate a task costs at most (B^2 / v + v) sigma / 2, B = |theta* - phi|,
    sigma = G sqrt(m): a function of v alone, which these learners nearly minimize in hindsight.

        ftl    v = sqrt(eps^2 + sum sigma_s B_s^2 / sum sigma_s)
        ewoo   v = the mean of v under exp(-gamma F(v)) on [eps, sqrt(D^2 + eps^2)],
               F(v) = sum sigma_s ((B_s^2 + eps^2) / v + v),
               gamma = 2 / (D sigma_max) min(eps^2 / D^2, 1)

    eps keeps the first rates away from zero and costs its share of regret: T^(-1/4) times the
    diameter for T tasks. Both approach G V sqrt(m) with V^2 the tasks' mean squared distance,
    without knowing V; before the first task v is what eps alone says.

    Args:
        diameter: D, bound on every B, > 0.
        eps: Smoothing, > 0, or None for `diameter` * n_tasks**-0.25 with `n_tasks` below.
        n_tasks: Number of tasks that are expected, where `eps` is None.
        method: "ftl" (follow the leader) or "ewoo" (exponentially weighted online optimization,
            which has a logarithmic regret guarantee).
        lipschitz: G, bound on the norm of a gradient, > 0.
        max_steps: For "ewoo", the most steps a task has; None for the most seen so far.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or neither `eps` nor `n_tasks` is given.

    Example:
        >>> import aruba_fast as af
        >>> learner = af.theory.ScaleLearner(diameter=2.0, eps=0.1)
        >>> learner.rule(n_steps=25)
        OGD(learning_rate=0.02)
        >>> learner.update([[0.3, 0.4], [0.0, -0.5]], phi=[0.0, 0.0], n_steps=25)
        >>> learner.rule(n_steps=25)  # sqrt(0.01 + 0.25) / 5
        OGD(learning_rate=0.10198)

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019; Hazan, Agarwal, Kale, Machine Learning 69
    (2007), for EWOO.
    """

    @renamed_arguments(max_rounds="max_steps")
    def __init__(
        self,
        *,
        diameter: float,
        eps: float | None = None,
        n_tasks: int | None = None,
        method: Literal["ftl", "ewoo"] = "ftl",
        lipschitz: float = 1.0,
        max_steps: int | None = None,
    ) -> None:
        self._diameter = _check.positive(_NAME, "diameter", diameter)
        _check.square(_NAME, "`diameter`", self._diameter)
        if eps is None:
            if n_tasks is None:
                raise ValueError(f"{_NAME}: `eps` must be given without `n_tasks`: got None")
            eps = self._diameter * _check.integer(_NAME, "n_tasks", n_tasks, 1) ** -0.25
        self._eps = _check.positive(_NAME, "eps", eps)
        _check.square(_NAME, "`eps`", self._eps)
        self._method = _check.one_of(_NAME, "method", method, ("ftl", "ewoo"))
        self._lipschitz = _check.positive(_NAME, "lipschitz", lipschitz)
        _check.square(_NAME, "`lipschitz`", self._lipschitz)
        steps = 0 if max_steps is None else _check.integer(_NAME, "max_steps", max_steps, 1)
        self._lock = Lock()
        self._learned = _Learned(self._lipschitz * math.sqrt(steps))

    @property
    def n_tasks(self) -> int:
        """Number of tasks that it has learned from."""
        return self._learned.n_tasks

    @property
    def scale(self) -> float:
        """The scale v for the next task."""
        return self._scale(self._learned)

    def _scale(self, now: _Learned) -> float:
        if self._method == "ftl":
            mean = now.sum_distance / now.sum_sigma if now.n_tasks else 0.0
            return math.sqrt(self._eps**2 + mean)
        low, high = self._eps, math.hypot(self._diameter, self._eps)
        total = now.sum_distance + self._eps**2 * now.sum_sigma
        gamma = 0.0
        if now.max_sigma > 0:
            share = min((self._eps / self._diameter) ** 2, 1.0)
            gamma = 2.0 * share / (self._diameter * now.max_sigma)
        return ewoo_mean(gamma * total, gamma * now.sum_sigma, low, high)

    @renamed_arguments(n_rounds="n_steps")
    def rule(self, n_steps: int) -> OGD:
        """The rule for a task of so many steps.

        Args:
            n_steps: m, > 0.

        Returns:
            `OGD(scale / (lipschitz * sqrt(n_steps)))`.

        Raises:
            TypeError: `n_steps` is not an integer.
            ValueError: `n_steps` is below 1.

        Example:
            >>> import aruba_fast as af
            >>> af.theory.ScaleLearner(diameter=1.0, n_tasks=16).rule(4)
            OGD(learning_rate=0.25)
        """
        m = _check.integer(f"{_NAME}.rule", "n_steps", n_steps, 1)
        return OGD(self.scale / (self._lipschitz * math.sqrt(m)))

    @renamed_arguments(n_rounds="n_steps")
    def update(self, theta: ArrayLike, phi: ArrayLike, n_steps: int | Sequence[int]) -> None:
        """Learns from tasks that started at `phi`: changes this learner.

        Args:
            theta: Best parameters in hindsight, or last iterates: [n_tasks, n_parameters].
            phi: Where they started, [n_parameters] or [n_tasks, n_parameters].
            n_steps: Steps of every task, a number or [n_tasks].

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: Sizes do not fit or a value is not finite. Nothing is changed.

        Example:
            >>> import aruba_fast as af
            >>> learner = af.theory.ScaleLearner(diameter=1.0, eps=0.5)
            >>> learner.update([[0.6, 0.8]], [0.0, 0.0], 9)
            >>> learner.scale
            1.118033988749895
        """
        name = f"{_NAME}.update"
        ends = _check.float64_array(name, "theta", theta, "[n_tasks, n_parameters]")
        start = _check.real_array(name, "phi", phi)
        if start.shape not in (ends.shape, ends.shape[1:]):
            raise ValueError(
                f"{name}: `phi` must fit `theta`: got {start.shape}, expected {ends.shape[1:]}"
            )
        with np.errstate(all="ignore"):
            distances = np.einsum("tj,tj->t", ends - start, ends - start)
        _check.finite(name, "theta", distances)
        steps = np.broadcast_to(_check.real_array(name, "n_steps", n_steps), distances.shape)
        _check.finite(name, "n_steps", steps, at_least=1.0)
        with np.errstate(all="ignore"):
            sigmas = self._lipschitz * np.sqrt(steps.astype(np.float64))
            moved = sigmas * distances
        with self._lock:
            now = self._learned
            after = _Learned(
                max(now.max_sigma, float(sigmas.max(initial=0.0))),
                now.n_tasks + len(sigmas),
                now.sum_sigma + exact_sum(sigmas),
                now.sum_distance + exact_sum(moved),
            )
            if not math.isfinite(after.sum_distance + after.sum_sigma):
                raise ValueError(
                    f"{name}: `theta` must leave a sum of squared distances within float64: "
                    f"got {after.sum_distance:g}"
                )
            self._learned = after

    def __repr__(self) -> str:
        return (
            f"ScaleLearner(method={self._method!r}, diameter={self._diameter:g}, "
            f"eps={self._eps:g}, n_tasks={self.n_tasks}, scale={self.scale:g})"
        )


def exact_sum(values: Float64Array) -> float:
    """The exact sum, rounded once; inf where it leaves float64. Ctrl-C waits for a part at most."""

    def parts() -> Iterator[list[float]]:
        for first in range(0, len(values), 1 << 16):
            yield values[first : first + (1 << 16)].tolist()

    try:
        return math.fsum(chain.from_iterable(parts()))
    except OverflowError:
        return math.inf


def ewoo_mean(a: float, c: float, low: float, high: float) -> float:
    """Mean of v under the density exp(-a/v - c v) on [low, high].

    With least exponent 2 sqrt(a c) at v* = sqrt(a/c), the exponent at r v* is above that by
    sqrt(a c) (r + 1/r - 2): what lies above 700 more than the least in the interval is left out,
    so that the grid resolves the peak however sharp it is.
    """
    if not 0 < low < high < math.inf:
        return min(max(low, 0.0), high)
    if c > 0 and a > 0:
        root = math.sqrt(a * c)
        if not 0 < root < math.inf:
            root = math.sqrt(a) * math.sqrt(c)
        peak = math.sqrt(a / c)
        nearest = min(max(peak, low), high)
        least = a / nearest + c * nearest
        if not least + root < math.inf:
            return nearest
        q = (least + _LOWEST) / root - 2.0
        reach = 1.0 + 0.5 * q + math.sqrt(q + 0.25 * q * q)
        low, high = max(low, peak / reach), min(high, peak * reach)
    with np.errstate(all="ignore"):
        v = np.exp(np.linspace(math.log(low), math.log(high), _GRID))
        exponent = a / v + c * v
        weight = v * np.exp(exponent.min() - exponent)  # dv = v d(log v)
        weight[[0, -1]] *= 0.5
        return float((v * weight).sum() / weight.sum())
