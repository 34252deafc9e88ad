"""The list of methods: their names, and how to make them where the answer is a number or a yes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import plain, yes_no
from .boosting import Boosting
from .mixed import Mixed
from .mixed_yes_no import MixedIntercept, MixedSlopes
from .ours import Descended, Ours, Streamed
from .packaged_mixed import PackagedMixed
from .protocol import Method
from .reptile import Reptile


@dataclass(frozen=True)
class Entrant:
    """A method of the league, made anew for every split.

    Attributes:
        number: Makes it where numbers are predicted; None where it cannot.
        answer: Makes it where the answer is yes or no; None where it cannot.
        most_people: Training people that it is given at most, drawn by the seed; None: all.
    """

    number: Callable[[], Method] | None
    answer: Callable[[], Method] | None
    most_people: int | None = None


OURS, POOLED, REPTILE, BOOSTING, ALONE = "ours", "pooled", "Reptile", "boosting", "alone"
ONLINE = ("streamed", "descent")
ENTRANTS = {
    OURS: Entrant(Ours, Ours),
    ONLINE[0]: Entrant(Streamed, Streamed),
    ONLINE[1]: Entrant(Descended, Descended),
    POOLED: Entrant(plain.Pooled, yes_no.Pooled),
    ALONE: Entrant(plain.Alone, yes_no.Alone),
    "mixed-intercept": Entrant(partial(Mixed, "intercept"), MixedIntercept),
    "mixed-diagonal": Entrant(partial(Mixed, "diagonal"), partial(MixedSlopes, True)),
    "mixed-full": Entrant(partial(Mixed, "full"), partial(MixedSlopes, False)),
    REPTILE: Entrant(Reptile, Reptile),
    BOOSTING: Entrant(Boosting, Boosting),
    "statsmodels-intercept": Entrant(partial(PackagedMixed, "intercept"), None, 500),
    "statsmodels-diagonal": Entrant(partial(PackagedMixed, "diagonal"), None, 500),
    "statsmodels-full": Entrant(partial(PackagedMixed, "full"), None, 500),
}
MIXED = tuple(name for name in ENTRANTS if name.startswith(("mixed", "statsmodels")))
