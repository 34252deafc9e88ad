"""
Native core of aruba_fast.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "CudaError",
    "MetaState",
    "StepPlan",
    "adagrad_step",
    "adam_step",
    "add_prior",
    "add_round",
    "aruba_step",
    "best_in_hindsight",
    "check_labels",
    "entries",
    "get_num_threads",
    "gradients",
    "info",
    "is_number",
    "join_process",
    "learn_population",
    "losses",
    "measure_rows",
    "merge_statistics",
    "meta_train",
    "on_cuda",
    "read_csr",
    "regret_upper_bound",
    "restraint",
    "run_proximal",
    "run_sparse_tasks",
    "run_tasks",
    "set_num_threads",
    "spreads",
    "step",
    "step_rules",
    "sums_of_tensors",
    "tensor_table",
]

class CudaError(RuntimeError):
    """
    The CUDA driver or runtime refused, or there is none; the message tells what is missing.
    """

class StepPlan:
    """
    A step of arrays in host memory that stay.
    """
    def __init__(
        self,
        function: str,
        theta: typing.Any,
        grad: typing.Any,
        grad_type: typing.Any,
        state: typing.Any,
        parameters: tuple,
        is_private: bool,
    ) -> None: ...
    def step(self, grad: typing.Any, parameters: typing.Any) -> None:
        """
        Does one step; None: with what the plan has.
        """

class MetaState:
    """
    The native view of a MetaLearner's arrays.
    """
    def __init__(
        self,
        arrays: dict,
        *,
        learning_rate: typing.Any,
        zeta: typing.Any,
        p: typing.Any,
        decay: typing.Any,
        isotropic: typing.Any,
        max_learning_rate: typing.Any,
        average_task: typing.Any,
        tight: typing.Any,
        n_tensors: typing.SupportsInt | typing.SupportsIndex = 0,
        n_pieces: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> None: ...
    def apply(self, statistics: tuple, meta_step: typing.Any) -> None:
        """
        The meta-update by the sums of one round.
        """
    def be_part(self, n_whole: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Leaves what is learned from sums over so many coordinates to `find_rates` and `set_limit`.
        """
    def find_rates(
        self,
        sums: typing.Annotated[numpy.typing.ArrayLike, numpy.float64],
        sizes: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    ) -> float:
        """
        The rates by the sums of b and g over tensors, and last over all, [n_tensors + 1, 2], and their sizes. Returns what tasks have spread over the coordinates that are here.
        """
    def learn(
        self, theta_hat: typing.Any, grad_sq: typing.Any, weights: typing.Any, meta_step: typing.Any
    ) -> None:
        """
        `add_round` from nothing and `apply`, in one pass.
        """
    def read(self, names: collections.abc.Sequence, into: collections.abc.Sequence) -> None:
        """
        Copies the arrays of these names, as they are at one moment, into others.
        """
    def require_sound(self, statistics: tuple, meta_step: typing.Any) -> None:
        """
        Refuses what `apply` would, and changes nothing.
        """
    def set_limit(self, spread: typing.SupportsFloat | typing.SupportsIndex) -> None:
        """
        How far a task may spread, by what all have over all coordinates.
        """
    def start(self, learning_rate: typing.Any, rates: typing.Any) -> None:
        """
        Sets the first rate of a learner that has seen no task.
        """

def adagrad_step(
    theta: typing.Any,
    grad: typing.Any,
    grad_type: typing.Any,
    grad_sq: typing.Any,
    learning_rate: typing.Any,
    delta: typing.Any,
) -> None:
    """
    What the function of this name in steps.py stands on.
    """

def adam_step(
    theta: typing.Any,
    grad: typing.Any,
    grad_type: typing.Any,
    mean_sq: typing.Any,
    learning_rate: typing.Any,
    eps: typing.Any,
    forget: typing.Any,
    per_weight: typing.Any,
) -> None:
    """
    What the function of this name in steps.py stands on.
    """

