"""Reads the original drawings of Omniglot, PNG files in two folders or in two zip archives."""

import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from .._check import Int64Array

DRAWERS = 20
SIDE = 28
_ORIGINAL_SIDE = 105
# An original file has about 200 bytes: what claims to unpack to more than this is none.
_LARGEST_FILE = 1 << 16

PARTS = {"images_background": False, "images_evaluation": True}
_FOLDERS = (".", "omniglot-py", "python")
# <alphabet>/character<number>/<global number>_<drawer>.png, nothing of it hidden
_NAME = re.compile(r"(?:^|/)([^/.][^/]*)/character(\d+)/(\d+)_(\d+)\.png$")

# Alphabet, character, number of the original; then the content of the 20 files by drawer.
_Key = tuple[str, int, int]
_Character = tuple[_Key, list[Callable[[], bytes]]]


@dataclass(frozen=True, eq=False)
class Drawings:
    """Characters in any order, as they were read.

    Attributes:
        images: uint8 [n, 20, 28, 28], 1 where there is ink.
        alphabets: Of every character, whether its alphabet is of the evaluation set, and the name.
        character: Number within the alphabet, int64 [n].
        global_id: Number in the names of the files, int64 [n].
    """

    images: NDArray[np.uint8]
    alphabets: list[tuple[bool, str]]
    character: Int64Array
    global_id: Int64Array


def find_parts(folder: Path) -> dict[str, Path]:
    """Finds the two sets, folders before archives, in `folder` or where torchvision puts them."""
    found: dict[str, Path] = {}
    if not folder.is_dir():
        return found
    for name in PARTS:
        for place in (folder / inner for inner in _FOLDERS):
            if (place / name).is_dir():
                found.setdefault(name, place / name)
            elif (place / f"{name}.zip").is_file():
                found.setdefault(name, place / f"{name}.zip")
    return found


def read_parts(parts: Mapping[str, Path]) -> Drawings:
    """Reads all characters of the sets that were found.

    Raises:
        ValueError: A file is no image of 105 x 105, or a character has not its 20 drawings.
        ImportError: Pillow is not installed.
    """
    pillow = _pillow()
    images, alphabets, numbers = [], [], []
    for part, path in parts.items():
        read = _from_folder if path.is_dir() else _from_archive
        for (alphabet, character, global_id), contents in read(path):
            images.append([_image(pillow, content, alphabet, character) for content in contents])
            alphabets.append((PARTS[part], alphabet))
            numbers.append((character, global_id))
    if not images:
        raise ValueError("there is no <alphabet>/character<number>/<number>_<drawer>.png in it")
    character, global_id = np.array(numbers, np.int64).T
    return Drawings(np.array(images, np.uint8), alphabets, character, global_id)


def _from_folder(folder: Path) -> Iterator[_Character]:
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes
        for path in folder.glob("*/character*/*.png")
    }
    yield from _characters(files)


def _from_archive(path: Path) -> Iterator[_Character]:
    try:
        archive = zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # zipfile raises half a dozen types on a damaged archive
        raise ValueError(f"{path.name} is no archive, or not a whole one ({error})") from None
    with archive:
        yield from _characters(
            {info.filename: partial(_member, archive, info) for info in archive.infolist()}
        )


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    if info.file_size > _LARGEST_FILE:
        raise ValueError(f"{info.filename} has {info.file_size} bytes, too many for a drawing")
    try:
        return archive.read(info)
    except Exception as error:  # the same, and what the decompressors raise
        raise ValueError(f"{info.filename} cannot be read ({error})") from None


def _characters(files: Mapping[str, Callable[[], bytes]]) -> Iterator[_Character]:
    """Groups files by character, in sorted order, and checks that each has its 20 drawers."""
    drawn: dict[_Key, dict[int, Callable[[], bytes]]] = defaultdict(dict)
    for name in sorted(files):
        match = _NAME.search(name)
        if match:
            alphabet, character, global_id, drawer = match.groups()
            drawn[alphabet, int(character), int(global_id)][int(drawer)] = files[name]
    for key, by_drawer in sorted(drawn.items()):
        if sorted(by_drawer) != list(range(1, DRAWERS + 1)):
            raise ValueError(
                f"{key[0]}/character{key[1]:02d} has the drawings {sorted(by_drawer)}, "
                f"expected 1 to {DRAWERS}"
            )
        yield key, [by_drawer[drawer] for drawer in sorted(by_drawer)]


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            "load_omniglot: the original images are read with Pillow, which is not installed: "
            "pip install 'aruba_fast[data]'"
        ) from None
    return Image


def _image(
    pillow: ModuleType, content: Callable[[], bytes], alphabet: str, character: int
) -> NDArray[np.bool_]:
    """Decodes one drawing and takes the nearest of its pixels for each of 28 x 28."""
    where = f"a drawing of {alphabet}/character{character:02d}"
    data = content()
    try:
        with pillow.open(BytesIO(data), formats=("PNG",)) as image:
            size = image.size
            if size == (_ORIGINAL_SIDE, _ORIGINAL_SIDE):
                small = image.convert("L").resize((SIDE, SIDE), pillow.Resampling.NEAREST)
                ink: NDArray[np.bool_] = np.asarray(small) < 128
                return ink
    # Pillow raises a dozen types on a damaged file.
    except Exception as error:
        raise ValueError(f"{where} is damaged ({type(error).__name__}: {error})") from None
    raise ValueError(
        f"{where} has {size[0]} x {size[1]} pixels, expected {_ORIGINAL_SIDE} x {_ORIGINAL_SIDE}"
    )
