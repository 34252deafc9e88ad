"""Online to batch: averages that generalize, and what they are worth on tasks not seen yet."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check
from .._check import Float64Array
from .._lock import Lock
from ..adaptation import evaluate
from ..learner import MetaLearner, check_learner
from ..rules import Rule
from ..run import check_tasks, run_tasks
from ..tasks import Tasks

_FEWEST = 5  # tasks, below which the series for Student's t is not good to three digits


class MetaAverage:
    """The averages of a learner's initializations and rates over the tasks that it learned from.

    Regret is about a sequence, a new task wants one pair. The bounds U(phi, eta) are jointly
    convex, so that for tasks drawn at random the average of all pairs is in expectation as good as
    the pairs were on average (Jensen), while the last pair may be an unlucky one.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> learner, average = af.MetaLearner(np.zeros(1)), af.theory.MetaAverage()
        >>> for theta_hat in (1.0, 3.0):
        ...     average.add(learner)  # what the coming task starts with
        ...     learner.update(af.TaskRun([[theta_hat]], [[1.0]]))
        >>> average.phi  # of the starts 0 and 1
        array([0.5])

    Source: Cesa-Bianchi, Conconi, Gentile, IEEE Trans. Inf. Theory 50 (2004); [P] Khodak, Balcan,
    Talwalkar, NeurIPS 2019.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        # Number of tasks, phi, rate; replaced as a whole, never written to.
        self._learned: tuple[int, Float64Array | None, Float64Array | None] = (0, None, None)

    @property
    def n_tasks(self) -> int:
        """Number of tasks in the average."""
        return self._learned[0]

    def add(self, learner: MetaLearner, n_tasks: int = 1) -> None:
        """Adds the pair that the next tasks will start with: call it before each update.

        Args:
            learner: The learner.
            n_tasks: Number of tasks of the round that starts from it.

        Raises:
            TypeError: An argument is of the wrong type.
            ValueError: `n_tasks` is below 1, or the learner is of another size.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> average = af.theory.MetaAverage()
            >>> average.add(af.MetaLearner(np.ones(2), learning_rate=0.5), n_tasks=8)
            >>> average.learning_rate
            array([0.5, 0.5])
        """
        name = "MetaAverage.add"
        check_learner(name, learner)
        count = _check.integer(name, "n_tasks", n_tasks, 1)
        phi = learner.phi.astype(np.float64)
        rate = np.broadcast_to(np.asarray(learner.learning_rate, np.float64), phi.shape)
        with self._lock:
            n, old_phi, old_rate = self._learned
            if old_phi is None or old_rate is None:
                self._learned = count, phi, np.array(rate)
                return
            _check.shape(name, "learner", phi, old_phi.shape)
            share = count / (n + count)
            means = (_between(old_phi, phi, share), _between(old_rate, rate, share))
            self._learned = n + count, *means

    @property
    def phi(self) -> Float64Array:
        """The average initialization, float64 [n_parameters]; a copy."""
        return self._given(self._learned[1])

    @property
    def learning_rate(self) -> Float64Array:
        """The average rate, float64 [n_parameters]; a copy."""
        return self._given(self._learned[2])

    @staticmethod
    def _given(value: Float64Array | None) -> Float64Array:
        if value is None:
            raise ValueError("MetaAverage: it must have been given a learner: got none so far")
        return value.copy()

    def __repr__(self) -> str:
        return f"MetaAverage(n_tasks={self.n_tasks})"


def _between(old: Float64Array, new: Float64Array, share: float) -> Float64Array:
    """Old + share (new - old), which is finite even where the difference is not."""
    with np.errstate(all="ignore"):
        moved = old + share * (new - old)
        result: Float64Array = np.where(np.isfinite(moved), moved, (1 - share) * old + share * new)
    return result


