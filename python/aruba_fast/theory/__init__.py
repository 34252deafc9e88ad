"""Regret and the bounds on it: what ARUBA's guarantees say, computed on a user's own tasks.

`hindsight` measures regret, `bounds` bounds it, `similarity` says how alike tasks are; `scale`,
`initialization`, `simplex` and `full_matrix` learn what the bounds say should be learned, and
`transfer` says what that is worth on tasks not seen yet.
"""

from .bounds import regret_upper_bound
from .full_matrix import FullMatrixLearner
from .hindsight import Hindsight, best_in_hindsight, regret
from .initialization import InitializationExperts, dynamic_regret, dynamic_regret_bound
from .leader import follow_the_leader
from .matrix_run import FullMatrixRun
from .scale import ScaleLearner
from .similarity import task_similarity
from .simplex import SimplexLearner
from .transfer import MetaAverage, TransferRisk, transfer_risk

__all__ = [
    "FullMatrixLearner",
    "FullMatrixRun",
    "Hindsight",
    "InitializationExperts",
    "MetaAverage",
    "ScaleLearner",
    "SimplexLearner",
    "TransferRisk",
    "best_in_hindsight",
    "dynamic_regret",
    "dynamic_regret_bound",
    "follow_the_leader",
    "regret",
    "regret_upper_bound",
    "task_similarity",
    "transfer_risk",
]


def __dir__() -> list[str]:
    """The public names alone."""
    return __all__
