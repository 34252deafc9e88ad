"""The file of a server: its learner, who has answered, and what went out with older versions."""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import _check
from .._check import FloatArray
from ..learner import MetaLearner
from ._private import Hidden, restored

_KIND = "Server"

# By version: who has answered; the rates, and how far a task could go at them.
Seen: TypeAlias = dict[int, set[str]]
Sent: TypeAlias = dict[int, tuple[FloatArray, float]]


def write(
    path: str | os.PathLike[str],
    learner: MetaLearner,
    version: int,
    seen: Seen,
    sent: Sent,
    hidden: Hidden | None,
) -> None:
    """Replaces the file, as a whole or not at all."""
    from .. import checkpoint

    arrays, values = learner._stored(f"{_KIND}.close")
    stored: dict[str, NDArray[Any]] = {f"learner.{name}": a for name, a in arrays.items()}
    for number, (rates, limit) in sent.items():
        stored |= {f"rates.{number}": rates, f"limit.{number}": np.array([limit])}
    names = {str(number): sorted(senders) for number, senders in seen.items()}
    state = {"version": version, "seen": names, "learner": values}
    if hidden is not None:
        privacy, ledger = hidden
        own, state["privacy"] = privacy._stored()
        own["known"] = ledger.known
        stored |= {f"privacy.{name}": array for name, array in own.items()}
    checkpoint.write(path, stored, state, _KIND)


def read(
    path: str | os.PathLike[str],
) -> tuple[MetaLearner, int, Seen, Sent, Hidden | None]:
    """Returns what `write` wrote; says in one sentence why it is not that."""
    from .. import checkpoint

    name = checkpoint.checked_path(f"{_KIND}.load", path)
    arrays, values, checksum = _refusing(name, lambda: checkpoint.read(name, _KIND))
    _refusing(name, lambda: checkpoint.require_whole(arrays, values, checksum))
    found: tuple[MetaLearner, int, Seen, Sent, Hidden | None] = _refusing(
        name, lambda: _restored(arrays, values)
    )
    return found


def _refusing(path: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{_KIND}.load: `path` must be what a server has written: got {path!r}, which is "
            f"refused: {error}"
        ) from None


def _restored(
    arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]
) -> tuple[MetaLearner, int, Seen, Sent, Hidden | None]:
    kinds = ("learner", "rates", "limit", "privacy")
    parts: dict[str, dict[str, NDArray[Any]]] = {kind: {} for kind in kinds}
    for name, array in arrays.items():
        kind, _, rest = name.partition(".")
        parts[kind][rest] = array
    learner = MetaLearner._restored(MetaLearner._checked_state(parts["learner"], values["learner"]))
    seen = {int(number): set(names) for number, names in values["seen"].items()}
    limits = {int(number): float(limit.item()) for number, limit in parts["limit"].items()}
    sent = {int(number): (rates, limits[int(number)]) for number, rates in parts["rates"].items()}
    hidden = None
    if "privacy" in values:
        privacy = restored(parts["privacy"], values["privacy"])
        ledger, known = privacy.ledger(), parts["privacy"]["known"]
        _check.shape("known", "known", known, ledger.known.shape)
        _check.finite("known", "known", known)
        ledger.known = known.astype(np.float64)
        hidden = privacy, ledger
    version = _check.integer("version", "version", values["version"], 0)
    return learner, version, seen, sent, hidden
