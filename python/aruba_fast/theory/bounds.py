"""Upper bounds on the regret of every task, as functions of the initialization and the rate."""

from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike

from .. import _check, _core
from .._check import Float64Array
from .._deprecated import renamed_arguments
from ..proximal import Proximal
from ..rules import EG, OGD, AdaGrad, ArubaPlusPlus, Rule
from ..statistics import TaskRun
from .hindsight import Hindsight

Form: TypeAlias = Literal["tight", "blog"]
WithGradients: TypeAlias = tuple[Float64Array, Float64Array, Float64Array]
_NAME = "regret_upper_bound"


@overload
def regret_upper_bound(
    run: TaskRun,
    best: Hindsight | ArrayLike,
    phi: ArrayLike,
    rule: Rule,
    *,
    form: Form = ...,
    n_steps: ArrayLike | None = ...,
    lipschitz: float = ...,
    diameter: float | None = ...,
    gradient: Literal[False] = ...,
) -> Float64Array: ...
@overload
def regret_upper_bound(
    run: TaskRun,
    best: Hindsight | ArrayLike,
    phi: ArrayLike,
    rule: Rule,
    *,
    form: Form = ...,
    n_steps: ArrayLike | None = ...,
    lipschitz: float = ...,
    diameter: float | None = ...,
    gradient: Literal[True],
) -> WithGradients: ...
@renamed_arguments(n_rounds="n_steps")
@np.errstate(all="ignore")
def regret_upper_bound(
    run: TaskRun,
    best: Hindsight | ArrayLike,
    phi: ArrayLike,
    rule: Rule,
    *,
    form: Form = "tight",
    n_steps: ArrayLike | None = None,
    lipschitz: float = 1.0,
    diameter: float | None = None,
    gradient: bool = False,
) -> Float64Array | WithGradients:
    """Bounds the regret of every task from above, R_t <= U_t(phi, eta), for convex losses.

        OGD, one rate        |phi - theta*|^2 / (2 eta) + eta/2 sum |grad|^2
        OGD, a rate each     sum_j (phi_j - theta*_j)^2 / (2 eta_j) + 1/2 sum_j eta_j sum grad_j^2
        AdaGrad              sum_j D_j^2 r_j / (2 eta) + eta (r_j - sqrt(delta)),
                             r_j = sqrt(delta + sum grad_j^2)
        ArubaPlusPlus        sum_j D_j^2 sqrt(g_j + coef sum grad_j^2) / (2 sqrt(b_j))
                             + 1/2 sqrt(b_j / g_j) sum grad_j^2
        EG                   KL(theta*, phi) / eta + eta/2 sum |grad|_inf^2
        Proximal             as OGD with a rate each, coef times its rates

    where D_j bounds |theta_{i,j} - theta*_j| over the steps: `diameter`, or
    |phi_j - theta*_j| plus the farthest that the task's gradients can have carried the iterate.
    Also with a projection, for theta* in the ball (EG: on the simplex). As functions of phi and eta
    those of OGD and EG are jointly convex: their minimum over many tasks is what a meta-learner can
    hope for.

    Args:
        run: Result of `run_tasks`, of which only the squared gradients count; for Proximal of
            `follow_the_leader`, which has those that the rule meets online.
        best: Result of `best_in_hindsight`, or any comparators [n_tasks, n_parameters].
        phi: Where the tasks started, [n_parameters] or [n_tasks, n_parameters].
        rule: The rule they were run with.
        form: "tight" as above, or "blog": without the 1/2 at the gradients of `OGD` with a rate
            each, and of `Proximal`; with one rate, with `lipschitz`^2 times the steps in place of
            half the gradients.
        n_steps: Steps of every task, [n_tasks] or a number; needed for the blog's form with one
            rate, and for AdaGrad and ArubaPlusPlus without `diameter`.
        lipschitz: Bound on the norm of a gradient, > 0, for the blog's form with one rate.
        diameter: D_j of every coordinate, > 0: twice the radius of the ball, say. None to compute.
        gradient: Also return the derivatives.

    Returns:
        U, float64 [n_tasks]; with `gradient` a tuple (U, dU/dphi, dU/deta), of which dU/dphi is
        [n_tasks, n_parameters], and dU/deta [n_tasks] for a rule with one rate, else as dU/dphi.
        Of ArubaPlusPlus, eta is sqrt(b / g), with coef / g held fixed.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: Sizes do not fit, an argument is out of range, or one that is needed is None.

    Example:
        >>> import numpy as np, aruba_fast as af
        >>> tasks = af.Tasks([[1.0], [1.0], [2.0]], [1.0, 3.0, 4.0], offsets=[0, 2, 3])
        >>> run = af.run_tasks(tasks, np.zeros(1), af.OGD(0.5), loss="squared")
        >>> best = af.theory.best_in_hindsight(tasks, loss="squared")
        >>> af.theory.regret_upper_bound(run, best, np.zeros(1), af.OGD(0.5))
        array([ 5.8125, 20.    ])

    Source: Zinkevich, ICML 2003; Duchi, Hazan, Singer, JMLR 2011; [P] Khodak, Balcan, Talwalkar,
    NeurIPS 2019. For ArubaPlusPlus and the computed D_j see docs/theory.md.
    """
    if not isinstance(run, TaskRun):
        raise TypeError(f"{_NAME}: `run` must be a TaskRun: got {type(run).__name__}")
    shape = run.theta_hat.shape
    theta_star = comparators(_NAME, best, shape)
    start = _check.real_array(_NAME, "phi", phi)
    axes = "[n_parameters]" if start.ndim == 1 else "[n_tasks, n_parameters]"
    start = _check.float64_array(_NAME, "phi", start, axes)
    _check.shape(_NAME, "phi", start, shape[1:] if start.ndim == 1 else shape)
    name, rate, second = _native(rule, shape[1])
    _check.one_of(_NAME, "form", form, ("tight", "blog"))
    wide = -1.0 if diameter is None else _check.positive(_NAME, "diameter", diameter)
    steepest = _check.positive(_NAME, "lipschitz", lipschitz)
    wanted = _check.boolean(_NAME, "gradient", gradient)
    grad_sq = np.require(run.grad_sq, np.float64, "C")
    counted = name in ("adagrad", "aruba++") and diameter is None
    weight = 0.5
    if form == "blog":
        if isinstance(rate, float):
            counted = name == "ogd"
        elif name == "ogd":
            weight = 1.0
        if name != "ogd":
            raise ValueError(f'{_NAME}: `form` must be "tight" but for OGD: got "blog" for {name}')
    steps = _steps(n_steps, shape[0], needed=counted)
    if form == "blog" and isinstance(rate, float):
        assert steps is not None
        weight = 1.0
        grad_sq = np.repeat((steepest * steepest / shape[1]) * steps[:, None], shape[1], axis=1)
    value = np.empty(shape[0])
    d_phi = np.empty(shape) if wanted else None
    d_rate = np.empty(shape[0] if isinstance(rate, float) else shape) if wanted else None
    _core.regret_upper_bound(
        rule=name,
        theta_star=theta_star,
        phi=start,
        grad_sq=grad_sq,
        rate=rate,
        second=second,
        n_rounds=steps,
        gradient_weight=weight,
        diameter=wide,
        value=value,
        d_phi=d_phi,
        d_rate=d_rate,
    )
    if d_phi is None or d_rate is None:
        return value
    return value, d_phi, d_rate


