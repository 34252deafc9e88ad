"""The state of a meta-learner: arrays that native code changes in place, and views to read them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _check
from ._check import Float64Array, FloatArray

# In the order of the native state. b and g are in units of eps^2 and zeta^2: both start at 1.
ARRAYS = ("phi_master", "phi", "b", "g", "rate", "rho", "counts", "weight")


@dataclass(frozen=True)
class Hyperparameters:
    """What `MetaLearner` was made with, checked."""

    learning_rate: float
    zeta: float
    p: float
    decay: float
    isotropic: bool
    max_learning_rate: float | None

    def __post_init__(self) -> None:
        name = "MetaLearner"
        cap = self.max_learning_rate
        checked = {
            "learning_rate": _check.positive(name, "learning_rate", self.learning_rate),
            "zeta": _check.positive(name, "zeta", self.zeta),
            "p": _check.non_negative(name, "p", self.p),
            "decay": _check.fraction(name, "decay", self.decay, zero=True),
            "isotropic": _check.boolean(name, "isotropic", self.isotropic),
            "max_learning_rate": (
                None if cap is None else _check.positive(name, "max_learning_rate", cap)
            ),
        }
        for key, value in checked.items():
            object.__setattr__(self, key, value)
        # Sums are divided by eps^2 and zeta^2.
        for factor, text in ((self.zeta, "`zeta`"), (self.eps, "`learning_rate` times `zeta`")):
            if not (1e-150 < factor < 1e150):
                raise ValueError(
                    f"{name}: {text} must have a square within float64: got {factor}, "
                    "expected 1e-150 to 1e150"
                )

    @property
    def eps(self) -> float:
        """Smoothing of the distances: the first learning rate is eps / zeta."""
        return self.learning_rate * self.zeta

    def first_rate(self, dtype: np.dtype[Any]) -> np.floating[Any]:
        """The learning rate before the first task, in the type of the parameters."""
        rate = min(self.learning_rate, self.max_learning_rate or self.learning_rate)
        with np.errstate(over="ignore", under="ignore"):
            result: np.floating[Any] = dtype.type(rate)
        if not (0 < result < np.inf):
            limits = np.finfo(dtype)
            raise ValueError(
                f"MetaLearner: `learning_rate` must be within {dtype}: got {rate}, "
                f"expected {limits.smallest_subnormal:g} to {limits.max:g}"
            )
        return result


def initial_arrays(phi: FloatArray, hyper: Hyperparameters) -> dict[str, NDArray[Any]]:
    """The arrays of a learner that has seen no task, in host memory."""
    n = len(phi)
    return {
        "phi_master": phi.astype(np.float64),
        "phi": phi.copy(),
        "b": np.ones(n),
        "g": np.ones(n),
        "rate": np.full(n, hyper.first_rate(phi.dtype)),
        "rho": np.full(n, np.nan),
        "counts": np.zeros(2, np.int64),
        "weight": np.zeros(2),
    }


def check_arrays(arrays: Mapping[str, NDArray[Any]], hyper: Hyperparameters) -> None:
    """Refuses arrays that are not the whole, finite state of a learner, in the spec's units too."""
    if set(arrays) != set(ARRAYS):
        raise ValueError(f"holds {sorted(arrays)}, expected {sorted(ARRAYS)}")
    phi = arrays["phi"]
    if phi.ndim != 1 or not phi.size or phi.dtype not in (np.float32, np.float64):
        raise ValueError(f"`phi` is {phi.dtype} {phi.shape}, expected float32 or float64 [n]")
    types = {"phi": phi.dtype, "rate": phi.dtype, "counts": np.dtype(np.int64)}
    sizes = {"counts": (2,), "weight": (2,)}
    for name in ARRAYS:
        found = (arrays[name].dtype, arrays[name].shape)
        wanted = (types.get(name, np.dtype(np.float64)), sizes.get(name, phi.shape))
        if found != wanted:
            raise ValueError(f"`{name}` is {found[0]} {found[1]}, expected {wanted[0]} {wanted[1]}")
    rho = arrays["rho"]
    with np.errstate(all="ignore"):
        rounded = arrays["phi_master"].astype(phi.dtype)
        b, g = hyper.eps**2 * arrays["b"], hyper.zeta**2 * arrays["g"]
    good = {
        "phi_master": np.isfinite(arrays["phi_master"]),
        "phi": np.isfinite(phi) & (phi == rounded),
        "b": np.isfinite(arrays["b"]) & (arrays["b"] > 0) & np.isfinite(b),
        "g": np.isfinite(arrays["g"]) & (arrays["g"] > 0) & np.isfinite(g),
        "rate": np.isfinite(arrays["rate"]) & (arrays["rate"] >= 0),
        "rho": np.isnan(rho) | (rho >= 0),
        "counts": arrays["counts"] >= 0,
        "weight": np.isfinite(arrays["weight"]) & (arrays["weight"].sum() >= 0),
    }
    for name, valid in good.items():
        if not valid.all():
            worst = arrays[name].flat[int(np.argmin(valid))]
            raise ValueError(f"`{name}` holds the impossible value {worst}")


