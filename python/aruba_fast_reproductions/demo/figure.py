"""The comparison as a picture: the learned rates, the errors, and how the rates came about."""

import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from aruba_fast._check import Float64Array
from aruba_fast._replace import replace
from aruba_fast.theory.transfer import standard_error

from .experiment import Result
from .look import LOOK
from .names import FONT, families, labels

_INK, _FAINT, _GRID = "#22252b", "#7b818d", "#e8eaee"
STYLE: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": 9.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "text.usetex": False,
    "svg.hashsalt": "aruba_fast",
}
# Names in the first panel, and at the ends of the lines of the third.
_MAX_NAMES, _MAX_ENDS = 30, 14
# What every matplotlib writes and people view.
FORMATS = ("png", "pdf", "svg", "svgz", "eps", "ps", "jpg", "jpeg", "tif", "tiff", "webp")
_WIDTH, _LINE = 14.5, 0.2  # inches: the picture, a line of text


def draw(result: Result, path: str | os.PathLike[str]) -> None:
    """Draws three panels into a file whose ending names the format: png, pdf, svg.

    Args:
        result: The comparison.
        path: The file.

    Raises:
        ValueError: The format is not known.
        OSError: The file cannot be written.
    """
    shown = _shown(result)
    # Short of viridis' yellow, which is too pale for letters.
    colors = [to_hex(c) for c in mpl.colormaps["viridis"](np.linspace(0.0, 0.82, len(shown)))]
    height = max(4.4, 1.6 + _LINE * len(shown))
    names = labels(result.features, "feature")
    with mpl.rc_context(STYLE | {"font.family": families(result.features)}):
        # A figure of its own, without pyplot: no window system, no global state.
        figure = Figure(figsize=(_WIDTH, height), layout=ConstrainedLayoutEngine(wspace=0.04))
        rates, errors, path_axes = figure.subplots(1, 3, width_ratios=[1.0, 1.05, 1.05])
        _draw_rates(rates, result, shown, colors, names)
        _draw_errors(errors, result, _LINE / height)
        _draw_path(path_axes, result, shown, colors, names, _LINE / height)
        save(figure, Path(path))


def quantile_bar(axes: Axes, row: int, quantiles: Sequence[float], color: str) -> None:
    """Draws 5, 25, 50, 75, 95 % of a distribution: a thin line, a thick one, a dot."""
    low, lower, middle, upper, high = quantiles
    axes.plot([low, high], [row, row], color=color, linewidth=1.2)
    axes.plot([lower, upper], [row, row], color=color, linewidth=6, solid_capstyle="butt")
    axes.plot(middle, row, "o", color="white", markersize=4, markeredgecolor=color)


def save(figure: Figure, path: Path) -> None:
    """Writes the file: the same one for the same result, without a date and a version in it."""
    kind = path.suffix[1:].lower()
    if kind not in FORMATS:
        raise ValueError(
            f"the ending of {str(path)!r} is not supported, expected one of {', '.join(FORMATS)}"
        )
    date = {"pdf": "CreationDate", "svg": "Date", "svgz": "Date"}.get(kind)
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, dpi=150, metadata=None if date is None else {date: None})
    if kind == "png":
        # 256 colours are plenty and make a third of the size.
        with Image.open(buffer) as image:
            few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        buffer = BytesIO()
        few.save(buffer, format="png", optimize=True)
    replace(path, buffer.getvalue(), "draw")


def _shown(result: Result) -> list[int]:
    """Coordinates by rising learned rate; of very many, the slowest and the fastest."""
    order: list[int] = np.argsort(_mean_rates(result), kind="stable").tolist()
    half = _MAX_NAMES // 2
    return order if len(order) <= _MAX_NAMES else order[:half] + order[-half:]


def _mean_rates(result: Result) -> Float64Array:
    """Geometric mean over the seeds."""
    mean: Float64Array = np.exp(np.log(result.rates).mean(axis=0))
    return mean


def _draw_rates(
    axes: Axes, result: Result, shown: list[int], colors: list[str], names: list[str]
) -> None:
    mean, rows = _mean_rates(result)[shown], np.arange(len(shown))
    first = float(np.exp(np.mean(np.log(result.first_rates))))
    axes.hlines(rows, first, mean, color=colors, linewidth=2.2, alpha=0.55)
    low, high = result.rates[:, shown].min(axis=0), result.rates[:, shown].max(axis=0)
    axes.hlines(rows, low, high, color=colors, linewidth=6.0, alpha=0.28)
    axes.scatter(mean, rows, c=colors, s=42, zorder=3)
    axes.axvline(first, color=_FAINT, linewidth=1.2, linestyle=(0, (4, 2)), zorder=0)
    _note(axes, "start", first, side="left")
    axes.set_xscale("log")
    plain_ticks(axes.xaxis, axes.get_xlim(), room=0.6)
    axes.set_yticks(rows, [names[j] for j in shown])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.7, len(shown) - 0.1)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_title("How far each coordinate moves")
    axes.set_xlabel("learned rate √(b / g); bands: range over seeds")


