"""A chart of how much people differ, feature by feature."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._check import Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS = 30


def rates_drawn(ax: "Axes | None", names: Sequence[str], rates: Float64Array, label: str) -> "Axes":
    """Bars of the largest rates, largest on top; returns the axes."""
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise ImportError(
            "plot_rates: Matplotlib must be installed: got no module named 'matplotlib', "
            "expected it from pip install matplotlib"
        ) from None
    shown = (-rates).argsort(kind="stable")[:_MOST_BARS][::-1]
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 1 + 0.3 * len(shown)), layout="constrained")
    # A dollar in a name is no formula.
    ax.barh(range(len(shown)), rates[shown], color="#2f7fc1")
    ax.set_yticks(range(len(shown)), [str(names[j]).replace("$", r"\$") for j in shown])
    ax.set_xlabel(label)
    ax.set_title("How much people differ")
    return ax
