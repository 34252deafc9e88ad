"""What is compared on Shakespeare, and how it is told."""

from typing import Any

from .. import adaptation
from ..adaptation.methods import ARUBA
from .roles import KINDS

_FEDAVG = "fedavg"
# The best one is within, and the next ones above it are too large.
_RATES = (0.01, 0.1, 1.0, 2.0, 4.0, 8.0)
_LAYERS = {
    "embedding.weight": "embedding",
    "weight_ih": "input weights",
    "weight_hh": "recurrent weights",
    "bias_ih": "biases",
    "head.weight": "head weights",
    "head.bias": "head biases",
}


class Method(adaptation.Method):
    """One way to train."""

    command, fixed, scheme = "shakespeare", (_FEDAVG,), "FedAvg"
    rates, test_rates, usual = _RATES, (1.0, 0.3, 0.1, 0.03, 0.01), 1.0
    default = (*(f"{_FEDAVG}-{rate:g}" for rate in _RATES), ARUBA)


def _layer(name: str) -> str | None:
    """What people call a tensor of the LSTM: "lstm.weight_ih_l1" is "layer 2: input weights"."""
    if name in _LAYERS:
        return _LAYERS[name]
    kind, _, layer = name.removeprefix("lstm.").rpartition("_l")
    # Both biases of a gate always have the same gradient.
    return None if kind == "bias_hh" else f"layer {int(layer) + 1}: {_LAYERS[kind]}"


def _legend(runs: list[dict[str, Any]], scale: str) -> str:
    own = runs[0]["about"]
    n = {
        kind: sum(run["n_roles"][kind] for run in runs if run["about"]["method"] == own["method"])
        for kind in KINDS
    }
    predicted = (
        "every position of a window of {length} characters predicts the next"
        if own["stride"] > 1
        else "every character is predicted from the {length} before it"
    ).format(**own)
    return (
        f"Scale {scale}: {own['n_layers']} layer(s) of {own['n_hidden']}, {own['n_rounds']} "
        f"rounds of {own['n_clients']} roles, batches of {own['batch_size']} windows; {predicted}. "
        f"A role is personalized by an epoch. {n['seen']} seen and {n['unseen']} unseen roles in "
        "all, weighted by characters."
    )


STUDY = adaptation.Study(
    method=Method,
    measure=adaptation.ACCURACY,
    titles={
        kind: f"{kind} roles: characters predicted rightly, %, before and after personalization"
        for kind in reversed(KINDS)
    },
    curve="Unseen roles, before personalization",
    adapted="personalized",
    legend=_legend,
    layer=_layer,
    trivial=("most_frequent", "always a space"),
)
