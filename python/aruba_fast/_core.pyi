"""
Native core of aruba_fast.
"""

from __future__ import annotations
import aruba_fast._arrays
import collections.abc
import numpy.typing
import typing

__all__: list[str] = [
    "CudaError",
    "MetaState",
    "adagrad_step",
    "add_round",
    "aruba_step",
    "best_in_hindsight",
    "check_labels",
    "get_num_threads",
    "info",
    "join_process",
    "merge_statistics",
    "meta_train",
    "on_cuda",
    "regret_upper_bound",
    "run_tasks",
    "set_num_threads",
    "step",
]

class CudaError(RuntimeError):
    """
    The CUDA driver or runtime refused, or there is none; the message tells what is missing.
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
    ) -> None: ...
    def apply(self, statistics: tuple, meta_step: typing.Any) -> None:
        """
        The meta-update by the sums of one round.
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

def adagrad_step(
    theta: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    grad: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    grad_sq: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    *,
    learning_rate: typing.Any,
    delta: typing.Any,
    grad_type: str | None = None,
) -> None:
    """
    AdaGrad step, the single-task rule that ARUBA extends.

        grad_sq <- grad_sq + grad^2
        theta   <- theta - learning_rate * grad / sqrt(grad_sq + delta)

    Args:
        theta: Parameters, float32 or float64, of any shape, or a list of such arrays. Modified.
        grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16.
        grad_sq: Accumulated squared gradients, of theta's type and shape. Modified.
        learning_rate: The base rate, not negative, in units of theta.
        delta: Smoothing, positive, in units of grad^2.
        grad_type: As in `step`.

    Returns:
        None: theta and grad_sq are modified in place.

    Raises:
        ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
        TypeError: A wrong type, arrays on different devices, or a modified argument that is read-only or not C-contiguous.
        CudaError: On a CUDA device, the driver refused or is missing.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> theta, grad_sq = np.zeros(1), np.zeros(1)
        >>> af.adagrad_step(theta, np.array([3.0]), grad_sq, learning_rate=0.5, delta=7.0)
        >>> theta, grad_sq
        (array([-0.375]), array([9.]))

    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", JMLR 2011.
    """

def add_round(
    theta_hat: typing.Any, grad_sq: typing.Any, phi: typing.Any, weights: typing.Any, into: tuple
) -> None:
    """
    Adds the tasks of a round to sums [3, 2, d], weight [2] and counts [2], in place.
    """

def aruba_step(
    theta: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    grad: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    b: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    g: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    *,
    coef: typing.Any,
    grad_type: str | None = None,
) -> None:
    """
    ARUBA++ step: the meta-learned rate, refined by the task's own gradients.

        eta   = sqrt(b) / sqrt(g)          with the old g
        g     <- g + coef * grad^2
        theta <- theta - eta * grad

    Args:
        theta: Parameters, float32 or float64, of any shape, or a list of such arrays. Modified.
        grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16.
        b: Accumulated squared distances, of theta's type and shape, or [d] for theta [n_tasks, d]. Not modified.
        g: The task's own copy of the accumulated squared gradients, of theta's type and shape, positive. Modified.
        coef: Weight of the task's own squared gradients, not negative; 0 keeps the meta-learned rate.
        grad_type: As in `step`.

    Returns:
        None: theta and g are modified in place.

    Raises:
        ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
        TypeError: A wrong type, arrays on different devices, or a modified argument that is read-only or not C-contiguous.
        CudaError: On a CUDA device, the driver refused or is missing.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> theta, b, g = np.zeros(2), np.array([1.0, 4.0]), np.ones(2)
        >>> af.aruba_step(theta, np.ones(2), b, g, coef=3.0)
        >>> theta, g
        (array([-1., -2.]), array([4., 4.]))

    Source: Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019.
    """

