"""What a privacy reads of a round and of its replies."""

import numpy as np

from .. import _check
from .._check import Float64Array
from ..federated import Reply, Round


def checked_round(function: str, round: object, n_parameters: int) -> Round:
    """A round that tasks can be run from."""
    if not isinstance(round, Round):
        raise TypeError(
            f"{function}: `round` must be a Round: got {_check.shown(round)}, expected the one "
            "that the server sent"
        )
    _check.shape(function, "round", round.phi, (n_parameters,))
    if round.rule is None:
        raise ValueError(
            f"{function}: `round` must have a first rate: got one that asks machines for it, which "
            "would tell of their data; expected a MetaLearner with a number as `learning_rate`"
        )
    return round


def sums_of(reply: Reply) -> Float64Array:
    """Distance, grad_sq and delta, [3, n_parameters]."""
    return np.stack([reply.distance, reply.grad_sq, reply.delta])
