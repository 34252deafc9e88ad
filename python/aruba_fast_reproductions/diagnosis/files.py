"""The diagnosis of what `MetaLearner.save` or `MetaOptimizer.save` wrote, without PyTorch."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aruba_fast import Diagnosis, MetaLearner, checkpoint
from aruba_fast._diagnosis import diagnosis
from aruba_fast._state import ARRAYS, Hyperparameters, block_of, check_arrays, completed

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
        checkpoint.require_whole(arrays, layout, checksum)
        return _of_model(completed(arrays), layout)
    except checkpoint.OtherKindError:
        return MetaLearner.load(path).diagnose()
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"diagnose: {str(path)!r} is refused: {error}") from None


def _of_model(arrays: Mapping[str, NDArray[Any]], layout: Mapping[str, Any]) -> Diagnosis:
    flat, blocks, begin = {name: arrays[name] for name in ARRAYS}, [], 0
    for number, (n, stored) in enumerate(layout["blocks"]):
        own = block_of(flat, number, slice(begin, begin + n))
        hyper = Hyperparameters.stored(stored)
        check_arrays(own, hyper)
        if "first_rate" in arrays:  # found, not given
            hyper = replace(hyper, learning_rate=float(arrays["first_rate"][number]))
        blocks.append((own, hyper))
        begin += n
    sizes = [math.prod(shape) for shape in layout["shapes"]]
    names = layout.get("parameters", {}).get("names") or map(str, range(len(sizes)))
    tensors = [(name, n) for name, n in zip(names, sizes, strict=True) if n]
    return diagnosis(blocks, diverged=False, tensors=tensors)
