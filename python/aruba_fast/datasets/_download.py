"""Downloads of data sets, each checked against a SHA-256 before it gets its name."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from ._files import VARIABLE

# The files of the repository of Omniglot's authors; checksums as TensorFlow Datasets records them.
_OMNIGLOT = {
    "https://github.com/brendenlake/omniglot/raw/master/python/images_background.zip": (
        "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"
    ),
    "https://github.com/brendenlake/omniglot/raw/master/python/images_evaluation.zip": (
        "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"
    ),
}
_SECONDS_OF_SILENCE = 30


def download(url: str, sha256: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Downloads a file into a folder, with `pooch`; a file that is there and right is kept.

    The file gets its name, the last part of the URL, once all of it is there and its checksum is
    right; nothing else is left behind.

    Args:
        url: An http or https address.
        sha256: The checksum of the content, 64 hexadecimal digits.
        folder: Where to put it, made if need be; the folder that the environment variable
            ARUBA_FAST_DATA names if None.

    Returns:
        The file.

    Raises:
        ImportError: `pooch` is not installed.
        OSError: There is no such file, no network, or no permission to write.
        ValueError: `url` or `sha256` is none, no folder is given, or the checksum is not that of
            what came.

    Example:
        >>> from aruba_fast.datasets import download
        >>> download("https://example.org/lenk.npz", 64 * "0", "data")  # doctest: +SKIP
        PosixPath('data/lenk.npz')
    """
    address = urlsplit(url)
    name = address.path.rpartition("/")[2]
    if address.scheme not in ("http", "https") or name in ("", ".", ".."):
        raise ValueError(
            f"download: `url` must be an address: got {url!r}, expected http(s)://.../name"
        )
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(
            f"download: `sha256` must be a checksum: got {sha256!r}, "
            "expected 64 lower-case hexadecimal digits"
        )
    chosen = folder if folder is not None else os.environ.get(VARIABLE) or None
    if chosen is None:
        raise ValueError(
            f"download: `folder` must be given where {VARIABLE} names none: got neither, "
            "expected a folder to write to"
        )
    try:
        import pooch
    except ImportError:
        raise ImportError(
            "download: files are fetched with pooch, which is not installed: "
            "pip install 'aruba_fast[data]'"
        ) from None
    fetch = pooch.HTTPDownloader(timeout=_SECONDS_OF_SILENCE)
    try:
        pooch.retrieve(url, f"sha256:{sha256}", name, os.fspath(chosen), downloader=fetch)
    except ValueError as error:
        raise ValueError(
            f"download: `sha256` must be that of what {url} sends: got {sha256}, "
            f"which is refused: {error}"
        ) from None
    return Path(chosen) / name


def download_omniglot(folder: str | os.PathLike[str] | None = None) -> Path:
    """Downloads the original images of Omniglot, two archives of 16 MB together.

    Args:
        folder: As of `download`.

    Returns:
        The folder, for `load_omniglot`.

    Raises:
        ImportError, OSError, ValueError: As `download`.

    Example:
        >>> from aruba_fast.datasets import download_omniglot, load_omniglot
        >>> load_omniglot(download_omniglot("data"))  # doctest: +SKIP
        Omniglot(n_characters=1623, n_alphabets=50)

    Source: https://github.com/brendenlake/omniglot, MIT licence, Brenden Lake.
    """
    files = [download(url, sha256, folder) for url, sha256 in _OMNIGLOT.items()]
    return files[0].parent
