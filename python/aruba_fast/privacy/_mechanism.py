"""`TaskPrivacy`: how much one task may say, and how much noise hides it."""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import _check
from .._check import Float64Array
from ..federated import Round, _pairs
from ..federated._fixed_point import checked_spread, spread_of
from ..federated._private import Privacy
from ..federated._reply import Reply, Total
from ..learner import MetaLearner
from ..run import run_tasks
from ..statistics import TaskRun, TaskStatistics
from ..tasks import Tasks
from ._released import Released
from ._rounds import checked_round, sums_of

# The noise of b and of g beside that of all three: they need little of the budget.
_OF_RATES = 8.0 / 1.1
# Numbers of tasks that are clipped at once.
_AT_ONCE = 1 << 20
# What rounding a reply to 16 bits may add to it.
_ROUNDED = 1.0 + 2.0**-6
_MOST_TASKS = 2**32


@dataclass(frozen=True, eq=False, repr=False)
class TaskPrivacy(Privacy):
    """Hides whether a person took part: tasks are clipped to a known size, sums get noise.

        server = Server(learner, privacy=TaskPrivacy(spread, noise, n_tasks))

    Machines clip their tasks (`Round.answer`, `MetaOptimizer.answer`), and the server adds noise to
    the sum of a round before anything else sees it, the learner included. A task k is measured
    against an average one, in three blocks of d coordinates each:

        u = (theta_hat_k - phi) / sqrt(2 s_b),  v = (theta_hat_k - phi)^2 / (2 s_b),
        w = grad_sq_k / s_g

    so that an average task has a norm of sqrt(d) in each. A block that is longer than its clip
    times sqrt(d) is shortened to that. Blocks are added over tasks, each of which weighs 1, as
    numbers of rows are private too. One release of the sum gets Gaussian noise, of

        z_theta clip_theta sqrt(d),  z_b clip_b sqrt(d),  z_g clip_g sqrt(d)

    in a coordinate, which together are one Gaussian mechanism whose noise is z times the most
    that a task can change: 1 / z^2 = 1 / z_theta^2 + 1 / z_b^2 + 1 / z_g^2. Squares are all of
    one sign, and their sums over rounds bear noise better than the step of phi does: z_b and z_g
    are 8 z / 1.1, which leaves z_theta = 1.02 z.

    Clipping takes the place of the limit that a `Round` sends. What is cut off makes b and g
    smaller than they are, those of the longest tasks most.

    Sums of squares are not negative, and with noise they can be. So noisy sums are added up over
    all rounds, and what is learned is how they have grown, as far as they are known: where
    coordinates differ by less than the noise, their mean is told for each. With C for the noisy
    sums so far, V for the variance of their noise, and m for the mean of C over coordinates,

        tau^2 = mean((C - m)^2 - V),  w = tau^2 / (tau^2 + V),  E = m + w (C - m)

    is made positive and of the mean m again, and what is learned is by how much its largest value
    so far has grown. Little noise leaves a rate to each coordinate, much noise one rate to all. All
    this, and the scales of the next round, use nothing but noisy sums, and so cost no privacy.

    Args:
        spread: What an average task has of the distances, s_b, and of the squared gradients, s_g,
            float64 [2, n_parameters], > 0: a guess, made without looking at anybody's data. A
            server takes those of later rounds from what it has learned.
        noise: The noise of a release over the most that a task can change, z > 0; `noise_for`
            finds it.
        n_tasks: Tasks that are expected in a round, >= 1, known to everybody: `rate` times the
            number of people. How many there are is private, so every round counts as this many.
        rate: Chance of a task to take part in a round, in (0, 1], drawn on its machine by the
            system's secure generator: what `Poisson` accounts for. 1 where all take part.
        clip_theta: Clip of u in units of an average task, > 0.
        clip_b: Likewise of v.
        clip_g: Likewise of w.
        seed: Of the noise, for tests: whoever knows it sees through the noise. None for the
            system's secure generator. It is not sent, nor in a file.

    Attributes:
        deviations: Standard deviation of the noise in the sums of distance, grad_sq and delta,
            float64 [3, n_parameters], for engines that add their noise themselves.
        multipliers: z_theta, z_b and z_g.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Round
        >>> from aruba_fast.privacy import TaskPrivacy
        >>> privacy = TaskPrivacy(np.full((2, 4), 0.5), noise=1.1, n_tasks=100)
        >>> [round(z, 2) for z in privacy.multipliers]
        [1.12, 8.0, 8.0]
        >>> sent = Round.of(af.MetaLearner(np.zeros(4), learning_rate=0.1), version=0)
        >>> far = af.TaskRun(np.full((1, 4), 100.0), np.ones((1, 4)))
        >>> privacy.clipped(far, sent).delta
        array([1., 1., 1., 1.])

    Source: McMahan et al., ICLR 2018, for the clipping of users; McMahan et al., 2018
    (arXiv:1812.06210), for blocks with noise of their own; Mironov, CCS 2012, for what this does
    not do: float64 cannot hold all numbers that Gaussian noise can reach, and the last digits of a
    release may tell more than the noise admits.
    """

    _ARRAY: ClassVar[str] = "spread"
    _SECRET: ClassVar[tuple[str, ...]] = ("seed",)

    spread: Float64Array
    noise: float
    n_tasks: int
    rate: float = 1.0
    clip_theta: float = 1.0
    clip_b: float = 1.0
    clip_g: float = 1.0
    seed: int | None = None

    @np.errstate(all="ignore")
    def __post_init__(self) -> None:
        name = "TaskPrivacy"
        object.__setattr__(self, "spread", checked_spread(name, self.spread))
        n_tasks = _check.integer(name, "n_tasks", self.n_tasks, 1, _MOST_TASKS)
        object.__setattr__(self, "n_tasks", n_tasks)
        for field in ("noise", "rate", "clip_theta", "clip_b", "clip_g"):
            object.__setattr__(self, field, _check.positive(name, field, getattr(self, field)))
        if self.rate > 1.0:
            raise ValueError(
                f"{name}: `rate` must be a chance: got {self.rate:g}, expected > 0 and <= 1"
            )
        if self.seed is not None:
            object.__setattr__(self, "seed", _check.integer(name, "seed", self.seed, 0))
        if not (np.isfinite(self.deviations).all() and (self.deviations > 0.0).all()):
            raise ValueError(
                f"{name}: `noise` must leave the noise within float64: got {self.noise:g} with "
                f"clips of {self.clip_theta:g}, {self.clip_b:g} and {self.clip_g:g}, expected all "
                "of them nearer to 1"
            )

    @property
    def multipliers(self) -> tuple[float, float, float]:
        of_rates = self.noise * _OF_RATES
        rest = 1.0 - 2.0 / _OF_RATES**2
        return self.noise / math.sqrt(rest), of_rates, of_rates

    @property
    def deviations(self) -> Float64Array:
        of_theta, of_b, of_g = self.multipliers
        clips = np.array([of_b * self.clip_b, of_g * self.clip_g, of_theta * self.clip_theta])
        noise: Float64Array = clips[:, None] * math.sqrt(self.n_parameters) * self._units()
        return noise

    def _units(self) -> Float64Array:
        """An average task's distance, grad_sq and delta, [3, n_parameters]."""
        return np.stack([*self.spread, np.sqrt(2.0 * self.spread[0])])

    # ---- a machine ----

    def _drawn(self, n_tasks: int) -> NDArray[np.bool_]:
        if self.rate == 1.0:
            return super()._drawn(n_tasks)
        words = np.frombuffer(secrets.token_bytes(8 * n_tasks), np.uint64)
        taken: NDArray[np.bool_] = words * 2.0**-64 < self.rate
        return taken

    def _answer(self, round: Round, tasks: Tasks, loss: str, steps: Mapping[str, Any]) -> Reply:
        assert round.rule is not None
        taken = np.flatnonzero(self._drawn(len(tasks)))
        # Where nobody was drawn, what was asked for is checked all the same.
        some = tasks[taken] if len(taken) else tasks[:1]
        run = run_tasks(some, round.phi, round.rule, loss=loss, **steps)
        if not len(taken):
            return Reply._empty(self.n_parameters, round.version)
        return self.clipped(run, round)

    def _sums(self, round: Round, run: TaskRun | TaskStatistics) -> Reply:
        if isinstance(run, TaskRun):
            return self.clipped(run, round)
        if run.n_tasks + run.n_skipped > 1:
            raise ValueError(
                f"Round.reply: `run` must be of one task, which is clipped: got the sums of "
                f"{run.n_tasks + run.n_skipped}, expected a reply to each, added by +"
            )
        if not run.n_tasks:
            return Reply._empty(self.n_parameters, round.version, n_skipped=run.n_skipped)
        one = Reply(run, round.phi, round.version)
        delta, grad_sq = one.delta / one.weight, one.grad_sq
        return self._replied(round, 1, self._blocks(delta[None], grad_sq[None]))

    @np.errstate(all="ignore")
    def clipped(self, run: TaskRun, round: Round) -> Reply:
        """Clips every task on its machine, and sums them into what is sent to the server.

        Nothing is hidden by this alone: whoever sees the reply sees its tasks. `Round.answer` and
        `Round.reply` do it where the round comes from a private server.

        Args:
            run: The tasks, in host memory, that were run from the round's phi by its rule.
            round: The round.

        Returns:
            Their sums, each task with a weight of 1. One that is not finite was left out.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: Sizes do not fit.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Round
            >>> from aruba_fast.privacy import TaskPrivacy
            >>> sent = Round.of(af.MetaLearner(np.zeros(1), learning_rate=0.1), version=5)
            >>> run = af.TaskRun([[1.0], [9.0]], [[1.0], [1.0]])
            >>> privacy = TaskPrivacy(np.full((2, 1), 2.0), noise=1.0, n_tasks=10)
            >>> privacy.clipped(run, sent).delta
            array([3.])
        """
        name = "TaskPrivacy.clipped"
        if not isinstance(run, TaskRun) or not isinstance(run.theta_hat, np.ndarray):
            raise TypeError(
                f"{name}: `run` must be a TaskRun in host memory: got {_check.shown(run)}, "
                "expected af.TaskRun(theta_hat, grad_sq)"
            )
        checked_round(name, round, self.n_parameters)
        n_tasks, n = run.theta_hat.shape
        _check.shape(name, "run", run.theta_hat, (n_tasks, self.n_parameters))
        total = Total(Reply._empty(n, round.version))
        step = max(1, _AT_ONCE // max(n, 1))
        for first in range(0, n_tasks, step):
            part = slice(first, first + step)
            theta, grad_sq = run.theta_hat[part].astype(np.float64), run.grad_sq[part]
            blocks = self._blocks(theta - round.phi, grad_sq.astype(np.float64))
            total.add(self._replied(round, len(theta), blocks))
        return total.reply()

    def _replied(self, round: Round, n_tasks: int, blocks: Float64Array) -> Reply:
        """The sums of clipped tasks, as pairs: the same bits however machines have divided them."""
        n_whole = blocks.shape[1]
        sums = _pairs.times(_pairs.added(blocks.swapaxes(0, 1)), self._units())
        counts, weight = np.array([n_whole, n_tasks - n_whole]), np.array([float(n_whole), 0.0])
        return Reply._of(np.ascontiguousarray(sums.swapaxes(0, 1)), weight, counts, round.version)

    def _blocks(self, delta: Float64Array, grad_sq: Float64Array) -> Float64Array:
        """The clipped v, w and u of the tasks that are finite, [3, n_finite, n_parameters]."""
        u = delta / np.sqrt(2.0 * self.spread[0])
        blocks = np.stack([u * u, grad_sq / self.spread[1], u])
        whole = np.isfinite(blocks).all(axis=(0, 2)) & (grad_sq >= 0.0).all(axis=1)
        blocks = blocks[:, whole]
        most, norms = self._most()[:, None], np.linalg.norm(blocks, axis=2)
        inside: Float64Array = blocks * np.where(norms > most, most / norms, 1.0)[:, :, None]
        return inside

    def _most(self) -> Float64Array:
        """The longest that v, w and u may be."""
        return np.array([self.clip_b, self.clip_g, self.clip_theta]) * math.sqrt(self.n_parameters)

    # ---- the server ----

    def ledger(self) -> Released:
        """What the server adds replies with."""
        return Released(self.n_parameters, self.seed)

    @np.errstate(all="ignore")
    def _unfit(self, reply: Reply) -> str | None:
        sums = sums_of(reply) / self._units()
        lengths, most = np.linalg.norm(sums, axis=1), self._most() * reply.n_tasks
        if (lengths <= _ROUNDED * most).all():
            return None
        worst = int(np.argmax(lengths / most))
        return f"its tasks were not clipped: they add up to {lengths[worst]:g} > {most[worst]:g}"

    def _after(self, learner: MetaLearner) -> "TaskPrivacy":
        spread = spread_of("Server", learner, "one that has learned of a release")
        return replace(self, spread=spread)

    def __repr__(self) -> str:
        return (
            f"TaskPrivacy(n_parameters={self.n_parameters}, noise={self.noise:g}, "
            f"n_tasks={self.n_tasks}, rate={self.rate:g}, clip_theta={self.clip_theta:g}, "
            f"clip_b={self.clip_b:g}, clip_g={self.clip_g:g})"
        )
