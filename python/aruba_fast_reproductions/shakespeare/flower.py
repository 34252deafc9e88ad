"""The same training through Flower's simulation: each node holds a shard of the roles."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from numpy.typing import NDArray

from aruba_fast.federated import FirstRate, Reply, Round, Server
from aruba_fast.flower import ArubaStrategy, client_app
from aruba_fast.torch import MetaOptimizer

from ..adaptation import AdaptationJob, Method
from ..adaptation.problem import Problem, Task
from ..adaptation.training import Training, take_steps
from ..workers import one_thread
from .roles import Roles

if TYPE_CHECKING:
    import torch

# Rounds whose roles a node tries rates on, where the server asks for the first one.
_N_SEARCHED = 7
# Seconds that a round waits for its nodes.
_TIMEOUT = 600.0
# The number of a node, and how many there are.
_PLACE = ("partition-id", "num-partitions")


class FlowerTraining(Training):
    """Nodes run the tasks, and a server learns from what they send: `Training` to the bit.

    Round 0 asks the nodes for the first rate, and is otherwise lost.

    Args:
        problem: As `Training`.
        method: One that learns its rates.
        grid: Flower's.
        n_nodes: How many nodes there are, which are waited for.
    """

    def __init__(self, problem: Problem, method: Method, *, grid: Grid, n_nodes: int) -> None:
        super().__init__(problem, method)
        self._grid, self._n_nodes = grid, n_nodes
        self._strategy: ArubaStrategy | None = None

    def round(self, number: int) -> None:
        """Does a round, by its number from 0."""
        if self._strategy is None:
            self._strategy = self._from(number)
        self._strategy.start(self._grid, num_rounds=1, timeout=_TIMEOUT)
        report = self._strategy.reports[-1]
        if report.n_replies < self._n_nodes:
            raise RuntimeError(f"shakespeare: a round of Flower's lacks nodes: got {report}")
        # The server found the rate that tasks here would search for.
        self.meta._flat.search = None
        self.meta.restore()

    def _from(self, number: int) -> ArubaStrategy:
        """What goes on with this round; rounds that are closed without a reply change nothing."""
        (learner,) = self.meta.learners
        server = Server(learner, meta_step=self._problem.meta_step(number))
        for _ in range(number):
            server.close()
        return ArubaStrategy(server, min_nodes=self._n_nodes, form="pairs")

    def restore(self, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Takes what `state` gave."""
        super().restore(arrays, facts)
        self._strategy = None


@lru_cache(maxsize=1)
def _node(job: AdaptationJob) -> tuple[Roles, MetaOptimizer]:
    """What a process of Flower's keeps from one message to the next."""
    one_thread()
    roles = job.problem()
    assert isinstance(roles, Roles)
    return roles, job.method.meta(roles.network.parameters())


def answer(job: AdaptationJob, round: Round, context: Context) -> Reply | FirstRate:
    """Runs the roles of a node that take part in a round.

    Args:
        job: Which roles there are, and how they move.
        round: What the server sent; its version is the number of the round.
        context: Says which node this is.
    """
    place, n_nodes = (int(context.node_config[key]) for key in _PLACE)
    roles, meta = _node(job)
    numbers = range(_N_SEARCHED) if round.rule is None else [round.version]
    tasks = [
        task
        for number in numbers
        for role, task in zip(roles.of_round(number), roles.tasks(number), strict=True)
        if role % n_nodes == place
    ]
    if not tasks:
        meta.follow(round)
        return round.reply(meta.statistics())

    def train(optimizer: "torch.optim.Optimizer", task: Task) -> None:
        take_steps(optimizer, task.losses(roles.network))

    return meta.answer(round, tasks, train, weight=attrgetter("weight"))


def simulated(
    job: AdaptationJob, n_nodes: int, run: Callable[[Callable[..., Training]], dict[str, Any]]
) -> dict[str, Any]:
    """Calls a function where Flower's simulation runs, and returns what it returns.

    Args:
        job: What the nodes run.
        n_nodes: How many there are.
        run: Is given what makes a training of a problem and a method.
    """
    logging.getLogger("flwr").setLevel(logging.WARNING)  # three screens a round otherwise
    app: ServerApp = ServerApp()
    outcome: Future[dict[str, Any]] = Future()

    @app.main()
    def _main(grid: Grid, _context: Context) -> None:
        try:
            outcome.set_result(run(partial(FlowerTraining, grid=grid, n_nodes=n_nodes)))
        except BaseException as error:  # Ctrl-C too is told where the command waits
            outcome.set_exception(error)

    run_simulation(app, client_app(partial(answer, job)), num_supernodes=n_nodes)
    return outcome.result(timeout=0.0)
