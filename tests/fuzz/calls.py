"""`Call`, one drawn call of the API, and what must hold of it however it ends."""

from __future__ import annotations

import ctypes
import pickle
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import aruba_fast as af

from .objects import ChangingArray, Meddling, Misbehaved
from .values import GUARD, PATTERN

ALLOWED = (ValueError, TypeError, MemoryError, af.CudaError, Misbehaved)
# What must be finite in every state; `rho` may be nan.
NUMBERS_OF = {
    "MetaLearner": ("phi", "learning_rate", "b", "g"),
    "TaskStatistics": ("sums", "weight_sum"),
    "Reply": ("sums", "weight_sum"),
    "ScaleLearner": ("scale",),
    "InitializationExperts": ("weights", "phi", "losses"),
    "SimplexLearner": ("phi", "learning_rate", "b", "g"),
    "FullMatrixLearner": ("phi", "B", "G", "H"),
}


class Broken(AssertionError):  # noqa: N818 (a find, not an error)
    """A call did what no call may do."""


@dataclass
class Call:
    """A function, its arguments, and what of them it changes.

    Args:
        function: What is called.
        args: Positional arguments.
        kwargs: Others.
        modified: Positions and names of the arguments that a successful call writes to.
        states: Objects that may learn from a successful call, and stay finite.
        fixed: Names that are not spoiled: a wrong value would be a call that never ends.
        raises: Exceptions that this function documents beside those of all.
        gradual: Whether a call that fails may have learned from what came before.
    """

    function: Any
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    modified: tuple[Any, ...] = ()
    states: tuple[Any, ...] = ()
    fixed: tuple[Any, ...] = ()
    raises: tuple[type[BaseException], ...] = ()
    gradual: bool = False

    def spoil(self, draw):
        """Replaces one argument or two."""
        places = [*range(len(self.args)), *self.kwargs]
        places = [place for place in places if place not in self.fixed]
        for _ in range(draw.choice((1, 1, 2))):
            if not places:
                return
            place = draw.choice(places)
            at = self.args if isinstance(place, int) else self.kwargs
            at[place] = draw.spoiled(at[place])
        if any("torch" in type(value).__module__ for value in (*self.args, *self.kwargs.values())):
            return  # the sentence on a wrong signature shows the arguments, and PyTorch may crash
        if draw.chance(0.02):
            self.kwargs[draw.choice(("unknown", "out", "self"))] = None
        if draw.chance(0.02) and self.args:
            self.args.pop()

    def run(self, draw):
        """Makes the call; returns whether it succeeded."""
        before = [base.tobytes() for base in draw.buffers]
        states = [bits_of(state) for state in self.states]
        # Looked for first: a list that misbehaves may hold nothing any more afterwards.
        arrays = [array for place in self.modified for array in arrays_in(self._argument(place))]
        try:
            result = self.function(*self.args, **self.kwargs)
        except (*ALLOWED, *self.raises):
            self._require_unchanged(draw, before, ())
            if not self.gradual and [bits_of(state) for state in self.states] != states:
                raise Broken("a failed call changed a state") from None
            return False
        self._require_unchanged(draw, before, arrays)
        for state in (*self.states, result):
            require_finite(state)
        return True

    def _argument(self, place):
        if isinstance(place, int):
            return self.args[place] if place < len(self.args) else None
        return self.kwargs.get(place)

    @staticmethod
    def _require_unchanged(draw, before, modified):
        for base, old in zip(draw.buffers, before, strict=True):
            if base.tobytes() == old:
                continue
            if (base[:GUARD] != PATTERN).any() or (base[-GUARD:] != PATTERN).any():
                raise Broken("memory beside an array was written to")
            if not any(np.may_share_memory(base, array) for array in modified):
                raise Broken("an argument was changed that must not be")


def arrays_in(value, depth=2):
    """The arrays of an argument, in host memory; lists may hold themselves, hence the depth."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, list) and depth:
        return [array for each in list.copy(value) for array in arrays_in(each, depth - 1)]
    if isinstance(value, (Meddling, ChangingArray)):
        return arrays_in(value.array)
    library = type(value).__module__.partition(".")[0]
    if library == "torch" and value.device.type == "cpu" and str(value.layout) == "torch.strided":
        memory = value.untyped_storage()
        if memory.nbytes() == 0 or value._is_zerotensor():
            return []
        raw = (ctypes.c_uint8 * memory.nbytes()).from_address(memory.data_ptr())
        return [np.frombuffer(raw, np.uint8)]
    if library == "emulated_cupy":
        import emulated_cupy

        return [emulated_cupy.host(value)]
    return []


def shown(value, depth=2):
    """Type, shape and values of an argument; what misbehaves is not asked, tensors least of all."""
    kind = type(value)
    if kind in (list, tuple) and depth:
        inner = ", ".join(shown(each, depth - 1) for each in value[:3])
        return f"{kind.__name__} of {len(value)}: {inner}"
    if kind.__module__.partition(".")[0] in ("torch", "cupy", "emulated_cupy"):
        return f"{kind.__name__} {value.dtype} {tuple(value.shape)}"
    if kind is np.ndarray:
        values = np.array2string(value, threshold=8, edgeitems=2).replace("\n", "")
        return f"{value.dtype} {value.shape} {value.strides} {values}"
    safe = kind.__module__ in ("builtins", "numpy") or kind.__module__.startswith("aruba_fast")
    return repr(value) if safe and kind is not list else f"{kind.__name__} {sorted(vars(kind))[:4]}"


def bits_of(state):
    """All that a state consists of."""
    if hasattr(state, "to"):
        state = state.to("cpu")
    return pickle.dumps(state)


def require_finite(state):
    """Refuses a state with a number that is not finite."""
    names = NUMBERS_OF.get(type(state).__name__, ())
    if type(state).__module__.partition(".")[0] != "aruba_fast":
        return
    for name in names:
        values = getattr(state, name)
        values = values.get() if hasattr(values, "get") else np.asarray(values)
        if not np.isfinite(values).all():
            raise Broken(f"{type(state).__name__}.{name} is not finite")
