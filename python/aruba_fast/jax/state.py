"""`MetaState`: what is learned across tasks, as a pytree; `init` makes the first one."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from .. import _check
from .._state import AUTO, Hyperparameters, bound_of_network
from .._version import Versioned
from . import _trees
from ._layout import Layout, joined, spread
from ._pairs import Pair, constant, multiply, rounded, single, within_float64

__all__ = ["MetaState", "init"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["masters", "rates", "ratios", "weight", "n_tasks", "n_skipped", "limit"],
    meta_fields=["hyper", "isotropic", "layout"],
)
@dataclass(frozen=True, eq=False, repr=False)
class MetaState(Versioned):
    """The meta-state: made by `init`, learned by `apply`; a pytree that is never changed.

    Args:
        masters: phi, b and g in float64's precision, where `zeta` is a number b / eps^2 and
            g / zeta^2, as `Pair` of flat vectors over all coordinates, in JAX's order of leaves
            and each leaf row by row.
        rates: The learning rates, flat; [1] or [n_leaves] where one is for all or for a leaf.
        ratios: `rho`, flat; -1 where it is nan.
        weight: Sum of the weights of all rounds, as `Pair`.
        n_tasks: Number of tasks learned from, an integer array.
        n_skipped: Number of tasks left out because they were not finite, an integer array.
        hyper: What `init` was given, checked; with the next two the static part.
        isotropic: False, True or "tensor".
        layout: Structure, shapes and type of the parameters.
        limit: The most that a task may spread before it is shortened; the largest number where
            there is none.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> state = aj.init({"w": jnp.zeros((3, 2))}, learning_rate=0.5)
        >>> state
        MetaState(n_parameters=6, dtype=float32, learning_rate=0.5, n_tasks=0, n_skipped=0)
        >>> state.phi["w"].shape, state.learning_rate["w"].shape
        ((3, 2), (3, 2))
    """

    masters: dict[str, Pair]
    rates: Any
    ratios: Any
    weight: Pair
    n_tasks: Any
    n_skipped: Any
    hyper: Hyperparameters
    isotropic: bool | str
    layout: Layout
    limit: Any = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.limit is None:  # a pickle of before there was one
            object.__setattr__(self, "limit", no_limit(self.weight.high.dtype))

    @property
    def phi(self) -> Any:
        """The initialization, a tree as the parameters, float32 or float64."""
        return self.layout.tree(rounded(self.masters["phi"], self.layout.dtype))

    @property
    def learning_rate(self) -> Any:
        """The learning rates, a tree as `phi`; of shape () where one is for a leaf, or for all.

        Zero as long as the first one is "auto" and not known.
        """
        if self._shared:
            return self.layout.numbers(self.rates)
        return self.layout.tree(self.rates)

    @property
    def b(self) -> Any:
        """Accumulated squared distances, half of them for "blog": a tree of float64 if JAX has it.

        With the smoothing of `zeta`, but without the prior of one average task.
        """
        return self._in_units("b", self.hyper.unit_of_b)

    @property
    def g(self) -> Any:
        """Accumulated squared gradients, as `b`."""
        return self._in_units("g", self.hyper.unit_of_g)

    @property
    def rho(self) -> Any:
        """`MetaLearner.rho` of the last round, as `b`.

        A rate is at rest where it is 2, grows above and falls below; nan without a gradient.
        """
        with jax.debug_nans(False):  # here a nan is the answer
            return self.layout.tree(_with_nan(self.ratios))

    @property
    def _shared(self) -> bool | str:
        """What has one rate in training: True for all, "tensor" for a leaf, or False."""
        return self.hyper.train == "scalar" or self.isotropic

    @property
    def _rate_of_each(self) -> Any:
        """The rate of every coordinate, or one for all, flat."""
        rates = spread(self.rates, self.layout) if self._shared == "tensor" else self.rates
        return rates.astype(self.weight.high.dtype)

    def _in_units(self, name: str, unit: float) -> Any:
        master = full(self.masters[name])
        square = constant(unit * unit, master.high.dtype)
        return self.layout.tree(jax.jit(multiply)(master, square).high)

    def __repr__(self) -> str:
        return (
            f"MetaState(n_parameters={sum(self.layout.sizes)}, dtype={self.layout.dtype}, "
            f"learning_rate={self.hyper.learning_rate}, n_tasks={shown(self.n_tasks)}, "
            f"n_skipped={shown(self.n_skipped)})"
        )


def init(
    phi: Any,
    *,
    learning_rate: float | str = AUTO,
    zeta: float | str = AUTO,
    p: float = 1.0,
    decay: float = 0.0,
    isotropic: bool | str = False,
    max_learning_rate: float | None = None,
    bound: str = AUTO,
    train: str = "learned",
) -> MetaState:
    """Returns the meta-state before the first task; nothing has to be chosen.

        eta = sqrt(b') / sqrt(g'),    b' = b + mean(b) / w,    g' = g + mean(g) / w

    where w is the number of tasks so far and the means are over the coordinates of the leaf: the
    prior is one average task. A leaf that did not move, or had no gradient, has the means of all.
    No task weighs more than ten average ones (`statistics`). `first_rate` finds the first rate.

    With a number for `zeta`, the equations are those of `aruba_fast.MetaLearner` with that number,
    on the concatenation of all parameters: b and g start at eps^2 and zeta^2, eps = learning_rate *
    zeta, so that the first rate is `learning_rate`; a coordinate that never gets a gradient keeps
    it exactly, and no task is shortened.

    Args:
        phi: First parameters: a tree of float32 with bfloat16 and float16, which are learned as
            float32, or of float64.
        learning_rate: First learning rate, > 0; "auto" for that of `first_rate`.
        zeta: "auto" for the prior of one average task; or the smoothing of the squared gradients,
            > 0.
        p: Exponent of the smoothing schedule, >= 0; of no interest where `zeta` is "auto".
        decay: Share of the past that every task discounts, in [0, 1).
        isotropic: False for a rate a coordinate, True for one rate, "tensor" for one a leaf.
        max_learning_rate: Upper limit of the learning rate, > 0, or None.
        bound: "blog" for half of the squared distances in b, "tight" for all of them, which makes
            rates rest where the gradients of a task are uncorrelated. "auto" for "tight" where
            `zeta` is "auto", and "blog" where it is a number.
        train: "learned" for tasks that are trained with a rate for each coordinate, "scalar" for
            one rate, sqrt(sum b) / sqrt(sum g), beside which b and g are learned all the same.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of range, or `phi` holds no coordinate or is not finite.

    Example:
        >>> import jax.numpy as jnp, aruba_fast.jax as aj
        >>> aj.init([jnp.ones(2), jnp.ones(1)], learning_rate=0.5, isotropic=True).learning_rate
        [Array(0.5, dtype=float32), Array(0.5, dtype=float32)]

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    layout = Layout.of("init", "phi", phi)
    dtype = layout.dtype
    leaves = layout.leaves("init", "phi", phi, "phi")
    for leaf in leaves:
        if _trees.is_concrete(leaf):
            _check.finite("init", "phi", np.asarray(leaf, dtype))
    if isinstance(isotropic, str) and isotropic != "tensor":
        raise ValueError(
            f"init: `isotropic` must be known: got {isotropic!r}, expected False, True or 'tensor'"
        )
    one_rate: Any = isotropic == "tensor" or isotropic
    chosen = bound_of_network("init", bound, zeta)
    hyper = Hyperparameters(
        learning_rate, zeta, p, decay, one_rate, max_learning_rate, chosen, train, function="init"
    )
    rate = float(hyper.first_rate(dtype, "init"))
    require_pairs("init", hyper, dtype)
    state: MetaState = _first(leaves, rate, hyper, isotropic, layout, wide_type(dtype))
    return state


