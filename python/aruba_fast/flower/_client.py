"""The clients' side in Flower: rounds come, replies go."""

from collections.abc import Callable, Mapping

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from .. import _check
from ..federated import FirstRate, Reply, Round

# The names of the records that messages hold, and of what is in them.
ASKED, TOLD, METRICS = "aruba", "aruba", "metrics"
ROUND, FORM, REPLY, NAME, WEIGHT = "round", "form", "reply", "name", "num-examples"

Answer = Callable[[Round, Context], Reply | FirstRate]
Evaluate = Callable[[Round, Context], Mapping[str, float]]


def client_app(
    answer: Answer,
    evaluate: Evaluate | None = None,
    *,
    name: Callable[[Context], str] | None = None,
) -> ClientApp:
    """Makes the app that Flower runs on its nodes.

    A node holds the data of one person or of thousands, and sends back sums. If its function raises
    an exception, or it does not answer, the server counts it as failed.

    Args:
        answer: Function that runs the tasks of a node: `answer(round, context)` returns
            `round.answer(tasks, loss=...)` for linear models, or for PyTorch
            `meta.answer(round, tasks, train)`.
        evaluate: Function that evaluates the model on a node: `evaluate(round, context)` returns
            numbers by name, and under "num-examples" their weight in the mean over the nodes. The
            round has `phi`, for the error before, and `personal`, the rule for the error after some
            steps on the node's own data. None for no evaluation.
        name: Function that names a node: `name(context)`, the same each time the node connects.
            None for the "partition-id" of its configuration; without one, Flower's own number of
            the node, which differs from run to run.

    Returns:
        The `ClientApp`.

    Raises:
        TypeError: An argument is no function.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> from aruba_fast.flower import client_app
        >>> tasks = af.Tasks(np.ones((5, 3, 2)), np.ones((5, 3)))
        >>> app = client_app(lambda round, context: round.answer(tasks, loss="squared"))
    """
    given = {"answer": answer, "evaluate": evaluate, "name": name}
    for argument, function in given.items():
        if not callable(function) and (function is not None or argument == "answer"):
            raise TypeError(
                f"client_app: `{argument}` must be a function: got {_check.shown(function)}, "
                "expected one as the documentation has it"
            )
    app = ClientApp()
    named = _name if name is None else name

    @app.query()
    def _query(message: Message, context: Context) -> Message:
        told = ConfigRecord({NAME: str(named(context))})
        return Message(RecordDict({TOLD: told}), reply_to=message)

    @app.train()
    def _train(message: Message, context: Context) -> Message:
        asked = message.content[ASKED]
        told = answer(Round.from_bytes(asked[ROUND]), context)
        data = told.to_bytes(asked[FORM]) if isinstance(told, Reply) else told.to_bytes()
        return Message(RecordDict({TOLD: ConfigRecord({REPLY: data})}), reply_to=message)

    if evaluate is not None:

        @app.evaluate()
        def _evaluate(message: Message, context: Context) -> Message:
            found = evaluate(Round.from_bytes(message.content[ASKED][ROUND]), context)
            metrics = {key: float(value) for key, value in found.items()}
            told = MetricRecord({WEIGHT: 1.0, **metrics})
            return Message(RecordDict({METRICS: told}), reply_to=message)

    return app


def _name(context: Context) -> str:
    return str(context.node_config.get("partition-id", context.node_id))
