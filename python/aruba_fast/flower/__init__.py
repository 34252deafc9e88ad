"""ARUBA in Flower: a strategy for the server, an app for its clients.

    # the server's app                                # the clients' app
    strategy = ArubaStrategy(Server(learner))         app = client_app(answer)
    strategy.start(grid, num_rounds=20)               # answer(round, context) -> Reply

Flower moves the messages; what they hold are the rounds and replies of `aruba_fast.federated`.
Needs Flower 1.42 or newer: `pip install 'aruba_fast[flower]'`.
"""

try:
    import flwr.serverapp.strategy as _installed  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"aruba_fast.flower needs Flower 1.42 or newer: pip install 'aruba_fast[flower]' ({error})"
    ) from None

from ._client import client_app
from ._strategy import ArubaStrategy

__all__ = ["ArubaStrategy", "client_app"]
