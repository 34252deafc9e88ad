"""`statistics`: what a round of tasks adds to the meta-state, as sums that merge by `+`."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from .. import _check
from .._version import Versioned
from . import _kernels, _trees
from ._average_task import shortening
from ._devices import everywhere
from ._layout import Layout, joined
from ._native import by_platform
from ._pairs import (
    Pair,
    add,
    fused,
    multiply,
    negative,
    settled,
    single,
    total,
    two_product,
    two_sum,
    where,
)
from .state import MetaState, shown, wide_type

__all__ = ["TaskStatistics", "merge", "statistics"]

# What a task may add, as NumPy's learner has it: from a phi that it leaves behind the next ones can
# still be run. The weights are those whose sums and inverses are numbers.
_MOST = {np.dtype(np.float64): (2.0**900, 2.0**960), np.dtype(np.float32): (np.inf, np.inf)}
_WEIGHTS = {np.dtype(np.float64): (1e-150, 1e150), np.dtype(np.float32): (1e-30, 1e30)}

# Elements that the sums over tasks keep in hand: tasks of few parameters are summed side by side.
_ELEMENTS = 1 << 16


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["distance", "grad_sq", "theta_sum", "weight", "n_tasks", "n_skipped"],
    meta_fields=[],
)
@dataclass(frozen=True, eq=False, repr=False)
class TaskStatistics(Versioned):
    """All that a meta-learner needs to know of a set of tasks, a pytree; `+` merges two sets.

        distance  = sum_k 1/2 (theta_hat_k - phi)^2
        grad_sq   = sum_k (sum of the squared gradients of task k)
        theta_sum = sum_k w_k theta_hat_k,    weight = sum_k w_k

    Every sum is an unevaluated pair of floats, so that parts agree with the whole in any order or
    grouping: float32 pairs to 2^-45, float64 pairs to 1 ulp. Made by `statistics`, all parts for
    the same phi. A `lax.psum` would lose the low parts: gather, and `merge`.

    Args:
        distance: A `Pair` of flat vectors over all coordinates, as `MetaState.masters`.
        grad_sq: As `distance`.
        theta_sum: As `distance`.
        weight: Sum of the weights as `Pair`.
        n_tasks: Number of tasks in the sums, an integer array.
        n_skipped: Number of tasks that were left out because they were not finite.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> part = aj.statistics(jnp.zeros(3), jnp.ones((4, 3)), jnp.ones((4, 3)))
        >>> part + part
        TaskStatistics(n_tasks=8, n_skipped=0, n_parameters=3, weight=8)
        >>> part.distance.high
        Array([2., 2., 2.], dtype=float32)
    """

    distance: Any
    grad_sq: Any
    theta_sum: Any
    weight: Pair
    n_tasks: Any
    n_skipped: Any

    def __repr__(self) -> str:
        shape = np.shape(self.distance.high if isinstance(self.distance, Pair) else ())
        weight = self.weight.high if isinstance(self.weight, Pair) else self.weight
        return (
            f"TaskStatistics(n_tasks={shown(self.n_tasks)}, n_skipped={shown(self.n_skipped)}, "
            f"n_parameters={shape[-1] if shape else 0}, weight={shown(weight)})"
        )

    def __add__(self, other: object) -> "TaskStatistics":
        if not isinstance(other, TaskStatistics):
            return NotImplemented

        result: TaskStatistics = _added(self, other)
        return result

    def __radd__(self, other: object) -> "TaskStatistics":
        # sum() starts from the integer 0
        return self if isinstance(other, int) and other == 0 else NotImplemented


def merge(stacked: TaskStatistics) -> TaskStatistics:
    """Returns the sum of statistics that are stacked, as `vmap` and `lax.all_gather` give them.

    Args:
        stacked: TaskStatistics, every array of which has one more axis, the first.

    Raises:
        TypeError: It is not TaskStatistics.

    Example:
        >>> import jax, jax.numpy as jnp, aruba_fast.jax as aj
        >>> one = jax.vmap(aj.statistics, (None, 0, 0))
        >>> aj.merge(one(jnp.zeros(3), jnp.ones((4, 3)), jnp.ones((4, 3)))).n_tasks
        Array(4, dtype=int32)
    """
    if not isinstance(stacked, TaskStatistics):
        raise TypeError(
            f"merge: `stacked` must be TaskStatistics: got {type(stacked).__name__}, "
            "expected TaskStatistics"
        )

    result: TaskStatistics = _merged(stacked)
    return result


def statistics(phi: Any, theta_hat: Any, grad_sq: Any, weights: Any = None) -> TaskStatistics:
    """Sums a round of tasks, or a single one, into what `apply` needs.

    No task decides the rates of all: how far one spreads, sum_j (theta_hat_j - phi_j)^2 / eta_j +
    eta_j grad_sq_j, may be ten times the mean of the tasks before, as b and g of the state tell it.
    A longer one is shortened to that: theta_hat comes nearer to phi by a factor, and grad_sq is
    multiplied by its square.

    Args:
        phi: Where the tasks started: the `MetaState`; or its `phi`, a tree of float32 or float64,
            which tells no limit, so that no task is shortened.
        theta_hat: Last iterates, a tree of the same type; every leaf leads with [n_tasks], as
            `vmap` gives it, or has the shape of that of `phi` for a single task.
        grad_sq: Sums of squared gradients, as `theta_hat`.
        weights: Weights of the tasks in the mean of `theta_hat`, [n_tasks], finite and >= 0, not
            looked at if they are an array of JAX. None for 1 each (Reptile); the numbers of rows
            for FedAvg. Where all are 0, phi stays. Within 1e-30 and 1e30, with `jax_enable_x64`
            1e-150 and 1e150.

    Returns:
        TaskStatistics. Tasks that are not finite, of an infinite square or spread, of squares below
        0 or of a weight that is out of range, are left out whole, and counted.

    Raises:
        TypeError: A type is wrong.
        ValueError: Trees or shapes do not fit, or a weight is out of range.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> theta_hat = jnp.array([[1.0], [jnp.nan]])
        >>> part = aj.statistics(jnp.zeros(1), theta_hat, jnp.ones((2, 1)))
        >>> part.n_tasks, part.n_skipped
        (Array(1, dtype=int32), Array(1, dtype=int32))
    """
    name = "statistics"
    limits = None
    if isinstance(phi, MetaState):
        if phi.hyper.average_task:
            limits = (phi._rate_of_each, phi.limit)
        phi = phi.phi
    layout = Layout.of(name, "phi", phi)
    start = layout.leaves(name, "phi", phi, "phi")
    require_precision(name, "phi", start, layout)
    lead = leading(theta_hat, layout)
    hats = layout.leaves(name, "theta_hat", theta_hat, "phi", lead)
    squares = layout.leaves(name, "grad_sq", grad_sq, "phi", lead)
    require_precision(name, "theta_hat", hats, layout)
    require_precision(name, "grad_sq", squares, layout)
    wide = wide_type(layout.dtype)
    each = _weights(weights, lead, wide)
    result: TaskStatistics = _summed(start, hats, squares, each, limits, wide)
    return result


def require_precision(function: str, name: str, leaves: list[Any], layout: Layout) -> None:
    """Refuses leaves that are not of the type that is learned."""
    for leaf in leaves:
        if leaf.dtype != layout.dtype:
            raise TypeError(
                f"{function}: `{name}` must have the full precision of what is learned: "
                f"got {leaf.dtype}, expected {layout.dtype}, as `MetaState.phi`"
            )


def leading(theta_hat: Any, layout: Layout) -> tuple[int, ...]:
    """Returns (n_tasks,) of stacked tasks, () of a single one, as the first leaf has it."""
    shape = next((np.shape(leaf) for leaf in jax.tree.leaves(theta_hat)), ())
    return shape[:1] if len(shape) == len(layout.shapes[0]) + 1 else ()


def _weights(weights: Any, lead: tuple[int, ...], wide: Any) -> Any:
    if weights is None:
        return jax.device_put(np.ones(lead, wide))
    if not isinstance(weights, jax.Array):
        values = _check.real_array("statistics", "weights", weights)
        _check.finite("statistics", "weights", values, at_least=0.0)
        weights = jax.device_put(np.array(values))  # a copy, as in `_trees.array`
    _trees.shapes("statistics", "weights", [weights], [lead])
    return weights.astype(wide)


def _terms(
    hat: Any, square: Any, start: Any, weight: Any, by: Any, wide: Any
) -> tuple[Pair, Pair, Pair]:
    """What tasks add: 1/2 (theta_hat - phi)^2, the squares, w theta_hat; exact but for 2^-45."""
    hat, start, weight = hat.astype(wide), start.astype(wide)[None], weight[:, None]
    moved = settled(two_sum(hat, -start))
    squares, weighted = single(square.astype(wide)), two_product(weight, hat)
    if by is not None:
        shorter, factor = (by < 1)[:, None], single(by[:, None])
        at = fused(factor, moved, single(start))
        moved = where(shorter, settled(add(at, negative(single(start)))), moved)
        less = settled(multiply(settled(multiply(factor, factor)), squares))
        squares = where(shorter, less, squares)
        weighted = where(shorter, multiply(single(weight), at), weighted)
    distance = multiply(moved, Pair(moved.high / 2, moved.low / 2))
    return settled(distance), squares, settled(weighted)


@partial(jax.jit, static_argnames="wide")
def _summed(
    starts: Any, hats: Any, squares: Any, weight: Any, limits: Any, wide: Any
) -> TaskStatistics:
    """The sums over all tasks, those that are not finite left out, those beyond the limit less."""
    n_lead = weight.ndim
    start = joined(starts)
    hat, square = (joined(leaves, n_lead) for leaves in (hats, squares))
    hat, square = (part.reshape(-1, start.size) for part in (hat, square))

    def native(*round: Any) -> TaskStatistics:
        pairs = _kernels.summed(wide, *round)
        joint = [Pair(*pairs[k : k + 2]) for k in (0, 2, 4, 6)]
        return TaskStatistics(*joint, *pairs[8:])

    summed = by_platform(partial(_pure_sums, wide=wide), native)
    result: TaskStatistics = summed(start, hat, square, weight.reshape(-1), limits)
    return result


def _pure_sums(
    start: Any, hat: Any, square: Any, weight: Any, limits: Any, *, wide: Any
) -> TaskStatistics:
    n_tasks = len(weight)
    lanes = max(1, min(n_tasks, _ELEMENTS // start.size))

    def rows(values: Any) -> Any:
        # What fills the last row has no weight that is one, and so is left out.
        padding = [(0, -n_tasks % lanes)] + [(0, 0)] * (values.ndim - 1)
        padded = jnp.pad(values, padding, constant_values=-1)
        return padded.reshape(-1, lanes, *values.shape[1:])

    def body(sums: Any, row: Any) -> tuple[Any, Any]:
        hat, square, weight = row
        least, most = _WEIGHTS[wide]
        finite = (weight == 0) | ((weight >= least) & (weight <= most))
        by = None
        if limits is not None:
            ends = (part.astype(wide) for part in (start[None], hat, square))
            by, is_number = shortening(*ends, *limits)
            finite &= is_number
        terms = _terms(hat, square, start, weight, by, wide)
        distance, squares = terms[0].high, terms[1].high
        finite &= (distance <= _MOST[wide][0]).all(1)
        finite &= ((squares >= 0) & (squares <= _MOST[wide][1])).all(1)
        for term in terms:
            finite &= jnp.isfinite(term.high + term.low).all(1)
        zero = single(jnp.zeros(hat.shape, wide))
        chosen = [where(finite[:, None], term, zero) for term in terms]
        return [add(*parts) for parts in zip(sums, chosen, strict=True)], finite

    zero = single(jnp.zeros((lanes, start.size), wide))
    stacked = [rows(v) for v in (hat, square, weight)]
    sums, finite = lax.scan(body, everywhere([zero] * 3, like=stacked), stacked)
    finite = finite.reshape(-1)[:n_tasks]
    weights = total(single(jnp.where(finite, weight, 0)))
    n_kept = finite.sum(dtype=jax.dtypes.canonicalize_dtype(int))
    distance, grad_sq, theta_sum = map(total, sums)
    return TaskStatistics(distance, grad_sq, theta_sum, weights, n_kept, n_tasks - n_kept)


def _is_pair(node: Any) -> bool:
    return isinstance(node, Pair)


@jax.jit
def _added(one: Any, other: Any) -> Any:
    def joint(a: Any, b: Any) -> Any:
        return add(a, b) if _is_pair(a) else a + b

    return jax.tree.map(joint, one, other, is_leaf=_is_pair)


@jax.jit
def _merged(stacked: Any) -> Any:
    def summed(node: Any) -> Any:
        return total(node) if _is_pair(node) else node.sum(0, dtype=node.dtype)

    return jax.tree.map(summed, stacked, is_leaf=_is_pair)
