"""What a meta-learner has learned: shared by threads, read at one moment, copied and pickled."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from . import _arrays
from ._check import Float64Array, FloatArray
from ._lock import Lock
from ._state import ARRAYS, Hyperparameters, completed
from ._version import FORMAT, require_readable

if TYPE_CHECKING:
    from typing_extensions import Self


class Learned:
    """Arrays and hyperparameters of a meta-learner, which outside code reads as copies.

    Two locks. What learns holds `_lock` from its first look at the state to its last change of it,
    so that learners in several threads come one after the other, each whole. Native code holds a
    second one for as long as it changes the arrays or copies them: reading waits for one update,
    not for a `meta_train` that is on its way.
    """

    def _hold(self, hyper: Hyperparameters, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._hyper = hyper
        self._lock = Lock()
        # The native state refers to these arrays and changes them in place: they are never rebound.
        self._arrays = {name: arrays[name] for name in ARRAYS}
        made = _arrays.native(arrays["phi"]).MetaState
        if not hyper.average_task:
            self._state = made(self._arrays, **hyper.native())
            return
        table = hyper.table(len(arrays["phi"]), training=True)
        own = {**self._arrays, "tensors": _arrays.moved(table.ravel(), arrays["phi"])}
        number = {"n_tensors": table.shape[1] - 1, "n_pieces": int(table[1, -1])}
        self._state = made(own, **hyper.native(), **number)

    def _read(self, *names: str, size: int | None = None) -> list[NDArray[Any]]:
        """Copies arrays, or their first `size` values, as they are at one moment."""
        copies = []
        for name in names:
            own = self._arrays[name]
            copies.append(_arrays.empty(own.shape if size is None else (size,), own.dtype, own))
        self._state.read(names, copies)
        return copies

    def _attributes(self) -> dict[str, Any]:
        """What a subclass, or its user, has added to the instance."""
        slots = [n for c in type(self).__mro__ for n in _slots(c) if hasattr(self, n)]
        added = {name: value for name, value in vars(self).items() if name not in OWN}
        return added | {name: getattr(self, name) for name in slots}

    def _twin(self, arrays: Mapping[str, NDArray[Any]]) -> "Self":
        """A learner of the same class, attributes and hyperparameters with other arrays."""
        twin = type(self).__new__(type(self))
        Learned.__setstate__(twin, (asdict(self._hyper), arrays, self._attributes()))
        return twin

    def to(self, device: str) -> "Self":
        """Returns a copy of this learner that lives on another device, with the same bits.

        Args:
            device: "cpu"; "cuda" for CuPy's current device, or "cuda:1" for that one.

        Raises:
            TypeError: This aruba_fast was built without CUDA.
            ValueError: `device` is unknown.
            ImportError: There is no CuPy.
            CudaError: There is no such device, or no driver.

        Example:
            >>> import numpy as np, aruba_fast as af
            >>> af.MetaLearner(np.zeros(2)).to("cpu").device
            'cpu'
        """
        copies = dict(zip(ARRAYS, self._read(*ARRAYS), strict=True))
        return self._twin(_arrays.all_moved("MetaLearner.to", copies, device))

    @property
    def phi(self) -> FloatArray:
        """The current initialization, [n_parameters]; a read-only copy."""
        return _arrays.frozen(*self._read("phi"))

    @property
    def learning_rate(self) -> FloatArray | float:
        """The learning rates that tasks are trained with, [n_parameters]; a read-only copy.

        A float if all coordinates share one rate; zero while the rate is "auto" and not yet found.
        """
        one_rate = self._hyper.one_rate
        (rate,) = self._read("rate", size=1 if one_rate else None)
        return float(rate[0]) if one_rate else _arrays.frozen(rate)

    @property
    def b(self) -> Float64Array:
        """Accumulated squared distances, 1/2 D^2 or for the tight bound D^2, with smoothing.

        Float64 [n_parameters], a copy.
        """
        (b,) = self._read("b")
        unit = self._hyper.unit_of_b
        with _arrays.beside(b):
            return unit * unit * b

    @property
    def g(self) -> Float64Array:
        """Accumulated squared gradients with smoothing, float64 [n_parameters], a copy."""
        (g,) = self._read("g")
        unit = self._hyper.unit_of_g
        with _arrays.beside(g):
            return unit * unit * g

    @property
    def rho(self) -> Float64Array:
        """Whether the rate of each coordinate grows or falls, float64 [n_parameters].

            rho = sum (theta_hat - phi)^2 / (eta^2 sum grad^2)

        This is the squared distance that the tasks of the last round went, over the one that they
        would have gone on average if their gradients had been uncorrelated. A rate grows while its
        rho is above 2 (for the tight bound above 1), and falls while it is below. It is nan before
        the first round, and where no gradient was seen. A read-only copy.
        """
        return _arrays.frozen(*self._read("rho"))

    @property
    def device(self) -> str:
        """Where the learner lives: "cpu", or "cuda:0" and so on."""
        return _arrays.device_of(self._arrays["phi"])

    @property
    def n_tasks(self) -> int:
        """Number of tasks learned from; on a CUDA device, asking waits for it."""
        return int(_arrays.host(*self._read("counts"))[0])

    @property
    def n_skipped(self) -> int:
        """Number of tasks left out because their result was not finite; waits as `n_tasks`."""
        return int(_arrays.host(*self._read("counts"))[1])

    @property
    def initial_learning_rate(self) -> float | None:
        """The first rate, as given or as found; None if it is "auto" and not yet found."""
        return float(self._hyper.learning_rate) if self._hyper.knows_rate else None

    @property
    def eps(self) -> float:
        """Smoothing of the distances, `initial_learning_rate * zeta`; 0 where `zeta` is "auto"."""
        return 0.0 if self._hyper.average_task else self._hyper.unit_of_b

    @property
    def zeta(self) -> float | str:
        """Smoothing of the squared gradients; "auto" for the prior of one average task."""
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

    @property
    def bound(self) -> str:
        """The regret bound whose best rates are learned, "blog" or "tight"."""
        return self._hyper.bound

    @property
    def train(self) -> str:
        """How tasks are trained: with "learned" rates, or with one "scalar" rate."""
        return self._hyper.train

    def __getstate__(self) -> tuple[Any, ...]:
        arrays = dict(zip(ARRAYS, self._read(*ARRAYS), strict=True))
        return asdict(self._hyper), arrays, self._attributes(), FORMAT

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # Of before attributes were kept, and of before there was a version.
        hyper, arrays, attributes, version = state + ({}, 1)[len(state) - 2 :]
        try:
            require_readable(version)
        except ValueError as error:
            raise ValueError(f"MetaLearner: the pickle is refused: {error}") from None
        # Memory that can be written, whoever handed it over: read-only buffers, a mapped file.
        known = completed(arrays)
        own = {name: _arrays.owned(known[name]) for name in ARRAYS}
        self._hold(Hyperparameters.stored(hyper), own)
        for name, value in attributes.items():
            setattr(self, name, value)


# Attributes of every learner.
OWN = frozenset({"_hyper", "_lock", "_arrays", "_state"})


def _slots(kind: type) -> list[str]:
    """The slots that a class declares, by the names under which they are kept."""
    given = vars(kind).get("__slots__", ())
    names = [given] if isinstance(given, str) else list(given)
    private = f"_{kind.__name__.lstrip('_')}"
    return [
        private + name if name.startswith("__") and not name.endswith("__") else name
        for name in names
        if name not in ("__dict__", "__weakref__")
    ]
