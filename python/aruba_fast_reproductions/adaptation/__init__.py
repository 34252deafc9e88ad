"""What experiments share that train phi in one of several ways and adapt it in each of several.

`problem` says what an experiment must have, `methods` what is compared; `training`, `testing` and
`job` do it; `study` says how an experiment is told, `result`, `table` and `figure` tell it.
"""

from .job import AdaptationJob
from .methods import Method
from .problem import Group, Problem, Task
from .result import Result
from .study import ACCURACY, ERROR, Study, layer
from .training import Training

__all__ = [
    "ACCURACY",
    "ERROR",
    "AdaptationJob",
    "Group",
    "Method",
    "Problem",
    "Result",
    "Study",
    "Task",
    "Training",
    "layer",
]
