"""ARUBA in pfl, the simulator of private federated learning.

    model = LinearModel(learner, loss="logistic")     # or TorchModel(learner, meta, train)
    backend = ArubaBackend(People(tasks), People(others))
    ArubaAlgorithm().run(params, backend, model, ModelHyperParams())

What a user sends are the sums of `aruba_fast.federated`. `SimulatedBackend` of pfl runs a user
after the other, `ArubaBackend` all users of a cohort in one native call.
Needs pfl 0.6 or newer: `pip install 'aruba_fast[pfl]'`.
"""

try:
    import pfl.aggregate.simulate as _installed  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"aruba_fast.pfl needs pfl 0.6 or newer: pip install 'aruba_fast[pfl]' ({error})"
    ) from None

from ._algorithm import ArubaAlgorithm
from ._backend import ArubaBackend
from ._linear import LinearModel
from ._people import People
from ._statistics import ArubaStatistics
from ._torch import TorchModel

__all__ = [
    "ArubaAlgorithm",
    "ArubaBackend",
    "ArubaStatistics",
    "LinearModel",
    "People",
    "TorchModel",
]
