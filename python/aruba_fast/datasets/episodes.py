"""n-way k-shot episodes from images of many classes: `Episodes`."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check
from .._check import Int64Array
from . import _draw

Float32Array = NDArray[np.float32]

# What is gathered at once. 5-way 5-shot episodes with 15 queries, a second, in batches of 100 on
# one busy AVX2 core: 10 000 for 2**16, 16 000 for 2**17 and 2**18, 9 900 for 2**20.
_CHUNK_BYTES = 1 << 18


class Episode(NamedTuple):
    """One few-shot task, or with a leading axis of all arrays a batch of them.

    Attributes:
        support_x: Images to adapt on, float32 [n_way * k_shot, height, width], class by class.
        support_y: Their labels in the episode, int64 [n_way * k_shot], from 0 to n_way - 1.
        query_x: Images to test on, float32 [n_way * n_query, height, width], class by class.
        query_y: Their labels, int64 [n_way * n_query].
        classes: The row of `images` that every label stands for, int64 [n_way].
        quarter_turns: How often each class is turned by 90 degrees, int64 [n_way].
    """

    support_x: Float32Array
    support_y: Int64Array
    query_x: Float32Array
    query_y: Int64Array
    classes: Int64Array
    quarter_turns: Int64Array


class Episodes:
    """An endless sequence of n-way k-shot episodes; the i-th depends on the seed and on i alone.

    Episode i draws `n_way` distinct classes in random order, and of each `k_shot + n_query`
    distinct examples: first those of the support, then those of the query. With `rotations` each
    class counts four times, its images turned by 0, 90, 180 and 270 degrees counter-clockwise
    (`np.rot90`); two rotations of one character may then meet in an episode as two classes.

    Args:
        images: [n_classes, n_examples, height, width], any real type; referenced,
            or copied where it is not contiguous.
        classes: The rows of `images` to draw from, distinct integers; all if None.
        n_way: Number of classes of an episode.
        k_shot: Examples of a class to adapt on.
        n_query: Examples of a class to test on.
        rotations: Whether to rotate; the images must be square.
        seed: An integer from 0 to 2**63 - 1.

    Raises:
        TypeError: An argument is of a wrong type.
        ValueError: There are fewer classes than `n_way` or fewer examples than
            `k_shot + n_query`, or `classes` names a class twice or one that is not there.

    Example:
        >>> import numpy as np
        >>> from aruba_fast.datasets import Episodes
        >>> images = np.arange(6 * 4 * 9).reshape(6, 4, 3, 3)
        >>> episodes = Episodes(images, n_way=5, k_shot=1, n_query=2, seed=7)
        >>> episodes
        Episodes(n_way=5, k_shot=1, n_query=2, n_classes=6, rotations=False, seed=7)
        >>> episodes[3].query_x.shape, episodes.batch(0, 100).query_x.shape
        ((10, 3, 3), (100, 10, 3, 3))
        >>> bool((episodes[3].query_x == episodes.batch(0, 100).query_x[3]).all())
        True

    Source: the protocol of Vinyals et al. (2016); rotated classes as Santoro et al. (2016).
    """

    def __init__(
        self,
        images: ArrayLike,
        classes: ArrayLike | None = None,
        *,
        n_way: int = 5,
        k_shot: int = 1,
        n_query: int = 1,
        rotations: bool = False,
        seed: int = 0,
    ) -> None:
        self._images = np.ascontiguousarray(_check.real_array("Episodes", "images", images))
        _check.dimension(
            "Episodes", "images", self._images, "[n_classes, n_examples, height, width]"
        )
        self._classes = _chosen(classes, len(self._images))
        self.n_way = _check.integer("Episodes", "n_way", n_way, 1)
        self.k_shot = _check.integer("Episodes", "k_shot", k_shot, 1)
        self.n_query = _check.integer("Episodes", "n_query", n_query, 0)
        self.rotations = _check.boolean("Episodes", "rotations", rotations)
        self.seed = _check.integer("Episodes", "seed", seed, 0)
        _, n_examples, height, width = self._images.shape
        if self.rotations and height != width:
            raise ValueError(
                f"Episodes: `images` must be square to be rotated: got {height} x {width}, "
                "expected height = width"
            )
        if self.n_way > self.n_classes:
            raise ValueError(
                f"Episodes: `n_way` must not exceed the number of classes: got {self.n_way}, "
                f"expected at most {self.n_classes}"
            )
        if self.k_shot + self.n_query > n_examples:
            raise ValueError(
                "Episodes: `k_shot` + `n_query` must not exceed the examples of a class: "
                f"got {self.k_shot} + {self.n_query}, expected at most {n_examples}"
            )

    @property
    def n_classes(self) -> int:
        """Number of classes to draw from; rotations count."""
        return len(self._classes) * (4 if self.rotations else 1)

    def __repr__(self) -> str:
        names = ("n_way", "k_shot", "n_query", "n_classes", "rotations", "seed")
        return f"Episodes({', '.join(f'{name}={getattr(self, name)}' for name in names)})"

    def __getitem__(self, index: int) -> Episode:
        """Returns one episode, by its number from 0."""
        return Episode(*(values[0] for values in self.batch(index, 1)))

    def __iter__(self) -> Iterator[Episode]:
        """Yields the episodes 0, 1, 2, ... without end."""
        index = 0
        while True:
            yield self[index]
            index += 1

    def batch(self, start: int, n: int) -> Episode:
        """Returns the episodes `start` to `start + n`, each the same as drawn alone.

        Args:
            start: Number of the first episode.
            n: How many, at least 1.

        Returns:
            Episode whose arrays have a leading axis [n]; new memory.
        """
        start = _check.integer("Episodes.batch", "start", start, 0)
        n = _check.integer("Episodes.batch", "n", n, 1)
        chosen, turns, examples = self._draw(start, n)
        numbers = chosen[:, :, None] * self._images.shape[1] + examples
        support_x, query_x = self._gather(numbers, turns)
        return Episode(
            *(support_x, self._labels(n, self.k_shot)),
            *(query_x, self._labels(n, self.n_query)),
            *(chosen, turns),
        )

    def _draw(self, start: int, n: int) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Draws classes [n, n_way], their turns [n, n_way], examples [n, n_way, k + q]."""
        n_examples = self._images.shape[1]
        n_words = self.n_way * (2 + n_examples)
        words = _draw.words(self.seed, _draw.EPISODES, start, n, n_words + -n_words % 4)
        numbers = _draw.distinct(words[:, : 2 * self.n_way], self.n_classes)
        keys = words[:, 2 * self.n_way : n_words].reshape(n, self.n_way, n_examples)
        examples = _draw.order(keys)[:, :, : self.k_shot + self.n_query]
        if not self.rotations:
            return self._classes[numbers], np.zeros_like(numbers), examples
        return self._classes[numbers // 4], numbers % 4, examples

    def _gather(self, numbers: Int64Array, turns: Int64Array) -> tuple[Float32Array, Float32Array]:
        """Copies the images `numbers` [n, n_way, k + q], turned, into support and query."""
        n, n_way, n_drawn = numbers.shape
        side = self._images.shape[2:]
        images = self._images.reshape(-1, *side)
        support = np.empty((n * n_way, self.k_shot, *side), np.float32)
        query = np.empty((n * n_way, self.n_query, *side), np.float32)
        # As many classes at a time as stay in the cache between their two copies.
        step = max(1, _CHUNK_BYTES // (n_drawn * max(1, images[:1].nbytes)))
        for begin in range(0, n * n_way, step):
            some = slice(begin, begin + step)
            rows, turned = numbers.reshape(-1, n_drawn)[some], turns.reshape(-1)[some]
            for turn in range(4 if self.rotations else 1):
                which = np.flatnonzero(turned == turn)
                picked = np.rot90(np.take(images, rows[which], axis=0), turn, axes=(-2, -1))
                support[some][which] = picked[:, : self.k_shot]
                query[some][which] = picked[:, self.k_shot :]
        return (
            support.reshape(n, n_way * self.k_shot, *side),
            query.reshape(n, n_way * self.n_query, *side),
        )

    def _labels(self, n: int, n_examples: int) -> Int64Array:
        return np.tile(np.repeat(np.arange(self.n_way, dtype=np.int64), n_examples), (n, 1))


def _chosen(classes: ArrayLike | None, n_classes: int) -> Int64Array:
    """Checks the rows to draw from."""
    if classes is None:
        return np.arange(n_classes, dtype=np.int64)
    chosen = _check.real_array("Episodes", "classes", classes)
    _check.dimension("Episodes", "classes", chosen, "[n_classes]")
    if chosen.dtype.kind not in "iu":
        raise TypeError(
            f"Episodes: `classes` must hold integers: got {chosen.dtype}, expected an integer type"
        )
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < n_classes):
        raise ValueError(
            f"Episodes: `classes` must be rows of `images`: got {chosen.min()} to {chosen.max()}, "
            f"expected 0 to {n_classes - 1}"
        )
    if len(np.unique(chosen)) != len(chosen):
        raise ValueError(
            f"Episodes: `classes` must be distinct: got {len(chosen)} rows, "
            f"expected {len(np.unique(chosen))} of them"
        )
    return chosen.astype(np.int64)
