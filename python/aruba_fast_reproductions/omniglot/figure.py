"""Two pictures: accuracy by method, and the learned rates along the network."""

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter

from aruba_fast._check import Float64Array

from ..demo.figure import STYLE, save
from .comparison import Row, rows
from .methods import ARUBA, ARUBA_PLUS, ISOTROPIC
from .network import LAYERS
from .rates import QUANTILES

# What is ours in blue, the rivals warm, as in the demo's figure.
_COLORS = {ISOTROPIC: "#7fb8d6", ARUBA: "#2f7fc1", ARUBA_PLUS: "#0b3c7d"}
_RIVAL, _INK, _FAINT, _GRID = "#e07b39", "#22252b", "#7b818d", "#e8eaee"
# From the image to the head; the head is the warm one.
_LAYER_COLORS = ("#0b3c7d", "#2f6fb3", "#4f9bc9", "#8fc1d9", "#e07b39")


def draw_accuracy(result: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draws a panel for each test: accuracy and two standard errors of every method.

    Args:
        result: What `compare` returned.
        path: The file; its ending names the format.

    Raises:
        ValueError: The format is not known.
        OSError: The file cannot be written.
    """
    found = rows(result)
    tests = list(dict.fromkeys((row.shots, row.transductive) for row in found))
    n_methods = len({row.method for row in found})
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(4.9 * len(tests) + 0.8, 1.5 + 0.34 * n_methods),
            layout=ConstrainedLayoutEngine(wspace=0.05),
        )
        panels = figure.subplots(1, len(tests), squeeze=False)[0]
        for axes, test in zip(panels, tests, strict=True):
            of_test = [row for row in found if (row.shots, row.transductive) == test]
            _draw_test(axes, of_test, result)
        save(figure, Path(path))


def _draw_test(axes: Axes, found: list[Row], result: dict[str, Any]) -> None:
    heights = np.arange(len(found))[::-1]
    for row, height in zip(found, heights.tolist(), strict=True):
        color, value = _COLORS.get(row.method, _RIVAL), 100 * row.accuracy
        error = 200 * row.standard_error
        axes.errorbar(
            value, height, xerr=error, fmt="o", color=color, markersize=7, elinewidth=2.2, zorder=3
        )
        axes.annotate(
            f"{value:.1f}",
            (value + error, height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=9,
        )
    axes.set_yticks(heights, [row.title for row in found])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.margins(x=0.14)
    axes.set_ylim(-0.6, len(found) - 0.4)
    n_way, first = result["runs"][0]["settings"]["n_way"], found[0]
    kind = "transductive" if first.transductive else "inductive"
    axes.set_title(f"{n_way}-way {first.shots}-shot, {kind}")
    axes.set_xlabel(f"accuracy, %; {first.n_tasks} tasks, bars: two standard errors")


def draw_rates(result: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draws the rates that the first run of ARUBA has learned, by layer and by filter.

    Args:
        result: What `compare` returned.
        path: The file; its ending names the format.

    Raises:
        ValueError: No run has learned a rate for every weight, or the format is not known.
        OSError: The file cannot be written.
    """
    run = next((run for run in result["runs"] if run["method"] == ARUBA), None)
    if run is None:
        raise ValueError("draw_rates: `result` must hold a run of aruba: got none")
    weights = {
        entry["layer"]: entry
        for entry in run["rates"]
        if entry["layer"] in LAYERS and entry["parameter"] == "weight"
    }
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(13.0, 6.2), layout=ConstrainedLayoutEngine(wspace=0.03))
        parts: Any = figure.subfigures(1, 2, width_ratios=[1.0, 1.05])
        left, right = parts
        above, below = right.subfigures(2, 1, height_ratios=[1.25, 1.0])
        _draw_layers(left.subplots(), weights, first_rate(run))
        _draw_movement(above.subplots(), weights)
        _draw_filters(below, weights)
        figure.suptitle(reading(weights), x=0.012, ha="left", fontsize=13, fontweight="bold")
        save(figure, Path(path))


def reading(weights: dict[str, dict[str, Any]]) -> str:
    """The sentence above the picture: what the layers' movement says, whatever that is."""
    moved = {layer: weights[layer]["moved"] / weights[layer]["size"] for layer in LAYERS}
    head, body = moved[LAYERS[-1]], [moved[layer] for layer in LAYERS[:-1]]
    if head > max(body):
        return (
            f"Lower layers move less than the head: in a task {LAYERS[0]} by {100 * body[0]:.2g} % "
            f"of its weights, the head by {100 * head:.2g} %"
        )
    most, least = (f(LAYERS, key=lambda layer: moved[layer]) for f in (max, min))
    return (
        f"In a task {most} moves most, by {100 * moved[most]:.2g} % of its weights, {least} least, "
        f"by {100 * moved[least]:.2g} %"
    )


