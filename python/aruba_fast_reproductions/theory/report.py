"""What an experiment returns: a table to read, facts to test, curves to draw."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aruba_fast._check import Float64Array

from ..files import plain


@dataclass(frozen=True, eq=False)
class Curve:
    """A line or a cloud of points of the figure.

    Attributes:
        label: Its name; the same name has the same colour in every panel.
        x: Abscissae.
        y: Ordinates.
        panel: Title of the panel that it belongs to.
        style: "line", "dashed" or "points".
    """

    label: str
    x: Float64Array
    y: Float64Array
    panel: str
    style: str = "line"


@dataclass(frozen=True, eq=False)
class Report:
    """The result of one experiment.

    Attributes:
        name: Name of the experiment.
        title: What it shows, in a sentence.
        columns: Heads of the table.
        rows: Lines of the table.
        facts: The numbers that the experiment is about, by name.
        settings: What it was run with.
        curves: What the figure shows.
        axes: Labels of the figure's x and y.
        log: Which axes are logarithmic: "", "x", "y" or "xy".
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    facts: dict[str, float]
    settings: dict[str, Any]
    curves: Sequence[Curve] = field(default_factory=list)
    axes: tuple[str, str] = ("", "")
    log: str = ""

    def as_json(self) -> dict[str, Any]:
        """All numbers, as plain Python; None for those that are not finite."""
        return {
            "name": self.name,
            "title": self.title,
            "settings": self.settings,
            "facts": plain(self.facts),
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "curves": [
                {
                    "panel": curve.panel,
                    "label": curve.label,
                    "x": plain(curve.x),
                    "y": plain(curve.y),
                }
                for curve in self.curves
            ],
        }
