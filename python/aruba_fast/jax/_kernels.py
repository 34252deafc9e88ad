"""Calls of the kernels: a tree, a round or a state as vectors, and what they write as it was."""

import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from . import _native
from ._pairs import Pair
from .state import MetaState, rate_unit

# Arrays of a leaf that a step reads and writes; an update has its rest beside them.
_STEP, _UPDATE = (4, 2), (5, 3)


def stepped(
    grads: list[Any],
    sums: list[Any],
    theta: list[Any],
    rest: list[Any] | None,
    first: list[Any],
    coef: Any = None,
    *,
    device: Any,
) -> tuple[list[Any], ...]:
    """Steps all leaves in one sweep; by ARUBA++ where there is a `coef`.

    Returns the next parameters and sums of every leaf; or, with the rests, what has to be added to
    the parameters, the sums and the next rests.
    """
    n_given, n_made = _STEP if rest is None else _UPDATE
    if not sums:
        return tuple([] for _ in range(n_made))
    operands: list[Any] = []
    for number, total in enumerate(sums):
        grad = grads[number]
        if grad.dtype.itemsize > 2 or total.dtype != np.float32:
            grad = grad.astype(total.dtype)
        leaf = [grad, total, theta[number], *([] if rest is None else [rest[number]])]
        operands += [*leaf, first[number].astype(total.dtype)]
    # Sums and rests, or parameters and sums, where they were.
    places = ((1, 1), (2, 0)) if rest is None else ((1, 1), (3, 2))
    aliases = {
        number * n_given + old: number * n_made + new
        for number in range(len(sums))
        for old, new in places
    }
    whole = [k for k in range(len(operands)) if k % n_given != n_given - 1]
    if coef is not None:
        operands.append(coef.astype(max(total.dtype for total in sums)))
    shapes = [total.shape for total in sums for _ in range(n_made)]
    results = [
        jax.ShapeDtypeStruct((total.size,), total.dtype) for total in sums for _ in range(n_made)
    ]
    found = _native.call(
        "step",
        results,
        [operand.reshape(-1) for operand in operands],
        device=device,
        whole=whole,
        aliases=aliases,
        aruba=coef is not None,
        moves=rest is not None,
    )
    leaves = [one.reshape(shape) for one, shape in zip(found, shapes, strict=True)]
    return tuple(leaves[k::n_made] for k in range(n_made))


def summed(
    wide: np.dtype[Any], start: Any, hat: Any, square: Any, weight: Any, limits: Any, *, device: Any
) -> tuple[Any, ...]:
    """The fields of TaskStatistics, of tasks [n_tasks, n]."""
    operands = [start, hat.reshape(-1), square.reshape(-1), weight]
    if limits is not None:
        rates, limit = limits
        operands += [jnp.broadcast_to(rates.astype(start.dtype), start.shape), limit.reshape(1)]
    count = jax.dtypes.canonicalize_dtype(int)
    results = [jax.ShapeDtypeStruct(start.shape, wide)] * 6
    results += [jax.ShapeDtypeStruct((1,), kind) for kind in (wide, wide, count, count)]
    scratch = device.sum_bytes(*hat.shape) if device else 0
    found = _native.call("statistics", results, operands, device=device, scratch=scratch)
    found[6:] = [one.reshape(()) for one in found[6:]]
    return *(Pair(*found[k : k + 2]) for k in (0, 2, 4, 6)), *found[8:]


def can_learn(state: MetaState) -> bool:
    """Whether one native learner has the equations of this state."""
    if not state.hyper.average_task:
        return state.isotropic != "tensor"
    return state._shared != "tensor" or all(state.layout.sizes)


def learned(
    state: MetaState, round: Any, meta_step: Pair | None, *, of_tasks: bool, device: Any
) -> MetaState:
    """The state after a round, in the memory of that before.

    The round is TaskStatistics; or, `of_tasks`, theta_hat, grad_sq and the weights.
    """
    hyper, layout = state.hyper, state.layout
    leaves, structure = jax.tree.flatten(state)
    n = sum(layout.sizes)
    if hyper.average_task:
        hyper = replace(hyper, tensors=tensors(layout.sizes, state.isotropic))
    given = hyper.native()
    cap = given.pop("max_learning_rate")
    times = n if state._shared or hyper.average_task else 1
    room = float(np.finfo(np.float32).max) / 4 / times
    units = {"b": rate_unit(state.hyper) * hyper.unit_of_g, "g": hyper.unit_of_g}
    attributes: dict[str, Any] = {
        key: value if isinstance(value, bool) else np.float64(value) for key, value in given.items()
    }
    operands = [*leaves, *jax.tree.leaves(round), *(meta_step or ())]
    table = hyper.table(n, training=True).ravel()
    scratch = 0
    if device:
        # In the device's memory, too, where without float64 there are no integers of 64 bits.
        operands.append(jnp.asarray(np.ascontiguousarray(table).view(np.uint32)))
        scratch = device.learn_bytes(
            n=n,
            n_rates=state.rates.size,
            rates_are_double=state.rates.dtype == np.float64,
            is_double=state.weight.high.dtype == np.float64,
            average_task=hyper.average_task,
            n_tensors=len(table) // 2 - 1,
            n_pieces=int(table[-1]),
            n_tasks=round[2].size if of_tasks else -1,
        )
    found = _native.call(
        "learn",
        [jax.ShapeDtypeStruct((leaf.size,), leaf.dtype) for leaf in leaves],
        [operand.reshape(-1) for operand in operands],
        device=device,
        scratch=scratch,
        aliases={number: number for number in range(len(leaves))},
        of_tasks=of_tasks,
        max_learning_rate=np.float64(math.inf if cap is None else cap),
        most_b=np.float64(room / max(1.0, units["b"] ** 2)),
        most_g=np.float64(room / max(1.0, units["g"] ** 2)),
        least=np.float64(0.0 if hyper.average_task else np.finfo(np.float32).tiny),
        table=table,
        **attributes,
    )
    shaped = [one.reshape(leaf.shape) for one, leaf in zip(found, leaves, strict=True)]
    after: MetaState = structure.unflatten(shaped)
    return after


def tensors(sizes: list[int], isotropic: bool | str) -> tuple[int, ...] | None:
    """The parts that have a prior each, where that is not one for all."""
    found = tuple(size for size in sizes if size)
    return None if isotropic is True or len(found) == 1 else found
