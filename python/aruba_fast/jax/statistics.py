"""`statistics`: what a round of tasks adds to the meta-state, as sums that merge by `+`."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from .. import _check
from .._version import Versioned
from . import _kernels, _trees
from ._layout import Layout, joined
from ._native import by_platform
from ._pairs import Pair, add, total
from ._round import flat_round, pure_sums
from .state import MetaState, shown, wide_type

__all__ = ["TaskStatistics", "merge", "statistics"]


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
    tasks = round_of(name, layout, theta_hat, grad_sq, weights)
    result: TaskStatistics = _summed(start, *tasks, limits, wide_type(layout.dtype))
    return result


def round_of(
    function: str, layout: Layout, theta_hat: Any, grad_sq: Any, weights: Any
) -> tuple[list[Any], list[Any], Any]:
    """Returns the leaves of what tasks leave behind, and their weights, checked."""
    lead = leading(theta_hat, layout)
    hats = layout.leaves(function, "theta_hat", theta_hat, "phi", lead)
    squares = layout.leaves(function, "grad_sq", grad_sq, "phi", lead)
    require_precision(function, "theta_hat", hats, layout)
    require_precision(function, "grad_sq", squares, layout)
    return hats, squares, _weights(function, weights, lead, wide_type(layout.dtype))


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


def _weights(function: str, weights: Any, lead: tuple[int, ...], wide: Any) -> Any:
    if weights is None:
        return jax.device_put(np.ones(lead, wide))
    if not isinstance(weights, jax.Array):
        values = _check.real_array(function, "weights", weights)
        _check.finite(function, "weights", values, at_least=0.0)
        weights = jax.device_put(np.array(values))  # a copy, as in `_trees.array`
    _trees.shapes(function, "weights", [weights], [lead])
    return weights.astype(wide)


@partial(jax.jit, static_argnames="wide")
def _summed(
    starts: Any, hats: Any, squares: Any, weight: Any, limits: Any, wide: Any
) -> TaskStatistics:
    """The sums over all tasks, those that are not finite left out, those beyond the limit less."""
    start = joined(starts)
    rows = flat_round(hats, squares, weight)

    sums = by_platform(partial(pure_sums, wide), partial(_kernels.summed, wide))
    return TaskStatistics(*sums(start, *rows, limits))


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
