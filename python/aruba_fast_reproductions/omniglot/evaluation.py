"""Meta-testing as Reptile does it: adapt to the support, then predict the query."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from aruba_fast._check import Int64Array
from aruba_fast.datasets import Episodes
from aruba_fast.torch._parameters import array

from ..batches import mini_batches
from .settings import EvaluationSettings
from .training import OmniglotTraining, paper, tensor

# Tasks whose drawings are gathered at once.
_AT_ONCE = 50


def evaluate(
    training: OmniglotTraining,
    episodes: Episodes,
    n_tasks: int,
    settings: EvaluationSettings,
    *,
    coef: float | str | None = None,
    before_each: Callable[[], object] = lambda: None,
) -> Int64Array:
    """Counts the right answers on the first tasks of a sequence; the training is left as it was.

    Every task starts at the initialization, with the optimizer of the training: the learned rates,
    SGD, or Adam with the state that meta-training has left, as in Reptile's code.

    Args:
        training: The trained network and its optimizer.
        episodes: The tasks.
        n_tasks: How many.
        settings: Size and number of the steps; and whether all queries of a task are predicted in
            one batch, whose statistics they share, or each in one with the support.
        coef: Of the rule, as `MetaOptimizer.rule` has it, where rates are learned.
        before_each: Called before every task; may raise to stop.

    Returns:
        Number of right answers of every task, int64 [n_tasks].
    """
    device = training.meta.parameters[0].device
    right = np.empty(n_tasks, np.int64)
    for first in range(0, n_tasks, _AT_ONCE):
        n = min(_AT_ONCE, n_tasks - first)
        some = episodes.batch(first, n)
        rows = mini_batches(
            *(episodes.seed, first, n),
            n_samples=some.support_y.shape[1],
            batch=settings.batch,
            steps=settings.steps,
        )
        support, query = paper(some.support_x, device), paper(some.query_x, device)
        labels, orders = tensor(some.support_y, device), tensor(rows, device)
        for k in range(n):
            before_each()
            _adapt(training, support[k], labels[k], orders[k], coef)
            found = predict(training.model, support[k], query[k], settings.transductive)
            right[first + k] = (found == some.query_y[k]).sum()
    training.meta.restore()
    return right


def _adapt(
    training: OmniglotTraining,
    x: torch.Tensor,
    y: torch.Tensor,
    batches: torch.Tensor,
    coef: float | str | None,
) -> None:
    optimizer: torch.optim.Optimizer
    if training.inner is None:
        optimizer = training.meta.rule(coef)
    else:
        training.meta.restore()
        optimizer = training.method.inner(training.meta.parameters, training.settings)
        optimizer.load_state_dict(copy.deepcopy(training.inner.state_dict()))
    for batch in batches:
        optimizer.zero_grad()
        training.loss(x[batch], y[batch]).backward()
        optimizer.step()


def predict(
    model: torch.nn.Module, support: torch.Tensor, query: torch.Tensor, transductive: bool
) -> NDArray[np.int64]:
    """Predicts the queries: all in one batch, or each in one with the support."""
    with torch.no_grad():
        if transductive:
            found = model(query)
        else:
            alone = [model(torch.cat([support, one.unsqueeze(0)]))[-1] for one in query]
            found = torch.stack(alone)
    labels: NDArray[np.int64] = array(found.argmax(dim=1).cpu())
    return labels
