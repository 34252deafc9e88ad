"""
What aruba_fast._core does, on the arrays of a CUDA device.
"""

from __future__ import annotations
import collections.abc
import typing

__all__: list[str] = [
    "Mark",
    "MetaState",
    "RelaxedCapture",
    "StepPlan",
    "adagrad_step",
    "adam_step",
    "add_round",
    "aruba_step",
    "check_labels",
    "entries",
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

class StepPlan:
    """
    A step of arrays on a CUDA device that stay.
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
    def read(self, names: collections.abc.Sequence, into: collections.abc.Sequence) -> None:
        """
        Copies the arrays of these names, as they are at one moment, into others.
        """
    def start(self, learning_rate: typing.Any, rates: typing.Any) -> None:
        """
        Sets the first rate of a learner that has seen no task.
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

def add_round(
    theta_hat: typing.Any,
    grad_sq: typing.Any,
    phi: typing.Any,
    weights: typing.Any,
    into: tuple,
    rates: typing.Any = None,
    limit: typing.Any = None,
) -> None:
    """
    As in _core, on the arrays' device; sums that overflow are left infinite.
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

def require_device(function: str) -> None:
    """
    Raises CudaError, in the name of `function`, when there is no device to work on.
    """

def run_tasks(table: tuple, phi: typing.Any, rule: tuple, options: tuple, outputs: tuple) -> None:
    """
    Runs every task whole, from phi, into the output arrays.
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

def wait_for(
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    producer: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Has a stream wait for what is on another by now; unless one of them is captured.
    """

entries: typing.Any
