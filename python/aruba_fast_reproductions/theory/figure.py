"""The experiments as pictures: one panel for each group of curves of a report."""

import os
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..demo.figure import STYLE, save
from ..demo.names import families, labels
from .report import Report

_COLORS = ("#0b3c7d", "#e07b39", "#2f7fc1", "#b5472f", "#7fb8d6", "#5b8c5a", "#8a909c", "#c9a227")
_PANEL, _HEIGHT = 5.4, 4.6  # inches
# Letters of a title, which may be the name of a file.
_LONGEST = 44
# A cloud of this many points is drawn faint.
_MANY = 50


def draw(report: Report, path: str | os.PathLike[str]) -> None:
    """Draws a report into a file whose ending names the format: png, pdf, svg.

    Args:
        report: The result of an experiment.
        path: The file.

    Raises:
        ValueError: The format is not known.
        OSError: The file cannot be written.
    """
    panels = list(dict.fromkeys(curve.panel for curve in report.curves))
    with mpl.rc_context(STYLE | {"font.family": families(panels)}):
        figure = Figure(
            figsize=(_PANEL * len(panels), _HEIGHT), layout=ConstrainedLayoutEngine(wspace=0.05)
        )
        titles = labels(panels, "panel", longest=_LONGEST)
        for number, (axes, panel) in enumerate(
            zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True)
        ):
            _draw_panel(axes, report, panel)
            axes.set_title(titles[number])
            for name, label in (("x", report.axes[0]), ("y", report.axes[1])):
                # "a | b" labels the first panel a and the second b.
                parts = label.split(" | ")
                getattr(axes, f"set_{name}label")(parts[min(number, len(parts) - 1)])
        save(figure, Path(path))


def _draw_panel(axes: Axes, report: Report, panel: str) -> None:
    methods = list(dict.fromkeys(curve.label for curve in report.curves))
    for curve in report.curves:
        if curve.panel != panel:
            continue
        color = _COLORS[methods.index(curve.label) % len(_COLORS)]
        if curve.style == "points":
            many = len(curve.x) > _MANY
            axes.scatter(
                curve.x,
                curve.y,
                s=7 if many else 36,
                alpha=0.45 if many else 1.0,
                color=color,
                label=curve.label,
                linewidths=0,
            )
        else:
            dashed = curve.style == "dashed"
            axes.plot(
                curve.x,
                curve.y,
                color=color,
                linestyle=(0, (4, 2)) if dashed else "-",
                linewidth=1.2 if dashed else 2.0,
                marker="" if dashed or len(curve.x) > _MANY // 2 else "o",
                markersize=4,
                label=curve.label,
            )
    if "x" in report.log:
        axes.set_xscale("log")
    if "y" in report.log:
        axes.set_yscale("log", nonpositive="mask")
    axes.grid(color="#e8eaee", linewidth=0.8)
    axes.legend(frameon=False, fontsize=8)
