"""What a meta-learner has learned, as a file."""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from . import _arrays
from ._learned import OWN, Learned
from ._state import ARRAYS, Hyperparameters, check_arrays, completed

if TYPE_CHECKING:
    from typing_extensions import Self

# Their place in a checkpoint, which only has it where there are some.
_ATTRIBUTES = "attributes"


class Saved(Learned):
    """A meta-learner that can be written to a file, and read from one."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the whole state as a safetensors file, to resume bit for bit.

        The file is written beside `path` and renamed: a failed save, or one that is killed, leaves
        the old file as it was. What a kill leaves beside it, under a name that begins with
        ".aruba_fast-", the next save of the same file removes.

        Args:
            path: The file; replaced if it exists, with the permissions that it had. A pipe or a
                character device is written to.

        Raises:
            OSError: The file cannot be written.
            ValueError: The state is not finite, so that it could not be loaded again.

        Warns:
            UserWarning: The instance has attributes of its own that JSON cannot hold; they are left
                out.

        Example:
            >>> import tempfile, numpy as np, aruba_fast as af
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     af.MetaLearner(np.zeros(2), decay=0.5).save(f"{folder}/learner.safetensors")
            ...     af.MetaLearner.load(f"{folder}/learner.safetensors").decay
            0.5
        """
        arrays, values = self._stored("MetaLearner.save")
        # Half of the time that importing this package would take is for files and checksums.
        from . import checkpoint

        checkpoint.write(path, arrays, values)

    def _stored(self, function: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What a file has of a learner: arrays, and what JSON can hold."""
        copies = zip(ARRAYS, self._read(*ARRAYS), strict=True)
        arrays = {name: _arrays.host(array) for name, array in copies}
        try:
            check_arrays(arrays, self._hyper)
        except ValueError as error:
            raise ValueError(f"{function}: {error}") from None
        return arrays, asdict(self._hyper) | self._stored_attributes()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Self":
        """Reads a learner that `save` wrote.

        Args:
            path: The file.

        Returns:
            A new learner that goes on as the saved one would have, bit for bit. Hyperparameters
            that the file is too old to have are those of its time.

        Raises:
            OSError: The file cannot be read.
            ValueError: The file is damaged, truncated, of a newer version or not a MetaLearner; the
                message names the file and the reason.
        """
        from . import checkpoint

        name = checkpoint.checked_path("MetaLearner.load", path)
        try:
            known = [*(field.name for field in fields(Hyperparameters)), _ATTRIBUTES]
            arrays, values, checksum = checkpoint.read(name, known=known)
            state = cls._checked_state(arrays, values)
            checkpoint.require_whole(arrays, values, checksum)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"MetaLearner.load: `path` must be a checkpoint of a MetaLearner: "
                f"got {name!r}, which is refused: {error}"
            ) from None
        return cls._restored(state)

    @classmethod
    def _checked_state(
        cls, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        """The state of what `_stored` gave; raises a ValueError if it cannot be one."""
        attributes = _checked_attributes(cls, values)
        hyper = Hyperparameters.stored({k: v for k, v in values.items() if k != _ATTRIBUTES})
        check_arrays(completed(arrays), hyper)
        return asdict(hyper), arrays, attributes

    @classmethod
    def _restored(cls, state: tuple[Any, ...]) -> "Self":
        learner = cls.__new__(cls)
        Learned.__setstate__(learner, state)
        return learner

    def _stored_attributes(self) -> dict[str, Any]:
        """The attributes that a file can hold, beside its hyperparameters."""
        attributes = self._attributes()
        kept = {name: value for name, value in attributes.items() if _is_json(value)}
        if lost := sorted(set(attributes) - set(kept)):
            warnings.warn(
                f"{type(self).__name__}.save: the attributes {', '.join(lost)} are left out: a "
                "checkpoint holds numbers, texts, lists and dictionaries; a pickle holds all",
                stacklevel=3,
            )
        return {_ATTRIBUTES: kept} if kept else {}


def _checked_attributes(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that a file holds beside its hyperparameters, harmless to set."""
    attributes = stored.get(_ATTRIBUTES, {})
    if not isinstance(attributes, dict):
        raise ValueError(f"holds attributes that are a {type(attributes).__name__}")
    # Those of a subclass are its own affair.
    ours = next(each for each in kind.__mro__ if each.__module__.startswith("aruba_fast."))
    for name in attributes:
        if name in OWN or hasattr(ours, name):
            raise ValueError(f"holds the attribute {name!r}, which {ours.__name__} has itself")
    return attributes


def _is_json(value: object) -> bool:
    """Whether JSON gives back the same."""
    try:
        again = json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(value, type(again)) and bool(again == value)
