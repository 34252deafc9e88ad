"""
What aruba_fast._core does, on the arrays of a CUDA device.
"""

from __future__ import annotations
import aruba_fast._arrays
import collections.abc
import numpy.typing
import typing

__all__: list[str] = [
    "Mark",
    "MetaState",
    "RelaxedCapture",
    "adagrad_step",
    "add_round",
    "aruba_step",
    "check_labels",
    "hold",
    "info",
    "is_capturing",
    "merge_statistics",
    "meta_train",
    "require_device",
    "run_tasks",
    "step",
    "wait_for",
]

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
    def read(self, names: collections.abc.Sequence, into: collections.abc.Sequence) -> None:
        """
        Copies the arrays of these names, as they are at one moment, into others.
        """

class Mark:
    """
    A point in the work of a stream.
    """
    def __init__(
        self,
        device: typing.SupportsInt | typing.SupportsIndex,
        stream: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    def has_passed(self) -> bool:
        """
        Whether the device is beyond it.
        """
    def wait(
        self,
        device: typing.SupportsInt | typing.SupportsIndex,
        stream: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """
        Has the stream wait for it; for a captured one, the host.
        """

class RelaxedCapture:
    """
    A context in which a capture does not forbid to allocate.
    """
    def __enter__(self) -> None: ...
    def __exit__(self, arg0: typing.Any, arg1: typing.Any, arg2: typing.Any) -> None: ...
    def __init__(self) -> None: ...

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
    As aruba_fast.adagrad_step, on the arrays' device.
    """

def add_round(
    theta_hat: typing.Any, grad_sq: typing.Any, phi: typing.Any, weights: typing.Any, into: tuple
) -> None:
    """
    As in _core, on the arrays' device; sums that overflow are left infinite.
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
    As aruba_fast.aruba_step, on the arrays' device.
    """

def check_labels(
    function: str, y: typing.Any, loss: str, n_classes: typing.SupportsInt | typing.SupportsIndex
) -> None:
    """
    Refuses labels outside the domain of the loss.
    """

def hold(
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    object: typing.Any,
) -> None:
    """
    Keeps an object until what is on the stream is done; of a captured one, its graph gone.
    """

def info() -> dict:
    """
    The part `cuda` of aruba_fast.info().
    """

def is_capturing(
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
) -> bool:
    """
    Whether the stream is being captured into a graph.
    """

def merge_statistics(into: tuple, other: tuple) -> None:
    """
    As in _core, on the arrays' device.
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

def require_device(function: str) -> None:
    """
    Raises CudaError, in the name of `function`, when there is no device to work on.
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
    grad_type: str | None = None,
) -> None:
    """
    As aruba_fast.step, on the arrays' device.
    """

def wait_for(
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    producer: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Has a stream wait for what is on another by now; unless one of them is captured.
    """