def first_rate(run: dict[str, Any]) -> float:
    """Where the rates of a run start; in files of before it was found, what was given."""
    found: float = run["first_rate"] if "first_rate" in run else run["settings"]["learning_rate"]
    return found


def _draw_layers(axes: Axes, weights: dict[str, dict[str, Any]], start: float) -> None:
    for x, (layer, color) in enumerate(zip(LAYERS, _LAYER_COLORS, strict=True)):
        cuts = np.array(weights[layer]["quantiles"])
        heights, widths = _density(np.log(cuts))
        half = 0.42 * widths / widths.max()
        axes.fill_betweenx(np.exp(heights), x - half, x + half, color=color, alpha=0.30, lw=0)
        quarter, middle, upper = (cuts[QUANTILES.index(q)] for q in (0.25, 0.5, 0.75))
        axes.vlines(x, quarter, upper, color=color, linewidth=5)
        axes.scatter(x, middle, s=58, color="white", edgecolor=color, linewidth=2.2, zorder=3)
        axes.annotate(
            f"{middle:.2g}",
            (x, middle),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
            fontsize=9,
        )
    axes.axhline(start, color=_FAINT, linewidth=1.2, linestyle=(0, (4, 2)), zorder=0)
    axes.annotate(
        "first rate",
        (0.0, start),
        xycoords=("axes fraction", "data"),
        xytext=(3, 3),
        textcoords="offset points",
        color=_FAINT,
        fontsize=8.5,
    )
    _along_the_network(axes, (1.0, 2.0, 5.0))
    axes.set_ylabel("learned rate of a weight")
    axes.set_title("Learned rates, from the image to the head")


def _draw_movement(axes: Axes, weights: dict[str, dict[str, Any]]) -> None:
    """How far a task moves the weights of every filter, and of the layer as a whole."""
    for x, (layer, color) in enumerate(zip(LAYERS, _LAYER_COLORS, strict=True)):
        entry = weights[layer]
        filters = np.sort(100 * np.array(entry["filter_moved"]) / entry["size"])
        whole = 100 * entry["moved"] / entry["size"]
        moving = filters[filters > 0]
        aside = np.linspace(-0.32, 0.32, len(moving))
        axes.scatter(x + aside, moving, s=9, color=color, alpha=0.55, linewidths=0)
        axes.hlines(whole, x - 0.38, x + 0.38, color=color, linewidth=2.4, zorder=3)
        axes.annotate(
            f"{whole:.2g} %",
            (x - 0.38, whole),
            xytext=(0, 4),
            textcoords="offset points",
            color=_INK,
            fontsize=9,
        )
    _along_the_network(axes, (1.0, 3.0))
    axes.set_ylabel("θ̂ − φ, % of the weights")
    axes.set_title("How far a task moves them: layers, and their filters")


def _along_the_network(axes: Axes, labelled: tuple[float, ...]) -> None:
    """A logarithmic scale over the layers; `labelled` are the digits that it is labelled at."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=labelled, numticks=12))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(len(LAYERS)), LAYERS)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)


def _density(logs: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Where the logarithms of the rates are, from their quantiles: positions, and how many."""
    grid = np.linspace(logs[0], logs[-1], 200)
    share = np.interp(grid, logs + 1e-9 * np.arange(len(logs)), QUANTILES)
    raw = np.gradient(share, grid) if logs[-1] > logs[0] else np.ones_like(grid)
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / 6.0) ** 2)
    widths: Float64Array = np.convolve(raw, kernel / kernel.sum(), mode="same")
    return grid, widths


def _draw_filters(part: Any, weights: dict[str, dict[str, Any]]) -> None:
    """A square of 64 for each layer: a filter of a convolution, or what one feeds to the head."""
    panels = part.subplots(1, len(LAYERS))
    values = [np.array(weights[layer]["filter_rates"]) for layer in LAYERS]
    everything = np.concatenate(values)
    norm = LogNorm(everything.min(), everything.max() * (1.0 + 1e-9))
    for axes, layer, rates in zip(panels, LAYERS, values, strict=True):
        side = int(np.sqrt(len(rates)))
        square = np.sort(rates)[::-1].reshape(side, side)
        picture = axes.imshow(square, cmap="viridis", norm=norm, aspect="equal")
        axes.set_title(layer, fontsize=9.5, fontweight="normal", loc="center", pad=5)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    bar = part.colorbar(
        picture, ax=list(panels), location="bottom", shrink=0.7, aspect=40, pad=0.04
    )
    bar.ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    bar.ax.xaxis.set_major_formatter("{x:g}")
    bar.ax.xaxis.set_minor_formatter(NullFormatter())
    bar.set_label("learned rate of a filter: geometric mean over its weights")
    bar.outline.set_visible(False)
