"""The experiment behind `aruba-fast demo`: ARUBA and its rivals on real people's data.

`protocol` says what data a method may see, `methods` what is compared, `experiment` repeats it over
seeds, `table` and `figure` show the result.
"""

from .experiment import Interrupted, Result, run
from .methods import METHODS
from .protocol import Settings

__all__ = ["METHODS", "Interrupted", "Result", "Settings", "run"]