# Compiled, so that every array of the state is its own: it can be donated, and shares nothing with
# what the caller has.
@partial(jax.jit, static_argnums=range(1, 6))
def _first(
    leaves: Any,
    rate: float,
    hyper: Hyperparameters,
    isotropic: bool | str,
    layout: Layout,
    wide: np.dtype[Any],
) -> MetaState:
    n = sum(layout.sizes)
    shared = hyper.train == "scalar" or isotropic
    n_rates = {False: n, True: 1, "tensor": len(layout.shapes)}[shared]
    first = 0 if hyper.average_task else 1
    phi = joined([leaf.astype(wide) for leaf in leaves])
    count = jax.dtypes.canonicalize_dtype(int)
    return MetaState(
        masters={
            "phi": kept(single(phi)),
            "b": kept(single(jnp.full(n, first, wide))),
            "g": kept(single(jnp.full(n, first, wide))),
        },
        rates=jnp.full(n_rates, rate, layout.dtype),
        ratios=jnp.full(n, -1, wide),
        weight=Pair(jnp.zeros((), wide), jnp.zeros((), wide)),
        n_tasks=jnp.zeros((), count),
        n_skipped=jnp.zeros((), count),
        hyper=hyper,
        isotropic=isotropic,
        layout=layout,
        limit=no_limit(wide),
    )


@jax.jit
def _with_nan(ratios: Any) -> Any:
    return jnp.where(ratios < 0, jnp.nan, ratios)


def shown(value: Any) -> str:
    """Returns a number for a `repr`; whatever stands in its place must not break one."""
    if isinstance(value, jax.Array) and _trees.is_concrete(value):
        if value.is_deleted():
            return "<deleted>"
        if value.shape == ():
            return str(value) if jnp.issubdtype(value.dtype, jnp.integer) else f"{value.item():g}"
    return str(value)


def wide_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns what sums over tasks are held in: float64, or where JAX has none pairs of float32."""
    has_float64 = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
    return np.dtype(np.float64) if has_float64 else dtype


def full(master: Pair) -> Pair:
    """Returns what a state holds as a pair."""
    return single(master.high) if master.low is None else master


def kept(pair: Pair) -> Pair:
    """Returns what a state holds of a pair: of float64 the high part, rounded as NumPy's is."""
    return Pair(pair.high, None) if pair.high.dtype == np.float64 else within_float64(pair)


def rate_unit(hyper: Hyperparameters) -> float:
    """Returns eps / zeta, what rates are in units of; 1 while that is not known, as NumPy's."""
    given = hyper.knows_rate and not hyper.average_task
    return float(hyper.learning_rate) if given else 1.0


def no_limit(wide: Any) -> Any:
    """Returns a limit that no spread is beyond: not infinity, which `jax_debug_infs` refuses."""
    return jnp.asarray(jnp.finfo(wide).max, wide)


def require_pairs(function: str, hyper: Hyperparameters, dtype: np.dtype[Any]) -> None:
    """Refuses scales whose squares leave no room for the low part of a pair of float32."""
    if wide_type(dtype) == np.float64 or hyper.average_task:
        return
    factors = [(hyper.unit_of_g, "`zeta`")]
    if hyper.knows_rate:
        factors.append((hyper.unit_of_b, "`learning_rate` times `zeta`"))
    for factor, text in factors:
        if not (1e-12 <= factor <= 1e12):
            raise ValueError(
                f"{function}: {text} must have a square within pairs of float32: got {factor}, "
                "expected 1e-12 to 1e12, or jax_enable_x64"
            )
