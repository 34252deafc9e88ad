"""`first_rate`: where the rates start, found by the same tasks at the rates of a grid."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from .._check import Float64Array
from .._search import N_SMALL, Search
from . import _trees
from ._layout import joined
from .state import MetaState, require_pairs, wide_type
from .statistics import leading, require_precision

__all__ = ["first_rate"]

_NAME = "first_rate"


def first_rate(state: MetaState, run: Callable[[Any], tuple[Any, Any]]) -> MetaState:
    """Finds the first learning rate, by a few tasks at up to 18 rates, and starts with it.

        limit = the rate where the squared gradients of the tasks, each over its own without a
                step, are on the average 3 times those at small rates
        ruin  = likewise, 30 times
        rest  = argmin over the rates below of the integral over log eta of
                -1/2 (sum (theta_hat - phi)^2 / (eta sum grad_sq) - eta)
        rate  = sqrt(rest limit), at least limit / 20, at most ruin / 3; without ruin, rest

    `rest` is where, to first order, the steps of a task neither agree nor turn around. The rates
    are searched by half decades, first steps of 1e-6 to 100 lengths of phi, where phi is zero of
    one; so that loss and parameters may have any unit. Not under `jit`: what `run` does may be.

    Args:
        state: The meta-state, before its first task.
        run: Function of a learning rate, an array of shape (), that runs some tasks from
            `state.phi` at this rate and returns theta_hat and grad_sq as `statistics` takes them.
            The same tasks at every rate: ten or twenty that are like those to come.

    Returns:
        The state that starts with this rate. A state that knows its rate, or has learned from a
        task, is returned as it is, and nothing is run.

    Raises:
        TypeError: An argument, or what `run` returns, is of the wrong type, or traced.
        ValueError: Trees or shapes do not fit, or no task is finite and has a gradient.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> x, y = jnp.array([[3.0, 4.0], [1.0, 2.0]]), jnp.array([1.0, 2.0])
        >>> def run(rate):  # two tasks of two steps down (x . theta - y)^2 / 2
        ...     theta, grad_sq = jnp.zeros((2, 2)), jnp.zeros((2, 2))
        ...     for _ in range(2):
        ...         grad = ((theta * x).sum(1) - y)[:, None] * x
        ...         theta, grad_sq = theta - rate * grad, grad_sq + grad**2
        ...     return theta, grad_sq
        >>> state = aj.first_rate(aj.init(jnp.zeros(2)), run)
        >>> round(float(state.learning_rate[0]), 2)
        0.09

    Source: cpp/rules/meta.h tells why a rate rests where it does; docs/theory.md shows it.
    """
    if not isinstance(state, MetaState):
        raise TypeError(
            f"{_NAME}: `state` must be a MetaState: got {type(state).__name__}, expected a "
            "MetaState"
        )
    if not callable(run):
        raise TypeError(
            f"{_NAME}: `run` must be a function of the learning rate: got {type(run).__name__}, "
            "expected one that returns theta_hat and grad_sq"
        )
    if not _trees.is_concrete(state.n_tasks):
        raise TypeError(
            f"{_NAME}: `state` must hold numbers: got one that is traced, expected a call outside "
            "of `jit`; `run` may be compiled"
        )
    if state.hyper.knows_rate or int(state.n_tasks):
        return state
    rate = _found(_Tasks(state, run))
    dtype = state.layout.dtype
    hyper = replace(state.hyper, learning_rate=float(dtype.type(rate)), function=_NAME)
    require_pairs(_NAME, hyper, dtype)
    rates = jax.device_put(np.full(state.rates.shape, hyper.first_rate(dtype, _NAME)))
    # In memory of their own, as all that a state is made of.
    own: MetaState = jax.tree.map(jnp.copy, state)
    return replace(own, hyper=hyper, rates=rates)


class _Tasks:
    """Tasks of one phi, and what they leave at a rate."""

    def __init__(self, state: MetaState, run: Callable[[Any], tuple[Any, Any]]) -> None:
        self._phi, self._layout, self._run = state.phi, state.layout, run

    def at(self, rate: float) -> tuple[Float64Array, Float64Array]:
        """Returns sum (theta_hat - phi)^2 and sum grad_sq of every task."""
        layout, dtype = self._layout, self._layout.dtype
        with np.errstate(over="ignore", under="ignore"):
            at = jax.device_put(dtype.type(rate))
        with jax.debug_nans(False), jax.debug_infs(False):  # rates that are too large are tried
            result = self._run(at)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TypeError(
                f"{_NAME}: `run` must return theta_hat and grad_sq: got {type(result).__name__}, "
                "expected a pair of trees as `phi`, which lead with [n_tasks]"
            )
        lead = leading(result[0], layout)
        hats = layout.leaves(_NAME, "theta_hat", result[0], "phi", lead)
        squares = layout.leaves(_NAME, "grad_sq", result[1], "phi", lead)
        require_precision(_NAME, "theta_hat", hats, layout)
        require_precision(_NAME, "grad_sq", squares, layout)
        with jax.debug_nans(False), jax.debug_infs(False):
            spread = _sums_of_tasks(jax.tree.leaves(self._phi), hats, squares, wide_type(dtype))
        distance, grad_sq = (np.asarray(part, np.float64) for part in jax.device_get(spread))
        return distance, grad_sq

    def length(self) -> float:
        """Returns |phi|, one where it is zero."""
        leaves = jax.device_get(jax.tree.leaves(self._phi))
        return float(np.sqrt(sum(np.square(leaf, dtype=np.float64).sum() for leaf in leaves))) or 1


def _found(tasks: _Tasks) -> float:
    """Returns the rate that the search ends with."""
    _, start = tasks.at(0.0)
    # Whose gradient at phi is none, or no number, has nothing to tell at other rates.
    among = np.isfinite(start) & (start > 0)
    _require_some(among)
    search = Search(tasks.length() / float(np.sqrt(start[among].mean())), n_passes=1)
    while (found := search.found()) is None:
        assert search.scale is not None
        distance, grad_sq = tasks.at(search.step * search.scale)
        if len(grad_sq) != len(start):
            raise ValueError(
                f"{_NAME}: `run` must run the same tasks at every rate: got {len(grad_sq)} of "
                f"them, expected {len(start)}"
            )
        finite = np.isfinite(distance) & np.isfinite(grad_sq) & (grad_sq >= 0)
        n_rates = search.n_tasks
        if n_rates < N_SMALL:
            among &= finite
        _require_some(among)
        chosen = among & finite
        with np.errstate(over="ignore"):
            grown = np.divide(grad_sq, start, out=np.full(len(start), np.inf), where=chosen)
            search.add(grown[among].mean(), distance[chosen].sum(), grad_sq[chosen].sum())
        _require_some(among & (search.n_tasks > n_rates))
    return found


def _require_some(tasks: Any) -> None:
    if not tasks.any():
        raise ValueError(
            f"{_NAME}: `run` must return a task with a gradient that is finite at small rates: got "
            f"none of {len(tasks)}, expected squared gradients above 0"
        )


@partial(jax.jit, static_argnames="wide")
def _sums_of_tasks(starts: Any, hats: Any, squares: Any, wide: Any) -> tuple[Any, Any]:
    n_lead = hats[0].ndim - starts[0].ndim
    start = joined(starts).astype(wide)
    hat, square = (joined(part, n_lead).astype(wide) for part in (hats, squares))
    hat, square = (part.reshape(-1, start.size) for part in (hat, square))
    return jnp.square(hat - start[None]).sum(1), square.sum(1)
