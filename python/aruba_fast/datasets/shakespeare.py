"""Shakespeare by role: what every role of the plays says, a role a task."""

import codecs
import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import _check
from .._check import Int64Array
from . import _draw, _files
from .text import OTHER_BYTE, Sequences, sequences

_EXPECTED = (
    "shakespeare_bosak.npz, or the folder by_play_and_character, one .txt file a role, that "
    "LEAF's preprocessing writes (https://leaf.cmu.edu)"
)
# Of Windows, of old Macs, of mainframes, of Unicode.
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
_KNOWN = np.zeros(256, np.bool_)
_KNOWN[[10, *range(32, 127)]] = True


@dataclass(frozen=True, eq=False, repr=False)
class Shakespeare:
    """The lines of many roles, one after the other.

    Attributes:
        text: ASCII, uint8 [n_characters], read-only; every line ends with a newline. What was not
            ASCII, or a control character, is 26.
        offsets: Role r speaks `text[offsets[r]:offsets[r + 1]]`, int64 [n_roles + 1].
        roles: Names of play and role, sorted.
    """

    text: NDArray[np.uint8]
    offsets: Int64Array
    roles: tuple[str, ...]

    @property
    def n_lines(self) -> Int64Array:
        """Number of lines of every role, int64 [n_roles]."""
        return np.add.reduceat(self.text == 10, self.offsets[:-1], dtype=np.int64)

    def split_roles(
        self, train_fraction: float = 0.8, *, min_lines: int = 2, seed: int = 0
    ) -> tuple[Int64Array, Int64Array]:
        """Splits the roles at random into those of meta-training and those of meta-testing.

        Args:
            train_fraction: Share of the roles for meta-training, rounded down; in (0, 1).
            min_lines: Roles with fewer lines are left out of both; at least 2, since a role with
                one line has none to be tested on.
            seed: An integer from 0 to 2**63 - 1.

        Returns:
            Two rising arrays of numbers of roles, int64.
        """
        name = "Shakespeare.split_roles"
        train_fraction = _check.fraction(name, "train_fraction", train_fraction)
        min_lines = _check.integer(name, "min_lines", min_lines, 2)
        seed = _check.integer(name, "seed", seed, 0)
        eligible = np.flatnonzero(self.n_lines >= min_lines)
        n_train = int(train_fraction * len(eligible))
        if not 0 < n_train < len(eligible):
            raise ValueError(
                f"{name}: `train_fraction` must leave roles on both sides: got {train_fraction} "
                f"of {len(eligible)} roles, expected at least 1 on each"
            )
        train, test = _draw.split(len(eligible), n_train, seed)
        return eligible[train], eligible[test]

    def lines(
        self, role: int, train_fraction: float = 0.8
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Splits what a role says, in the order of the play, into lines to train and to test on.

        Args:
            role: Number of the role.
            train_fraction: Share of the lines to train on, rounded down but at least one, and at
                least one is left to test on; in (0, 1). The only line of a role is to train on.

        Returns:
            The text of the first lines and the text of the others, uint8 views.
        """
        name = "Shakespeare.lines"
        role = _check.integer(name, "role", role, 0)
        train_fraction = _check.fraction(name, "train_fraction", train_fraction)
        if role >= len(self.roles):
            raise ValueError(
                f"{name}: `role` must be one of the roles: got {role}, "
                f"expected less than {len(self.roles)}"
            )
        spoken = self.text[self.offsets[role] : self.offsets[role + 1]]
        ends = np.flatnonzero(spoken == 10) + 1
        n_train = max(1, min(int(train_fraction * len(ends)), len(ends) - 1))
        return spoken[: ends[n_train - 1]], spoken[ends[n_train - 1] :]

    def sequences(
        self,
        role: int,
        train_fraction: float = 0.8,
        *,
        length: int = 80,
        stride: int | None = None,
    ) -> tuple[Sequences, Sequences]:
        """Cuts the lines of a role to train on, and those to test on, into windows.

        Made when asked for; see `aruba_fast.datasets.sequences` for the windows and their padding.
        No window reaches from the one part into the other.

        Args:
            role: Number of the role.
            train_fraction: As of `lines`.
            length: Characters of context.
            stride: Characters between the starts of windows; `length` if None.

        Returns:
            Sequences of the lines to train on, and of those to test on.
        """
        train, test = self.lines(role, train_fraction)
        return sequences(train, length, stride), sequences(test, length, stride)

    def __repr__(self) -> str:
        return f"Shakespeare(n_roles={len(self.roles)}, n_characters={len(self.text)})"


def load_shakespeare(path: str | os.PathLike[str] | None = None) -> Shakespeare:
    """Loads the plays of Shakespeare by role, from an `.npz` file or from LEAF's folder of files.

    The forms, the first that is found counts: `shakespeare_bosak.npz` (1346 roles of 37 plays,
    4 307 278 characters); the folder `by_play_and_character` of LEAF's preprocessing; a folder of
    `.txt` files, one a role, named as it is, in UTF-8, with the line ends of any system. Files are
    read in the order of their names. A file without a text is left out, and a hidden one.

    Args:
        path: The `.npz` file, or a folder that holds one of the forms; the folder that the
            environment variable ARUBA_FAST_DATA names if None.

    Returns:
        Shakespeare; the text, one byte a character, is all that it holds in memory.

    Raises:
        FileNotFoundError: None of the forms is there; the message says what to get.
        ValueError: A file is damaged; the message has the reason.

    Example:
        >>> from aruba_fast.datasets import load_shakespeare
        >>> load_shakespeare()  # doctest: +SKIP
        Shakespeare(n_roles=1346, n_characters=4307278)

    Source: Moby Lexical Tools (1992), marked up by Jon Bosak; public domain. LEAF: Caldas et al.
    (2018), from Project Gutenberg.
    """
    name = "load_shakespeare"
    found = _files.place(name, path, _EXPECTED)
    archive = _files.within(found, "shakespeare_bosak.npz")
    if archive.is_file():
        return _files.parsed(name, archive, "Shakespeare by role", _archive)
    for folder in (found / "by_play_and_character", found):
        if folder.is_dir() and _texts(folder):
            return _files.parsed(name, folder, "Shakespeare by role", _folder)
    raise _files.missing(name, found, _EXPECTED)


def _archive(path: Path) -> Shakespeare:
    arrays = _files.arrays(path, ("text", "offsets", "roles"))
    text = _files.packed("text", arrays["text"], ("n_characters",))
    n_roles = arrays["roles"].size
    roles = _files.strings("roles", arrays["roles"], n_roles)
    offsets = _files.integers("offsets", arrays["offsets"], n_roles + 1, len(text))
    if n_roles == 0 or offsets[0] != 0 or offsets[-1] != len(text) or (np.diff(offsets) <= 0).any():
        raise ValueError("`offsets` do not rise strictly from 0 to the length of `text`")
    return _shakespeare(
        {role: text[a:b].tobytes() for role, (a, b) in zip(roles, pairwise(offsets), strict=True)},
        n_roles,
    )


def _texts(folder: Path) -> list[Path]:
    """The files of roles: no folders, and no hidden files, such as the `._` ones of macOS."""
    return [path for path in folder.glob("*.txt") if path.name[0] != "." and not path.is_dir()]


def _folder(folder: Path) -> Shakespeare:
    spoken = {}
    for path in _texts(folder):
        text = _text(path)
        if text.strip():
            spoken[path.stem] = bytes(ord(c) if c.isascii() else OTHER_BYTE for c in text)
    if not spoken:
        raise ValueError("all of its files are empty")
    return _shakespeare(spoken, len(spoken))


def _text(path: Path) -> str:
    """What a file says, whatever ends its lines; marks of the byte order are no characters."""
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise ValueError(f"{path.name} is not UTF-8: it is UTF-16, or no text")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8: {error.reason} at {error.start}") from None
    return _LINE_ENDS.sub("\n", text.replace("\ufeff", ""))


def _shakespeare(spoken: dict[str, bytes], n_roles: int) -> Shakespeare:
    """Joins the roles in the order of their names."""
    if len(spoken) != n_roles:
        raise ValueError(f"`roles` has {n_roles - len(spoken)} names twice")
    roles = tuple(sorted(spoken))
    parts = [spoken[role] if spoken[role][-1:] == b"\n" else spoken[role] + b"\n" for role in roles]
    text = np.frombuffer(b"".join(parts), np.uint8)
    text = np.where(_KNOWN[text], text, np.uint8(OTHER_BYTE))
    text.flags.writeable = False
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return Shakespeare(text, offsets, roles)
