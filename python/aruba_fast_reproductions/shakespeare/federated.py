"""Federated training of the character LSTM: FedAvg at a fixed rate, and FedAvg with ARUBA."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from .methods import Method
from .network import mean_loss, seeded_network
from .roles import Roles
from .settings import Settings


class Federated:
    """FedAvg: a round's roles start from phi, take an epoch each, and phi becomes their mean.

        theta_k <- phi;  theta_k <- theta_k - eta grad, over the windows of role k
        phi <- sum_k n_k theta_k / sum_k n_k,  n_k characters that role k predicts

    With ARUBA eta is a rate for every weight, learned from what the roles leave behind; without it
    a number, and the statistics are collected all the same, but not used.

    Nothing is chosen for it: the first roles find the first rate.

    Args:
        roles: The roles.
        settings: The scale.
        method: How the weights move within a role.
        seed: Of the first weights.
        device: Where the network lives.

    Attributes:
        network: The LSTM; its parameters hold phi between the rounds.
        meta: Its meta-state.
    """

    def __init__(
        self, roles: Roles, settings: Settings, method: Method, seed: int, device: torch.device
    ) -> None:
        self._roles, self.settings, self.method = roles, settings, method
        self.network = seeded_network(settings, seed).to(device)
        self.meta = method.meta(self.network.parameters())
        self._inner = method.inner(self.meta.parameters)

    def round(self, number: int) -> None:
        """Does a round, by its number from 0."""
        for slot, role in enumerate(self._roles.of_round(number).tolist()):
            part = self._roles.part(role, test=False)
            with self.meta.task(weight=part.n_predictions, optimizer=self._inner) as optimizer:
                order = self._roles.order(number, slot, len(part))
                for x, y in part.batches(self.settings.batch_size, order):
                    optimizer.zero_grad()
                    mean_loss(self.network, x, y).backward()
                    optimizer.step()
        self.meta.step(meta_step=1.0)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Returns the meta-state, which is all that later rounds depend on."""
        state = self.meta.state_dict()
        arrays = {name: values.cpu().numpy() for name, values in state["state"].items()}
        return arrays, {"layout": state["layout"]}

    def restore(self, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Takes what `state` gave."""
        state = {name: torch.from_numpy(values) for name, values in arrays.items()}
        self.meta.load_state_dict({"state": state, "layout": facts["layout"]})
