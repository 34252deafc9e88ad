"""The proximal rule online, as regret looks at it: `follow_the_leader`."""

import numpy as np
from numpy.typing import ArrayLike

from .. import _check
from ..proximal import Proximal
from ..rules import OGD
from ..run import check_on_host, check_tasks, run_tasks
from ..statistics import TaskRun
from ..tasks import Tasks

_NAME = "follow_the_leader"


@np.errstate(all="ignore")
def follow_the_leader(tasks: Tasks, phi: ArrayLike, rule: Proximal, *, loss: str) -> TaskRun:
    """Runs tasks online by the proximal rule: a row meets the best parameters for those before it.

        theta_i = argmin sum_{s<i} l_s(theta) + 1/(2 coef) (theta - phi)^T H^-1 (theta - phi)

    Follow-the-regularized-leader, whose regret `regret` measures and `regret_upper_bound` bounds,
    for any convex losses. `run_tasks` with the same rule returns where it ends, in one solve a task
    instead of one a row.

    Args:
        tasks: The tasks, in host memory.
        phi: Start of every task, [n_parameters] or [n_tasks, n_parameters], of the type of `tasks`.
        rule: The rule.
        loss: Name of the loss, as in `run_tasks`.

    Returns:
        TaskRun: `theta_hat` by all rows, `grad_sq` the sums of squared gradients at the iterates,
        `loss` the sums of losses there, `weight` the number of rows or the sum of their weights.

    Raises:
        TypeError: An argument is of the wrong type, or the tasks live on a CUDA device.
        ValueError: As `run_tasks`.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks([[1.0], [1.0], [2.0]], [1.0, 3.0, 4.0], offsets=[0, 2, 3])
        >>> rule = af.Proximal(0.5)
        >>> run = af.theory.follow_the_leader(tasks, np.zeros(1), rule, loss="squared")
        >>> best = af.theory.best_in_hindsight(tasks, loss="squared")
        >>> af.theory.regret(run, best), af.theory.regret_upper_bound(run, best, np.zeros(1), rule)
        (array([3.05555556, 8.        ]), array([ 6.02777778, 20.        ]))

    Source: McMahan, JMLR 18 (2017).
    """
    check_tasks(_NAME, tasks)
    check_on_host(_NAME, tasks)
    if not isinstance(rule, Proximal):
        raise TypeError(
            f"{_NAME}: `rule` must be Proximal: got {_check.shown(rule)}, expected "
            "af.Proximal(...); other rules are online in run_tasks"
        )
    whole = run_tasks(tasks, phi, rule, loss=loss)
    grad_sq = np.zeros(whole.theta_hat.shape)
    losses = np.zeros(len(tasks))
    start = np.broadcast_to(np.asarray(phi), whole.theta_hat.shape)
    for i in range(int(tasks.sizes.max())):
        now = np.flatnonzero(tasks.sizes > i)
        first = tasks._starts[now]
        theta = np.ascontiguousarray(start[now])
        if i:
            theta = run_tasks(tasks._view(first, first + i), theta, rule, loss=loss).theta_hat
        # A step of rate zero moves nothing, and tells the gradient and the loss.
        row = run_tasks(tasks._view(first + i, first + i + 1), theta, OGD(0.0), loss=loss)
        assert row.loss is not None
        grad_sq[now] += row.grad_sq
        losses[now] += row.loss
    squares = grad_sq.astype(tasks.dtype, copy=False)
    return TaskRun(whole.theta_hat, squares, None, losses, whole.weight)
