"""The steps within a task on arrays, or lists of arrays, in place: `step` and its siblings."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _check, _core
from ._arrays import ForeignArray, cuda_module

Array: TypeAlias = NDArray[Any] | ForeignArray
Arrays: TypeAlias = Array | Sequence[Array]


def kernels(function: str, theta: object) -> ModuleType:
    """Returns the native code for where `theta`, or the first of a list, lives."""
    if type(theta) is np.ndarray or not _core.on_cuda(theta):
        return _core
    return cuda_module(function, "theta", theta)


def step(
    theta: Arrays,
    grad: Arrays,
    learning_rate: float | Arrays,
    *,
    grad_sq: Arrays | None = None,
    grad_type: str | None = None,
) -> None:
    """Preconditioned gradient step, with the statistics of ARUBA in the same pass.

        grad_sq <- grad_sq + grad^2
        theta   <- theta - learning_rate * grad

    Args:
        theta: Parameters, float32 or float64, of any shape, or a list of such arrays (a whole model
            in one call). Modified. NumPy's, or another library's through DLPack or
            __cuda_array_interface__; all arrays of a call live on one device.
        grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16, widened
            before use.
        learning_rate: A number for all, or an array of theta's type: one rate for each coordinate,
            or for each of the last dimension (theta [n_tasks, d] with rates [d]). For a list of
            parameters, a number or a list. In units of theta / grad. Rates of float32
            parameters may be bfloat16: the step is then that with
            `learning_rate.astype(numpy.float32)` to the bit, and reads 2 bytes less a coordinate.
            Rounding a rate to bfloat16 moves it, and so the step, by at most 2^-8 (0.4 %) of
            itself.
        grad_sq: Sums of squared gradients, as theta. Modified. None: no statistics are kept.
        grad_type: "bfloat16" or "float16": gradients of type uint16 are the words of that type, for
            whoever has no such type in NumPy (torch: grad.view(torch.uint16)), and so are such
            rates. None: they are refused.

    Returns:
        None: theta and grad_sq are modified in place. Large arrays are worked on by all threads,
        and the result is the same bits for any number of them. On a CUDA device it is one kernel
        launch on the caller's current stream (of CuPy or PyTorch), which waits for the streams that
        other arrays come from; nothing waits for the device, and the call can be captured in a
        graph.

    Raises:
        ValueError: A wrong shape or value, or a modified argument that overlaps another one.
            Nothing was changed.
        TypeError: A wrong type, arrays on different devices, or a modified argument that is
            read-only or not C-contiguous.
        CudaError: On a CUDA device, the driver refused or is missing.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> theta, grad_sq = np.ones(3, np.float32), np.zeros(3, np.float32)
        >>> af.step(theta, np.array([1, 2, 4], np.float32), 0.25, grad_sq=grad_sq)
        >>> theta
        array([0.75, 0.5 , 0.  ], dtype=float32)
        >>> grad_sq
        array([ 1.,  4., 16.], dtype=float32)

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    kernels("step", theta).step(theta, grad, grad_type, grad_sq, learning_rate)


def aruba_step(
    theta: Arrays,
    grad: Arrays,
    b: Arrays,
    g: Arrays,
    *,
    coef: float,
    grad_type: str | None = None,
) -> None:
    """ARUBA++ step: the meta-learned rate, refined by the task's own gradients.

        eta   = sqrt(b) / sqrt(g)          with the old g
        g     <- g + coef * grad^2
        theta <- theta - eta * grad

    Args:
        theta: Parameters, float32 or float64, of any shape, or a list of such arrays. Modified.
        grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16.
        b: Accumulated squared distances, of theta's type and shape, or [d] for theta [n_tasks, d].
            Not modified. Also bfloat16, as the rates of `step`: rounding b moves the rate by at
            most 2^-9 of itself.
        g: The task's own copy of the accumulated squared gradients, of theta's type and shape,
            positive. Modified.
        coef: Weight of the task's own squared gradients, not negative; 0 keeps the meta-learned
            rate.
        grad_type: As in `step`.

    Returns:
        None: theta and g are modified in place.

    Raises:
        ValueError: As `step`.
        TypeError: As `step`.
        CudaError: As `step`.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> theta, b, g = np.zeros(2), np.array([1.0, 4.0]), np.ones(2)
        >>> af.aruba_step(theta, np.ones(2), b, g, coef=3.0)
        >>> theta, g
        (array([-1., -2.]), array([4., 4.]))

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """
    kernels("aruba_step", theta).aruba_step(theta, grad, grad_type, g, b, coef)


def adagrad_step(
    theta: Arrays,
    grad: Arrays,
    grad_sq: Arrays,
    *,
    learning_rate: float,
    delta: float,
    grad_type: str | None = None,
) -> None:
    """AdaGrad step, the single-task rule that ARUBA extends.

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
        ValueError: As `step`.
        TypeError: As `step`.
        CudaError: As `step`.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> theta, grad_sq = np.zeros(1), np.zeros(1)
        >>> af.adagrad_step(theta, np.array([3.0]), grad_sq, learning_rate=0.5, delta=7.0)
        >>> theta, grad_sq
        (array([-0.375]), array([9.]))

    Source: Duchi, Hazan, Singer, JMLR 2011.
    """
    kernels("adagrad_step", theta).adagrad_step(
        theta, grad, grad_type, grad_sq, learning_rate, delta
    )


def adam_step(
    theta: Arrays,
    grad: Arrays,
    mean_sq: Arrays,
    *,
    t: int,
    learning_rate: float | Arrays,
    beta2: float = 0.999,
    eps: float = 1e-8,
    grad_type: str | None = None,
) -> None:
    """Adam step without momentum (beta1 = 0), the rule that Reptile runs its tasks with.

        mean_sq <- beta2 mean_sq + (1 - beta2) grad^2
        theta   <- theta - learning_rate * grad / (sqrt(mean_sq / (1 - beta2^t)) + eps)

    Args:
        theta: Parameters, float32 or float64, of any shape, or a list of such arrays. Modified.
        grad: Gradients, shaped as theta; for float32 parameters also bfloat16 or float16.
        mean_sq: Running mean of squared gradients, of theta's type and shape; zero before the first
            step. Modified.
        t: Number of this step, 1 for the first.
        learning_rate: As in `step`; in units of theta.
        beta2: What a step keeps of the mean, at least 0 and below 1.
        eps: Positive, in units of grad.
        grad_type: As in `step`.

    Returns:
        None: theta and mean_sq are modified in place.

    Raises:
        ValueError: As `step`.
        TypeError: As `step`.
        CudaError: As `step`.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> theta, mean_sq = np.zeros(2), np.zeros(2)
        >>> af.adam_step(theta, np.array([3.0, -0.1]), mean_sq, t=1, learning_rate=0.5)
        >>> theta
        array([-0.5       ,  0.49999995])

    Source: Kingma, Ba, ICLR 2015; Nichol, Achiam, Schulman, 2018, for beta1 = 0.
    """
    numbers = adam_numbers("adam_step", t, learning_rate, beta2, eps)
    kernels("adam_step", theta).adam_step(theta, grad, grad_type, mean_sq, *numbers)


def adam_numbers(
    function: str, t: int, learning_rate: float | Arrays, beta2: float, eps: float
) -> tuple[Any, ...]:
    """Returns the parameters of Adam's rule for its step t."""
    steps = _check.integer(function, "t", t, 1)
    forget = 1.0 - _check.fraction(function, "beta2", beta2, zero=True)
    weight = -np.expm1(steps * np.log1p(-forget)) if forget < 1.0 else 1.0
    return learning_rate, eps, forget, 1.0 / weight
