"""The first rate of a network: tasks at the rates of a grid, until their gradients grow."""

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ._check import Float64Array

# Rates of the grid times |gradient| / |phi|, by half decades: how far the first step of a task
# goes, in lengths of phi.
STEPS: Float64Array = 10.0 ** (np.arange(-12, 5) / 2.0)
_PASSES = 3
# Beyond what is stable squared gradients grow by orders of magnitude from one rate to the next;
# below it they differ from task to task, but on the average by less than this.
_GROWN = 3.0
# A pass ends after two tasks in turn whose gradients have grown by this: one may be odd by itself.
_ENDED = 10.0
# Where squared gradients have fallen to this, on the average over a task, it is as good as solved.
_SOLVED = 0.75
# Rates that are surely small: gradients there are what those at larger rates have grown from.
N_SMALL = 4
# Of the limit, that a first rate is at least.
_LEAST = 1.0 / 20.0


@dataclass
class Search:
    """Tells how far the next task goes with its first step and, once it knows, the first rate.

    A task of m > 1 steps leaves, summed over its coordinates, the squared distance D^2 that it
    travelled, its squared gradients G, and those of its first step, G_1. A grid of rates eta is
    passed through from below, a task a rate, until gradients have grown; three times, but once
    where all rates are tried on the same tasks. Then

        limit = the rate where the mean of G / (m G_1) is 3 times that at small rates, between two
                rates of the grid;
        rest  = argmin over the rates below the limit of the integral over log eta of
                -1/2 (D^2 / (eta G) - eta)
        done  = the least rate from which on, up to rest, the median of G / (m G_1) is below 3/4 of
                that at small rates: a task as good as solves itself
        first = sqrt(rest limit), at most done, at least limit / 20; without a limit, rest for it.

    The integrand is the first-order derivative of the task's online loss by log eta over G: steps
    within a task agree below `rest`, and turn around above. Where they do neither, `rest` is far
    too low, and phi would not get far in a task; near the limit it gets too far. Where a task's
    gradients vanish before that, larger steps are of no use to it, and they take phi to where it
    may not come back from. Loss and parameters may have any unit.

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
            np.array([one + [np.inf] * (longest - len(one)) for one in passes])
            for passes in (self.growth, self.slopes)
        )
        return self.scale * _first_step(
            growth / _at_small(growth.mean(axis=0)), slopes.mean(axis=0)
        )


def _at_small(growth: Float64Array) -> float:
    return float(np.median(growth[:N_SMALL]))


def _has_ended(growth: list[float]) -> bool:
    """Whether a pass has no larger rate to try, or none that is of interest."""
    if len(growth) <= N_SMALL:
        return False
    last = np.array(growth[-2:]) / _at_small(np.array(growth))
    return len(growth) == len(STEPS) or not np.isfinite(last[-1]) or bool((last > _ENDED).all())


def _first_step(growth: Float64Array, slopes: Float64Array) -> float:
    """The first rate per scale, by every pass' growth, relative, and the mean slopes."""
    passes, growth = growth, growth.mean(axis=0)
    last = int(np.flatnonzero(growth <= _GROWN)[-1])  # one of the small ones at least is below
    rest = int(np.argmin(np.cumsum(slopes[: last + 1])))
    # The median of the tasks at three rates: one may have small or large gradients by itself.
    middle = np.ones(1)
    if rest > 1:
        below = sliding_window_view(passes[:, : rest + 1], 3, axis=1)
        middle = np.median(below, axis=(0, 2))
    unsolved = int(np.flatnonzero(np.append(True, middle >= _SOLVED))[-1])
    most = float(STEPS[unsolved + 1]) if unsolved < len(middle) else np.inf
    if last + 1 == len(growth):
        return min(float(STEPS[rest]), most)
    low, high = np.log(growth[last]), np.log(min(growth[last + 1], 1e30))
    share = (np.log(_GROWN) - low) / (high - low)
    limit = float(STEPS[last] * (STEPS[1] / STEPS[0]) ** share)
    return max(min(float(np.sqrt(STEPS[rest] * limit)), most), _LEAST * limit)
