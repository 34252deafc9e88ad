"""Training of phi, and of rates beside it: FedAvg or Reptile, as a problem weighs and steps."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from ..networks import restore, state_of
from .methods import Method
from .problem import Losses, Problem


class Training:
    """A round's tasks start from phi and take their steps; then phi moves to their mean.

        theta_k <- phi;  theta_k <- theta_k - eta grad, for every step of task k
        phi <- phi + step (sum_k n_k theta_k / sum_k n_k - phi),  n_k the weight of task k

    With ARUBA eta is a rate for every weight, learned from what the tasks leave behind; without it
    a number, or Adam's, whose state goes on from task to task; the statistics are collected all the
    same, but not used.

    Nothing is chosen for ARUBA: the first tasks find the first rate.

    Args:
        problem: The tasks, and the network.
        method: How the weights move within a task.

    Attributes:
        network: The network; its parameters hold phi between the rounds.
        meta: Its meta-state.
        inner: The optimizer within tasks, or None.
    """

    def __init__(self, problem: Problem, method: Method) -> None:
        self._problem, self.method = problem, method
        self.network = problem.network
        self.meta = method.meta(self.network.parameters())
        self.inner = method.inner(self.meta.parameters)

    def round(self, number: int) -> None:
        """Does a round, by its number from 0."""
        for task in self._problem.tasks(number):
            with self.meta.task(weight=task.weight, optimizer=self.inner) as optimizer:
                take_steps(optimizer, task.losses(self.network))
        self.meta.step(meta_step=self._problem.meta_step(number))

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Returns all that later rounds depend on."""
        return state_of(self.meta, self.inner)

    def restore(self, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Takes what `state` gave."""
        restore(self.meta, self.inner, arrays, facts)


def take_steps(optimizer: torch.optim.Optimizer, losses: Losses) -> None:
    """Takes a step for every loss, which is computed where the step before has led."""
    for loss in losses:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
