"""`FixedPoint`: replies as whole numbers that can be added without being seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check
from .._arrays import frozen
from .._check import Float64Array
from ..learner import MetaLearner, check_learner
from . import _pairs
from ._reply import Reply

_RING = 32
# Behind the three sums: the weight, the tasks, and those that were left out.
_NUMBERS = 3


@dataclass(frozen=True, eq=False, repr=False)
class FixedPoint:
    """Replies as words of 32 bits whose sum, modulo 2^32, is the sum of the replies.

    Secure aggregation adds vectors of whole numbers, masked so that nobody sees a single one. A
    client divides its sums by those of an average task, which the server publishes beside phi,
    clips them, and rounds them at random to whole steps, so that the error is zero on average:

        distance / (clip s_b),  grad_sq / (clip s_g)  in [0, 1],
        delta / (most_weight sqrt(2 clip s_b))  in [-1, 1],   weight / most_weight  in [0, 1]

    in steps of 1 / (2^bits - 1). The addition is exact, and no sum of `n_clients` replies
    overflows. The error of a number is less than a step for each reply; in the mean over many
    replies its standard deviation is at most half a step over the root of their number.

    Args:
        spread: The distance s_b and the squared gradients s_g of an average task, float64
            [2, n_parameters], > 0. `of` takes them from a learner.
        n_clients: The largest number of replies that are added.
        bits: Bits of each number, >= 2; n_clients * 2^bits is at most 2^31.
        clip: How many times those of the average task a client's numbers may be, > 0. Clipping
            makes b and g smaller: `encode` says how much of a reply was clipped.
        most_weight: The largest weight of a reply, > 0.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or the sums of so many clients do not fit.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import FixedPoint, Reply
        >>> learner = af.MetaLearner(np.zeros(2))
        >>> learner.update(af.TaskRun([[1.0, 2.0]], [[1.0, 1.0]]), meta_step=0.0)
        >>> form = FixedPoint.of(learner, n_clients=1000)
        >>> replies = [
        ...     Reply(learner.statistics(af.TaskRun([[k, 1.0]], [[1.0, 2.0]])), learner.phi, 3)
        ...     for k in (1.0, 2.0)
        ... ]
        >>> words = [form.encode(reply, seed=k)[0] for k, reply in enumerate(replies)]
        >>> form.decode(words[0] + words[1], version=3).delta.round(3)
        array([3., 2.])

    Source: Bonawitz et al., CCS 2017, for secure aggregation.
    """

    spread: Float64Array
    n_clients: int
    bits: int = 16
    clip: float = 8.0
    most_weight: float = 1.0

    @np.errstate(all="ignore")
    def __post_init__(self) -> None:
        name = "FixedPoint"
        object.__setattr__(self, "spread", checked_spread(name, self.spread))
        clients = _check.integer(name, "n_clients", self.n_clients, 1)
        bits = _check.integer(name, "bits", self.bits, 2, _RING - 1)
        if clients << bits > 1 << (_RING - 1):
            most = (_RING - 1) - (clients - 1).bit_length()
            raise ValueError(
                f"{name}: `bits` must leave room for the sum of {clients} clients in {_RING} bits: "
                f"got {bits}, expected at most {most}"
            )
        for field in ("clip", "most_weight"):
            object.__setattr__(self, field, _check.positive(name, field, getattr(self, field)))
        steps, sums = self.step, clients * self._most()
        if not (np.isfinite(sums).all() and (steps > 0.0).all()):
            raise ValueError(
                f"{name}: `clip` must leave all steps and sums within float64: got {self.clip:g} "
                f"with a `most_weight` of {self.most_weight:g}, expected them nearer to 1"
            )

    @classmethod
    @np.errstate(all="ignore")
    def of(
        cls,
        learner: MetaLearner,
        n_clients: int,
        *,
        bits: int = 16,
        clip: float = 8.0,
        most_weight: float = 1.0,
    ) -> "FixedPoint":
        """Takes the average task from a learner.

        Args:
            learner: The server's learner, which has learned from at least one task.
            n_clients: As the class.
            bits: As the class.
            clip: As the class.
            most_weight: As the class.

        Raises:
            TypeError: `learner` is no MetaLearner.
            ValueError: It has not learned anything yet, or as the class.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import FixedPoint
            >>> learner = af.MetaLearner(np.zeros(2))
            >>> learner.update(af.TaskRun([[1.0, 3.0]], [[1.0, 1.0]]))
            >>> FixedPoint.of(learner, n_clients=100).spread
            array([[3., 7.],
                   [2., 2.]])
        """
        name = "FixedPoint.of"
        remedy = "distances and squared gradients, of a first round whose replies come otherwise"
        return cls(spread_of(name, learner, remedy), n_clients, bits, clip, most_weight)

    @property
    def n_words(self) -> int:
        """Length of what `encode` returns."""
        return int(3 * self.spread.shape[1] + _NUMBERS)

    @property
    def step(self) -> Float64Array:
        """The distance between two numbers of distance, grad_sq, delta: [3, n_parameters]."""
        return self._most() / self._top

    @property
    def _top(self) -> int:
        return (1 << self.bits) - 1

    def _most(self) -> Float64Array:
        """The largest distance, grad_sq, delta that a reply may have."""
        of_delta = self.most_weight * np.sqrt(2.0 * self.clip * self.spread[0])
        return np.stack([*(self.clip * self.spread), of_delta])

    @np.errstate(all="ignore")
    def encode(self, reply: Reply, *, seed: int | None = None) -> tuple[NDArray[np.uint32], float]:
        """Returns a reply as words, and the share of its numbers that were clipped.

        Args:
            reply: The reply.
            seed: Of the random rounding; None for one that nobody can guess.

        Returns:
            `(words, clipped)`: uint32 [n_words], to be added modulo 2^32, and a share in [0, 1].

        Raises:
            TypeError: `reply` is no Reply.
            ValueError: Sizes do not fit, or its weight is above `most_weight`.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import FixedPoint, Reply
            >>> learner = af.MetaLearner(np.zeros(1))
            >>> form = FixedPoint(np.ones((2, 1)), n_clients=2, bits=2, clip=3.0)
            >>> run = af.TaskRun([[2.0]], [[9.0]])
            >>> form.encode(Reply(learner.statistics(run), learner.phi, 0), seed=0)
            (array([2, 3, 2, 3, 1, 0], dtype=uint32), 0.333...)
        """
        name = "FixedPoint.encode"
        if not isinstance(reply, Reply):
            raise TypeError(f"{name}: `reply` must be a Reply: got {_check.shown(reply)}")
        _check.shape(name, "reply", reply.sums, (3, 2, self.spread.shape[1]))
        if reply.weight > self.most_weight:
            raise ValueError(
                f"{name}: `reply` must weigh at most {self.most_weight:g}: got {reply.weight:g}, "
                "expected a form with a larger `most_weight`"
            )
        sums = np.stack([reply.distance, reply.grad_sq, reply.delta])
        ratios = sums / self._most()
        inside = np.clip(ratios, -1.0, 1.0)
        values = np.append(inside.ravel(), reply.weight / self.most_weight) * self._top
        steps = np.floor(values + np.random.default_rng(seed).random(values.shape))
        # A number that is whole stays, whatever the last digit of the random one.
        steps = np.clip(steps, -self._top, self._top).astype(np.int64)
        words = np.concatenate([steps, reply.counts]).astype(np.uint32)
        return words, float((inside != ratios).mean())

    @np.errstate(all="ignore")
    def decode(self, total: NDArray[np.uint32], version: int) -> Reply:
        """Returns the sum of the replies whose words were added.

        Args:
            total: The sum of their words modulo 2^32, uint32 [n_words].
            version: The number of the phi that they all started from.

        Raises:
            TypeError: `total` is not uint32.
            ValueError: It has another size, or cannot be the sum of replies.

        Example:
            >>> import numpy as np
            >>> from aruba_fast.federated import FixedPoint
            >>> form = FixedPoint(np.ones((2, 1)), n_clients=2, bits=2, clip=3.0)
            >>> form.decode(np.array([2, 3, 3, 3, 1, 0], np.uint32), version=0)
            Reply(version=0, n_tasks=1, n_skipped=0, n_parameters=1, weight=1)
        """
        name = "FixedPoint.decode"
        words = _check.array(name, "total", total)
        if words.dtype != np.uint32:
            raise TypeError(f"{name}: `total` must be uint32: got {words.dtype}")
        _check.shape(name, "total", words, (self.n_words,))
        number = _check.integer(name, "version", version, 0)
        steps = words.astype(np.int32).astype(np.float64)
        n = self.spread.shape[1]
        sums = steps[: 3 * n].reshape(3, n) * self.step
        weight = steps[3 * n] * (self.most_weight / self._top)
        counts = steps[-2:]
        if (sums[:2] < 0).any() or weight < 0 or (counts < 0).any():
            raise ValueError(
                f"{name}: `total` must be a sum of replies: got a negative sum of squares, "
                "expected the words of at most n_clients replies, their masks taken off"
            )
        return Reply._of(_pairs.of(sums), np.array([weight, 0.0]), counts.astype(np.int64), number)

    def __repr__(self) -> str:
        return (
            f"FixedPoint(n_parameters={self.spread.shape[1]}, n_clients={self.n_clients}, "
            f"bits={self.bits}, clip={self.clip:g}, most_weight={self.most_weight:g})"
        )


def checked_spread(function: str, value: ArrayLike) -> Float64Array:
    """What an average task has, [2, n_parameters], as its user gave it; a copy."""
    spread = _check.float64_array(function, "spread", value, "[2, n_parameters]")
    _check.on_host(function, "spread", spread)
    _check.shape(function, "spread", spread, (2, spread.shape[1]))
    _check.finite(function, "spread", spread, above=0.0)
    copy: Float64Array = frozen(spread.copy())
    return copy


def spread_of(function: str, learner: MetaLearner, remedy: str) -> Float64Array:
    """The distances and squared gradients of an average task, [2, n_parameters], all above zero."""
    check_learner(function, learner, "the server's")
    tasks = learner.n_tasks
    b, g = (np.asarray(values, np.float64) for values in (learner.b, learner.g))
    if not (tasks and b.any() and g.any()):
        raise ValueError(
            f"{function}: `learner` must know an average task: got one of {tasks} tasks, expected "
            f"{remedy}"
        )
    # With the prior of one average task, as the rates have it: no scale is zero.
    return np.array([(total + total.mean() / tasks) / tasks for total in (b, g)])
