"""Mini-batches of a task, as Reptile draws them: shuffled passes, one after the other."""

import numpy as np

from aruba_fast._check import Int64Array
from aruba_fast.datasets import _draw


def mini_batches(
    seed: int, start: int, n: int, *, n_samples: int, batch: int, steps: int
) -> Int64Array:
    """Draws the mini-batches of the tasks `start` to `start + n`, each the same as drawn alone.

    All samples are shuffled, then shuffled again, and so on; the sequence is cut into batches,
    which may straddle two passes. A batch larger than the task holds samples twice.

    Args:
        seed: An integer from 0 to 2**63 - 1.
        start: Number of the first task.
        n: Number of tasks.
        n_samples: Samples of a task.
        batch: Samples of a mini-batch.
        steps: Mini-batches of a task.

    Returns:
        Rows of the samples, int64 [n, steps, batch].
    """
    passes = -(-batch * steps // n_samples)
    n_words = passes * n_samples
    words = _draw.words(seed, _draw.BATCHES, start, n, n_words + -n_words % 4)
    orders = _draw.order(words[:, :n_words].reshape(n, passes, n_samples))
    cut: Int64Array = orders.reshape(n, n_words)[:, : steps * batch].reshape(n, steps, batch)
    return np.ascontiguousarray(cut)
