"""
What aruba_fast._core does, on the arrays of a CUDA device.
"""

from __future__ import annotations
import aruba_fast._arrays
import collections.abc
import numpy.typing
import typing

__all__: list[str] = [
    "MetaState",
    "adagrad_step",
    "add_round",
    "aruba_step",
    "check_labels",
    "info",
    "merge_statistics",
    "meta_train",
    "require_device",
    "run_tasks",
    "step",
]

class MetaState:
    """
    The native view of a MetaLearner's arrays.
    """
    def __init__(
        self,
        phi_master: typing.Any,
        phi: typing.Any,
        b: typing.Any,
        g: typing.Any,
        rate: typing.Any,
        rho: typing.Any,
        counts: typing.Any,
        weight: typing.Any,
        *,
        learning_rate: typing.Any,
        zeta: typing.Any,
        p: typing.Any,
        decay: typing.Any,
        isotropic: typing.Any,
        max_learning_rate: typing.Any,
    ) -> None: ...
    def apply(
        self, sums: typing.Any, weight: typing.Any, counts: typing.Any, meta_step: typing.Any
    ) -> None:
        """
        The meta-update by the sums of one round.
        """
    def read(self, names: collections.abc.Sequence, into: collections.abc.Sequence) -> None:
        """
        Copies the arrays of these names, as they are at one moment, into others.
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
    As aruba_fast.adagrad_step, on the arrays' device.
    """

def add_round(
    theta_hat: typing.Any,
    grad_sq: typing.Any,
    phi: typing.Any,
    weights: typing.Any,
    sums: typing.Any,
    weight: typing.Any,
    counts: typing.Any,
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

def info() -> dict:
    """
    The part `cuda` of aruba_fast.info().
    """

def merge_statistics(
    sums_into: typing.Any,
    weight_into: typing.Any,
    counts_into: typing.Any,
    sums: typing.Any,
    weight: typing.Any,
    counts: typing.Any,
) -> None:
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
