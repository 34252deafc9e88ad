"""Omniglot where it is missing, incomplete or damaged: refused, with the reason."""

import sys

import drawings
import numpy as np
import pytest
from drawings import assert_same, small

from aruba_fast.datasets import load_omniglot


def test_missing_data_says_what_to_get_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv("ARUBA_FAST_DATA", raising=False)
    with pytest.raises(FileNotFoundError) as caught:
        load_omniglot()
    assert str(caught.value) == (
        "load_omniglot: `path` must be given where ARUBA_FAST_DATA does not name the folder of "
        "the data: got neither, expected omniglot28.npz, or images_background and "
        "images_evaluation (folders or .zip, there or in omniglot-py): "
        "`aruba_fast.datasets.download_omniglot` fetches them, or take them from "
        "https://github.com/brendenlake/omniglot"
    )
    for path in (tmp_path, tmp_path / "absent", tmp_path / "absent.npz"):
        with pytest.raises(FileNotFoundError) as caught:
            load_omniglot(path)
        assert f"must lead to the data: got '{path}', where it is not" in str(caught.value)
        assert "download_omniglot" in str(caught.value)


def test_half_of_omniglot_is_taken_only_when_asked_for(rng, tmp_path):
    data = small(rng, (3, 2), ())
    root = drawings.write_folders(tmp_path, drawings.files(data))
    with pytest.raises(FileNotFoundError, match="images_background and images_evaluation"):
        load_omniglot(root)
    assert_same(load_omniglot(root, partial=True), data)
    path = drawings.write_npz(tmp_path / "half.npz", data)
    with pytest.raises(ValueError, match="it has 5 characters, expected 1623; `partial=True`"):
        load_omniglot(path)


REFUSED = [
    ({"bits": None}, "it has no array bits; it has"),
    ({"bits": np.zeros((9, 20, 97), np.uint8)}, "`bits` is uint8 (9, 20, 97), expected uint8 [n_c"),
    ({"bits": np.zeros((9, 20, 98))}, "`bits` is float64 (9, 20, 98), expected uint8"),
    ({"alphabet": np.zeros(8, int)}, "`alphabet` has the shape (8,), expected (9,)"),
    ({"alphabet": np.full(9, 3)}, "`alphabet` has values from 3 to 3, expected 0 to 2"),
    ({"alphabet": np.zeros(9)}, "`alphabet` is float64, expected integers"),
    ({"alphabet": np.zeros(9, int)}, "a character occurs twice in it"),
    ({"alphabet_split": np.array([0, 1, 2])}, "`alphabet_split` has values from 0 to 2"),
    ({"alphabet_names": np.arange(3)}, "`alphabet_names` is int64, expected strings"),
    ({"char_in_alphabet": np.array([None] * 9)}, "Object arrays cannot be loaded"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_a_damaged_archive_is_refused(rng, tmp_path, changes, message):
    path = drawings.write_npz(tmp_path / "o.npz", small(rng), **changes)
    with pytest.raises(ValueError) as caught:
        load_omniglot(path, partial=True)
    assert str(caught.value).startswith(f"load_omniglot: `path` must be Omniglot: got '{path}'")
    assert message in str(caught.value)


def spoiled(content, change):
    """Changes the last drawing of N_Ko/character02."""
    return [
        (name, change(data)) if "N_Ko/character02" in name and "_20.png" in name else (name, data)
        for name, data in content
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:100], "a drawing of N_Ko/character02 is damaged"),
        (lambda _: b"", "a drawing of N_Ko/character02 is damaged (UnidentifiedImageError"),
        (lambda data: b"GIF89a" + data, "a drawing of N_Ko/character02 is damaged"),
        (
            lambda _: drawings.png(np.ones((28, 28))),
            "a drawing of N_Ko/character02 has 28 x 28 pixels, expected 105 x 105",
        ),
        (lambda data: data + bytes(70_000), None),
    ],
)
def test_a_damaged_drawing_is_refused(rng, tmp_path, change, message):
    content = spoiled(list(drawings.files(small(rng))), change)
    if message is not None:
        with pytest.raises(ValueError) as caught:
            load_omniglot(drawings.write_folders(tmp_path / "f", content), partial=True)
        assert message in str(caught.value)
    with pytest.raises(ValueError) as caught:
        load_omniglot(drawings.write_zips(tmp_path / "z", content), partial=True)
    assert (message or "bytes, too many for a drawing") in str(caught.value)


def test_a_missing_drawing_is_refused(rng, tmp_path):
    content = [(n, c) for n, c in drawings.files(small(rng)) if not n.endswith("_07.png")]
    with pytest.raises(ValueError) as caught:
        load_omniglot(drawings.write_folders(tmp_path, content), partial=True)
    assert "character01 has the drawings [1, 2, 3, 4, 5, 6, 8," in str(caught.value)
    assert "expected 1 to 20" in str(caught.value)


def test_folders_without_drawings_are_refused(tmp_path):
    (tmp_path / "images_background").mkdir()
    (tmp_path / "images_evaluation").mkdir()
    with pytest.raises(ValueError, match=r"there is no <alphabet>/character<number>"):
        load_omniglot(tmp_path)


def test_a_damaged_zip_never_crashes(rng, tmp_path):
    """Truncated at any place, or with any byte changed: refused, or the very same arrays."""
    data = small(rng, (1,), ())
    root = drawings.write_zips(tmp_path, drawings.files(data))
    path, n_refused = root / "images_background.zip", 0
    whole = path.read_bytes()
    for _ in range(150):
        content = bytearray(whole)
        if rng.random() < 0.3:
            del content[rng.integers(len(content)) :]
        else:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            np.testing.assert_array_equal(load_omniglot(root, partial=True).images, data.images)
        except ValueError:
            n_refused += 1
    assert n_refused > 75


def test_without_pillow_the_originals_cannot_be_read(rng, tmp_path, monkeypatch):
    root = drawings.write_folders(tmp_path, drawings.files(small(rng)))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'aruba_fast\[data\]'"):
        load_omniglot(root)
