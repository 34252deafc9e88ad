"""From the meta-state to NumPy's `MetaLearner` and back: where checkpoints are written and read."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from ..learner import MetaLearner
from ._kernels import tensors
from ._layout import Layout
from ._pairs import Pair
from .state import MetaState, init, no_limit

__all__ = ["from_learners", "to_learners"]

# What `init` is given.
_GIVEN = (
    "learning_rate",
    "zeta",
    "p",
    "decay",
    "isotropic",
    "max_learning_rate",
    "bound",
    "train",
)


def to_learners(state: MetaState) -> tuple[MetaLearner, ...]:
    """Returns NumPy's learners of the same state: one, or one a leaf.

    One a leaf where `isotropic` is "tensor" and `zeta` a number; where it is "auto", the sizes of
    several leaves are the learner's `tensors`. A learner is over the concatenation of the leaves,
    each flattened row by row, in JAX's order of leaves; `save` writes it to a file. Pairs of
    float32 fit into its float64.

    Args:
        state: The meta-state.

    Raises:
        TypeError: `state` is not a MetaState.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> (learner,) = aj.to_learners(aj.init({"a": jnp.ones(2), "b": jnp.zeros(1)}))
        >>> learner.phi
        array([1., 1., 0.], dtype=float32)
    """
    if not isinstance(state, MetaState):
        raise TypeError(
            f"to_learners: `state` must be a MetaState: got {type(state).__name__}, "
            "expected a MetaState"
        )
    wide = {name: _float64(pair) for name, pair in state.masters.items()}
    n, sizes = len(wide["phi"]), state.layout.sizes
    rates = np.asarray(state.rates)
    if state._shared == "tensor":
        rates = np.repeat(rates, sizes)
    limit = float(state.limit)
    flat = {
        "phi_master": wide["phi"],
        "phi": wide["phi"].astype(state.layout.dtype),
        "b": wide["b"],
        "g": wide["g"],
        "rate": np.broadcast_to(rates, (n,)),
        "rho": _rho_or_nan(np.asarray(state.ratios, np.float64)),
    }
    small = {
        "counts": np.array([int(state.n_tasks), int(state.n_skipped)], np.int64),
        "weight": np.array([float(state.weight.high), float(state.weight.low)]),
        "limit": np.full(1, np.inf if limit == float(no_limit(state.limit.dtype)) else limit),
    }
    hyper, blocks = state.hyper, [n]
    if hyper.average_task:
        hyper = replace(hyper, tensors=tensors(sizes, state.isotropic))
    elif state.isotropic == "tensor":
        blocks = sizes
    ends = np.cumsum(blocks)
    result = []
    for size, end in zip(blocks, ends, strict=True):
        if not size:
            continue
        arrays = {name: array[end - size : end].copy() for name, array in flat.items()}
        learner = MetaLearner.__new__(MetaLearner)
        learner._hold(hyper, arrays | {name: a.copy() for name, a in small.items()})
        result.append(learner)
    return tuple(result)


def from_learners(learners: Sequence[MetaLearner], phi: Any) -> MetaState:
    """Returns the meta-state of NumPy's learners, as `MetaLearner.load` reads them.

    The learners of `to_learners` give back the same state, bit for bit. If `jax_enable_x64` is off,
    the 53 binary digits of another learner's b and g become the 48 of a pair. A learner that is
    smoothed over all coordinates together is from now on smoothed leaf by leaf.

    Args:
        learners: One learner, or one for every leaf, as `to_learners` returns them.
        phi: A tree with the structure and shapes of the parameters; its values are not used.

    Raises:
        TypeError: A learner is none, or its type is not that of `phi`.
        ValueError: Sizes or hyperparameters do not fit.

    Example:
        >>> import jax.numpy as jnp, numpy as np, aruba_fast as af, aruba_fast.jax as aj
        >>> learner = af.MetaLearner(np.arange(3.0, dtype=np.float32), learning_rate=0.5, zeta=1.0)
        >>> aj.from_learners([learner], {"a": jnp.ones(2), "b": jnp.zeros(1)}).phi["b"]
        Array([2.], dtype=float32)
    """
    if isinstance(learners, MetaLearner) or not isinstance(learners, Sequence):
        raise TypeError(
            f"from_learners: `learners` must be a list: got {type(learners).__name__}, "
            "expected a list of MetaLearners, as `to_learners` gives"
        )
    learners = list(learners)
    for learner in learners:
        if not isinstance(learner, MetaLearner):
            raise TypeError(
                f"from_learners: `learners` must be MetaLearners: got {type(learner).__name__}, "
                "expected a MetaLearner"
            )
    zeros = jax.tree.map(jnp.zeros_like, phi)
    sizes = Layout.of("from_learners", "phi", zeros).sizes
    isotropic = _isotropic_of(learners, sizes)
    first = learners[0]
    hyper = asdict(first._hyper) | {"isotropic": isotropic}
    like = init(zeros, **{name: hyper[name] for name in _GIVEN})
    if like.layout.dtype != first.phi.dtype:
        raise TypeError(
            f"from_learners: `phi` must have the type of the learners: got {like.layout.dtype}, "
            f"expected {first.phi.dtype}"
        )
    wide = like.ratios.dtype
    limit = float(first._arrays["limit"][0])
    flat = {
        name: np.concatenate([learner._arrays[name] for learner in learners])
        for name in ("phi_master", "b", "g", "rate", "rho")
    }
    rates = flat["rate"]
    if like._shared:
        begins = np.cumsum([0, *sizes])[:-1] if like._shared == "tensor" else [0]
        rates = rates[np.minimum(begins, len(rates) - 1)]
    names = {"phi": "phi_master", "b": "b", "g": "g"}
    high, low = first._arrays["weight"]
    return replace(
        like,
        masters={name: _master(flat[key], wide) for name, key in names.items()},
        rates=jnp.asarray(rates),
        ratios=jnp.asarray(np.where(flat["rho"] >= 0, flat["rho"], -1.0), wide),
        weight=_pair(high, wide, low),
        n_tasks=jnp.asarray(first.n_tasks, like.n_tasks.dtype),
        n_skipped=jnp.asarray(first.n_skipped, like.n_tasks.dtype),
        limit=jnp.asarray(limit, wide) if limit < float(like.limit) else like.limit,
    )


def _isotropic_of(learners: list[MetaLearner], sizes: list[int]) -> bool | str:
    got = [len(learner.phi) for learner in learners]
    whole, tensors = [sum(sizes)], [n for n in sizes if n]
    if not learners or got not in (whole, tensors):
        raise ValueError(
            f"from_learners: `learners` must be of the size of `phi`: got {got}, "
            f"expected {whole} or {tensors}"
        )
    if any(learner._hyper != learners[0]._hyper for learner in learners):
        raise ValueError(
            "from_learners: `learners` must have the same hyperparameters: got different ones, "
            "expected those of one `init`"
        )
    if len(learners) > 1 and not learners[0].isotropic:
        raise ValueError(
            f"from_learners: `learners` must be one, or isotropic: got {len(learners)} with a rate "
            "a coordinate, expected 1"
        )
    own = learners[0]._hyper.tensors
    if own is not None and list(own) != tensors:
        raise ValueError(
            f"from_learners: `phi` must have the leaves of the learner: got sizes {tensors}, "
            f"expected {list(own)}"
        )
    if len(learners) > 1 or (own and learners[0].isotropic):
        return "tensor"
    return learners[0].isotropic


def _rho_or_nan(ratios: Any) -> Any:
    return np.where(ratios < 0, np.nan, ratios)


def _float64(pair: Pair) -> Any:
    high = np.asarray(pair.high, np.float64)
    return high if pair.low is None else high + np.asarray(pair.low, np.float64)


def _master(values: Any, wide: Any) -> Pair:
    """Returns what a state holds of float64 numbers, which within its pairs are float64's."""
    pair = _pair(values, wide)
    return Pair(pair.high, None) if wide == np.float64 else pair


def _pair(values: Any, wide: Any, low: Any = 0.0) -> Pair:
    """Returns the float64 number values + low as a pair."""
    high = (values + low).astype(wide)
    rest = (values - high.astype(np.float64)) + low
    return Pair(jnp.asarray(high), jnp.asarray(np.asarray(rest).astype(wide)))