def _draw_errors(axes: Axes, result: Result, gap: float) -> None:
    counts = np.array(result.counts)
    names, ends, colors, notes, drawn = [], [], [], [], []
    for outcome in result.outcomes:
        color, line, marker, width = LOOK[outcome.method]
        # Where everybody of a seed diverged there is no error to draw; a note says so.
        curve = np.where(np.isfinite(outcome.curve), outcome.curve, np.nan)
        mean = curve.mean(axis=0)
        axes.plot(
            counts,
            mean,
            color=color,
            linestyle=line,
            linewidth=width,
            marker=marker,
            markersize=5,
            zorder=3,
        )
        if len(curve) > 1:
            spread = standard_error(curve)
            axes.fill_between(counts, mean - spread, mean + spread, color=color, alpha=0.13, lw=0)
        if sum(outcome.n_diverged):
            people = f"{sum(outcome.n_diverged)} of {result.n_tested} people"
            notes.append(f"{outcome.method}: {people} diverged")
        else:
            names.append(f"{outcome.method}  {mean[-1]:.3f}")
            ends.append(mean[-1])
            colors.append(color)
            drawn.append(mean)
    axes.set_yscale("log")
    if drawn:
        axes.set_ylim(0.85 * np.min(drawn), 1.12 * np.max(drawn))
    plain_ticks(axes.yaxis, axes.get_ylim())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(-0.02 * counts[-1], 1.02 * counts[-1])  # room for the markers at the ends
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_title("What a new person's examples are worth")
    axes.set_xlabel("\n".join(["examples seen per held-out person", *notes]))
    axes.set_ylabel("mean squared error on the other rows")
    _name_ends(axes, names, np.array(ends), colors, gap)


def _draw_path(
    axes: Axes,
    result: Result,
    shown: list[int],
    colors: list[str],
    names: list[str],
    gap: float,
) -> None:
    tasks = np.array(result.path_tasks)
    # Zero tasks have no place on a logarithmic axis: the start is drawn at one half.
    x = np.where(tasks > 0, tasks, 0.5)
    for j, color in zip(shown, colors, strict=True):
        axes.plot(x, result.path_rates[:, j], color=color, linewidth=1.6)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.5, x[-1])
    plain_ticks(axes.yaxis, axes.get_ylim())
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    once = x[-1] / result.settings.n_passes
    axes.axvline(once, color=_FAINT, linewidth=1.0, linestyle=(0, (4, 2)), zorder=0)
    _note(axes, "every person\nseen once", once, side="right")
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_title("How the rates are found")
    axes.set_xlabel("people visited in meta-training")
    axes.set_ylabel("learned rate √(b / g)")
    ends = result.path_rates[-1, shown]
    rank = np.argsort(np.argsort(ends, kind="stable"), kind="stable")
    # The colours are those of the first panel, where every name stands.
    named = np.flatnonzero((rank < _MAX_ENDS // 2) | (rank >= len(shown) - _MAX_ENDS // 2))
    chosen = [names[shown[k]] for k in named]
    _name_ends(axes, chosen, ends[named], [colors[k] for k in named], gap)


def plain_ticks(axis: Axis, limits: tuple[float, float], room: float = 1.0) -> None:
    """Marks a logarithmic axis in plain numbers: the fewer decades, the more of them."""
    decades = np.log10(limits[1] / limits[0]) / room
    subs = next(
        subs
        for most, subs in ((0.6, range(1, 10)), (2.0, (1, 2, 5)), (3.0, (1, 3)), (np.inf, (1,)))
        if decades <= most
    )
    axis.set_major_locator(LogLocator(subs=tuple(map(float, subs)), numticks=12))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _note(axes: Axes, text: str, x: float, side: str) -> None:
    """A faint note at the upper end of a vertical line."""
    axes.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if side == "right" else 4, 0),
        textcoords="offset points",
        color=_FAINT,
        ha=side,
        va="top",
        fontsize=8.5,
    )


def _name_ends(
    axes: Axes, names: list[str], ends: Float64Array, colors: list[str], gap: float
) -> None:
    """Names the lines at their right end, moved apart where the names would overlap."""
    low, high = np.log(axes.get_ylim())
    heights = (np.log(ends) - low) / (high - low)
    order = np.argsort(heights, kind="stable")
    for k, height in zip(order.tolist(), _apart(heights[order], gap), strict=True):
        axes.annotate(
            names[k],
            (1.0, heights[k]),
            xycoords="axes fraction",
            xytext=(1.045, height),
            textcoords="axes fraction",
            color=colors[k],
            va="center",
            fontsize=9.0,
            arrowprops={
                "arrowstyle": "-",
                "color": colors[k],
                "linewidth": 0.7,
                "relpos": (0.0, 0.5),
                "shrinkA": 1,
            },
        )


def _apart(heights: Float64Array, gap: float) -> Float64Array:
    """Moves rising positions apart until they keep the gap, within [0, 1]."""
    placed = np.clip(heights, 0.0, 1.0)
    for _ in range(500):
        overlap = np.maximum(gap - np.diff(placed), 0.0)
        placed[:-1] -= overlap / 2
        placed[1:] += overlap / 2
        placed = np.clip(placed, 0.0, 1.0)
    return placed
