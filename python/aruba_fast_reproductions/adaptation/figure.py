"""The comparison as a picture: the tests, their way along the rounds, the learned rates."""

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..demo.figure import STYLE, plain_ticks, quantile_bar, save
from .methods import ADAM, ARUBA, BEFORE, ISOTROPIC, LEARNED, PLUS, Method
from .result import Estimate, Result

_WIDTH, _HEIGHT = 15.5, 4.8  # inches
_OURS, _ISOTROPIC, _GRID, _FAINT = "#0b3c7d", "#5fa3cf", "#e8eaee", "#8a909c"
_SHADES = ("YlOrBr", "RdPu")


def draw(result: Result, path: str | os.PathLike[str]) -> None:
    """Draws three panels into a file whose ending names the format: png, pdf, svg.

    Args:
        result: The comparison.
        path: The file.

    Raises:
        ValueError: The format is not known.
        OSError: The file cannot be written.
    """
    colors = _colors(result)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout=ConstrainedLayoutEngine(wspace=0.05))
        axes = figure.subplots(1, 3, width_ratios=(1.25, 1.0, 0.9))
        _tests(axes[0], result, colors)
        _way(axes[1], result, colors)
        _rates(axes[2], result)
        save(figure, Path(path))


def _colors(result: Result) -> dict[str, str]:
    found = {ISOTROPIC: _ISOTROPIC, ARUBA: _OURS}
    for kind, shades in zip(result.study.method.fixed, _SHADES, strict=False):
        fixed = sorted((m for m in result.methods if m.kind == kind), key=lambda m: -(m.rate or 0))
        steps = mpl.colormaps[shades](np.linspace(0.3, 0.95, len(fixed)))
        found |= {m.name: mpl.colors.to_hex(step) for m, step in zip(fixed, steps, strict=True)}
    return found


def _after(result: Result, method: Method, kind: str) -> list[tuple[str, str, Estimate]]:
    """Marker, label and score of what is drawn: what is learned; Adam; or the best fixed rate."""
    if method.rate is None:
        ways = [("D", "", LEARNED), ("o", "ARUBA++", PLUS)]
    elif method.kind == ADAM:
        ways = [("o", "", ADAM)]
    else:
        best = result.best_rate(method.name, kind)
        ways = [("o", f"at {best}", best)]
    found = [(m, label, result.estimate(method.name, kind, way)) for m, label, way in ways]
    return [
        (marker, label, each)
        for marker, label, each in found
        if each is not None and np.isfinite(each.mean)
    ]


def _tests(axes: Axes, result: Result, colors: dict[str, str]) -> None:
    study, ticks = result.study, []
    kinds = [*reversed(study.titles)]
    pairs = [(method, kind) for method in reversed(result.methods) for kind in kinds]
    for row, (method, kind) in enumerate(pairs):
        y = row + 0.6 * (row // len(kinds))
        name = f"{method.title}, {kind}" if len(kinds) > 1 else method.title
        ticks.append((y, name))
        before = result.estimate(method.name, kind, BEFORE)
        assert before is not None
        after, color = _after(result, method, kind), colors[method.name]
        # Errors before the first step say nothing of how well it is left.
        shown = [("o", "", before), *after] if study.measure.sign > 0 else after
        if not shown:
            axes.annotate("diverged", (0.0, y), xycoords=axes.get_yaxis_transform(), fontsize=7.5)
            continue
        means = [each.mean for _, _, each in shown]
        axes.plot([min(means), max(means)], [y, y], color=color, linewidth=1.2, alpha=0.6)
        for marker, _, each in shown:
            axes.errorbar(
                each.mean,
                y,
                xerr=None if np.isnan(each.error) else each.error,
                marker=marker,
                markersize=5 if marker == "D" else 6,
                color=color,
                markerfacecolor="white" if each is before else color,
                elinewidth=1.0,
            )
        label = shown[-1][1]
        axes.annotate(label, (max(means), y), (7, -3), textcoords="offset points", fontsize=7.5)
    axes.set_yticks(*zip(*ticks, strict=True))
    axes.tick_params(axis="y", length=0)
    if study.trivial is not None:
        trivial = result.trivial(kinds[-1]).mean
        axes.axvline(trivial, color=_FAINT, linestyle=(0, (1, 1.5)), linewidth=1.5)
        place = (trivial, ticks[-1][0])
        axes.annotate(study.trivial[1], place, (4, 8), textcoords="offset points", fontsize=8)
    axes.margins(x=0.14)
    if study.measure.sign < 0:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis, axes.get_xlim())
    markers = "filled: after, diamond: learned rates as they are"
    opened = "open: before, " * (study.measure.sign > 0)
    axes.set_xlabel(f"{study.measure.name}; {opened}{markers}")
    axes.set_title("Before and after the test's own steps" if opened else "The tests")
    axes.grid(axis="x", color=_GRID, linewidth=0.8)


def _way(axes: Axes, result: Result, colors: dict[str, str]) -> None:
    kind, measure = next(iter(result.study.titles)), result.study.measure
    for method in result.methods:
        histories = [
            {point["round"]: point[kind] for point in run["history"] if kind in point}
            for run in result.of(method.name)
        ]
        rounds = sorted(set(histories[0]).intersection(*histories))
        axes.plot(
            rounds,
            [measure.factor * np.mean([each[number] for each in histories]) for number in rounds],
            color=colors[method.name],
            linewidth=2.2 if method.kind == ARUBA else 1.7,
            label=method.title,
        )
    if measure.sign < 0:
        axes.set_yscale("log")
        plain_ticks(axes.yaxis, axes.get_ylim())
    axes.set_xlabel("rounds of training")
    axes.set_ylabel(measure.name)
    axes.set_title(result.study.curve)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _rates(axes: Axes, result: Result) -> None:
    axes.set_title("Learned rates by layer")
    runs = result.of(ARUBA)
    if not runs:
        axes.annotate("ARUBA has not been run", (0.5, 0.5), xycoords="axes fraction", ha="center")
        axes.set_axis_off()
        return
    titles = {name: result.study.layer(name) for name in reversed(runs[0]["rates"])}
    shown = {name: title for name, title in titles.items() if title is not None}
    for row, name in enumerate(shown):
        # Quantiles of every seed, averaged as the rates are spread: by their logarithms.
        logs = np.log([run["rates"][name] for run in runs])
        quantile_bar(axes, row, np.exp(logs.mean(axis=0)), _OURS)
    axes.set_yticks(range(len(shown)), [*shown.values()])
    firsts = np.log([run["first_rate"] for run in runs])
    axes.axvline(np.exp(firsts.mean()), color=_FAINT, linestyle=(0, (1, 1.5)))
    axes.set_xscale("log")
    axes.set_xlabel("rate η, quantiles; dotted: the first")
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
