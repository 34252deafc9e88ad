"""ARUBA for JAX: an initialization and a learning rate for every weight, as pure functions.

    state = aruba_fast.jax.init(params)                         # nothing to tune
    state = first_rate(state, run)                              # where the rates start
    inner = ogd(state.learning_rate)                            # an optax GradientTransformation
    ...                                                         # theta_hat, grad_sq of every task
    state = apply(state, statistics(state, theta_hat, grad_sq))
    inner = rule(state)                                         # ARUBA++ at meta-test

Everything works on pytrees, under `jit`, `vmap`, `scan`, `grad` and `shard_map`, on every device
that JAX knows. On a CPU and on CUDA the steps and the meta-update are NumPy's kernels, and with
`jax_enable_x64` their bits; elsewhere they are JAX's own operations, within 2 ulp. What is summed
over tasks has float64's precision, also where `jax_enable_x64` is off.
"""

from typing import Any

try:
    import jax as _jax  # noqa: F401
except ModuleNotFoundError:
    raise ImportError(
        "aruba_fast.jax: JAX must be installed: got no module named 'jax', "
        "expected it from pip install 'aruba_fast[jax]'"
    ) from None

from .._deprecated import warn_renamed
from . import _first_rate, _fused, _learners, _rule, meta, state, task
from . import statistics as _statistics  # before its function takes the name
from ._first_rate import *  # noqa: F403
from ._fused import *  # noqa: F403
from ._learners import *  # noqa: F403
from ._rule import *  # noqa: F403
from .meta import *  # noqa: F403
from .state import *  # noqa: F403
from .statistics import *  # noqa: F403
from .task import *  # noqa: F403

_RENAMED = {"Statistics": "TaskStatistics", "WithinTaskState": "OGDState", "within_task": "ogd"}

__all__ = [
    *_first_rate.__all__,
    *_fused.__all__,
    *_learners.__all__,
    *_rule.__all__,
    *meta.__all__,
    *state.__all__,
    *_statistics.__all__,
    *task.__all__,
]


def __getattr__(name: str) -> Any:
    """Finds the names of the version before."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn_renamed(f"aruba_fast.jax.{name}", f"aruba_fast.jax.{_RENAMED[name]}")
    return globals()[_RENAMED[name]]
