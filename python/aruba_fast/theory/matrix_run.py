"""Tasks that are run with a full matrix of rates, in lock-step, and what they leave behind."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _check
from .._check import Float64Array
from ..rules import OGD
from ..run import check_loss, check_on_host, check_tasks, run_tasks
from ..tasks import Tasks

# Of a task's sums of squares: 1e8 such tasks stay within float64.
LARGEST_SQUARE = 1e300


@dataclass(frozen=True, eq=False, repr=False)
class FullMatrixRun:
    """What tasks leave behind that were run with a matrix of rates.

    Attributes:
        theta_hat: Last iterates, float64 [n_tasks, n_parameters].
        theta_bar: Mean of the iterates before every update, likewise.
        loss: Sum over a task's steps of the loss before the update, float64 [n_tasks].
        grad_norm_sq: Sum over a task's steps of grad^T H grad, float64 [n_tasks]: its bound's.
        grad_outer: Sum over all tasks and steps of grad grad^T, float64
            [n_parameters, n_parameters]; of the tasks whose result is finite.
        finite: Which tasks have a finite result, bool [n_tasks]: the squared distance and the sum
            of squared gradients are at most 1e300.
    """

    theta_hat: Float64Array
    theta_bar: Float64Array
    loss: Float64Array
    grad_norm_sq: Float64Array
    grad_outer: Float64Array
    finite: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        n, d = self.theta_hat.shape
        return f"FullMatrixRun(n_tasks={n}, n_parameters={d}, n_finite={int(self.finite.sum())})"


def run_full_matrix(
    tasks: Tasks,
    phi: Float64Array,
    h: Float64Array,
    *,
    loss: str,
    batch_size: int = 1,
    n_epochs: int = 1,
) -> FullMatrixRun:
    """Step after step of all tasks: gradients from the engine, steps with H from BLAS."""
    name = "FullMatrixLearner.run"
    check_tasks(name, tasks)
    check_on_host(name, tasks)
    if tasks.dtype != np.float64:
        raise TypeError(f"{name}: `tasks` must be float64: got {tasks.dtype}, expected float64")
    check_loss(name, tasks, loss, "phi", len(phi))
    size = _check.integer(name, "batch_size", batch_size, 1)
    epochs = _check.integer(name, "n_epochs", n_epochs, 1)
    n_tasks = len(tasks)
    theta = np.tile(phi, (n_tasks, 1))
    total, losses, norms = np.zeros_like(theta), np.zeros(n_tasks), np.zeros(n_tasks)
    squares, gradients = np.zeros(n_tasks), []
    n_steps = -(-tasks.sizes // size)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(epochs):
            for i in range(int(n_steps.max())):
                now = np.flatnonzero(n_steps > i)
                starts = tasks._starts[now] + i * size
                left = tasks._stops[now] - starts
                batch = tasks._view(starts, starts + np.minimum(size, left))
                # One step of rate 1 leaves the gradient behind; the loss is the engine's.
                one = run_tasks(batch, theta[now], OGD(1.0), loss=loss, batch_size=size)
                assert one.loss is not None
                grad = theta[now] - one.theta_hat
                step = times(grad, h)
                losses[now] += one.loss
                total[now] += theta[now]
                norms[now] += np.einsum("tj,tj->t", grad, step)
                squares[now] += np.einsum("tj,tj->t", grad, grad)
                theta[now] -= step
                gradients.append((now, grad))
        away = np.einsum("tj,tj->t", theta - phi, theta - phi)
    finite = (away <= LARGEST_SQUARE) & (squares <= LARGEST_SQUARE)
    outer = np.zeros((len(phi), len(phi)))
    for now, grad in gradients:
        outer += outer_products(grad[finite[now]])
    mean = total / (epochs * n_steps)[:, None]
    return FullMatrixRun(theta, mean, losses, norms, outer, finite)


def times(rows: Float64Array, matrix: Float64Array) -> Float64Array:
    """Rows @ matrix."""
    return np.concatenate([part @ matrix for part in parts(rows)])


def outer_products(rows: Float64Array) -> Float64Array:
    """The sum of the outer products of the rows with themselves."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for part in parts(rows):
        total += part.T @ part
    return total


def parts(rows: Float64Array) -> Iterator[Float64Array]:
    """Parts of some 1e9 multiplications with a square matrix: Ctrl-C waits for one at most."""
    size = max(1, 2**30 // rows.shape[1] ** 2)
    for first in range(0, max(1, len(rows)), size):
        yield rows[first : first + size]
