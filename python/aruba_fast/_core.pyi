"""Types of the extension module; replaced by generated stubs."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]
_Arrays = _Array | Sequence[_Array]
_Progress = Callable[[int, int], object]

def step(
    theta: _Arrays,
    grad: _Arrays,
    learning_rate: float | _Arrays,
    *,
    grad_sq: _Arrays | None = None,
) -> None: ...
def aruba_step(theta: _Arrays, grad: _Arrays, b: _Arrays, g: _Arrays, *, coef: float) -> None: ...
def adagrad_step(
    theta: _Arrays, grad: _Arrays, grad_sq: _Arrays, *, learning_rate: float, delta: float
) -> None: ...
def set_num_threads(n: int | None) -> None: ...
def get_num_threads() -> int: ...
def info() -> dict[str, Any]: ...
def check_labels(y: _Array, loss: str, n_classes: int) -> None: ...
def run_tasks(
    x: _Array,
    y: _Array,
    starts: _Array,
    stops: _Array,
    phi: _Array,
    rule: str,
    rate: float | _Array,
    damping: float | _Array | None,
    loss: str,
    batch_size: int,
    n_epochs: int,
    radius: float | None,
    theta_hat: _Array,
    grad_sq: _Array,
    theta_bar: _Array | None,
    loss_out: _Array,
) -> None: ...
def statistics(
    theta_hat: _Array, grad_sq: _Array, phi: _Array, weights: _Array | None
) -> tuple[_Array, _Array, int, int]: ...
def merge_statistics(
    sums_into: _Array, weight_into: _Array, sums: _Array, weight: _Array
) -> None: ...

class MetaState:
    def __init__(
        self,
        phi_master: _Array,
        phi: _Array,
        b: _Array,
        g: _Array,
        rate: _Array,
        rho: _Array,
        counts: _Array,
        weight: _Array,
        *,
        learning_rate: float,
        zeta: float,
        p: float,
        decay: float,
        isotropic: bool,
        max_learning_rate: float | None,
    ) -> None: ...
    def apply(
        self,
        sums: _Array,
        weight: _Array,
        n_tasks: int,
        n_skipped: int,
        meta_step: float | None,
    ) -> None: ...

def meta_train(
    x: _Array,
    y: _Array,
    starts: _Array,
    stops: _Array,
    order: _Array,
    state: MetaState,
    loss: str,
    batch_size: int,
    n_epochs: int,
    radius: float | None,
    round_size: int,
    use_row_weights: bool,
    meta_step: float | Callable[[int], float] | None,
    progress: _Progress | None,
    loss_out: _Array,
    skipped_out: _Array,
) -> None: ...
