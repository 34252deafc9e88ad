"""A diagnosis as a picture: rates, rho and the prior of every tensor, one line each."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullFormatter

from aruba_fast import Diagnosis

from ..demo.figure import STYLE, quantile_bar, save
from ..demo.names import families, labels

_OURS, _GRAY = "#0b3c7d", "#8a909c"
_WIDTH, _ROW, _LEAST = 10.0, 0.26, 2.2  # inches
_LONGEST = 40  # letters of a name


def draw(found: Diagnosis, path: Path) -> None:
    """Draws a diagnosis into a file whose ending names the format.

    Args:
        found: The diagnosis.
        path: The file.

    Raises:
        OSError: The file cannot be written.
    """
    names = [tensor.name for tensor in found.tensors]
    with mpl.rc_context(STYLE | {"font.family": families(names)}):
        figure = Figure(
            figsize=(_WIDTH, max(_LEAST, 1.4 + _ROW * len(names))),
            layout=ConstrainedLayoutEngine(wspace=0.05),
        )
        axes = figure.subplots(1, 3, sharey=True, width_ratios=(3, 1.3, 1.3))
        _rates(axes[0], found)
        _ratios(axes[1], found)
        _priors(axes[2], found)
        axes[0].set_yticks(range(len(names)), labels(names, "tensor", longest=_LONGEST))
        axes[0].invert_yaxis()
        for each in axes:
            each.grid(axis="x", color="#e8eaee", linewidth=0.8)
        figure.suptitle(f"{found.n_tasks} tasks, {found.n_skipped} skipped", fontsize=9)
        save(figure, path)


def _rates(axes: Axes, found: Diagnosis) -> None:
    for row, tensor in enumerate(found.tensors):
        quantile_bar(axes, row, tensor.rates, _OURS)
    if found.first_rate is not None:
        axes.axvline(found.first_rate, color=_GRAY, linestyle=(0, (1, 1.5)))
    if all(tensor.rates[0] > 0.0 for tensor in found.tensors):
        axes.set_xscale("log")
    axes.set_xlabel("rate \u03b7: 5, 25, 50, 75, 95 % of the weights; dotted: the first one")


def _ratios(axes: Axes, found: Diagnosis) -> None:
    ratios = np.array([tensor.rho for tensor in found.tensors])
    axes.plot(ratios, range(len(ratios)), "o", color=_OURS, markersize=4)
    axes.axvline(found.rest, color=_GRAY, linestyle=(0, (1, 1.5)))
    if np.nanmin(np.append(ratios, found.rest)) > 0.0:
        axes.set_xscale("log")
        # A decade to either side at least, whose numbers are enough.
        shown = np.append(ratios, [found.rest / 10.0, found.rest * 10.0])
        axes.set_xlim(np.nanmin(shown) / 1.2, np.nanmax(shown) * 1.2)
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("\u03c1; dotted: at rest")


def _priors(axes: Axes, found: Diagnosis) -> None:
    shares = [100.0 * tensor.prior for tensor in found.tensors]
    axes.barh(range(len(shares)), shares, height=0.6, color=_OURS, alpha=0.6)
    axes.set_xlim(0.0, 100.0)
    axes.set_xlabel("prior, % of g")