def add_prior(
    b: typing.Any,
    g: typing.Any,
    table: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    held: typing.SupportsFloat | typing.SupportsIndex,
    isotropic: bool,
    whole: tuple[
        typing.Annotated[numpy.typing.ArrayLike, numpy.float64],
        typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    ]
    | None = None,
) -> bool:
    """
    Adds to b and g, in place, the prior of one of `held` tasks, for a rule; isotropic, they become the means of their tensors. False where they hold nothing. `whole`: what to sum instead, as `find_rates`.
    """

def add_round(
    theta_hat: typing.Any,
    grad_sq: typing.Any,
    phi: typing.Any,
    weights: typing.Any,
    into: tuple,
    rates: typing.Any = None,
    limit: typing.Any = None,
    spreads: typing.Any = None,
) -> None:
    """
    Adds the tasks of a round to sums [3, 2, d], weight [2] and counts [2], in place; those that spread beyond `limit` [1] in the metric of `rates`, or by `spreads` [n_tasks] over more coordinates than these, are shortened.
    """

def aruba_step(
    theta: typing.Any,
    grad: typing.Any,
    grad_type: typing.Any,
    g: typing.Any,
    b: typing.Any,
    coef: typing.Any,
) -> None:
    """
    What the function of this name in steps.py stands on.
    """

def best_in_hindsight(
    table: tuple,
    outputs: tuple,
    *,
    loss: str,
    n_classes: typing.SupportsInt | typing.SupportsIndex,
    batch_size: typing.SupportsInt | typing.SupportsIndex,
    n_epochs: typing.SupportsInt | typing.SupportsIndex,
    radius: typing.SupportsFloat | typing.SupportsIndex,
    regularization: typing.SupportsFloat | typing.SupportsIndex,
    tolerance: typing.SupportsFloat | typing.SupportsIndex,
) -> None:
    """
    The least loss of every task, into theta_star, loss, gap and no_minimizer.
    """

def check_labels(
    function: str, y: typing.Any, loss: str, n_classes: typing.SupportsInt | typing.SupportsIndex
) -> None:
    """
    Refuses labels outside the domain of the loss.
    """

def get_num_threads() -> int:
    """
    The number of threads that the next call may use; 1 in a forked child.
    """

def gradients(tensors: tuple) -> tuple[tuple, bool]:
    """
    The `.grad` of PyTorch's tensors, and whether one of them is None.
    """

def info() -> dict:
    """
    What was built and what runs here.

    Returns:
        dict: version, isa (the instruction set in use; ARUBA_ISA in the environment overrides it), isas (those this processor and build
        offer), threads, openmp, compiler, cuda: a dict of built, versions (of CUDA's runtime and driver), devices (how many can be
        used) and problem (why there are none, or None). Asking makes no CUDA context.
    """

def is_number(object: typing.Any) -> bool:
    """
    Whether a rule takes it for a number.
    """

def join_process() -> None:
    """
    To be called at import: looks at the environment, and watches for forks.
    """

def learn_population(
    table: tuple,
    *,
    loss: str,
    n_classes: typing.SupportsInt | typing.SupportsIndex,
    phi: typing.Any,
    learning_rate: typing.Any,
) -> tuple:
    """
    The parameters of the proximal rule that the tasks ask for, into phi and learning_rate; returns scale, evidence, n_iterations, n_tasks and n_skipped.
    """

def losses() -> dict:
    """
    The names of the losses, and whether they have a score for each class.
    """

def measure_rows(table: tuple, phi: typing.Any, squares: typing.Any, scores: typing.Any) -> None:
    """
    The squared length of every sparse row, and its score by phi.
    """

def merge_statistics(into: tuple, other: tuple) -> None:
    """
    Adds one round's sums to another's, compensated, in place.
    """

def meta_train(
    table: tuple,
    order: typing.Any,
    state: MetaState,
    options: tuple,
    training: tuple,
    outputs: tuple,
) -> None:
    """
    Runs the tasks in this order, a meta-update after every round.
    """

