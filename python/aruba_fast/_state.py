"""The state of a meta-learner: its hyperparameters, the arrays it starts with, and their checks."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check
from ._check import FloatArray
from ._version import Versioned

# In the order of the native state. b and g are in units of eps^2 and zeta^2: both start at 1.
ARRAYS = ("phi_master", "phi", "b", "g", "rate", "rho", "counts", "weight")


@dataclass(frozen=True)
class Hyperparameters(Versioned):
    """What `MetaLearner` was made with, checked; `function` is named where one is refused."""

    # A checkpoint of before there was one of these is read with its default.
    learning_rate: float = 1.0
    zeta: float = 1.0
    p: float = 1.0
    decay: float = 0.0
    isotropic: bool = False
    max_learning_rate: float | None = None
    function: InitVar[str] = "MetaLearner"

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> "Hyperparameters":
        """Returns what a file or a pickle holds, of an older version too."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(
                f"holds the hyperparameters {', '.join(unknown)}, which this version does not know"
            )
        return cls(**values)

    def __post_init__(self, function: str) -> None:
        cap = self.max_learning_rate
        checked = {
            "learning_rate": _check.positive(function, "learning_rate", self.learning_rate),
            "zeta": _check.positive(function, "zeta", self.zeta),
            "p": _check.non_negative(function, "p", self.p),
            "decay": _check.fraction(function, "decay", self.decay, zero=True),
            "isotropic": _check.boolean(function, "isotropic", self.isotropic),
            "max_learning_rate": (
                None if cap is None else _check.positive(function, "max_learning_rate", cap)
            ),
        }
        for key, value in checked.items():
            object.__setattr__(self, key, value)
        # Sums are divided by eps^2 and zeta^2.
        for factor, text in ((self.zeta, "`zeta`"), (self.eps, "`learning_rate` times `zeta`")):
            if not (1e-150 < factor < 1e150):
                raise ValueError(
                    f"{function}: {text} must have a square within float64: got {factor}, "
                    "expected 1e-150 to 1e150"
                )

    @property
    def eps(self) -> float:
        """Smoothing of the distances: the first learning rate is eps / zeta."""
        return self.learning_rate * self.zeta

    def first_rate(self, dtype: np.dtype[Any], function: str = "MetaLearner") -> np.floating[Any]:
        """The learning rate before the first task, in the type of the parameters."""
        cap = self.max_learning_rate or self.learning_rate
        rate, name = min((self.learning_rate, "learning_rate"), (cap, "max_learning_rate"))
        with np.errstate(over="ignore", under="ignore"):
            result: np.floating[Any] = dtype.type(rate)
        limits = np.finfo(dtype)
        if not (limits.tiny <= result < np.inf):
            raise ValueError(
                f"{function}: `{name}` must be within {dtype}: got {rate}, "
                f"expected {limits.tiny:g} to {limits.max:g}"
            )
        return result


def initial_arrays(
    phi: FloatArray, hyper: Hyperparameters, function: str = "MetaLearner"
) -> dict[str, NDArray[Any]]:
    """The arrays of a learner that has seen no task, in host memory."""
    n = len(phi)
    return {
        "phi_master": phi.astype(np.float64),
        "phi": phi.copy(),
        "b": np.ones(n),
        "g": np.ones(n),
        "rate": np.full(n, hyper.first_rate(phi.dtype, function)),
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
