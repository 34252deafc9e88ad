"""ARUBA for JAX: an initialization and a learning rate for every weight, as pure functions.

    state = aruba_fast.jax.init(params, learning_rate=0.1)
    inner = within_task(state.learning_rate)                    # an optax GradientTransformation
    ...                                                         # theta_hat, grad_sq of every task
    state = apply(state, statistics(state.phi, theta_hat, grad_sq), meta_step=1.0)
    inner = rule(state, coef=0.1)                               # ARUBA++ at meta-test

Everything works on pytrees, under `jit`, `vmap` and `scan`, on every device that JAX knows. What is
summed over tasks has float64's precision, also where `jax_enable_x64` is off. The native kernels
are not used, and the results are NumPy's within 2 ulp.
"""

try:
    import jax as _jax  # noqa: F401
except ModuleNotFoundError:
    raise ImportError(
        "aruba_fast.jax: JAX must be installed: got no module named 'jax', "
        "expected it from pip install 'aruba_fast[jax]'"
    ) from None

from ._learners import from_learners, to_learners
from .meta import apply, rule
from .state import MetaState, init
from .statistics import Statistics, merge, statistics
from .task import (
    AdamState,
    ArubaPlusPlusState,
    GradientTransformation,
    WithinTaskState,
    adam,
    aruba_plus_plus,
    within_task,
)

__all__ = [
    "AdamState",
    "ArubaPlusPlusState",
    "GradientTransformation",
    "MetaState",
    "Statistics",
    "WithinTaskState",
    "adam",
    "apply",
    "aruba_plus_plus",
    "from_learners",
    "init",
    "merge",
    "rule",
    "statistics",
    "to_learners",
    "within_task",
]
