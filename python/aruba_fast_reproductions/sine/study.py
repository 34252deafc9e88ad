"""What is compared on sines, and how it is told."""

from typing import Any

from .. import adaptation
from ..adaptation.methods import ADAM, ARUBA, ISOTROPIC
from .sines import LONG, SHORT

_SGD = "sgd"
_RATES = (0.005, 0.01, 0.02, 0.05)
_ADAM_RATES = (0.003, 0.01, 0.03)


class Method(adaptation.Method):
    """One way to train."""

    command, fixed, scheme = "sine", (_SGD, ADAM), "Reptile"
    rates, test_rates, usual = _RATES, (0.05, 0.02, 0.01, 0.005), 0.02
    default = (
        *(f"{_SGD}-{rate:g}" for rate in _RATES),
        *(f"{ADAM}-{rate:g}" for rate in _ADAM_RATES),
        ISOTROPIC,
        ARUBA,
    )


def _legend(runs: list[dict[str, Any]], _scale: str) -> str:
    own = runs[0]["about"]
    return (
        f"{own['n_rounds']} rounds of {own['meta_batch']} sines, each known by {own['shots']} "
        f"points, {own['n_steps']} steps on batches of {own['batch_size']}. {own['n_tests']} new "
        f"sines, tested on {own['n_grid']} points from -5 to 5 after {own['n_steps']} steps "
        f"(short) and {own['n_longer'] * own['n_steps']} (long). Adam goes on with its state of "
        "training."
    )


STUDY = adaptation.Study(
    method=Method,
    measure=adaptation.ERROR,
    titles={
        SHORT: "short: mean squared error after as many steps as in training",
        LONG: "long: mean squared error after more steps",
    },
    curve="New sines, in the short test",
    adapted="adapted",
    legend=_legend,
    layer=adaptation.layer,
)
