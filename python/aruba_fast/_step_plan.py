"""`StepPlan`: a step on the same arrays again and again, which are read and checked once."""

import inspect
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from . import _check, _core, steps
from .steps import Arrays

_NAME = "StepPlan"
_STEPS = (steps.step, steps.aruba_step, steps.adagrad_step, steps.adam_step)
# Of each the argument that it modifies beside theta.
STATES = {
    "step": "grad_sq",
    "aruba_step": "g",
    "adagrad_step": "grad_sq",
    "adam_step": "mean_sq",
}


class Planned(Protocol):
    """What does a step: with its own gradients and parameters where it is given None."""

    def step(self, grad: Any, parameters: tuple[Any, ...] | None) -> None: ...


def planned(
    function: str,
    theta: Arrays,
    grad: Arrays | None,
    grad_type: str | None,
    state: Arrays | None,
    parameters: tuple[Any, ...],
    *,
    is_private: bool = False,
) -> Planned:
    """Plans a step where theta lives.

    Args:
        function: Name of the step.
        theta: As the step, as all that follow.
        grad: Gradients; None where every step is given its own.
        grad_type: As the step.
        state: What is modified beside theta.
        parameters: Of the rule, in its order.
        is_private: Whether nobody else has the memory of `state` and of the rates: then nobody asks
            whether it is still there, and autograd is not told that it was written to.
    """
    module = steps.kernels(function, theta)
    plan: Planned = module.StepPlan(function, theta, grad, grad_type, state, parameters, is_private)
    return plan


class StepPlan:
    """A step on arrays that stay: they are read and checked once, and every step then computes.

        plan.step()   is   function(theta, grad, ...)

    to the bit. Reading a thousand arrays takes longer than moving their numbers, where these are
    few: a plan is for whoever steps the same lists of arrays again and again.

    The plan holds the arrays, so that NumPy refuses to resize them, and remembers their memory: new
    values are seen, as of a gradient that is written in place. Before each step it looks whether
    the memory is still there. Arrays that have moved, such as a tensor that was given other
    `.data`, are read and checked anew. Lists are read when the plan is made; what is put into them
    later is not seen. Gradients or rates that are not contiguous are copied in every step, as the
    function would.

    Tensors of PyTorch on a CUDA device are planned likewise, and the table of their addresses stays
    on the device until one of them moves; arrays of CuPy and JAX are read in every step. A graph
    that captures the step repeats it for nothing. A plan does one step at a time.

    Args:
        function: `step`, `aruba_step`, `adagrad_step` or `adam_step` of this package.
        theta: As of the function, as all that follow. Modified by every step.
        grad: Gradients; None where every step is given its own.
        arguments: The function's others.
        named: The function's others, by name.

    Raises:
        TypeError: As the function; or it is none of these, or its arguments are others.
        ValueError: As the function.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> thetas = [np.ones(3), np.ones((2, 2))]
        >>> grads, grad_sq = ([np.zeros_like(theta) for theta in thetas] for _ in range(2))
        >>> plan = af.StepPlan(af.step, thetas, grads, 0.25, grad_sq=grad_sq)
        >>> for _ in range(2):
        ...     grads[0][:] = [1, 2, 4]
        ...     plan.step()
        >>> thetas[0], grad_sq[0]
        (array([ 0.5,  0. , -1. ]), array([ 2.,  8., 32.]))

    Source: Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    def __init__(
        self,
        function: Callable[..., None],
        theta: Arrays,
        grad: Arrays | None,
        *arguments: Any,
        **named: Any,
    ) -> None:
        if not any(function is known for known in _STEPS):
            raise TypeError(
                f"{_NAME}: `function` must be a step of aruba_fast: got {_check.shown(function)}, "
                "expected af.step, af.aruba_step, af.adagrad_step or af.adam_step"
            )
        name = function.__name__
        try:
            bound = inspect.signature(function).bind(theta, grad, *arguments, **named)
        except TypeError as error:
            raise TypeError(
                f"{_NAME}: arguments must be those of `{name}`: got others ({error}), expected "
                f"StepPlan(af.{name}, theta, grad, ...)"
            ) from None
        bound.apply_defaults()
        given = bound.arguments
        of_all = ("theta", "grad", "grad_type", STATES[name])
        theta, grad, grad_type, state = (given.pop(key) for key in of_all)
        self._function, self._given = name, given
        self._numbers = [key for key, value in given.items() if _core.is_number(value)]
        parameters = _parameters(_NAME, name, given)
        self._planned = planned(name, theta, grad, grad_type, state, parameters)

    def step(self, grad: Arrays | None = None, **numbers: float) -> None:
        """Does one step.

        Args:
            grad: Gradients of this step alone, as many and of the same shapes; None for the plan's.
                Those of PyTorch after `zero_grad()` are other tensors every time.
            numbers: Arguments of the function that were numbers when the plan was made, for this
                step alone: `learning_rate` of a schedule, `t` of Adam.

        Raises:
            ValueError: As the function. Nothing was changed.
            TypeError: As the function; or a number has a name that the plan has no number for, or
                there are no gradients. Nothing was changed.
            RuntimeError: Another thread is in a step of this plan.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> theta, mean_sq = [np.zeros(2)], [np.zeros(2)]
            >>> plan = af.StepPlan(af.adam_step, theta, None, mean_sq, t=1, learning_rate=0.5)
            >>> for t in (1, 2):
            ...     plan.step([np.array([3.0, -0.1])], t=t)
            >>> theta[0].round(6)
            array([-1.,  1.])
        """
        if not numbers:
            self._planned.step(grad, None)
            return
        for key in numbers:
            if key not in self._numbers:
                self._refuse(key)
        self._planned.step(
            grad, _parameters(f"{_NAME}.step", self._function, self._given | numbers)
        )

    def _refuse(self, key: str) -> NoReturn:
        known = ", ".join(self._numbers) or "none, and arrays to be changed in place"
        raise TypeError(
            f"{_NAME}.step: `{key}` must be a number that the plan was made with: got a name that "
            f"is none of them, expected {known}"
        )


def _parameters(label: str, function: str, given: dict[str, Any]) -> tuple[Any, ...]:
    """Returns the parameters of the rule in its order."""
    if function == "adam_step":
        return steps.adam_numbers(label, **given)
    return tuple(given.values())