def best_in_hindsight(
    x: typing.Any,
    y: typing.Any,
    starts: typing.Any,
    stops: typing.Any,
    loss: str,
    n_classes: typing.SupportsInt | typing.SupportsIndex,
    batch_size: typing.SupportsInt | typing.SupportsIndex,
    n_epochs: typing.SupportsInt | typing.SupportsIndex,
    radius: typing.SupportsFloat | typing.SupportsIndex,
    regularization: typing.SupportsFloat | typing.SupportsIndex,
    tolerance: typing.SupportsFloat | typing.SupportsIndex,
    theta_star: typing.Any,
    loss_out: typing.Any,
    gap: typing.Any,
    no_minimizer: typing.Any,
) -> None:
    """
    The least loss of every task, into the output arrays.
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

def info() -> dict:
    """
    What was built and what runs here.

    Returns:
        dict: version, isa (the instruction set in use; ARUBA_ISA in the environment overrides it), isas (those this processor and build
        offer), threads, openmp, compiler, cuda: a dict of built, versions (of CUDA's runtime and driver), devices (how many can be
        used) and problem (why there are none, or None). Asking makes no CUDA context.
    """

def join_process() -> None:
    """
    To be called at import: looks at the environment, and watches for forks.
    """

def merge_statistics(into: tuple, other: tuple) -> None:
    """
    Adds one round's sums to another's, compensated, in place.
    """

def meta_train(
    x: typing.Any,
    y: typing.Any,
    starts: typing.Any,
    stops: typing.Any,
    order: typing.Any,
    state: MetaState,
    loss: str,
    batch_size: typing.SupportsInt | typing.SupportsIndex,
    n_epochs: typing.SupportsInt | typing.SupportsIndex,
    radius: typing.Any,
    round_size: typing.SupportsInt | typing.SupportsIndex,
    use_row_weights: bool,
    meta_step: typing.Any,
    progress: typing.Any,
    loss_out: typing.Any,
    skipped_out: typing.Any,
) -> None:
    """
    Runs the tasks in this order, a meta-update after every round.
    """

def on_cuda(value: typing.Any) -> bool:
    """
    Whether an array, or the first of a list, lives in the memory of a CUDA device.
    """

def regret_upper_bound(
    rule: str,
    theta_star: typing.Any,
    phi: typing.Any,
    grad_sq: typing.Any,
    rate: typing.Any,
    damping: typing.Any,
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

def run_tasks(
    x: typing.Any,
    y: typing.Any,
    starts: typing.Any,
    stops: typing.Any,
    phi: typing.Any,
    rule: str,
    rate: typing.Any,
    damping: typing.Any,
    loss: str,
    batch_size: typing.SupportsInt | typing.SupportsIndex,
    n_epochs: typing.SupportsInt | typing.SupportsIndex,
    radius: typing.Any,
    theta_hat: typing.Any,
    grad_sq: typing.Any,
    theta_bar: typing.Any,
    loss_out: typing.Any,
) -> None:
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

@typing.overload
def step(
    theta: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    grad: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    learning_rate: float
    | numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    *,
    grad_sq: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray]
    | None = None,
) -> None: ...
@typing.overload
def step(
    theta: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    grad: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    learning_rate: float
    | numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray],
    *,
    grad_sq: numpy.typing.NDArray[typing.Any]
    | aruba_fast._arrays.ForeignArray
    | collections.abc.Sequence[numpy.typing.NDArray[typing.Any] | aruba_fast._arrays.ForeignArray]
    | None = None,
    grad_type: str | None,
) -> None:
    """
    Preconditioned gradient step, with the statistics of ARUBA in the same pass.

        grad_sq <- grad_sq + grad^2
        theta   <- theta - learning_rate * grad

    Args:
        theta: Parameters, float32 or float64, of any shape, or a list of such arrays (a whole model in one call). Modified. NumPy's,
            or another library's through DLPack or __cuda_array_interface__; all arrays of a call live on one device.
        grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16, widened before use.
        learning_rate: A number for all, or an array of theta's type: one rate for each coordinate, or for each of the last
            dimension (theta [n_tasks, d] with rates [d]). For a list of parameters, a number or a list. In units of theta / grad.
        grad_sq: Sums of squared gradients, as theta. Modified. None: no statistics are kept.
        grad_type: "bfloat16" or "float16": gradients of type uint16 are the words of that type, for whoever has no such type in NumPy
            (torch: grad.view(torch.uint16)). None: such gradients are refused.

    Returns:
        None: theta and grad_sq are modified in place. Large arrays are worked on by all threads, and the result is the same bits for
        any number of them. On a CUDA device it is one kernel launch on the caller's current stream (of CuPy or PyTorch), which waits for
        the streams that other arrays come from; nothing waits for the device, and the call can be captured in a graph.

    Raises:
        ValueError: A wrong shape or value, or a modified argument that overlaps another one. Nothing was changed.
        TypeError: A wrong type, arrays on different devices, or a modified argument that is read-only or not C-contiguous.
        CudaError: On a CUDA device, the driver refused or is missing.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> theta, grad_sq = np.ones(3, np.float32), np.zeros(3, np.float32)
        >>> af.step(theta, np.array([1, 2, 4], np.float32), 0.25, grad_sq=grad_sq)
        >>> theta
        array([0.75, 0.5 , 0.  ], dtype=float32)
        >>> grad_sq
        array([ 1.,  4., 16.], dtype=float32)

    Source: Khodak, Balcan, Talwalkar, "Adaptive Gradient-Based Meta-Learning Methods", NeurIPS 2019.
    """
