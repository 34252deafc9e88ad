"""Random choices that depend on a seed alone: not on the machine, nor on the release of NumPy.

NumPy promises the stream of a bit generator, not what `Generator` makes of it, so that only raw
words of Philox are used (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). Its
counter makes every word of the stream as cheap to reach as the first.
"""

import numpy as np
from numpy.typing import NDArray

from .._check import Int64Array

# Streams of one seed that have nothing to do with each other.
SPLIT = 0
EPISODES = 1
BATCHES = 2
CLIENTS = 3
WINDOWS = 4
EVALUATED = 5


def words(seed: int, stream: int, start: int, rows: int, columns: int) -> NDArray[np.uint64]:
    """Returns the rows `start` to `start + rows` of an endless table of random words.

    Args:
        seed: Any integer from 0 to 2**63 - 1.
        stream: One of those above.
        start: The first row.
        rows: Number of rows.
        columns: Words a row, a multiple of 4: what one step of the counter gives.

    Returns:
        uint64 [rows, columns].
    """
    key = np.array([seed, stream], np.uint64)
    generator = np.random.Philox(key=key, counter=start * (columns // 4))
    raw: NDArray[np.uint64] = generator.random_raw(rows * columns)
    return raw.reshape(rows, columns)


def order(keys: NDArray[np.uint64]) -> Int64Array:
    """Returns the permutation of the last axis that sorts `keys`: uniform if they are random."""
    return np.argsort(keys, axis=-1, kind="stable").astype(np.int64)


def shuffled(n: int, seed: int, stream: int, number: int) -> Int64Array:
    """Returns the numbers 0 to n - 1 in the random order of that number, of endlessly many.

    Orders share no word with each other, whatever their lengths: the number is the second word of
    the counter. A stream is read either by rows, as `words` does, or so.
    """
    generator = np.random.Philox(
        key=np.array([seed, stream], np.uint64), counter=np.array([0, number, 0, 0], np.uint64)
    )
    return order(generator.random_raw(n))


def split(n: int, n_train: int, seed: int) -> tuple[Int64Array, Int64Array]:
    """Shuffles 0 to n - 1 by `seed`; returns the first `n_train` and the others, both sorted."""
    shuffled = order(words(seed, SPLIT, 0, 1, n + -n % 4)[0, :n])
    return np.sort(shuffled[:n_train]), np.sort(shuffled[n_train:])


def distinct(keys: NDArray[np.uint64], n: int) -> Int64Array:
    """Returns as many distinct numbers below `n` as half a row of `keys` is long, for every row.

    Floyd's algorithm chooses the set (Bentley and Floyd, Communications of the ACM 30, 1987), all
    rows at once; the second half of the row shuffles it. A choice among t numbers is
    floor(u t) for u of 53 bits: its probabilities are 1/t to within 2**-53.

    Args:
        keys: Random words [rows, 2 k].
        n: At least k, at most 2**32.

    Returns:
        int64 [rows, k].
    """
    rows, k = keys.shape[0], keys.shape[1] // 2
    uniform = (keys[:, :k] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    chosen = np.empty((rows, k), np.int64)
    for i in range(k):
        last = n - k + i
        new = (uniform[:, i] * (last + 1)).astype(np.int64)
        taken = (chosen[:, :i] == new[:, None]).any(axis=1)
        chosen[:, i] = np.where(taken, last, new)
    return np.take_along_axis(chosen, order(keys[:, k:]), axis=1)
