"""The comparison as a picture: accuracies, their way along the rounds, the learned rates."""

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..demo.figure import STYLE, quantile_bar, save
from .methods import ARUBA, FEDAVG, ISOTROPIC, LEARNED, PERSONAL_RATES, PLUS, Method
from .result import BEFORE, Estimate, Result
from .roles import KINDS

_WIDTH, _HEIGHT = 15.5, 4.8  # inches
_OURS, _ISOTROPIC = "#0b3c7d", "#5fa3cf"
_TITLES = {
    "embedding.weight": "embedding",
    "weight_ih": "input weights",
    "weight_hh": "recurrent weights",
    "bias_ih": "biases",
    "head.weight": "head weights",
    "head.bias": "head biases",
}


def draw(result: Result, path: str | os.PathLike[str]) -> None:
    """Draws three panels into a file whose ending names the format: png, pdf, svg.

    Args:
        result: The comparison.
        path: The file.

    Raises:
        ValueError: The format is not known.
        OSError: The file cannot be written.
    """
    colors = _colors(result.methods)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout=ConstrainedLayoutEngine(wspace=0.05))
        axes = figure.subplots(1, 3, width_ratios=(1.25, 1.0, 0.9))
        _accuracies(axes[0], result, colors)
        _way(axes[1], result, colors)
        _rates(axes[2], result)
        save(figure, Path(path))


def _colors(methods: list[Method]) -> dict[str, str]:
    fixed = sorted((m for m in methods if m.kind == FEDAVG), key=lambda m: -(m.rate or 0.0))
    shades = mpl.colormaps["YlOrBr"](np.linspace(0.3, 0.95, len(fixed)))
    found = {m.name: mpl.colors.to_hex(shade) for m, shade in zip(fixed, shades, strict=True)}
    return {**found, ISOTROPIC: _ISOTROPIC, ARUBA: _OURS}


def _after(result: Result, method: Method, kind: str) -> list[tuple[str, str, Estimate]]:
    """Marker, label and accuracy of what is drawn: what is learned; or the best fixed rate."""
    if method.kind != FEDAVG:
        ways = [("D", "", LEARNED), ("o", "ARUBA++", PLUS)]
    else:
        names = [f"{rate:g}" for rate in PERSONAL_RATES]
        fixed = {name: result.estimate(method.name, kind, name) for name in names}
        best = max(fixed, key=lambda way: fixed[way] or Estimate(-np.inf, np.nan))
        ways = [("o", f"at {best}", best)]
    found = [(m, label, result.estimate(method.name, kind, way)) for m, label, way in ways]
    return [(marker, label, each) for marker, label, each in found if each is not None]


def _accuracies(axes: Axes, result: Result, colors: dict[str, str]) -> None:
    methods, ticks = result.methods, []
    for row, (method, kind) in enumerate(
        (method, kind) for method in reversed(methods) for kind in KINDS
    ):
        y = row + 0.6 * (row // 2)
        before = result.estimate(method.name, kind, BEFORE)
        assert before is not None
        after, color = _after(result, method, kind), colors[method.name]
        means = [before.mean, *(each.mean for _, _, each in after)]
        axes.plot([min(means), max(means)], [y, y], color=color, linewidth=1.2, alpha=0.6)
        for marker, _, each in (("o", "", before), *after):
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
        label = after[-1][1]
        axes.annotate(label, (max(means), y), (7, -3), textcoords="offset points", fontsize=7.5)
        ticks.append((y, f"{method.title}, {kind}"))
    axes.set_yticks(*zip(*ticks, strict=True))
    axes.tick_params(axis="y", length=0)
    trivial = result.most_frequent(KINDS[1]).mean
    axes.axvline(trivial, color="#8a909c", linestyle=(0, (1, 1.5)), linewidth=1.5)
    axes.annotate(
        "always a space", (trivial, ticks[-1][0]), (4, 8), textcoords="offset points", fontsize=8
    )
    axes.margins(x=0.14)
    axes.set_xlabel("accuracy, %; open: before, filled: after, diamond: learned rates as they are")
    axes.set_title("Before and after personalization")
    axes.grid(axis="x", color="#e8eaee", linewidth=0.8)


def _way(axes: Axes, result: Result, colors: dict[str, str]) -> None:
    kind = KINDS[1]
    for method in result.methods:
        curves = [
            [100.0 * point[kind] for point in run["history"]] for run in result.of(method.name)
        ]
        rounds = [point["round"] for point in result.of(method.name)[0]["history"]]
        axes.plot(
            rounds,
            np.mean(curves, axis=0),
            color=colors[method.name],
            linewidth=2.2 if method.kind == ARUBA else 1.7,
            label=method.title,
        )
    axes.set_xlabel("rounds of federated training")
    axes.set_ylabel("accuracy, %")
    axes.set_title("Unseen roles, before personalization")
    axes.grid(color="#e8eaee", linewidth=0.8)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _layer(name: str) -> str:
    """What people call a tensor of the LSTM: "lstm.weight_ih_l1" is "layer 2: input weights"."""
    if name in _TITLES:
        return _TITLES[name]
    kind, _, layer = name.removeprefix("lstm.").rpartition("_l")
    return f"layer {int(layer) + 1}: {_TITLES[kind]}"


def _rates(axes: Axes, result: Result) -> None:
    axes.set_title("Learned rates by layer")
    runs = result.of(ARUBA)
    if not runs:
        axes.annotate("ARUBA has not been run", (0.5, 0.5), xycoords="axes fraction", ha="center")
        axes.set_axis_off()
        return
    # Both biases of a gate always have the same gradient.
    names = [name for name in runs[0]["rates"] if "bias_hh" not in name]
    for row, name in enumerate(reversed(names)):
        # Quantiles of every seed, averaged as the rates are spread: by their logarithms.
        logs = np.log([run["rates"][name] for run in runs])
        quantile_bar(axes, row, np.exp(logs.mean(axis=0)), _OURS)
    axes.set_yticks(range(len(names)), [_layer(name) for name in reversed(names)])
    axes.axvline(runs[0]["first_rate"], color="#8a909c", linestyle=(0, (1, 1.5)))
    axes.set_xscale("log")
    axes.set_xlabel("rate η: 5, 25, 50, 75, 95 %")
    axes.grid(axis="x", color="#e8eaee", linewidth=0.8)