@dataclass(frozen=True, eq=False, repr=False)
class TransferRisk:
    """What a start and a rule are worth on new tasks, with its uncertainty.

    Attributes:
        mean: Mean over the tasks of their risk.
        low: Lower end of the confidence interval of the mean over all tasks there might be.
        high: Upper end.
        confidence: Probability that the interval covers it.
        risk: Mean loss on every task's own query rows, float64 [n_tasks]; nan where it diverged.
        n_diverged: Number of tasks that are left out because their result is not finite.
    """

    mean: float
    low: float
    high: float
    confidence: float
    risk: Float64Array
    n_diverged: int

    def __repr__(self) -> str:
        return (
            f"TransferRisk({self.mean:.4g}, {self.confidence:.0%} in [{self.low:.4g}, "
            f"{self.high:.4g}], n_tasks={len(self.risk)}, n_diverged={self.n_diverged})"
        )


@np.errstate(all="ignore")
def transfer_risk(
    support: Tasks,
    query: Tasks,
    phi: ArrayLike,
    rule: Rule,
    *,
    loss: str,
    batch_size: int = 1,
    n_epochs: int = 1,
    radius: float | None = None,
    last: bool = False,
    confidence: float = 0.95,
) -> TransferRisk:
    """Estimates the risk on new tasks: adapt on the support rows, test on the query rows.

        risk_t = mean loss over the query rows of task t at its average iterate

    The average iterate is what regret speaks for: on a task of m rows its expected excess risk is
    at most the expected regret over m, so that meta-learning that halves the task-averaged regret
    halves what is guaranteed here.

    Args:
        support: Tasks not used in meta-training, as from `Tasks.shots`.
        query: The same tasks, other rows of theirs.
        phi: Where the tasks start, [n_parameters], of the type of the tasks.
        rule: The within-task rule.
        loss: As in `run_tasks`.
        batch_size: As in `run_tasks`.
        n_epochs: As in `run_tasks`.
        radius: As in `run_tasks`.
        last: Test the last iterate instead.
        confidence: Of the interval, in (0, 1).

    Returns:
        TransferRisk, with the Student's t interval of the mean over independent tasks.

    Raises:
        TypeError: As `run_tasks`.
        ValueError: As `run_tasks`, the numbers of tasks differ, or fewer than 5 are finite.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> x = np.random.default_rng(0).normal(size=(40, 6, 2))
        >>> support, query = af.Tasks(x, x.sum(axis=2)).shots(4)
        >>> af.theory.transfer_risk(support, query, np.zeros(2), af.OGD(0.2), loss="squared")
        TransferRisk(0.5543, 95% in [0.3282, 0.7803], n_tasks=40, n_diverged=0)

    Source: Cesa-Bianchi, Conconi, Gentile, IEEE Trans. Inf. Theory 50 (2004).
    """
    name = "transfer_risk"
    for each in (support, query):
        check_tasks(name, each)
    if len(support) != len(query):
        raise ValueError(
            f"{name}: `query` must have the tasks of `support`: got {len(query)}, "
            f"expected {len(support)}"
        )
    share = _check.fraction(name, "confidence", confidence)
    of_last = _check.boolean(name, "last", last)
    run = run_tasks(
        support,
        phi,
        rule,
        loss=loss,
        batch_size=batch_size,
        n_epochs=n_epochs,
        radius=radius,
        average=not of_last,
    )
    theta = run.theta_hat if of_last else run.theta_bar
    assert theta is not None
    risk = evaluate(query, theta, loss=loss)
    finite: NDArray[np.bool_] = np.isfinite(risk)
    n = int(finite.sum())
    if n < _FEWEST:
        raise ValueError(
            f"{name}: `support` must have at least {_FEWEST} tasks with a finite risk: got {n}"
        )
    mean = float(risk[finite].mean())
    half = float(standard_error(risk[finite])) * student_quantile(0.5 + 0.5 * share, n - 1)
    return TransferRisk(mean, mean - half, mean + half, share, risk, len(risk) - n)


def standard_error(values: ArrayLike) -> Float64Array:
    """Standard error of the mean over the first axis; nan of a single value."""
    given = np.asarray(values, np.float64)
    if len(given) < 2:
        return np.full(given.shape[1:], np.nan)
    with np.errstate(invalid="ignore"):
        return np.asarray(given.std(axis=0, ddof=1) / np.sqrt(len(given)))


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t, by the Cornish-Fisher series from the normal one.

    Source: Abramowitz, Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4.0,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96.0,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384.0,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160.0,
    )
    return float(z + sum(term / freedom**k for k, term in enumerate(terms, start=1)))
