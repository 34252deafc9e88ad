"""What tasks leave behind: `TaskRun`, the result of a round, and `TaskStatistics`, its sums."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _arrays, _check
from ._check import Float64Array, FloatArray
from ._sums import Sums

# An update with a number for `zeta` adds a term of the smoothing for every task: a second for 2^28.
_MOST_TASKS = 2**32


@dataclass(frozen=True, eq=False, repr=False)
class TaskRun:
    """The results of a round of tasks; the first axis of every field is [n_tasks].

    `run_tasks` returns one. If you run tasks by other means, such as a deep network, make one from
    the first two fields and give it to `MetaLearner.update`.

    Args:
        theta_hat: Last iterate of every task, [n_tasks, n_parameters] float32 or float64.
        grad_sq: Sum of squared gradients of every task, as `theta_hat`.
        theta_bar: Mean of the iterates before every update, as `theta_hat`, or None.
        loss: Sum over the task's steps of the mini-batch's mean loss at the iterate before the
            update, float64 [n_tasks], or None.
        weight: Weight of every task, for FedAvg its number of rows, float64 [n_tasks], or None.

    Raises:
        TypeError: An array is of the wrong type, or lives elsewhere than `theta_hat`.
        ValueError: Shapes do not fit.

    Aliasing: contiguous arrays are referenced, not copied.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> af.TaskRun(np.ones((4, 3)), np.ones((4, 3)))
        TaskRun(n_tasks=4, n_parameters=3, dtype=float64)
    """

    theta_hat: FloatArray
    grad_sq: FloatArray
    theta_bar: FloatArray | None = None
    loss: Float64Array | None = None
    weight: Float64Array | None = None

    def __post_init__(self) -> None:
        axes = "[n_tasks, n_parameters]"
        theta_hat = _check.float_array("TaskRun", "theta_hat", self.theta_hat, axes)
        object.__setattr__(self, "theta_hat", theta_hat)
        for name in ("grad_sq", "theta_bar"):
            value = getattr(self, name)
            if value is None and name == "theta_bar":
                continue
            value = _check.float_array("TaskRun", name, value, axes)
            _check.shape("TaskRun", name, value, theta_hat.shape)
            if value.dtype != theta_hat.dtype:
                raise TypeError(
                    f"TaskRun: `{name}` must have the type of `theta_hat`: got {value.dtype}, "
                    f"expected {theta_hat.dtype}, as {name}.astype(np.{theta_hat.dtype})"
                )
            _check.together("TaskRun", name, value, "theta_hat", theta_hat)
            object.__setattr__(self, name, value)
        for name in ("loss", "weight"):
            value = getattr(self, name)
            if value is not None:
                value = _check.float64_array("TaskRun", name, value, "[n_tasks]")
                _check.shape("TaskRun", name, value, theta_hat.shape[:1])
                _check.together("TaskRun", name, value, "theta_hat", theta_hat)
                object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.theta_hat)

    def __repr__(self) -> str:
        optional = [n for n in ("theta_bar", "loss", "weight") if getattr(self, n) is not None]
        return (
            f"TaskRun(n_tasks={len(self)}, n_parameters={self.theta_hat.shape[1]}, "
            f"dtype={self.theta_hat.dtype}{''.join(f', {n}' for n in optional)}"
            f"{_arrays.shown(self.theta_hat)})"
        )


def checked_weights(
    function: str, run: TaskRun, weights: ArrayLike | None, phi: FloatArray
) -> Float64Array | None:
    """The weights of tasks as float64 where `phi` is; native code looks at all else."""
    _check.together(function, "run", run.theta_hat, "phi", phi)
    if weights is None:
        return None
    if isinstance(weights, str):
        raise TypeError(
            f"{function}: `weights` must be an array: got {_check.shown(weights)}, "
            "expected run.weight for the numbers of rows"
        )
    weights = _check.float64_array(function, "weights", weights, "[n_tasks]")
    if isinstance(weights, np.ndarray) and _arrays.device_of(phi) != "cpu":
        _check.weights(function, "weights", weights)  # on a device nobody could say so any more
        weights = _arrays.moved(weights, phi)
    _check.together(function, "weights", weights, "phi", phi)
    return weights


@dataclass(frozen=True, init=False, eq=False, repr=False)
class TaskStatistics(Sums):
    """All that a meta-learner needs to know about a set of tasks; `+` merges two sets.

        distance  = sum_k 1/2 (theta_hat_k - phi)^2
        grad_sq   = sum_k (sum of the squared gradients of task k)
        theta_sum = sum_k w_k theta_hat_k,    weight = sum_k w_k

    This is what threads, devices and machines exchange. Every sum is carried as an unevaluated
    pair (hi, lo) of float64, so that parts merged in any order or grouping agree with the whole
    within 1 ulp of float64. Made by `MetaLearner.statistics`, all parts for the same `phi`;
    picklable; `sum(parts)` works.

    Args:
        sums: The three sums as pairs, float64 [3, 2, n_parameters], finite, those of distances and
            squared gradients not negative; not copied.
        weight_sum: Sum of the weights as a pair, float64 [2], finite and >= 0; not copied.
        n_tasks: Number of tasks in the sums, at most 2^32: each of them has a term of its own in
            the smoothing.
        n_skipped: Number of tasks that were left out because they were not finite, likewise.

    Attributes:
        counts: `n_tasks` and `n_skipped`, int64 [2], read-only.

    Raises:
        TypeError: An array is not real, or a count not an integer.
        ValueError: A shape is wrong, a value not finite or a count negative.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> learner = af.MetaLearner(np.zeros(3))
        >>> part = learner.statistics(af.TaskRun(np.ones((4, 3)), np.ones((4, 3))))
        >>> part + part
        TaskStatistics(n_tasks=8, n_skipped=0, n_parameters=3, weight=8)
        >>> part.distance
        array([2., 2., 2.])
    """

    def __init__(
        self, sums: ArrayLike, weight_sum: ArrayLike, n_tasks: int, n_skipped: int
    ) -> None:
        name = "TaskStatistics"
        pairs = _check.float64_array(name, "sums", sums, "[3, 2, n_parameters]")
        _check.shape(name, "sums", pairs, (3, 2, pairs.shape[2]))
        _check.finite(name, "sums", pairs)
        for index in (0, 1):
            with np.errstate(over="ignore"):
                total = _arrays.host(pairs)[index].sum(axis=0)
            _check.finite(name, f"sums[{index}]", total, at_least=0.0)
        weight = _check.float64_array(name, "weight_sum", weight_sum, "[2]")
        _check.shape(name, "weight_sum", weight, (2,))
        _check.together(name, "weight_sum", weight, "sums", pairs)
        _check.finite(name, "weight_sum", weight)
        _check.non_negative(name, "weight_sum", float(_arrays.host(weight).sum()))
        counts = np.array(
            [
                _check.integer(name, "n_tasks", n_tasks, 0, _MOST_TASKS),
                _check.integer(name, "n_skipped", n_skipped, 0, _MOST_TASKS),
            ]
        )
        self._hold(pairs, weight, _arrays.moved(counts, pairs))

    def _hold(self, *arrays: NDArray[Any]) -> None:
        for name, array in zip(("sums", "weight_sum", "counts"), arrays, strict=True):
            object.__setattr__(self, name, _arrays.frozen(array))

    @classmethod
    def _of(cls, *arrays: NDArray[Any], **attributes: Any) -> "TaskStatistics":
        """Holds what native code summed; checked again where that waits for no device."""
        result = object.__new__(cls)
        result._hold(*arrays)
        vars(result).update(attributes)
        if isinstance(result.sums, np.ndarray):
            _check.finite("TaskStatistics", "sums", result.sums)
            _check.finite("TaskStatistics", "weight_sum", result.weight_sum)
        return result

    @classmethod
    def _of_round(
        cls, run: TaskRun, phi: FloatArray, weights: Float64Array | None, *limited: NDArray[Any]
    ) -> "TaskStatistics":
        """The sums of tasks that were run from `phi`; `limited`: the rates, and how far they go."""
        into = (
            _arrays.zeros((3, 2, len(phi)), np.float64, phi),
            _arrays.zeros(2, np.float64, phi),
            _arrays.zeros(2, np.int64, phi),
        )
        _arrays.native(phi).add_round(run.theta_hat, run.grad_sq, phi, weights, into, *limited)
        return cls._of(*into)

    def _parts(self) -> tuple[NDArray[Any], ...]:
        """What native code takes and sums up."""
        return self.sums, self.weight_sum, self.counts

    @property
    def device(self) -> str:
        """Where the sums live: "cpu", or "cuda:0" and so on."""
        return _arrays.device_of(self.sums)

    def to(self, device: str) -> "TaskStatistics":
        """Returns a copy on another device, to be sent or merged there.

        Args:
            device: As `MetaLearner.to`.

        Raises:
            TypeError: As `MetaLearner.to`.
            ValueError: As `MetaLearner.to`.
            ImportError: As `MetaLearner.to`.
            CudaError: As `MetaLearner.to`.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> run = af.TaskRun(np.ones((4, 3)), np.ones((4, 3)))
            >>> af.MetaLearner(np.zeros(3)).statistics(run).to("cpu").n_tasks
            4
        """
        arrays = {"sums": self.sums, "weight": self.weight_sum, "counts": self.counts}
        copies = _arrays.all_moved("TaskStatistics.to", arrays, device)
        return type(self)._of(*copies.values(), **self._attributes())

    def _attributes(self) -> dict[str, Any]:
        """What a subclass, or its user, has added to the instance."""
        own = {field.name for field in fields(TaskStatistics)}
        return {name: value for name, value in vars(self).items() if name not in own}

    @property
    def theta_sum(self) -> Float64Array:
        """Weighted sum of the tasks' last iterates, float64 [n_parameters]."""
        return self._rounded(2)

    def __add__(self, other: object) -> "TaskStatistics":
        if not isinstance(other, TaskStatistics):
            return NotImplemented
        _check.shape("TaskStatistics", "other", other.sums, self.sums.shape)
        _check.together("TaskStatistics", "other", other.sums, "self", self.sums)
        merged = tuple(_arrays.owned(part) for part in self._parts())
        _arrays.native(self.sums).merge_statistics(merged, other._parts())
        return TaskStatistics._of(*merged)

    def __reduce__(self) -> tuple[Any, ...]:
        copies = tuple(part.copy() for part in self._parts())
        return type(self)._unpickled, copies, self._attributes()

    @classmethod
    def _unpickled(cls, *arrays: NDArray[Any]) -> "TaskStatistics":
        return cls._of(*map(_arrays.contiguous, arrays))

    def __repr__(self) -> str:
        return (
            f"TaskStatistics(n_tasks={self.n_tasks}, n_skipped={self.n_skipped}, "
            f"n_parameters={self.sums.shape[2]}, weight={self.weight:g}{_arrays.shown(self.sums)})"
        )
