"""Differential privacy of whole tasks: what is learned hardly tells whether a person took part.

Each task is clipped on its machine (`TaskPrivacy.clipped`), the server adds noise to the sum of a
round before anything else sees it (`Released`), and `epsilon` says what that is worth, by
dp_accounting: `pip install 'aruba_fast[privacy]'`, which is needed where one of `epsilon` and
`noise_for` is called, and not on the machines.
"""

from ._accounting import FixedSize, Poisson, epsilon, noise_for
from ._mechanism import TaskPrivacy
from ._released import Released

__all__ = ["FixedSize", "Poisson", "Released", "TaskPrivacy", "epsilon", "noise_for"]
