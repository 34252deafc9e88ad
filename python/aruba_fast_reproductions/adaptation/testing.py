"""The tests of a training: as phi is, and after every test has taken its own steps from it."""

from collections.abc import Callable

from .methods import BEFORE
from .problem import Group
from .training import Training, take_steps


def mean_score(
    training: Training, group: Group, way: str, before_each: Callable[[], object] = lambda: None
) -> float:
    """Returns the mean score of a group; the training is left as it was.

    Args:
        training: Where phi and the rates are.
        group: The tests.
        way: How they move: "before" for not at all, or as `Method.adapting` has it.
        before_each: Called before every test; may raise to stop.
    """
    training.meta.restore()
    if way == BEFORE:
        return group.everything.score(training.network) / group.total
    score = 0.0
    try:
        for test in group.tests:
            before_each()
            optimizer = training.method.adapting(training.meta, training.inner, way)
            take_steps(optimizer, test.losses(training.network))
            score += test.score(training.network)
    finally:
        training.meta.restore()
    return score / group.total
