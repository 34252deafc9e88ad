"""A little Omniglot, and the files of its authors made from its 28 x 28 pixels."""

import io
import zipfile

import numpy as np
from PIL import Image

from aruba_fast.datasets import Omniglot

# The pixel of 105 that is nearest to the middle of each of 28: of 3.75 (i + 1/2), never a tie.
NEAREST = np.floor(3.75 * (np.arange(28) + 0.5)).astype(int)


def small(rng, background=(3, 2), evaluation=(4,)):
    """A little Omniglot of random dots: alphabets of the given sizes."""
    sizes = np.array([*background, *evaluation])
    n = sizes.sum()
    return Omniglot(
        rng.integers(0, 2, (n, 20, 28, 28), dtype=np.uint8),
        np.repeat(np.arange(len(sizes)), sizes),
        np.concatenate([np.arange(size) + 1 for size in sizes]),
        rng.permutation(n) + 1,
        # The first of the evaluation set would be the first of all by name.
        ("Korean_(x)", "N_Ko", "Angelic", "ULOG")[: len(sizes)],
        np.arange(len(sizes)) >= len(background),
    )


def assert_same(got, expected):
    for name in ("images", "alphabet", "character", "global_id", "evaluation"):
        a, b = getattr(got, name), getattr(expected, name)
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype, name
    assert got.alphabet_names == expected.alphabet_names


def enlarged(images):
    """Images of 105 x 105 pixels that shrink to the given ones [..., 28, 28]."""
    source = np.arange(105) * 28 // 105
    return images[..., source[:, None], source]


def png(ink):
    """A PNG file as the originals are: one bit a pixel, ink black."""
    buffer = io.BytesIO()
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


def files(data, large=None):
    """The original files of an `Omniglot`: their names and contents."""
    large = enlarged(data.images) if large is None else large
    for row in range(len(data.images)):
        alphabet = data.alphabet[row]
        part = "images_evaluation" if data.evaluation[alphabet] else "images_background"
        folder = f"{part}/{data.alphabet_names[alphabet]}/character{data.character[row]:02d}"
        for drawer in range(20):
            name = f"{folder}/{data.global_id[row]:04d}_{drawer + 1:02d}.png"
            yield name, png(large[row, drawer])


def write_folders(root, content):
    for name, data in content:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zips(root, content):
    root.mkdir(parents=True, exist_ok=True)
    archives = {}
    for name, data in content:
        part = name.partition("/")[0]
        if part not in archives:
            archives[part] = zipfile.ZipFile(root / f"{part}.zip", "w")
        archives[part].writestr(name, data)
    for archive in archives.values():
        archive.close()
    return root


def write_npz(path, data, **changes):
    """An `Omniglot` in the packed form."""
    arrays = {
        "bits": np.packbits(data.images.reshape(len(data.images), 20, 784), axis=-1),
        "alphabet": data.alphabet.astype(np.uint8),
        "char_in_alphabet": data.character.astype(np.uint8),
        "global_id": data.global_id.astype(np.uint16),
        "alphabet_names": np.array(data.alphabet_names),
        "alphabet_split": data.evaluation.astype(np.uint8),
    }
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path
