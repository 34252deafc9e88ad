"""What a user sends in pfl: a `Reply`, or the answers to the question for the first rate."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pfl.internal.ops.selector import get_default_framework_module
from pfl.stats import TrainingStatistics, WeightedStatistics

from .. import _check
from ..federated import FirstRate, Reply, _pairs


class ArubaStatistics(WeightedStatistics):
    """The sums of some users as statistics of pfl.

    They are added by `+` like replies: sums are pairs, and nothing is lost. Weights act on the step
    of phi only. `reweight`, and so pfl's `WeightByUser` and `WeightByDatapoints`, do not change the
    squared distances and gradients, which are plain sums over users. As vectors (`get_weights`)
    they are rounded to float64 once, by at most 2^-53 of each.

    Args:
        reply: The reply of the users.

    Raises:
        TypeError: `reply` is no Reply.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Round
        >>> from aruba_fast.pfl import ArubaStatistics
        >>> sent = Round.of(af.MetaLearner(np.zeros(2), learning_rate=0.5), version=0)
        >>> user = ArubaStatistics(sent.reply(af.TaskRun([[2.0, 1.0]], [[1.0, 1.0]])))
        >>> user.reweight(3.0)
        >>> user.weight, user.reply.delta, user.reply.distance
        (3.0, array([6., 3.]), array([2. , 0.5]))

    Source: pfl, https://github.com/apple/pfl-research.
    """

    def __init__(self, reply: Reply) -> None:
        if not isinstance(reply, Reply):
            raise TypeError(
                f"ArubaStatistics: `reply` must be a Reply: got {_check.shown(reply)}, expected "
                "what Round.reply or Round.answer returned"
            )
        self.reply = reply

    @property
    def told(self) -> tuple[Reply]:
        """What a server receives."""
        return (self.reply,)

    @property
    def weight(self) -> float:
        """Sum of the weights of the users."""
        return self.reply.weight

    @property
    def num_parameters(self) -> int:
        """Numbers in the vectors: three for each coordinate."""
        return 3 * self.reply.n_parameters

    def reweight(self, new_weight: float) -> None:
        """Scales the step of phi, as if the users' mean had another weight.

        Args:
            new_weight: The new sum of the weights, >= 0; without effect if the sum is zero.

        Raises:
            TypeError: `new_weight` is no number.
            ValueError: It is negative, or beyond what float64 holds of the step. Nothing is
                changed.
        """
        name = "ArubaStatistics.reweight"
        new = _check.non_negative(name, "new_weight", new_weight)
        _, _, counts, version = self._parts()
        if self.weight > 0.0:
            sums = self.reply.sums.copy()
            with np.errstate(all="ignore"):
                sums[2] = _pairs.times(sums[2], np.array(new / self.weight))
            if not np.isfinite(sums[2]).all():
                raise ValueError(
                    f"{name}: `new_weight` must be moderate: got {new:g} after {self.weight:g}, "
                    "expected the size of a data set, say"
                )
            weight = np.array([new, 0.0])
            self.reply = Reply._of(sums, weight, counts, version)

    def __add__(self, other: object) -> "ArubaStatistics":
        if not isinstance(other, ArubaStatistics):
            return NotImplemented
        return ArubaStatistics(self.reply + other.reply)

    def __repr__(self) -> str:
        return f"ArubaStatistics({self.reply!r})"

    def apply_elementwise(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As pfl has it; a clone keeps every bit."""
        if fn is get_default_framework_module().clone:
            return ArubaStatistics(self.reply)
        return super().apply_elementwise(fn, *args, **kwargs)

    def get_weights(self) -> tuple[Any, list[Any]]:
        """Returns weight and counts, and the three sums, as float64 vectors of pfl's framework."""
        tensor = get_default_framework_module().to_tensor
        _, weight, counts, _ = self._parts()
        vectors = self.reply.sums.sum(axis=1)
        known = [*weight, *counts]
        return tensor(known, "float64"), [tensor(vector, "float64") for vector in vectors]

    def from_weights(self, metadata: Any, weights: list[Any]) -> "ArubaStatistics":
        """Makes statistics of vectors; squares that noise has made negative are zero.

        Raises:
            TypeError: They are no vectors of numbers.
            ValueError: They are not of these statistics' sizes, or a count is not one.
        """
        name = "ArubaStatistics.from_weights"
        known = _check.real_array(name, "metadata", metadata).astype(np.float64)
        _check.shape(name, "metadata", known, (4,))
        _check.finite(name, "metadata", known)
        if not isinstance(weights, (list, tuple)) or len(weights) != 3:
            raise TypeError(
                f"{name}: `weights` must be three vectors: got {_check.shown(weights)}, expected "
                "those of get_weights"
            )
        vectors = [_check.real_array(name, "weights", vector) for vector in weights]
        for vector in vectors:
            _check.shape(name, "weights", vector, (self.reply.n_parameters,))
        sums = np.array(vectors, np.float64)
        np.maximum(sums[:2], 0.0, out=sums[:2])
        counts = np.rint(known[2:]).astype(np.int64)
        return ArubaStatistics(
            Reply._of(_pairs.of(sums), known[:2].copy(), counts, self.reply.version)
        )

    def _parts(self) -> tuple[Any, ...]:
        reply = self.reply
        return reply.sums, reply.weight_sum, reply.counts, reply.version


class FirstRates(TrainingStatistics):
    """What users answer in the first round of a learner that does not know its first rate."""

    def __init__(self, *told: FirstRate) -> None:
        self.told = told

    @property
    def num_parameters(self) -> int:
        """One: the rate."""
        return 1

    def reweight(self, new_weight: float) -> None:
        """Nothing: a rate that rows allow has no weight."""

    def __add__(self, other: object) -> "FirstRates":
        if not isinstance(other, FirstRates):
            return NotImplemented
        return FirstRates(*self.told, *other.told)

    def __repr__(self) -> str:
        return f"FirstRates{self.told!r}"

    def apply_elementwise(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A clone, and nothing else."""
        if fn is get_default_framework_module().clone:
            return self
        return super().apply_elementwise(fn, *args, **kwargs)

    def get_weights(self) -> tuple[Any, list[Any]]:
        """Refuses: the least rate and the median are no sums."""
        raise TypeError(
            "ArubaAlgorithm: the first rate must be known where statistics are made vectors, as by "
            "privacy and several processes: got learning_rate='auto', expected a number"
        )

    def from_weights(self, metadata: Any, weights: list[Any]) -> "FirstRates":
        """Refuses, as `get_weights`."""
        del metadata, weights
        return FirstRates(*self.get_weights()[1])


def statistics_of(told: Reply | FirstRate | None) -> TrainingStatistics | None:
    """What one user, or a whole cohort, has told; None where nobody had any rows."""
    if told is None:
        return None
    return ArubaStatistics(told) if isinstance(told, Reply) else FirstRates(told)
