"""The first rate of a network: tasks at the rates of a grid, until their gradients grow."""

from dataclasses import dataclass, field

import numpy as np

from ._check import Float64Array

# Rates of the grid times |gradient| / |phi|, by half decades: how far the first step of a task
# goes, in lengths of phi.
STEPS: Float64Array = 10.0 ** (np.arange(-12, 5) / 2.0)
_PASSES = 3
# Beyond what is stable squared gradients grow by orders of magnitude from one rate to the next;
# below it they differ from task to task, but on the average by less than this.
_GROWN = 3.0
# A task of so large ones takes phi to where it does not come back from: dead ReLUs, say.
_RUINED = 30.0
# A pass ends after two tasks in turn whose gradients have grown by this: one may be odd by itself.
_ENDED = 10.0
# Rates that are surely small: gradients there are what those at larger rates have grown from.
N_SMALL = 4
# Of the limit and of ruin, that a first rate is at least and at most.
_LEAST, _MOST = 1.0 / 20.0, 1.0 / 3.0


@dataclass
class Search:
    """Tells how far the next task goes with its first step and, once it knows, the first rate.

    A task of m > 1 steps leaves, summed over its coordinates, the squared distance D^2 that it
    travelled, its squared gradients G, and those of its first step, G_1. A grid of rates eta is
    passed through from below, a task a rate, until gradients have grown; three times, but once
    where all rates are tried on the same tasks. Then

        limit = the rate where the mean of G / (m G_1) is 3 times that at small rates, between two
                rates of the grid
        ruin  = likewise, 30 times
        rest  = argmin over the rates below the limit of the integral over log eta of
                -1/2 (D^2 / (eta G) - eta)
        first = sqrt(rest limit), at least limit / 20, at most ruin / 3; without ruin, rest.

    The integrand is the first-order derivative of the task's online loss by log eta over G: steps
    within a task agree below `rest`, and turn around above. Where they do neither, `rest` is far
    too low, and phi would not get far in a task. Gradients of one model grow slowly beyond the
    limit, and it learns best there; those of another explode, and it must not come near. Loss and
    parameters may have any unit.

    Args:
        scale: |phi| / |gradient at phi|, by which steps of the grid are rates; None until the first
            gradient is known.
        growth: For every pass and rate so far G / (m G_1); infinite where that is no number.
        slopes: For every pass and rate so far the integrand, per scale.
        n_passes: Number of passes through the grid.
    """

    scale: float | None = None
    growth: list[list[float]] = field(default_factory=lambda: [[]])
    slopes: list[list[float]] = field(default_factory=lambda: [[]])
    n_passes: int = _PASSES

    @classmethod
    def restored(cls, stored: Float64Array) -> "Search":
        """Makes what `stored` was called of; a ValueError says that it never was."""
        wanted = stored.ndim == 2 and stored.shape[1] == 3 and len(stored) > 0
        if not wanted or len(stored) > 1 + _PASSES * len(STEPS) or np.isnan(stored[1:]).any():
            raise ValueError(f"`search` is {stored.shape}, expected what a search has stored")
        search = cls(None if np.isnan(stored[0, 0]) else float(stored[0, 0]))
        for number, growth, slope in stored[1:]:
            if number == len(search.growth):
                search.growth.append([])
                search.slopes.append([])
            search.growth[-1].append(float(growth))
            search.slopes[-1].append(float(slope))
        search._begin_pass()
        return search

    def stored(self) -> Float64Array:
        """The whole, [1 + n_tasks, 3]: scale, nan if there is none; then pass, growth, slope."""
        rows = [
            (float(number), *values)
            for number, passes in enumerate(zip(self.growth, self.slopes, strict=True))
            for values in zip(*passes, strict=True)
        ]
        scale = np.nan if self.scale is None else self.scale
        return np.array([(scale, 0.0, 0.0), *rows])

    @property
    def n_tasks(self) -> int:
        """Number of tasks so far."""
        return sum(map(len, self.growth))

    @property
    def step(self) -> float:
        """The next step of the grid."""
        return float(STEPS[len(self.growth[-1])])

    def add(self, growth: float, distance: float, grad_sq: float) -> None:
        """Takes what the task at the next step of the grid has left: G / (m G_1), D^2 and G.

        A task that is not finite at a small rate has other troubles, and tells nothing.
        """
        assert self.scale is not None
        rate = self.step * self.scale
        with np.errstate(all="ignore"):
            slope = -0.5 * (np.float64(distance) / (rate * grad_sq) - rate) / self.scale
        finite = np.isfinite(growth) and np.isfinite(slope)
        if not finite and len(self.growth[-1]) < N_SMALL:
            return
        self.growth[-1].append(float(growth) if finite else np.inf)
        self.slopes[-1].append(float(slope) if finite else np.inf)
        self._begin_pass()

    def _begin_pass(self) -> None:
        if len(self.growth) < self.n_passes and _has_ended(self.growth[-1]):
            self.growth.append([])
            self.slopes.append([])

    def found(self) -> float | None:
        """Returns the first rate, or None as long as tasks are wanted."""
        if len(self.growth) < self.n_passes or not _has_ended(self.growth[-1]):
            return None
        assert self.scale is not None
        # Where one pass went further the other one had ended: its gradients had grown.
        longest = max(map(len, self.growth))
        growth, slopes = (
            np.mean([one + [np.inf] * (longest - len(one)) for one in passes], axis=0)
            for passes in (self.growth, self.slopes)
        )
        return self.scale * _first_step(_relative(growth), slopes)


def _relative(growth: Float64Array) -> Float64Array:
    """How often squared gradients are those at small rates."""
    relative: Float64Array = growth / np.median(growth[:N_SMALL])
    return relative


def _has_ended(growth: list[float]) -> bool:
    """Whether a pass has no larger rate to try, or none that is of interest."""
    if len(growth) <= N_SMALL:
        return False
    last = _relative(np.array(growth))[-2:]
    return len(growth) == len(STEPS) or not np.isfinite(last[-1]) or bool((last > _ENDED).all())


def _first_step(growth: Float64Array, slopes: Float64Array) -> float:
    """The first rate per scale, by the relative growth and the slopes at the rates of the grid."""
    limit, most = _rate_of(_GROWN, growth), _MOST * _rate_of(_RUINED, growth)
    below = np.flatnonzero(growth <= _GROWN)[-1]  # one of the small ones at least is
    rest = float(STEPS[np.argmin(np.cumsum(slopes[: below + 1]))])
    if most == np.inf:
        return rest
    return max(min(float(np.sqrt(rest * limit)), most), _LEAST * limit)


def _rate_of(wanted: float, growth: Float64Array) -> float:
    """The rate per scale from which on gradients have grown so, between two rates of the grid."""
    last = int(np.flatnonzero(growth <= wanted)[-1])
    if last + 1 == len(growth):
        return np.inf
    low, high = np.log(growth[last]), np.log(min(growth[last + 1], 1e30))
    share = (np.log(wanted) - low) / (high - low)
    return float(STEPS[last] * (STEPS[1] / STEPS[0]) ** share)