class State:
    """Arrays and hyperparameters of a meta-learner, read-only to the outside; base of it."""

    def _hold(self, hyper: Hyperparameters, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._hyper = hyper
        # The native state refers to these arrays and changes them in place: they are never rebound.
        self._arrays = {name: arrays[name] for name in ARRAYS}
        self._state = _arrays.native(arrays["phi"]).MetaState(
            *self._arrays.values(), **asdict(hyper)
        )

    @property
    def phi(self) -> FloatArray:
        """The initialization, [n_parameters]; read-only and live: copy it to keep it."""
        return _arrays.frozen(self._arrays["phi"])

    @property
    def learning_rate(self) -> FloatArray | float:
        """The learning rate, [n_parameters] read-only and live; a float when isotropic."""
        rate = self._arrays["rate"]
        return float(rate[0]) if self.isotropic else _arrays.frozen(rate)

    @property
    def b(self) -> Float64Array:
        """Accumulated 1/2 squared distances with smoothing, float64 [n_parameters], a copy."""
        return self.eps * self.eps * self._arrays["b"]

    @property
    def g(self) -> Float64Array:
        """Accumulated squared gradients with smoothing, float64 [n_parameters], a copy."""
        return self.zeta * self.zeta * self._arrays["g"]

    @property
    def rho(self) -> Float64Array:
        """Distance over expected distance in the last round, float64 [n_parameters].

            rho = sum (theta_hat - phi)^2 / (eta^2 sum grad^2)

        The rate of a coordinate is at rest where rho is 2, grows above and falls below; nan before
        the first round and without a gradient. Read-only and live.
        """
        return _arrays.frozen(self._arrays["rho"])

    @property
    def device(self) -> str:
        """Where the learner lives: "cpu", or "cuda:0" and so on."""
        return _arrays.device_of(self._arrays["phi"])

    @property
    def n_tasks(self) -> int:
        """Number of tasks learned from; on a CUDA device, asking waits for it."""
        return int(self._arrays["counts"][0])

    @property
    def n_skipped(self) -> int:
        """Number of tasks left out because their result was not finite; asked as `n_tasks`."""
        return int(self._arrays["counts"][1])

    @property
    def initial_learning_rate(self) -> float:
        """The `learning_rate` that the learner was made with."""
        return self._hyper.learning_rate

    @property
    def eps(self) -> float:
        """Smoothing of the distances, `initial_learning_rate * zeta`."""
        return self._hyper.eps

    @property
    def zeta(self) -> float:
        """Smoothing of the squared gradients."""
        return self._hyper.zeta

    @property
    def p(self) -> float:
        """Exponent of the smoothing schedule."""
        return self._hyper.p

    @property
    def decay(self) -> float:
        """Share of the past that every task discounts."""
        return self._hyper.decay

    @property
    def isotropic(self) -> bool:
        """Whether one learning rate serves all coordinates."""
        return self._hyper.isotropic

    @property
    def max_learning_rate(self) -> float | None:
        """Upper limit of the learning rate."""
        return self._hyper.max_learning_rate

    def __getstate__(self) -> tuple[Any, ...]:
        return asdict(self._hyper), self._arrays

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        hyper, arrays = state
        # copy.copy hands over the original's own arrays
        copies = {name: arrays[name].copy() for name in ARRAYS}
        self._hold(Hyperparameters(**hyper), copies)
