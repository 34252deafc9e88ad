"""Meta-learn an initialization and a per-coordinate learning rate from many tasks, fast.

ARUBA (Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019):
`MetaLearner` learns from a stream of tasks where to start and how fast to move every coordinate.
Tasks with linear models are run whole in native code (`Tasks`, `run_tasks`, `meta_train`); for
other models bring gradients to `step`, `aruba_step` and `adagrad_step`.
"""

from typing import TYPE_CHECKING

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
from .rules import EG, OGD, AdaGrad, ArubaPlusPlus
from .run import evaluate, run_tasks
from .statistics import TaskRun, TaskStatistics
from .tasks import Tasks
from .train import History, meta_train

if TYPE_CHECKING:
    from .theory.bounds import regret_upper_bound
    from .theory.full_matrix import FullMatrixLearner, FullMatrixRun
    from .theory.hindsight import Hindsight, best_in_hindsight, regret
    from .theory.initialization import InitializationExperts, dynamic_regret, dynamic_regret_bound
    from .theory.scale import ScaleLearner
    from .theory.similarity import task_similarity
    from .theory.simplex import SimplexLearner
    from .theory.transfer import MetaAverage, TransferRisk, transfer_risk

__all__ = [
    "EG",
    "OGD",
    "AdaGrad",
    "ArubaPlusPlus",
    "CudaError",
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


_THEORY = {
    "FullMatrixLearner": "full_matrix",
    "FullMatrixRun": "full_matrix",
    "Hindsight": "hindsight",
    "InitializationExperts": "initialization",
    "MetaAverage": "transfer",
    "ScaleLearner": "scale",
    "SimplexLearner": "simplex",
    "TransferRisk": "transfer",
    "best_in_hindsight": "hindsight",
    "dynamic_regret": "initialization",
    "dynamic_regret_bound": "initialization",
    "regret": "hindsight",
    "regret_upper_bound": "bounds",
    "task_similarity": "similarity",
    "transfer_risk": "transfer",
}


def __getattr__(name: str) -> object:
    """Looks up what is imported when it is first asked for: the theory, and the version.

    The version's only place is the installed metadata.
    """
    if name in _THEORY:
        from importlib import import_module

        value: object = getattr(import_module(f".theory.{_THEORY[name]}", __name__), name)
        globals()[name] = value
        return value
    if name == "__version__":
        from importlib.metadata import version

        return version("aruba_fast")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
