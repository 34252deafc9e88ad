"""`TaskPrivacy`: how much one task may say, and how much noise hides it."""

import math
from dataclasses import dataclass

import numpy as np

from .. import _check
from .._check import Float64Array
from ..federated import Reply, Round, _pairs
from ..federated._fixed_point import checked_spread, spread_of
from ..learner import MetaLearner
from ..statistics import TaskRun

# The noise of b and of g beside that of all three: they need little of the budget.
_OF_RATES = 8.0 / 1.1
# Numbers of tasks that are clipped at once.
_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False, repr=False)
class TaskPrivacy:
    """Clips every task to a known size, so that noise of a known size hides it.

    A task k is measured against an average one, in three blocks of d coordinates each:

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

    Args:
        spread: What an average task has of the distances, s_b, and of the squared gradients, s_g,
            float64 [2, n_parameters], > 0. It must be known without looking at anybody's data:
            `of` takes it from what was released; before the first release it is a guess.
        noise: The noise of a release over the most that a task can change, z > 0; `noise_for`
            finds it.
        clip_theta: Clip of u in units of an average task, > 0.
        clip_b: Likewise of v.
        clip_g: Likewise of w.

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
        >>> privacy = TaskPrivacy(np.full((2, 4), 0.5), noise=1.1)
        >>> [round(z, 2) for z in privacy.multipliers]
        [1.12, 8.0, 8.0]
        >>> sent = Round.of(af.MetaLearner(np.zeros(4), learning_rate=0.1), version=0)
        >>> far = af.TaskRun(np.full((1, 4), 100.0), np.ones((1, 4)))
        >>> privacy.clipped(far, sent).delta
        array([1., 1., 1., 1.])

    Source: McMahan et al., ICLR 2018, for the clipping of users; McMahan et al., 2018
    (arXiv:1812.06210), for blocks with noise of their own.
    """

    spread: Float64Array
    noise: float
    clip_theta: float = 1.0
    clip_b: float = 1.0
    clip_g: float = 1.0

    @np.errstate(all="ignore")
    def __post_init__(self) -> None:
        name = "TaskPrivacy"
        object.__setattr__(self, "spread", checked_spread(name, self.spread))
        for field in ("noise", "clip_theta", "clip_b", "clip_g"):
            object.__setattr__(self, field, _check.positive(name, field, getattr(self, field)))
        if not (np.isfinite(self.deviations).all() and (self.deviations > 0.0).all()):
            raise ValueError(
                f"{name}: `noise` must leave the noise within float64: got {self.noise:g} with "
                f"clips of {self.clip_theta:g}, {self.clip_b:g} and {self.clip_g:g}, expected all "
                "of them nearer to 1"
            )

    @classmethod
    def of(
        cls,
        learner: MetaLearner,
        noise: float,
        *,
        clip_theta: float = 1.0,
        clip_b: float = 1.0,
        clip_g: float = 1.0,
    ) -> "TaskPrivacy":
        """Takes an average task from what a learner has learned of releases alone.

        Args:
            learner: The server's. It must have learned of nothing but what was released: what it
                knows otherwise would be published by this.
            noise: As the class.
            clip_theta: As the class.
            clip_b: As the class.
            clip_g: As the class.

        Raises:
            TypeError: `learner` is no MetaLearner, or as the class.
            ValueError: It has not learned anything yet, or as the class.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.privacy import TaskPrivacy
            >>> learner = af.MetaLearner(np.zeros(2))
            >>> learner.update(af.TaskRun([[1.0, 3.0]], [[1.0, 1.0]]))
            >>> TaskPrivacy.of(learner, noise=1.1).spread
            array([[3., 7.],
                   [2., 2.]])
        """
        remedy = "TaskPrivacy(spread, ...) with a guess for the first release"
        spread = spread_of("TaskPrivacy.of", learner, remedy)
        return cls(spread, noise, clip_theta, clip_b, clip_g)

    @property
    def multipliers(self) -> tuple[float, float, float]:
        of_rates = self.noise * _OF_RATES
        rest = 1.0 - 2.0 / _OF_RATES**2
        return self.noise / math.sqrt(rest), of_rates, of_rates

    @property
    def deviations(self) -> Float64Array:
        of_theta, of_b, of_g = self.multipliers
        clips = np.array([of_b * self.clip_b, of_g * self.clip_g, of_theta * self.clip_theta])
        noise: Float64Array = clips[:, None] * math.sqrt(self.spread.shape[1]) * self._units()
        return noise

    def _units(self) -> Float64Array:
        """An average task's distance, grad_sq and delta, [3, n_parameters]."""
        return np.stack([*self.spread, np.sqrt(2.0 * self.spread[0])])

    @np.errstate(all="ignore")
    def clipped(self, run: TaskRun, round: Round) -> Reply:
        """Clips every task on its machine, and sums them into what is sent to the server.

        Nothing is hidden by this alone: whoever sees the reply sees its tasks.

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
            >>> TaskPrivacy(np.full((2, 1), 2.0), noise=1.0).clipped(run, sent).delta
            array([3.])
        """
        name = "TaskPrivacy.clipped"
        if not isinstance(run, TaskRun) or not isinstance(run.theta_hat, np.ndarray):
            raise TypeError(
                f"{name}: `run` must be a TaskRun in host memory: got {_check.shown(run)}, "
                "expected af.TaskRun(theta_hat, grad_sq)"
            )
        checked_round(name, round, self.spread.shape[1])
        n_tasks, n = run.theta_hat.shape
        _check.shape(name, "run", run.theta_hat, (n_tasks, self.spread.shape[1]))
        sums, n_whole = np.zeros((3, n)), 0
        step = max(1, _AT_ONCE // max(n, 1))
        for first in range(0, n_tasks, step):
            part = slice(first, first + step)
            theta, grad_sq = run.theta_hat[part].astype(np.float64), run.grad_sq[part]
            blocks = self._blocks(theta - round.phi, grad_sq.astype(np.float64))
            n_whole += blocks.shape[1]
            sums += blocks.sum(axis=1)
        sums *= self._units()
        counts = np.array([n_whole, n_tasks - n_whole])
        weight = np.array([float(n_whole), 0.0])
        return Reply._of(_pairs.of(sums), weight, counts, round.version)

    def _blocks(self, delta: Float64Array, grad_sq: Float64Array) -> Float64Array:
        """The clipped v, w and u of the tasks that are finite, [3, n_finite, n_parameters]."""
        u = delta / np.sqrt(2.0 * self.spread[0])
        blocks = np.stack([u * u, grad_sq / self.spread[1], u])
        whole = np.isfinite(blocks).all(axis=(0, 2)) & (grad_sq >= 0.0).all(axis=1)
        blocks = blocks[:, whole]
        clips = np.array([self.clip_b, self.clip_g, self.clip_theta])[:, None]
        most = clips * math.sqrt(self.spread.shape[1])
        norms = np.linalg.norm(blocks, axis=2)
        inside: Float64Array = blocks * np.where(norms > most, most / norms, 1.0)[:, :, None]
        return inside

    def __repr__(self) -> str:
        return (
            f"TaskPrivacy(n_parameters={self.spread.shape[1]}, noise={self.noise:g}, "
            f"clip_theta={self.clip_theta:g}, clip_b={self.clip_b:g}, clip_g={self.clip_g:g})"
        )


def checked_round(function: str, round: object, n_parameters: int) -> Round:
    if not isinstance(round, Round):
        raise TypeError(
            f"{function}: `round` must be a Round: got {_check.shown(round)}, expected the one "
            "that the server sent"
        )
    _check.shape(function, "round", round.phi, (n_parameters,))
    if round.rule is None:
        raise ValueError(
            f"{function}: `round` must have a first rate: got one that asks machines for it, which "
            "would tell of their data; expected a MetaLearner with a number as `learning_rate`"
        )
    return round
