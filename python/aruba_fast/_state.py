"""The state of a meta-learner: its hyperparameters, the arrays it starts with, and their checks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check, _core
from ._check import FloatArray, Int64Array
from ._version import Versioned

# In the order of the native state. b and g are in units of eps^2 and zeta^2, and both start at 1;
# where there are no units they are plain sums.
ARRAYS = ("phi_master", "phi", "b", "g", "rate", "rho", "counts", "weight", "limit")
# Of the learner as a whole, not of its coordinates.
SIZES = {"counts": 2, "weight": 2, "limit": 1}

AUTO = "auto"
BOUNDS = ("blog", "tight")
TRAIN = ("learned", "scalar")


@dataclass(frozen=True)
class Hyperparameters(Versioned):
    """What `MetaLearner` was made with, checked; `function` is named where one is refused."""

    # A checkpoint of before there was one of these is read with its default. "auto": a first rate
    # that is not known yet, and the prior of one average task.
    learning_rate: float | str = 1.0
    zeta: float | str = 1.0
    p: float = 1.0
    decay: float = 0.0
    isotropic: bool = False
    max_learning_rate: float | None = None
    bound: str = "blog"
    train: str = "learned"
    # Numbers of coordinates of the parts that have a prior each, and isotropic a rate each.
    tensors: Sequence[int] | None = None
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
        tensors = values.get("tensors")  # a list in JSON
        return cls(**{**values, "tensors": None if tensors is None else tuple(tensors)})

    def __post_init__(self, function: str) -> None:
        cap = self.max_learning_rate
        checked = {
            "learning_rate": _check.auto(
                function, "learning_rate", self.learning_rate, _check.positive
            ),
            "zeta": _check.auto(function, "zeta", self.zeta, _check.positive),
            "p": _check.non_negative(function, "p", self.p),
            "decay": _check.fraction(function, "decay", self.decay, zero=True),
            "isotropic": _check.boolean(function, "isotropic", self.isotropic),
            "max_learning_rate": (
                None if cap is None else _check.positive(function, "max_learning_rate", cap)
            ),
            "bound": _check.one_of(function, "bound", self.bound, BOUNDS),
            "train": _check.one_of(function, "train", self.train, TRAIN),
            "tensors": self._checked_tensors(function),
        }
        for key, value in checked.items():
            object.__setattr__(self, key, value)
        if self.average_task:
            return
        # Sums are divided by eps^2 and zeta^2.
        factors = [(self.unit_of_g, "`zeta`")]
        if self.knows_rate:
            factors.append((self.unit_of_b, "`learning_rate` times `zeta`"))
        for factor, text in factors:
            if not (1e-150 < factor < 1e150):
                raise ValueError(
                    f"{function}: {text} must have a square within float64: got {factor}, "
                    "expected 1e-150 to 1e150"
                )

    def _checked_tensors(self, function: str) -> tuple[int, ...] | None:
        given: Any = self.tensors
        if given is None:
            return None
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(
                f"{function}: `tensors` must be sizes: got {type(given).__name__}, "
                "expected a list of integers, or None"
            )
        sizes = tuple(given)
        if self.zeta != AUTO:
            raise ValueError(
                f"{function}: `tensors` must be None where `zeta` is a number, which is the prior "
                f"of all: got {len(sizes)} of them, expected zeta='auto'"
            )
        return tuple(_check.integer(function, "tensors", size, 1) for size in sizes)

    @property
    def knows_rate(self) -> bool:
        """Whether the first learning rate was given, or found."""
        return self.learning_rate != AUTO

    @property
    def average_task(self) -> bool:
        """Whether the prior of b and g is one average task."""
        return self.zeta == AUTO

    @property
    def per_distance(self) -> float:
        """What b counts a halved squared distance for."""
        return 2.0 if self.bound == "tight" else 1.0

    @property
    def own_weight(self) -> float:
        """For how many average tasks a task's own squared gradients count in ARUBA++."""
        return 4.0 if self.bound == "tight" else 1.0

    @property
    def proximal_coef(self) -> float:
        """How far the proximal rule goes at the rates: as far as squared distances say, whole."""
        return float(np.sqrt(2.0 / self.per_distance))

    @property
    def one_rate(self) -> bool:
        """Whether tasks are trained at one learning rate for all coordinates."""
        return self.train == "scalar" or (self.isotropic and len(self.tensors or (1,)) == 1)

    def table(self, n: int, *, training: bool = False) -> Int64Array:
        """Where n coordinates' tensors begin and their pieces: those with a prior for a rule.

        In training one rate is that of all of them.
        """
        one = self.tensors is None or (training and self.train == "scalar")
        sizes = [n] if one else list(self.tensors or ())
        result: Int64Array = _core.tensor_table(sizes)
        return result

    @property
    def unit_of_b(self) -> float:
        """What b is kept in squares of: eps, if there is one; zero as long as it is not known."""
        if self.average_task:
            return 1.0
        return float(self.learning_rate) * self.unit_of_g if self.knows_rate else 0.0

    @property
    def unit_of_g(self) -> float:
        """What g is kept in squares of: zeta, if there is one."""
        return 1.0 if self.average_task else float(self.zeta)

    def require_size(self, n: int, function: str) -> None:
        """Refuses tensors that are not those of n coordinates."""
        if self.tensors is not None and sum(self.tensors) != n:
            raise ValueError(
                f"{function}: `tensors` must be the sizes of all that `phi` holds: got "
                f"{sum(self.tensors)} coordinates in {len(self.tensors)}, expected {n}"
            )

    def native(self) -> dict[str, Any]:
        """The same for the native state."""
        return {
            "learning_rate": self.learning_rate if self.knows_rate else 1.0,
            "zeta": self.unit_of_g,
            "p": self.p,
            "decay": self.decay,
            "isotropic": self.isotropic or self.train == "scalar",
            "max_learning_rate": self.max_learning_rate,
            "average_task": self.average_task,
            "tight": self.bound == "tight",
        }

    def first_rate(self, dtype: np.dtype[Any], function: str = "MetaLearner") -> np.floating[Any]:
        """The rate before the first task, in the type of the parameters; zero: not known yet."""
        if not self.knows_rate:
            return dtype.type(0)  # type: ignore[no-any-return]
        first = float(self.learning_rate)
        cap = self.max_learning_rate or first
        rate, name = min((first, "learning_rate"), (cap, "max_learning_rate"))
        with np.errstate(over="ignore", under="ignore"):
            result: np.floating[Any] = dtype.type(rate)
        limits = np.finfo(dtype)
        if not (limits.tiny <= result < np.inf):
            raise ValueError(
                f"{function}: `{name}` must be within {dtype}: got {rate}, "
                f"expected {limits.tiny:g} to {limits.max:g}"
            )
        return result


