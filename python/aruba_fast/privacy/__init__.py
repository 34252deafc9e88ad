"""Differential privacy: what is learned hardly tells whether a person, or a row, was there.

    server = Server(learner, privacy=TaskPrivacy(spread, noise, n_tasks))

`TaskPrivacy`, of whole tasks, which are people: each is clipped on its machine, the server adds
noise to the sum of a round before anything else sees it. `RecordPrivacy`, of single rows: machines
add the noise to their own gradients, nobody has to be trusted, and the server takes off what it
adds to squares. `epsilon` says what noise is worth, and `noise_for` finds it, by dp_accounting:
`pip install 'aruba_fast[privacy]'`, which is needed where one of these two is called, and not on
the machines.
"""

from ._accounting import FixedSize, Poisson, epsilon, noise_for
from ._mechanism import TaskPrivacy
from ._record import RecordPrivacy

__all__ = [
    "FixedSize",
    "Poisson",
    "RecordPrivacy",
    "TaskPrivacy",
    "epsilon",
    "noise_for",
]
