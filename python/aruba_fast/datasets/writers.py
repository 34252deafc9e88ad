"""MNIST by writer: handwritten digits, the person who wrote them a task."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import _check
from .._check import Int64Array
from ..tasks import Tasks
from . import _draw, _files

_SIDE = 14
_EXPECTED = (
    "mnist_writers14.npz, with the arrays nibbles, y, writer and hsf: MNIST at 14 x 14 in 4 bits, "
    "sorted by the writers of QMNIST (https://github.com/facebookresearch/qmnist)"
)


@dataclass(frozen=True, eq=False, repr=False)
class Writers:
    """Digits of many writers, sorted by writer.

    Attributes:
        images: uint8 [n_images, 14, 14], from 0 for paper to 15 for ink. Read-only.
        digits: int64 [n_images], 0 to 9.
        offsets: Writer w wrote the images `offsets[w]:offsets[w + 1]`, int64 [n_writers + 1].
        writer_id: Number of every writer at NIST, int64 [n_writers], rising.
        hsf: Number of the collection of NIST that an image is from, int64 [n_images]: 0 for
            employees of the census, 4 for pupils.
    """

    images: NDArray[np.uint8]
    digits: Int64Array
    offsets: Int64Array
    writer_id: Int64Array
    hsf: Int64Array

    @property
    def sizes(self) -> Int64Array:
        """Number of images of every writer, int64 [n_writers]."""
        return np.diff(self.offsets)

    def split_writers(
        self, train_fraction: float = 0.8, *, seed: int = 0
    ) -> tuple[Int64Array, Int64Array]:
        """Splits the writers at random into those of meta-training and those of meta-testing.

        Args:
            train_fraction: Share of the writers for meta-training, rounded down; in (0, 1).
            seed: An integer from 0 to 2**63 - 1.

        Returns:
            Two rising arrays of numbers of writers, int64.
        """
        name = "Writers.split_writers"
        train_fraction = _check.fraction(name, "train_fraction", train_fraction)
        n_train = int(train_fraction * len(self.writer_id))
        if not 0 < n_train < len(self.writer_id):
            raise ValueError(
                f"{name}: `train_fraction` must leave writers on both sides: got {train_fraction} "
                f"of {len(self.writer_id)} writers, expected at least 1 on each"
            )
        seed = _check.integer(name, "seed", seed, 0)
        return _draw.split(len(self.writer_id), n_train, seed)

    def tasks(self) -> Tasks:
        """Returns a task per writer for the engine's softmax: float32 pixels from 0 to 1.

        Returns:
            Tasks of 196 features, the labels 0 to 9.
        """
        x = self.images.reshape(-1, _SIDE * _SIDE).astype(np.float32)
        x /= np.float32(15)
        return Tasks(x, self.digits, self.offsets)

    def __repr__(self) -> str:
        return f"Writers(n_writers={len(self.writer_id)}, n_images={len(self.images)})"


def load_mnist_writers(path: str | os.PathLike[str] | None = None) -> Writers:
    """Loads the training images of MNIST by writer: 539 writers of 19 to 131 digits each.

    The images have 14 x 14 pixels of 4 bits; they are unpacked at once, 12 MB of uint8. The arrays
    of the file: `nibbles` uint8 [n_images, 98], the left pixel in the high nibble, `y`, `writer`
    (rising) and `hsf`, integers [n_images].

    Args:
        path: The `.npz` file, or a folder that holds `mnist_writers14.npz`; the folder that the
            environment variable ARUBA_FAST_DATA names if None.

    Returns:
        Writers.

    Raises:
        FileNotFoundError: The file is not there; the message says what to get.
        ValueError: The file is damaged; the message has the reason.

    Example:
        >>> from aruba_fast.datasets import load_mnist_writers
        >>> load_mnist_writers()  # doctest: +SKIP
        Writers(n_writers=539, n_images=60000)

    Source: MNIST, LeCun and Cortes, CC BY-SA 3.0; the writers from QMNIST, Yadav and Bottou
    (2019), BSD-3.
    """
    name = "load_mnist_writers"
    found = _files.place(name, path, _EXPECTED)
    archive = _files.within(found, "mnist_writers14.npz")
    if not archive.is_file():
        raise _files.missing(name, found, _EXPECTED)
    return _files.parsed(name, archive, "MNIST by writer", _archive)


def _archive(path: Path) -> Writers:
    arrays = _files.arrays(path, ("nibbles", "y", "writer", "hsf"))
    nibbles = _files.packed("nibbles", arrays["nibbles"], ("n_images", _SIDE * _SIDE // 2))
    n = len(nibbles)
    digits = _files.integers("y", arrays["y"], n, 9)
    writer = _files.integers("writer", arrays["writer"], n, 2**31)
    hsf = _files.integers("hsf", arrays["hsf"], n, 2**31)
    if (np.diff(writer) < 0).any():
        raise ValueError("`writer` is not sorted")
    writer_id, starts = np.unique(writer, return_index=True)
    images = np.stack([nibbles >> 4, nibbles & 15], axis=-1).reshape(n, _SIDE, _SIDE)
    images.flags.writeable = False
    return Writers(images, digits, np.append(starts, n).astype(np.int64), writer_id, hsf)
