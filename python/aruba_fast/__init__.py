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
    from ._diagnosis import Diagnosis
    from ._divergence import DivergenceWarning
    from ._history import History
    from ._report import show_versions
    from ._step_plan import StepPlan
    from .adaptation import adapt, evaluate
    from .fit import MetaFit, meta_fit
    from .learner import MetaLearner
    from .proximal import Proximal
    from .rules import EG, OGD, AdaGrad, Adam, ArubaPlusPlus
    from .run import run_tasks
    from .statistics import TaskRun, TaskStatistics
    from .tasks import Tasks
    from .train import meta_train

_core.join_process()

__all__ = [
    "EG",
    "OGD",
    "AdaGrad",
    "Adam",
    "ArubaPlusPlus",
    "CudaError",
    "Diagnosis",
    "DivergenceWarning",
    "History",
    "MetaFit",
    "MetaLearner",
    "Proximal",
    "StepPlan",
    "TaskRun",
    "TaskStatistics",
    "Tasks",
    "adagrad_step",
    "adam_step",
    "adapt",
    "aruba_step",
    "evaluate",
    "get_num_threads",
    "info",
    "meta_fit",
    "meta_train",
    "run_tasks",
    "set_num_threads",
    "show_versions",
    "step",
]

# Imported when first asked for: all of them would take a quarter of the time that NumPy takes, and
# a program that only steps needs none.
_HOMES = {
    "EG": "rules",
    "OGD": "rules",
    "AdaGrad": "rules",
    "Adam": "rules",
    "ArubaPlusPlus": "rules",
    "Diagnosis": "_diagnosis",
    "DivergenceWarning": "_divergence",
    "History": "_history",
    "MetaFit": "fit",
    "MetaLearner": "learner",
    "Proximal": "proximal",
    "StepPlan": "_step_plan",
    "TaskRun": "statistics",
    "TaskStatistics": "statistics",
    "Tasks": "tasks",
    "adapt": "adaptation",
    "evaluate": "adaptation",
    "meta_fit": "fit",
    "meta_train": "train",
    "run_tasks": "run",
    "show_versions": "_report",
}


# Packages within, imported likewise; `torch` and `jax` need what their names say, and are imported
# by them.
_PACKAGES = ("datasets", "federated", "theory")
# Those of `theory` that were flat in the version before: still found, with a warning.
_MOVED = (
    "FullMatrixLearner FullMatrixRun Hindsight InitializationExperts MetaAverage ScaleLearner "
    "SimplexLearner TransferRisk best_in_hindsight dynamic_regret dynamic_regret_bound regret "
    "regret_upper_bound task_similarity transfer_risk"
)


def __getattr__(name: str) -> Any:
    """Imports what is asked for; the version is looked up in the metadata, its only place."""
    if name == "__version__":
        from importlib.metadata import version

        return version("aruba_fast")
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if name in _MOVED.split():
        from ._deprecated import warn_renamed

        warn_renamed(f"aruba_fast.{name}", f"aruba_fast.theory.{name}")
        return getattr(import_module(".theory", __name__), name)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, those not imported yet included, and nothing else."""
    return sorted([*__all__, *_PACKAGES, "__version__"])
