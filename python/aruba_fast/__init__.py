"""Meta-learn an initialization and a per-coordinate learning rate from many tasks, fast.

ARUBA (Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019):
`MetaLearner` learns from a stream of tasks where to start and how fast to move every coordinate.
Tasks with linear models are run whole in native code (`Tasks`, `run_tasks`, `meta_train`); for
other models bring gradients to `step`, `aruba_step` and `adagrad_step`.
"""

from ._core import (
    CudaError,
    adagrad_step,
    aruba_step,
    get_num_threads,
    info,
    set_num_threads,
    step,
)
from .learner import MetaLearner
from .rules import OGD, AdaGrad, ArubaPlusPlus
from .run import evaluate, run_tasks
from .statistics import TaskRun, TaskStatistics
from .tasks import Tasks
from .train import History, meta_train

__all__ = [
    "OGD",
    "AdaGrad",
    "ArubaPlusPlus",
    "CudaError",
    "History",
    "MetaLearner",
    "TaskRun",
    "TaskStatistics",
    "Tasks",
    "adagrad_step",
    "aruba_step",
    "evaluate",
    "get_num_threads",
    "info",
    "meta_train",
    "run_tasks",
    "set_num_threads",
    "step",
]


def __getattr__(name: str) -> str:
    """Looks the version up in the installed metadata, its only place, when it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("aruba_fast")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
