"""Omniglot: 1623 handwritten characters of 50 alphabets, each drawn by 20 people."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import _check
from .._check import Int64Array
from . import _draw, _files
from ._drawings import DRAWERS, SIDE, Drawings, find_parts, read_parts

N_CHARACTERS = 1623
_EXPECTED = (
    "omniglot28.npz, or images_background and images_evaluation (folders or .zip, there or in "
    "omniglot-py): `aruba_fast.datasets.download_omniglot` fetches them, or take them from "
    "https://github.com/brendenlake/omniglot"
)


@dataclass(frozen=True, eq=False, repr=False)
class Omniglot:
    """Images of handwritten characters: background before evaluation, then by alphabet and number.

    Attributes:
        images: uint8 [n_characters, 20, 28, 28], 1 where there is ink; the second axis is the
            person who drew. Read-only. Reptile feeds `1 - images`.
        alphabet: Number of every character's alphabet, int64 [n_characters], rising.
        character: Number within the alphabet, int64 [n_characters], from 1.
        global_id: The number in the names of the original files, int64 [n_characters].
        alphabet_names: One name per alphabet.
        evaluation: Whether an alphabet is of the evaluation set, bool [n_alphabets].
    """

    images: NDArray[np.uint8]
    alphabet: Int64Array
    character: Int64Array
    global_id: Int64Array
    alphabet_names: tuple[str, ...]
    evaluation: NDArray[np.bool_]

    def split_characters(self, n_train: int = 1200, seed: int = 0) -> tuple[Int64Array, Int64Array]:
        """Splits the characters at random, whatever their alphabets, as Reptile does.

        All drawings and, with `Episodes(..., rotations=True)`, all rotations of a character are on
        one side. The characters are sorted before they are shuffled, so that the split depends on
        the seed alone; the shuffle is not that of Python's `random`, on which Reptile's depends.

        Args:
            n_train: Characters for meta-training; the others are for meta-testing.
            seed: An integer from 0 to 2**63 - 1.

        Returns:
            Two rising arrays of rows of `images`, int64 [n_train] and [n_characters - n_train].

        Source: Nichol, Achiam and Schulman, "On first-order meta-learning algorithms" (2018).
        """
        name = "Omniglot.split_characters"
        n_train = _check.integer(name, "n_train", n_train, 1)
        if n_train >= len(self.images):
            raise ValueError(
                f"{name}: `n_train` must leave a character for meta-testing: got {n_train}, "
                f"expected less than {len(self.images)}"
            )
        return _draw.split(len(self.images), n_train, _check.integer(name, "seed", seed, 0))

    def split_alphabets(self) -> tuple[Int64Array, Int64Array]:
        """Splits by alphabet, as the authors of Omniglot do: 30 for background, 20 for evaluation.

        Returns:
            Two rising arrays of rows of `images`, int64 [964] and [659].

        Source: Lake, Salakhutdinov and Tenenbaum, Science 350 (2015).
        """
        aside = self.evaluation[self.alphabet]
        return np.flatnonzero(~aside).astype(np.int64), np.flatnonzero(aside).astype(np.int64)

    def __repr__(self) -> str:
        return f"Omniglot(n_characters={len(self.images)}, n_alphabets={len(self.alphabet_names)})"


def load_omniglot(path: str | os.PathLike[str] | None = None, *, partial: bool = False) -> Omniglot:
    """Loads Omniglot at 28 x 28, one bit a pixel, from any of its forms; all give the same arrays.

    The forms, the first that is found counts: `omniglot28.npz`; the original `images_background`
    and `images_evaluation`, as folders or `.zip` files; the same in `omniglot-py`, where
    torchvision puts them, or in `python`, where a clone of the original repository has them. The
    originals (105 x 105) are read with Pillow (`pip install 'aruba_fast[data]'`) and resized to
    the nearest pixel, as Reptile does it; rotations come after that. File names are sorted.

    The images are unpacked at once: 25 MB of uint8 for all of Omniglot.

    Args:
        path: The `.npz` file, or a folder that holds one of the forms; the folder that the
            environment variable ARUBA_FAST_DATA names if None.
        partial: Accept fewer characters than 1623, and one of the two original sets without the
            other.

    Returns:
        Omniglot.

    Raises:
        FileNotFoundError: None of the forms is there; the message says what to get and from where.
        ValueError: A file is damaged, or something is missing in it; the message has the reason.
        ImportError: The originals are to be read and Pillow is not installed.

    Example:
        >>> from aruba_fast.datasets import load_omniglot
        >>> load_omniglot()  # doctest: +SKIP
        Omniglot(n_characters=1623, n_alphabets=50)

    Source: Lake, Salakhutdinov and Tenenbaum, Science 350 (2015); MIT licence, Brenden Lake.
    """
    name = "load_omniglot"
    partial = _check.boolean(name, "partial", partial)
    found = _files.place(name, path, _EXPECTED)
    archive = _files.within(found, "omniglot28.npz")
    if archive.is_file():
        return _files.parsed(name, archive, "Omniglot", lambda file: _archive(file, partial))
    parts = find_parts(found)
    if not parts or (len(parts) == 1 and not partial):
        raise _files.missing(name, found, _EXPECTED)
    return _files.parsed(name, found, "Omniglot", lambda _: _omniglot(read_parts(parts), partial))


def _archive(path: Path, partial: bool) -> Omniglot:
    """Reads and checks the `.npz` form."""
    arrays = _files.arrays(
        path,
        ("bits", "alphabet", "char_in_alphabet", "global_id", "alphabet_names", "alphabet_split"),
    )
    bits = _files.packed("bits", arrays["bits"], ("n_characters", DRAWERS, SIDE * SIDE // 8))
    n, n_alphabets = len(bits), arrays["alphabet_names"].size
    names = _files.strings("alphabet_names", arrays["alphabet_names"], n_alphabets)
    alphabet = _files.integers("alphabet", arrays["alphabet"], n, n_alphabets - 1)
    aside = _files.integers("alphabet_split", arrays["alphabet_split"], n_alphabets, 1)
    drawings = Drawings(
        np.unpackbits(bits, axis=-1).reshape(n, DRAWERS, SIDE, SIDE),
        [(bool(aside[a]), names[a]) for a in alphabet],
        _files.integers("char_in_alphabet", arrays["char_in_alphabet"], n, 2**31),
        _files.integers("global_id", arrays["global_id"], n, 2**31),
    )
    return _omniglot(drawings, partial)


def _omniglot(drawings: Drawings, partial: bool) -> Omniglot:
    """Sorts what was read from any form."""
    n = len(drawings.images)
    if n != N_CHARACTERS and not partial:
        raise ValueError(
            f"it has {n} characters, expected {N_CHARACTERS}; "
            "`partial=True` accepts a part of Omniglot"
        )
    keys = [
        (*alphabet, number)
        for alphabet, number in zip(drawings.alphabets, drawings.character.tolist(), strict=True)
    ]
    if len(set(keys)) != n:
        raise ValueError("a character occurs twice in it")
    alphabets = sorted(set(drawings.alphabets))
    number = {alphabet: i for i, alphabet in enumerate(alphabets)}
    order = np.array(sorted(range(n), key=keys.__getitem__))
    images = drawings.images if (order == np.arange(n)).all() else drawings.images[order]
    images.flags.writeable = False
    return Omniglot(
        images,
        np.array([number[drawings.alphabets[i]] for i in order], np.int64),
        drawings.character[order],
        drawings.global_id[order],
        tuple(name for _, name in alphabets),
        np.array([evaluation for evaluation, _ in alphabets], np.bool_),
    )
