"""The diagnosis of what `MetaLearner.save` or `MetaOptimizer.save` wrote, without PyTorch."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aruba_fast import Diagnosis, MetaLearner, checkpoint
from aruba_fast._diagnosis import diagnosis
from aruba_fast._state import ARRAYS, SIZES, Hyperparameters, check_arrays, completed

_MODEL = "MetaOptimizer"


def read(path: Path) -> Diagnosis:
    """Returns the diagnosis of a checkpoint.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no checkpoint of a learner, or damaged.
    """
    try:
        arrays, layout, checksum = checkpoint.read(path, _MODEL)
    except ValueError as error:
        if checkpoint.KIND not in str(error):
            raise ValueError(f"diagnose: {str(path)!r} is refused: {error}") from None
        return MetaLearner.load(path).diagnose()
    try:
        checkpoint.require_whole(arrays, layout, checksum)
        return _of_model(completed(arrays), layout)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"diagnose: {str(path)!r} is refused: {error}") from None


def _of_model(arrays: Mapping[str, NDArray[Any]], layout: Mapping[str, Any]) -> Diagnosis:
    blocks, begin = [], 0
    for number, (n, hyper) in enumerate(layout["blocks"]):
        own = {
            name: arrays[name][number if name in SIZES else slice(begin, begin + n)]
            for name in ARRAYS
        }
        known = Hyperparameters.stored(hyper)
        check_arrays(own, known)
        blocks.append((own, known))
        begin += n
    sizes = [math.prod(shape) for shape in layout["shapes"]]
    names = layout.get("parameters", {}).get("names") or map(str, range(len(sizes)))
    tensors = [(name, n) for name, n in zip(names, sizes, strict=True) if n]
    found = diagnosis(blocks, diverged=False, tensors=tensors)
    if found.first_rate is None and "first_rate" in arrays:
        return replace(found, first_rate=float(arrays["first_rate"][0]))
    return found
