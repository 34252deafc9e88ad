"""The list of methods: their names, how to make them, what they can take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .mixed import Mixed
from .ours import Ours
from .plain import Alone, Pooled
from .protocol import Method
from .reptile import Reptile


@dataclass(frozen=True)
class Entrant:
    """A method of the league.

    Attributes:
        make: Makes it, anew for every split.
        regression: Whether it predicts numbers.
        yes_no: Whether it predicts probabilities of a yes.
        most_people: Training people that it is given at most, drawn by the seed; None: all.
    """

    make: Callable[[], Method]
    regression: bool = True
    yes_no: bool = True
    most_people: int | None = None


OURS = "ours"
ENTRANTS = {
    OURS: Entrant(Ours),
    "pooled": Entrant(Pooled, yes_no=False),
    "alone": Entrant(Alone, yes_no=False),
    "mixed, intercept": Entrant(lambda: Mixed("intercept"), yes_no=False),
    "mixed, diagonal": Entrant(lambda: Mixed("diagonal"), yes_no=False),
    "mixed, full": Entrant(lambda: Mixed("full"), yes_no=False),
    "Reptile": Entrant(Reptile),
}
