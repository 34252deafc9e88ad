"""`Reply`: the sums of some tasks as deltas from a numbered phi, and as bytes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _arrays, _check, _core
from .._check import Float64Array, Int64Array
from .._sums import Sums
from ..statistics import TaskStatistics
from . import _bfloat16, _pairs, _wire

FORMS = ("pairs", "float32", "bfloat16")
_KIND = "Reply"


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Reply(Sums):
    """The answer of a machine: sums over tasks that started from one phi, as deltas from it.

        distance = sum_k 1/2 (theta_hat_k - phi)^2
        grad_sq  = sum_k (sum of the squared gradients of task k)
        delta    = sum_k w_k (theta_hat_k - phi),    weight = sum_k w_k

    `version` is the number that the server gave to phi. For the rates, a reply to an older phi is
    worth as much as one to the newest, because distances and squared gradients belong to the tasks.
    Only the step of phi ages: `statistics(phi)` applies it to the current phi, in full, by a share,
    or not at all. Sums are pairs of float64, as in `TaskStatistics`; replies to one version are
    added by `+`, in any order and grouping.

    Args:
        statistics: Sums of the tasks, of `MetaLearner.statistics`, in host memory.
        phi: Where they started, [n_parameters].
        version: Its number, >= 0.

    Attributes:
        sums: distance, grad_sq and delta as pairs, float64 [3, 2, n_parameters], read-only.
        weight_sum: The sum of the weights as a pair, float64 [2], read-only.
        counts: Tasks in the sums, and tasks that were left out, int64 [2], read-only.
        version: The number of phi.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Sizes do not fit, or a value is out of range.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.federated import Reply
        >>> learner = af.MetaLearner(np.ones(2))
        >>> run = af.TaskRun([[2.0, 1.0], [4.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]])
        >>> sent = Reply(learner.statistics(run), learner.phi, version=7).to_bytes("float32")
        >>> reply = Reply.from_bytes(sent)
        >>> reply.version, reply.delta, reply.distance
        (7, array([4., 0.]), array([5., 0.]))
        >>> learner.apply(reply.statistics(learner.phi), meta_step=1.0)
        >>> learner.phi
        array([3., 1.])
    """

    version: int

    @np.errstate(all="ignore")
    def __init__(self, statistics: TaskStatistics, phi: ArrayLike, version: int) -> None:
        if not isinstance(statistics, TaskStatistics):
            raise TypeError(
                f"Reply: `statistics` must be TaskStatistics: got {_check.shown(statistics)}, "
                "expected learner.statistics(run)"
            )
        if not isinstance(statistics.sums, np.ndarray):
            raise TypeError(
                "Reply: `statistics` must live in host memory: got those on "
                f"{statistics.device}, expected statistics.to('cpu')"
            )
        start = _phi_of("Reply", phi, statistics.sums.shape[2])
        number = _check.integer("Reply", "version", version, 0, _wire.MOST_VERSION)
        moved = _pairs.times(_weighed(statistics.weight_sum), -start)
        delta = _pairs.plus(statistics.sums[2], moved)
        if not np.isfinite(delta).all():
            raise ValueError(
                "Reply: `phi` must lie where the tasks started: got one from which they are "
                "further away than float64 can tell, expected the phi of these statistics"
            )
        sums = np.stack([*statistics.sums[:2], delta])
        self._hold(sums, statistics.weight_sum.copy(), statistics.counts.copy(), number)

    def _hold(
        self, sums: Float64Array, weight_sum: Float64Array, counts: Int64Array, version: int
    ) -> None:
        for name, array in (("sums", sums), ("weight_sum", weight_sum), ("counts", counts)):
            object.__setattr__(self, name, _arrays.frozen(array))
        object.__setattr__(self, "version", version)

    @classmethod
    def _of(cls, *parts: Any) -> "Reply":
        reply = object.__new__(cls)
        reply._hold(*parts)
        return reply

    @classmethod
    def _empty(cls, n_parameters: int, version: int, *, n_skipped: int = 0) -> "Reply":
        """That of no task."""
        sums, weight = np.zeros((3, 2, n_parameters)), np.zeros(2)
        return cls._of(sums, weight, np.array([0, n_skipped]), version)

    @property
    def n_parameters(self) -> int:
        """Number of coordinates."""
        return int(self.sums.shape[2])

    @property
    def delta(self) -> Float64Array:
        """Weighted sum of theta_hat - phi, float64 [n_parameters]."""
        return self._rounded(2)

    @np.errstate(all="ignore")
    def statistics(self, phi: ArrayLike, *, share: float = 1.0) -> TaskStatistics:
        """Returns the statistics of tasks that went as far, but from another phi.

        Args:
            phi: The start that is assumed for them: the learner's current phi, [n_parameters].
            share: The part of their weight in the step of phi that counts, in [0, 1]: one for a
                reply in time, less for a late one, zero to learn only rates from it.

        Returns:
            TaskStatistics for `MetaLearner.apply` of a learner at this phi.

        Raises:
            TypeError: An argument is not real.
            ValueError: Sizes do not fit, or a value is out of range.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Reply
            >>> learner = af.MetaLearner(np.zeros(1))
            >>> late = Reply(learner.statistics(af.TaskRun([[2.0]], [[1.0]])), learner.phi, 0)
            >>> told = late.statistics(np.array([10.0]), share=0.5)
            >>> told.theta_sum, told.weight, told.distance
            (array([6.]), 0.5, array([2.]))
        """
        name = "Reply.statistics"
        start = _phi_of(name, phi, self.n_parameters)
        part = np.array(_check.non_negative(name, "share", share))
        if part > 1.0:
            raise ValueError(
                f"{name}: `share` must be at most 1: got {part:g}, expected 1 for a reply in time, "
                "less for a late one"
            )
        weight, delta = self.weight_sum, self.sums[2]
        if part != 1.0:
            weight, delta = _pairs.times(weight, part), _pairs.times(delta, part)
        theta_sum = _pairs.plus(_pairs.times(_weighed(weight), start), delta)
        sums = np.stack([*self.sums[:2], theta_sum])
        return TaskStatistics(sums, weight, self.n_tasks, self.n_skipped)

    def __add__(self, other: object) -> "Reply":
        if not isinstance(other, Reply):
            return NotImplemented
        _check.shape("Reply", "other", other.sums, self.sums.shape)
        if other.version != self.version:
            raise ValueError(
                f"Reply: `other` must be to the same phi: got version {other.version}, expected "
                f"{self.version}; of other versions add reply.statistics(phi)"
            )
        total = Total(self)
        total.add(self)
        total.add(other)
        return total.reply()

    def __repr__(self) -> str:
        return (
            f"Reply(version={self.version}, n_tasks={self.n_tasks}, n_skipped={self.n_skipped}, "
            f"n_parameters={self.n_parameters}, weight={self.weight:g})"
        )

    # ---- bytes ----

    @np.errstate(all="ignore")
    def to_bytes(self, form: str = "pairs", *, seed: int | None = None) -> bytes:
        """Returns the reply as a safetensors file, with a checksum.

        Args:
            form: "pairs", 48 bytes a coordinate: nothing is lost. "float32", 12 bytes: each of the
                three sums is rounded once, by at most 2^-24 of itself. "bfloat16", 6 bytes: each
                is rounded up or down at random, by less than 2^-7 of itself and by nothing in the
                mean, so that the errors of many replies cancel. Numbers below 1e-38 are rounded
                by less than 1e-40, or 1e-45 in float32.
            seed: Of the random rounding; None for one that nobody can guess.

        Raises:
            TypeError: `form` is not text.
            ValueError: `form` is unknown, or a sum is beyond the range of float32, 3.4e38.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> from aruba_fast.federated import Reply
            >>> learner = af.MetaLearner(np.zeros(1000))
            >>> run = af.TaskRun(np.ones((4, 1000)), np.ones((4, 1000)))
            >>> reply = Reply(learner.statistics(run), learner.phi, 0)
            >>> [len(reply.to_bytes(form)) // 1000 for form in ("pairs", "float32", "bfloat16")]
            [48, 12, 6]
        """
        name = "Reply.to_bytes"
        _check.one_of(name, "form", form, FORMS)
        arrays: dict[str, NDArray[Any]] = {"weight": self.weight_sum, "counts": self.counts}
        if form == "pairs":
            arrays["sums"] = self.sums
        else:
            values: Float64Array = self.sums.sum(axis=1)
            if form == "bfloat16":
                values = _bfloat16.rounded(values, np.random.default_rng(seed))
            narrow = values.astype(np.float32)
            if not np.isfinite(narrow).all():
                raise ValueError(
                    f"{name}: `form` must hold the sums: got {form!r} for one of "
                    f"{float(np.abs(values).max()):g}, expected 'pairs'"
                )
            arrays["sums"] = narrow if form == "float32" else _bfloat16.words(values)
        return _wire.written(arrays, {"form": form, "version": self.version}, _KIND)

    @classmethod
    @np.errstate(all="ignore")
    def from_bytes(cls, data: bytes) -> "Reply":
        """Reads what `to_bytes` wrote.

        Args:
            data: The bytes.

        Raises:
            TypeError: `data` is no bytes.
            ValueError: The bytes are damaged, cut off, of a newer version or no reply; the message
                has the reason. Nothing of them was executed: they hold numbers only.

        Example:
            >>> from aruba_fast.federated import Reply
            >>> try:
            ...     Reply.from_bytes(b"no reply")
            ... except ValueError as error:
            ...     print(str(error)[:59])
            Reply.from_bytes: `data` must be what to_bytes wrote: it is
        """
        return _wire.read("Reply.from_bytes", data, _KIND, cls._made)

    @classmethod
    def _made(cls, arrays: dict[str, NDArray[Any]], values: dict[str, Any]) -> "Reply":
        return cls._of(*_checked(arrays, values))


class Total:
    """The sum of replies to one version, added where it is.

    Args:
        like: A reply to that version.
    """

    def __init__(self, like: Reply) -> None:
        self._version = like.version
        parts: tuple[NDArray[Any], ...] = (like.sums, like.weight_sum, like.counts)
        self._sums = tuple(np.zeros(part.shape, part.dtype) for part in parts)

    def add(self, reply: Reply) -> None:
        """Adds one, of the same number of parameters."""
        _core.merge_statistics(self._sums, (reply.sums, reply.weight_sum, reply.counts))

    def reply(self) -> Reply:
        """What was added, as one; nothing is added any more."""
        return Reply._of(*self._sums, self._version)


def _checked(arrays: dict[str, NDArray[Any]], values: dict[str, Any]) -> tuple[Any, ...]:
    """The parts of a reply that was read, if they can be those of one."""
    form = _check.one_of("form", "form", values["form"], FORMS)
    version = _check.integer("version", "version", values["version"], 0, _wire.MOST_VERSION)
    sums, weight, counts = (arrays[name] for name in ("sums", "weight", "counts"))
    wanted = {"pairs": "float64", "float32": "float32", "bfloat16": "uint16"}[form]
    types = [array.dtype.name for array in (sums, weight, counts)]
    if types != [wanted, "float64", "int64"]:
        raise ValueError(f"holds arrays of {', '.join(types)}")
    if form == "pairs":
        # Its checks are those of sums, whatever the third is a sum of.
        told = TaskStatistics(sums, weight, *counts.tolist())
        return told.sums, told.weight_sum, told.counts, version
    narrow: NDArray[Any] = _bfloat16.numbers(sums) if form == "bfloat16" else sums
    if narrow.ndim != 2 or len(narrow) != 3:
        raise ValueError(f"holds sums of {narrow.shape}")
    if not (np.isfinite(narrow).all() and (narrow[:2] >= 0.0).all()):
        raise ValueError("holds sums that are not finite, or squares below zero")
    few = TaskStatistics(np.zeros((3, 2, 1)), weight, *counts.tolist())
    return _pairs.of(narrow), few.weight_sum, few.counts, version


def _phi_of(function: str, phi: ArrayLike, n_parameters: int) -> Float64Array:
    start = _check.float64_array(function, "phi", phi, "[n_parameters]")
    _check.on_host(function, "phi", start)
    _check.shape(function, "phi", start, (n_parameters,))
    _check.finite(function, "phi", start)
    return start


def _weighed(weight: Float64Array) -> Float64Array:
    """A pair of one number as one of vectors of length one."""
    return weight[:, None]
