"""Meta-learn an initialization and a per-coordinate learning rate from many tasks, fast.

ARUBA (Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019):
`MetaLearner` learns from a stream of tasks where to start and how fast to move every coordinate.
Tasks with linear models are run whole in native code (`Tasks`, `run_tasks`, `meta_train`); for
other models bring gradients to `step`, `aruba_step` and `adagrad_step`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _core
from ._core import CudaError, get_num_threads, info, set_num_threads
from .steps import adagrad_step, adam_step, aruba_step, step

if TYPE_CHECKING:
    from ._divergence import DivergenceWarning
    from .learner import MetaLearner
    from .rules import EG, OGD, AdaGrad, Adam, ArubaPlusPlus
    from .run import evaluate, run_tasks
    from .statistics import TaskRun, TaskStatistics
    from .tasks import Tasks
    from .theory.bounds import regret_upper_bound
    from .theory.full_matrix import FullMatrixLearner
    from .theory.hindsight import Hindsight, best_in_hindsight, regret
    from .theory.initialization import InitializationExperts, dynamic_regret, dynamic_regret_bound
    from .theory.matrix_run import FullMatrixRun
    from .theory.scale import ScaleLearner
    from .theory.similarity import task_similarity
    from .theory.simplex import SimplexLearner
    from .theory.transfer import MetaAverage, TransferRisk, transfer_risk
    from .train import History, meta_train

_core.join_process()

__all__ = [
    "EG",
    "OGD",
    "AdaGrad",
    "Adam",
    "ArubaPlusPlus",
    "CudaError",
    "DivergenceWarning",
    "FullMatrixLearner",
    "FullMatrixRun",
    "Hindsight",
    "History",
    "InitializationExperts",
    "MetaAverage",
    "MetaLearner",
    "ScaleLearner",
    "SimplexLearner",
    "TaskRun",
    "TaskStatistics",
    "Tasks",
    "TransferRisk",
    "adagrad_step",
    "adam_step",
    "aruba_step",
    "best_in_hindsight",
    "dynamic_regret",
    "dynamic_regret_bound",
    "evaluate",
    "get_num_threads",
    "info",
    "meta_train",
    "regret",
    "regret_upper_bound",
    "run_tasks",
    "set_num_threads",
    "step",
    "task_similarity",
    "transfer_risk",
]

# Imported when first asked for: all of them would take a quarter of the time that NumPy takes, and
# a program that only steps needs none.
_HOMES = {
    "EG": "rules",
    "OGD": "rules",
    "AdaGrad": "rules",
    "Adam": "rules",
    "ArubaPlusPlus": "rules",
    "DivergenceWarning": "_divergence",
    "FullMatrixLearner": "theory.full_matrix",
    "FullMatrixRun": "theory.matrix_run",
    "Hindsight": "theory.hindsight",
    "History": "train",
    "InitializationExperts": "theory.initialization",
    "MetaAverage": "theory.transfer",
    "MetaLearner": "learner",
    "ScaleLearner": "theory.scale",
    "SimplexLearner": "theory.simplex",
    "TaskRun": "statistics",
    "TaskStatistics": "statistics",
    "Tasks": "tasks",
    "TransferRisk": "theory.transfer",
    "best_in_hindsight": "theory.hindsight",
    "dynamic_regret": "theory.initialization",
    "dynamic_regret_bound": "theory.initialization",
    "evaluate": "run",
    "meta_train": "train",
    "regret": "theory.hindsight",
    "regret_upper_bound": "theory.bounds",
    "run_tasks": "run",
    "task_similarity": "theory.similarity",
    "transfer_risk": "theory.transfer",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for; the version is looked up in the metadata, its only place."""
    if name == "__version__":
        from importlib.metadata import version

        return version("aruba_fast")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, those not imported yet included."""
    return sorted({*globals(), *__all__, "__version__"})
