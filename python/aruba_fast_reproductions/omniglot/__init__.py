"""Reptile on Omniglot with Adam, with SGD, and with learned rates: `aruba-fast omniglot`.

`settings` says what is run, `methods` what is compared, `training`, `evaluation` and `job` do it,
`comparison` does all of it; `table` and `figure` show the result.
"""

from .comparison import METHODS, Row, compare, read_result, rows
from .settings import SCALES, EvaluationSettings, Settings, of_scale

__all__ = [
    "METHODS",
    "SCALES",
    "EvaluationSettings",
    "Row",
    "Settings",
    "compare",
    "of_scale",
    "read_result",
    "rows",
]
