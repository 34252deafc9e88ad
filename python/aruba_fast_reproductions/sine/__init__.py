"""Few-shot regression: Reptile and Reptile with ARUBA on sines of any amplitude and phase."""

from .job import SineJob
from .settings import Settings
from .study import STUDY, Method

__all__ = ["STUDY", "Method", "Settings", "SineJob"]
