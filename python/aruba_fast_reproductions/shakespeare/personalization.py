"""Accuracy on the lines set aside: as trained, and after an epoch over the role's other lines."""

from collections.abc import Callable
from dataclasses import dataclass

from .federated import Federated
from .methods import personal_optimizer
from .network import mean_loss, n_correct
from .roles import Part, Roles

# Windows that are predicted at once: more are no faster on one core.
_AT_ONCE = 50


@dataclass(frozen=True)
class Group:
    """Roles whose accuracy is measured together, weighted by what they have to predict.

    Attributes:
        own: Windows of the lines to personalize on, a part for each role.
        test: Windows of the lines to test on.
        everything: Those of all roles, for a network that all share.
    """

    own: list[Part]
    test: list[Part]
    everything: Part

    @classmethod
    def of(cls, roles: Roles, which: list[int]) -> "Group":
        """Makes the windows of some roles."""
        own, test = ([roles.part(role, test=t) for role in which] for t in (False, True))
        return cls(own, test, Part.joined(test))

    @property
    def n_predictions(self) -> int:
        """Number of characters that are predicted."""
        return self.everything.n_predictions

    @property
    def most_frequent(self) -> float:
        """The accuracy of always saying the character that is most frequent there."""
        counts = self.everything.y.flatten().bincount()
        return int(counts[1:].max()) / self.n_predictions


def before(training: Federated, group: Group) -> float:
    """Returns the share of characters that phi predicts rightly."""
    training.meta.restore()
    return _n_right(training, group.everything) / group.n_predictions


def after(
    training: Federated, group: Group, how: str, before_each: Callable[[], object] = lambda: None
) -> float:
    """Returns the share that is right when every role has taken an epoch of its own from phi.

    A step a batch, in the order of the play. The training is left as it was.

    Args:
        training: Where phi and the rates are.
        group: The roles.
        how: How they move: see `personal_optimizer`.
        before_each: Called before every role; may raise to stop.
    """
    right = 0
    try:
        for own, test in zip(group.own, group.test, strict=True):
            before_each()
            optimizer = personal_optimizer(training.meta, how)
            for x, y in own.batches(training.settings.batch_size):
                optimizer.zero_grad()
                mean_loss(training.network, x, y).backward()
                optimizer.step()
            right += _n_right(training, test)
    finally:
        training.meta.restore()
    return right / group.n_predictions


def _n_right(training: Federated, part: Part) -> int:
    return sum(int(n_correct(training.network, x, y)) for x, y in part.batches(_AT_ONCE))