def comparators(function: str, best: Hindsight | ArrayLike, shape: tuple[int, ...]) -> Float64Array:
    """The parameters of `best`, or `best` itself, as float64 of that shape."""
    given: Any = best.theta_star if isinstance(best, Hindsight) else best
    result = _check.float64_array(function, "best", given, "[n_tasks, n_parameters]")
    _check.shape(function, "best", result, shape)
    return result


def _native(rule: object, n: int) -> tuple[str, float | Float64Array, float | Float64Array]:
    """Name, rate and damping of a rule in float64; a rate of zero bounds nothing."""
    if isinstance(rule, AdaGrad):
        return "adagrad", _check.positive(_NAME, "rule", rule.learning_rate), rule.delta
    if isinstance(rule, ArubaPlusPlus):
        b, g = (np.broadcast_to(np.asarray(v, np.float64), (n,)) for v in (rule.b, rule.g))
        rate = np.sqrt(b) / np.sqrt(g)
        _check.finite(_NAME, "rule", rate, above=0.0)
        return "aruba++", rate, np.ascontiguousarray(rule.coef / g)
    if isinstance(rule, EG):
        return "eg", _check.positive(_NAME, "rule", rule.learning_rate), 0.0
    if isinstance(rule, OGD):
        if isinstance(rule.learning_rate, float):
            return "ogd", _check.positive(_NAME, "rule", rule.learning_rate), 0.0
        each = np.require(rule.learning_rate, np.float64, "C")
        _check.shape(_NAME, "rule", each, (n,))
        return "ogd", each, 0.0
    if isinstance(rule, Proximal):
        each = rule._scaled(_NAME, n)
        if each.ndim == 2:
            raise ValueError(
                f"{_NAME}: `rule` must have a rate for each parameter: got a matrix, whose bound "
                "asks for more than squares of gradients, expected Proximal of a vector or a number"
            )
        _check.finite(_NAME, "rule", each, above=0.0)
        return "ogd", each, 0.0
    raise TypeError(
        f"{_NAME}: `rule` must be a within-task rule with a bound: got {type(rule).__name__}, "
        "expected OGD, AdaGrad, ArubaPlusPlus, EG or Proximal"
    )


def _steps(value: ArrayLike | None, n_tasks: int, *, needed: bool) -> Float64Array | None:
    if value is None:
        if needed:
            raise ValueError(f"{_NAME}: `n_steps` must be given here: got None")
        return None
    steps = _check.real_array(_NAME, "n_steps", value)
    steps = np.broadcast_to(steps, (n_tasks,)) if steps.ndim == 0 else steps
    steps = _check.float64_array(_NAME, "n_steps", steps, "[n_tasks]")
    _check.shape(_NAME, "n_steps", steps, (n_tasks,))
    _check.finite(_NAME, "n_steps", steps, at_least=0.0)
    return steps
