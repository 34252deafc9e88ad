"""What is compared on MNIST by writer, and how it is told."""

from typing import Any

from .. import adaptation
from ..adaptation.methods import ARUBA, ISOTROPIC
from .people import UNSEEN

_FEDAVG = "fedavg"
_RATES = (0.01, 0.03, 0.1, 0.3, 1.0)


class Method(adaptation.Method):
    """One way to train."""

    command, fixed, scheme = "writers", (_FEDAVG,), "FedAvg"
    rates, test_rates, usual = _RATES, (1.0, 0.3, 0.1, 0.03, 0.01, 0.003), 0.1
    default = (*(f"{_FEDAVG}-{rate:g}" for rate in _RATES), ISOTROPIC, ARUBA)


def _legend(runs: list[dict[str, Any]], _scale: str) -> str:
    own, n = runs[0]["about"], runs[0]["n_writers"][UNSEEN]
    return (
        f"{own['n_rounds']} rounds of {own['n_clients']} writers, an epoch in batches of "
        f"{own['batch_size']}. An unseen writer, of {n}, adapts to {own['shots']} images in "
        f"{own['n_epochs']} epochs and is tested on its others; weighted by images."
    )


STUDY = adaptation.Study(
    method=Method,
    measure=adaptation.ACCURACY,
    titles={UNSEEN: "unseen writers: digits read rightly, %, before and after adaptation"},
    curve="Unseen writers, before adaptation",
    adapted="adapted",
    legend=_legend,
    layer=adaptation.layer,
)
