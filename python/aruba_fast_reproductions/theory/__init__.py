"""The experiments behind `aruba-fast theory`: what the guarantees say, watched on tasks.

`scaling` is the blog's central picture, `geometry` rates per coordinate, `drift` a changing world,
`guarantee` regret under its bound on real people; `figure` draws what they return.
"""

from collections.abc import Callable

from .drift import drift
from .geometry import geometry
from .guarantee import guarantee
from .report import Report
from .scaling import scaling

EXPERIMENTS: dict[str, Callable[..., Report]] = {
    "scaling": scaling,
    "geometry": geometry,
    "drift": drift,
    "guarantee": guarantee,
}

__all__ = ["EXPERIMENTS", "Report", "drift", "geometry", "guarantee", "scaling"]