def on_cuda(value: typing.Any) -> bool:
    """
    Whether an array, or the first of a list, lives in the memory of a CUDA device.
    """

def read_csr(
    function: str,
    indptr: numpy.ndarray,
    indices: numpy.ndarray,
    values: numpy.ndarray,
    n_columns: typing.SupportsInt | typing.SupportsIndex,
) -> tuple:
    """
    Checked copies of where the entries of CSR rows are, and the values: the same memory where columns rise strictly in every row, else sorted and summed.
    """

def regret_upper_bound(
    *,
    rule: str,
    theta_star: typing.Any,
    phi: typing.Any,
    grad_sq: typing.Any,
    rate: typing.Any,
    second: typing.Any,
    n_rounds: typing.Any,
    gradient_weight: typing.SupportsFloat | typing.SupportsIndex,
    diameter: typing.SupportsFloat | typing.SupportsIndex,
    value: typing.Any,
    d_phi: typing.Any,
    d_rate: typing.Any,
) -> None:
    """
    The bound on the regret of every task, into the output arrays.
    """

def restraint(
    n_tasks: typing.SupportsInt | typing.SupportsIndex,
    n_skipped: typing.SupportsInt | typing.SupportsIndex,
) -> float:
    """
    What all rates are multiplied by after so many tasks that count and were left out.
    """

def run_proximal(
    table: tuple,
    phi: typing.Any,
    learning_rate: typing.Any,
    *,
    loss: str,
    n_classes: typing.SupportsInt | typing.SupportsIndex,
    outputs: tuple,
) -> None:
    """
    Tasks under the proximal rule, into theta_hat, grad_sq and loss.
    """

def run_sparse_tasks(table: tuple, phi: typing.Any, rule: tuple, options: tuple) -> tuple:
    """
    Where sparse tasks end in the columns that they touch: where each begins, the columns, and theta_hat, a number for each output; of tasks that diverge there is nothing.
    """

def run_tasks(table: tuple, phi: typing.Any, rule: tuple, options: tuple, outputs: tuple) -> None:
    """
    Runs every task whole, from phi, into the output arrays.
    """

def set_num_threads(n: typing.Any) -> None:
    """
    Sets the number of threads of every later call.

    Args:
        n: A whole number from 1 to 4096, or None for the default: ARUBA_NUM_THREADS, else OpenMP's limit (which threadpoolctl also
            governs) within the CPU quota of the container. No result depends on it.

    Raises:
        ValueError: n is out of range.
        TypeError: n is not a number.

    Example:
        >>> import aruba_fast as af
        >>> af.set_num_threads(1)
        >>> af.get_num_threads()
        1
        >>> af.set_num_threads(None)
    """

def spreads(
    theta_hat: typing.Any, grad_sq: typing.Any, phi: typing.Any, rates: typing.Any
) -> numpy.typing.NDArray[numpy.float64]:
    """
    What each task spreads in the metric of the rates, [n_tasks].
    """

def step(
    theta: typing.Any,
    grad: typing.Any,
    grad_type: typing.Any,
    grad_sq: typing.Any,
    learning_rate: typing.Any,
) -> None:
    """
    What the function of this name in steps.py stands on.
    """

def step_rules() -> dict:
    """
    The names of the step functions, and how many parameters their rules have.
    """

def sums_of_tensors(
    b: typing.Any, g: typing.Any, table: typing.Annotated[numpy.typing.ArrayLike, numpy.int64]
) -> numpy.typing.NDArray[numpy.float64]:
    """
    What b and g of each tensor sum to, [n_tensors, 2].
    """

def tensor_table(
    sizes: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
) -> numpy.typing.NDArray[numpy.int64]:
    """
    Where tensors of these sizes begin, and their pieces, [2, n_tensors + 1].
    """

entries: typing.Any
