"""A `MetaOptimizer` on one of many machines: it runs the tasks of a server's round, and answers."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from .. import _check
from ..federated import FirstRate, Reply, Round
from ..federated._reply import Total
from ._grouped import Grouped
from ._private import mark_private, require_private

Task = TypeVar("Task")


class Following(Grouped):
    """The base of `MetaOptimizer` that does what a server asks."""

    def follow(self, round: Round) -> None:
        """Moves the model to the phi of a server's round, and trains tasks at its rates from now.

        What this machine has learned by itself is not used, nor changed. `task` runs tasks as the
        server would have, to the bit, `statistics` sums them, and `rule` is the server's rule for
        new tasks, if it was sent along.

        Args:
            round: What the server sent, for the same parameters in the same order.

        Raises:
            TypeError: `round` is no Round.
            ValueError: It is of another number or type of parameters. Nothing is changed.
            RuntimeError: A task is open.

        Example:
            >>> import torch, aruba_fast as af, aruba_fast.torch
            >>> from aruba_fast.federated import Round
            >>> server = af.MetaLearner([1.0, 2.0], learning_rate=0.5)
            >>> weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
            >>> sent = Round.of(server, version=0)
            >>> meta.follow(sent)
            >>> with meta.task() as optimizer:
            ...     weight.sum().backward()
            ...     optimizer.step()
            >>> sent.reply(meta.statistics()).delta
            array([-0.5, -0.5])
        """
        name = "MetaOptimizer.follow"
        self._require_no_task(name)
        self._parameters.require(name)
        if not isinstance(round, Round):
            raise TypeError(
                f"{name}: `round` must be a Round: got {_check.shown(round)}, expected "
                "Round.from_bytes of what the server sent"
            )
        if self._parameters.sharded:
            raise ValueError(
                f"{name}: the model must be whole on this process: got parameters that are "
                "sharded, expected a round for a model without fully_shard"
            )
        phi = self._flat.arrays["phi"]
        if (round.phi.dtype, round.phi.shape) != (phi.dtype, phi.shape):
            raise ValueError(
                f"{name}: `round` must be of this model: got {round.n_parameters} parameters of "
                f"{round.phi.dtype}, expected {len(phi)} of {phi.dtype}"
            )
        with self._parameters.beside(), torch.inference_mode(False):
            self._flat.follow(round)
        self._agreed = None
        self.restore()

    def answer(
        self,
        round: Round,
        tasks: Sequence[Task],
        train: Callable[[torch.optim.Optimizer, Task], object],
        *,
        weight: Callable[[Task], float] | None = None,
    ) -> Reply | FirstRate:
        """Runs the tasks of this machine as a server asks, and returns what to send back.

        Where the server does not know the first rate, a task after the other is tried at the rates
        of a grid, over and over until one pass through it has told a rate: at most 17 tasks.

        Where the server asks for privacy, a task weighs 1. A `TaskPrivacy` draws who takes part,
        and clips each; with a `RecordPrivacy`, `train` must take its steps by `private_steps`.

        Args:
            round: What the server sent.
            tasks: The tasks of this machine, whatever `train` takes; at least one.
            train: Takes the steps of a task, `train(optimizer, task)`, from where the model is.
            weight: Weight of a task in the mean of the round, for FedAvg its number of rows; None
                for 1 each.

        Returns:
            A `Reply`, or a `FirstRate`.

        Raises:
            TypeError: As `follow`.
            ValueError: As `follow`; or there is no task.
            RuntimeError: As `follow` and `task`; or a step was not private where it had to be.

        Example:
            >>> import torch, aruba_fast as af, aruba_fast.torch
            >>> from aruba_fast.federated import Round
            >>> server = af.MetaLearner([1.0, 2.0], learning_rate=0.5)
            >>> weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
            >>> meta = aruba_fast.torch.MetaOptimizer([weight])
            >>> def train(optimizer, target):
            ...     for _ in range(3):
            ...         optimizer.zero_grad()
            ...         (weight - target).square().sum().backward()
            ...         optimizer.step()
            >>> meta.answer(Round.of(server, version=0), [1.0, 3.0], train)
            Reply(version=0, n_tasks=2, n_skipped=0, n_parameters=2, weight=2)
        """
        name = "MetaOptimizer.answer"
        if not len(tasks):
            raise ValueError(f"{name}: `tasks` must hold a task: got none, expected at least one")
        self.follow(round)
        if round.privacy is not None:
            return self._hidden(round, tasks, train)
        while True:
            for task in tasks:
                with self.task(1.0 if weight is None else weight(task)) as optimizer:
                    train(optimizer, task)
                if round.rule is None and self._flat.search is None:
                    rate = self._flat.searched_rate()
                    return FirstRate(rate, round.version)
            if round.rule is not None:
                return round.reply(self.statistics())

    def _hidden(
        self,
        round: Round,
        tasks: Sequence[Task],
        train: Callable[[torch.optim.Optimizer, Task], object],
    ) -> Reply:
        """As `answer`, of tasks that the server must not see."""
        privacy = round.privacy
        assert privacy is not None
        total = Total(Reply._empty(round.n_parameters, round.version))
        for index in np.flatnonzero(privacy._drawn(len(tasks))).tolist():
            self.follow(round)
            with self.task() as optimizer:
                mark_private(optimizer, None)
                train(optimizer, tasks[index])
                require_private(optimizer, privacy)
            total.add(round.reply(self.statistics()))
        return total.reply()