def bound_of_network(function: str, bound: str, zeta: float | str) -> str:
    """What "auto" stands for in a network: the tight bound, unless there are units."""
    chosen = _check.one_of(function, "bound", bound, (AUTO, *BOUNDS))
    if chosen != AUTO:
        return chosen
    return "tight" if isinstance(zeta, str) else "blog"


def block_of(
    arrays: Mapping[str, NDArray[Any]], number: int, block: slice
) -> dict[str, NDArray[Any]]:
    """The arrays of one of several learners, views of those that hold all."""
    return {name: array[number if name in SIZES else block] for name, array in arrays.items()}


def tasks_held(n_tasks: int, decay: float) -> float:
    """The number of tasks that b and g still hold, of so many of which each discounts the past."""
    kept = 1.0 - decay
    return float(n_tasks) if kept == 1.0 else max((1.0 - kept**n_tasks) / decay, min(n_tasks, 1.0))


def initial_arrays(
    phi: FloatArray, hyper: Hyperparameters, function: str = "MetaLearner"
) -> dict[str, NDArray[Any]]:
    """The arrays of a learner that has seen no task, in host memory."""
    n = len(phi)
    hyper.require_size(n, function)
    first = 0.0 if hyper.average_task else 1.0
    return {
        "phi_master": phi.astype(np.float64),
        "phi": phi.copy(),
        "b": np.full(n, first),
        "g": np.full(n, first),
        "rate": np.full(n, hyper.first_rate(phi.dtype, function)),
        "rho": np.full(n, np.nan),
        "counts": np.zeros(2, np.int64),
        "weight": np.zeros(2),
        "limit": np.full(1, np.inf),
    }


def completed(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of a learner that an older version stored, with what it did not know of."""
    shape = getattr(arrays.get("weight"), "shape", ())[:-1]  # of several learners in one
    return {"limit": np.full((*shape, 1), np.inf), **arrays}


def check_arrays(arrays: Mapping[str, NDArray[Any]], hyper: Hyperparameters) -> None:
    """Refuses arrays that are not the whole, finite state of a learner, in the spec's units too."""
    if set(arrays) != set(ARRAYS):
        raise ValueError(f"holds {sorted(arrays)}, expected {sorted(ARRAYS)}")
    phi = arrays["phi"]
    if phi.ndim != 1 or not phi.size or phi.dtype not in (np.float32, np.float64):
        raise ValueError(f"`phi` is {phi.dtype} {phi.shape}, expected float32 or float64 [n]")
    types = {"phi": phi.dtype, "rate": phi.dtype, "counts": np.dtype(np.int64)}
    sizes = {name: (size,) for name, size in SIZES.items()}
    for name in ARRAYS:
        found = (arrays[name].dtype, arrays[name].shape)
        wanted = (types.get(name, np.dtype(np.float64)), sizes.get(name, phi.shape))
        if found != wanted:
            raise ValueError(f"`{name}` is {found[0]} {found[1]}, expected {wanted[0]} {wanted[1]}")
    hyper.require_size(len(phi), "its layout")
    rho = arrays["rho"]
    with np.errstate(all="ignore"):
        rounded = arrays["phi_master"].astype(phi.dtype)
        b, g = hyper.unit_of_b**2 * arrays["b"], hyper.unit_of_g**2 * arrays["g"]
    least = 0.0 if hyper.average_task else 5e-324
    good = {
        "phi_master": np.isfinite(arrays["phi_master"]),
        "phi": np.isfinite(phi) & (phi == rounded),
        "b": np.isfinite(arrays["b"]) & (arrays["b"] >= least) & np.isfinite(b),
        "g": np.isfinite(arrays["g"]) & (arrays["g"] >= least) & np.isfinite(g),
        "rate": np.isfinite(arrays["rate"]) & (arrays["rate"] >= 0),
        "rho": np.isnan(rho) | (rho >= 0),
        "counts": arrays["counts"] >= 0,
        "weight": np.isfinite(arrays["weight"]) & (arrays["weight"].sum() >= 0),
        "limit": arrays["limit"] > 0,
    }
    for name, valid in good.items():
        if not valid.all():
            worst = arrays[name].flat[int(np.argmin(valid))]
            raise ValueError(f"`{name}` holds the impossible value {worst}")
