"""The within-task rules that take steps, as frozen values: `OGD`, `AdaGrad`, `Adam`, and so on."""

from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _check, _rates
from ._rates import NativeRule
from ._value import Value
from .proximal import Proximal


@dataclass(frozen=True, eq=False, repr=False)
class OGD(Value):
    """Online gradient descent with one learning rate, or one per coordinate.

        theta <- Proj(theta - learning_rate * grad)

    Args:
        learning_rate: Float, or array [n_parameters], copied; finite and >= 0. Rounded to the type
            of the parameters when the rule is run. The projection, if there is a radius, is
            Euclidean for a float, and in the norm |x|^2 = sum_j x_j^2 / learning_rate_j else.

    Raises:
        TypeError: `learning_rate` is not real.
        ValueError: `learning_rate` is negative, not finite or of more than one dimension.

    Example:
        >>> import aruba_fast as af
        >>> af.OGD(0.1), af.OGD([0.1, 0.5])
        (OGD(learning_rate=0.1), OGD(learning_rate=float64[2] in [0.1, 0.5]))

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    learning_rate: float | NDArray[Any]

    def __post_init__(self) -> None:
        self._hold(
            learning_rate=_rates.checked("OGD", "learning_rate", self.learning_rate, positive=False)
        )

    def __repr__(self) -> str:
        return f"OGD(learning_rate={_rates.shown(self.learning_rate)})"

    def _native(
        self, function: str, dtype: np.dtype[Any], n_parameters: int, like: Any
    ) -> NativeRule:
        if isinstance(self.learning_rate, float):
            return "ogd", self.learning_rate
        _rates.require_length(function, "learning_rate", self.learning_rate, n_parameters)
        _check.together(function, "rule", self.learning_rate, "tasks", like)
        return "ogd", _rates.cast(function, "learning_rate", self.learning_rate, dtype)


@dataclass(frozen=True, eq=False)
class AdaGrad(Value):
    """AdaGrad, the baseline that learns its rates within each task alone.

        G <- G + grad^2;  theta <- theta - learning_rate * grad / sqrt(G + delta)

    G starts at zero in every task.

    Args:
        learning_rate: Float, finite and >= 0.
        delta: Float, finite and > 0, for a first gradient of zero must not divide by zero.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is out of range.

    Example:
        >>> import aruba_fast as af
        >>> af.AdaGrad(0.1, delta=1e-8)
        AdaGrad(learning_rate=0.1, delta=1e-08)

    Source: Duchi, Hazan, Singer, JMLR 2011.
    """

    learning_rate: float
    delta: float

    def __post_init__(self) -> None:
        self._hold(
            learning_rate=_check.non_negative("AdaGrad", "learning_rate", self.learning_rate),
            delta=_check.positive("AdaGrad", "delta", self.delta),
        )

    def _native(self, _function: str, _dtype: np.dtype[Any], _n: int, _like: Any) -> NativeRule:
        return "adagrad", self.learning_rate, self.delta


@dataclass(frozen=True, eq=False, repr=False)
class ArubaPlusPlus(Value):
    """ARUBA++: starts at the meta-learned rate and lets the task's own gradients lower it.

        g' = copy of g;  every step:  eta = sqrt(b / g');  g' <- g' + coef * grad^2;
                                      theta <- Proj(theta - eta * grad)

    `b` and `g` themselves are never changed. Usually made by `MetaLearner.rule(coef)`. The engine
    computes the same as eta = rate / sqrt(1 + c * sum of grad^2) with rate = sqrt(b) / sqrt(g) and
    c = coef / g, both formed in float64 and rounded to the type of the parameters.

    Args:
        b: Accumulated squared distances, float or array [n_parameters], copied; finite and >= 0.
        g: Accumulated squared gradients, float or array [n_parameters], copied; finite and > 0.
        coef: Weight of the task's own gradients, float, finite and >= 0; with 0 it is OGD.

    Raises:
        TypeError: An argument is not real.
        ValueError: An argument is out of range, or `b` and `g` are of different lengths.

    Example:
        >>> import aruba_fast as af
        >>> af.ArubaPlusPlus([1.0, 4.0], [1.0, 9.0], coef=0.1)
        ArubaPlusPlus(b=float64[2] in [1, 4], g=float64[2] in [1, 9], coef=0.1)

    Source: [P] Khodak, Balcan, Talwalkar, NeurIPS 2019.
    """

    b: float | NDArray[Any]
    g: float | NDArray[Any]
    coef: float

    def __post_init__(self) -> None:
        b = _rates.checked("ArubaPlusPlus", "b", self.b, positive=False)
        g = _rates.checked("ArubaPlusPlus", "g", self.g, positive=True)
        if not isinstance(b, float) and not isinstance(g, float):
            _check.shape("ArubaPlusPlus", "g", g, b.shape)
            _check.together("ArubaPlusPlus", "g", g, "b", b)
        self._hold(b=b, g=g, coef=_check.non_negative("ArubaPlusPlus", "coef", self.coef))

    def __repr__(self) -> str:
        return (
            f"ArubaPlusPlus(b={_rates.shown(self.b)}, g={_rates.shown(self.g)}, coef={self.coef:g})"
        )

    def _native(
        self, function: str, dtype: np.dtype[Any], n_parameters: int, like: Any
    ) -> NativeRule:
        values = []
        for name, value in (("b", self.b), ("g", self.g)):
            if isinstance(value, float):
                value = _arrays.moved(np.full(n_parameters, value), like)
            _rates.require_length(function, name, value, n_parameters)
            _check.together(function, "rule", value, "tasks", like)
            values.append(_arrays.contiguous(value, np.float64))
        b, g = values
        with np.errstate(over="ignore", under="ignore"), _arrays.beside(like):
            rate, refinement = np.sqrt(b) / np.sqrt(g), self.coef / g
        return (
            "aruba++",
            _rates.cast(function, "rate", rate, dtype),
            _rates.cast(function, "coef / g", refinement, dtype),
        )


@dataclass(frozen=True, eq=False)
class Adam(Value):
    """Adam without momentum (beta1 = 0), the rule that Reptile runs its tasks with.

        v <- beta2 v + (1 - beta2) grad^2
        theta <- Proj(theta - learning_rate * grad / (sqrt(v / (1 - beta2^t)) + eps))

    v starts at zero in every task, and t counts its steps.

    Args:
        learning_rate: Float, finite and >= 0, in units of theta.
        beta2: What a step keeps of v, at least 0 and below 1.
        eps: Float, finite and > 0, in units of the gradient.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is out of range.

    Example:
        >>> import aruba_fast as af
        >>> af.Adam(0.01)
        Adam(learning_rate=0.01, beta2=0.999, eps=1e-08)

    Source: Kingma, Ba, ICLR 2015; Nichol, Achiam, Schulman, 2018, for beta1 = 0.
    """

    learning_rate: float
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        self._hold(
            learning_rate=_check.non_negative("Adam", "learning_rate", self.learning_rate),
            beta2=_check.fraction("Adam", "beta2", self.beta2, zero=True),
            eps=_check.positive("Adam", "eps", self.eps),
        )

    def _native(self, _function: str, _dtype: np.dtype[Any], _n: int, _like: Any) -> NativeRule:
        return "adam", self.learning_rate, self.eps, 1.0 - self.beta2


@dataclass(frozen=True, eq=False)
class EG(Value):
    """Exponentiated gradient: online mirror descent with the negative entropy, on the simplex.

        z <- z - learning_rate * grad;  z <- z - log sum_j exp(z_j);  theta = exp(z)

    For linear models whose parameters are weights >= 0 that sum to one, such as a mixture of
    experts: regret at most KL(theta*, phi) / learning_rate + learning_rate/2 sum |grad|_inf^2,
    where a dimension costs its logarithm only. The start `phi` has to be positive: a coordinate
    without weight never gets any.

    In the result of `run_tasks`, `grad_sq` is the sum of |grad|_inf^2 over the steps, in every
    coordinate: what the bound and `SimplexLearner` need.

    Args:
        learning_rate: Float, finite and >= 0.

    Raises:
        TypeError: `learning_rate` is not a real number.
        ValueError: `learning_rate` is negative or not finite.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks([[[1.0, 0.0, 0.0]]], [[0.0]])
        >>> af.run_tasks(tasks, np.full(3, 1 / 3), af.EG(1.5), loss="squared").theta_hat
        array([[0.23269654, 0.38365173, 0.38365173]])

    Source: Kivinen, Warmuth, Information and Computation 132 (1997).
    """

    learning_rate: float

    def __post_init__(self) -> None:
        self._hold(learning_rate=_check.non_negative("EG", "learning_rate", self.learning_rate))

    def _native(self, _function: str, _dtype: np.dtype[Any], _n: int, _like: Any) -> NativeRule:
        return "eg", self.learning_rate


Rule: TypeAlias = OGD | AdaGrad | Adam | ArubaPlusPlus | EG | Proximal


def native(
    function: str, rule: object, dtype: np.dtype[Any], n_parameters: int, like: Any
) -> NativeRule:
    """Translates a rule into what the engine takes, for so many parameters beside `like`."""
    if not isinstance(rule, Rule):
        remedy = f"expected {', '.join(kind.__name__ for kind in get_args(Rule))}"
        if hasattr(type(rule), "rule"):
            remedy = "expected learner.rule()"
        elif isinstance(rule, (float, int, list, np.ndarray)):
            remedy = "expected af.OGD(learning_rate)"
        raise TypeError(
            f"{function}: `rule` must be a within-task rule: got {_check.shown(rule)}, {remedy}"
        )
    assert not isinstance(rule, Proximal), "run_tasks runs it elsewhere"
    return rule._native(function, dtype, n_parameters, like)
