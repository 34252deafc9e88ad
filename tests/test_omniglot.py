"""Omniglot: all of its forms give the same arrays; splits; what is missing or damaged."""

import hashlib
import sys

import drawings
import numpy as np
import pytest
import real_data

from aruba_fast.datasets import Omniglot, load_omniglot


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


@pytest.fixture(scope="module")
def whole():
    return load_omniglot(real_data.require("omniglot28.npz"))


# ---- the data ------------------------------------------------------------------------------------


def test_whole_omniglot_is_as_its_authors_describe_it(whole):
    assert repr(whole) == "Omniglot(n_characters=1623, n_alphabets=50)"
    assert whole.images.shape == (1623, 20, 28, 28)
    assert whole.images.dtype == np.uint8
    assert set(np.unique(whole.images)) == {0, 1}
    assert not whole.images.flags.writeable
    assert sorted(whole.global_id) == list(range(1, 1624))
    assert whole.evaluation.sum() == 20
    assert whole.alphabet_names[0] == "Alphabet_of_the_Magi"
    assert (np.bincount(whole.alphabet) == [whole.character[whole.alphabet == a].max()
                                            for a in range(50)]).all()  # fmt: skip
    # Strokes are thin: a tenth of the paper, and no drawing is empty.
    assert 0.05 < whole.images.mean() < 0.15
    assert whole.images.any(axis=(-2, -1)).all()
    digest = hashlib.sha256(np.packbits(whole.images).tobytes()).hexdigest()
    assert digest.startswith("8746af6fe1391ee0")


@pytest.mark.slow
def test_whole_omniglot_from_the_original_archives(whole, tmp_path):
    drawings.write_zips(tmp_path, drawings.files(whole))
    assert_same(load_omniglot(tmp_path), whole)


# ---- forms ---------------------------------------------------------------------------------------


def test_every_form_gives_the_same_arrays(rng, tmp_path, monkeypatch):
    data = small(rng)
    content = list(drawings.files(data))
    (tmp_path / "npz").mkdir()
    forms = [
        drawings.write_npz(tmp_path / "some.npz", data),
        drawings.write_npz(tmp_path / "npz" / "omniglot28.npz", data).parent,
        drawings.write_folders(tmp_path / "folders", content),
        drawings.write_zips(tmp_path / "zips", content),
        drawings.write_folders(tmp_path / "torchvision" / "omniglot-py", content).parent,
        drawings.write_zips(tmp_path / "torchvision zips" / "omniglot-py", content).parent,
        drawings.write_zips(tmp_path / "clone" / "python", content).parent,
    ]
    for form in forms:
        assert_same(load_omniglot(form, partial=True), data)
        monkeypatch.setenv("ARUBA_FAST_DATA", str(form))
        assert_same(load_omniglot(partial=True), data)
    # One set as a folder, the other as an archive.
    (tmp_path / "zips" / "images_evaluation.zip").rename(tmp_path / "mixed.zip")
    mixed = drawings.write_folders(
        tmp_path / "mixed", [(n, c) for n, c in content if n.startswith("images_background")]
    )
    (tmp_path / "mixed.zip").rename(mixed / "images_evaluation.zip")
    assert_same(load_omniglot(mixed, partial=True), data)


def test_the_order_of_the_files_does_not_matter(rng, tmp_path):
    data = small(rng)
    content = list(drawings.files(data))
    for k in range(3):
        shuffled = [content[i] for i in rng.permutation(len(content))]
        root = drawings.write_zips(tmp_path / str(k), shuffled)
        assert_same(load_omniglot(root, partial=True), data)
    order = rng.permutation(len(data.images))
    mixed = Omniglot(
        data.images[order],
        2 - data.alphabet[order],
        data.character[order],
        data.global_id[order],
        data.alphabet_names[::-1],
        data.evaluation[::-1],
    )
    path = drawings.write_npz(tmp_path / "mixed.npz", mixed)
    assert_same(load_omniglot(path, partial=True), data)


def test_originals_are_resized_to_the_nearest_pixel(rng, tmp_path):
    data = small(rng, (1,), ())
    large = rng.integers(0, 2, (1, 20, 105, 105), dtype=np.uint8)
    root = drawings.write_folders(tmp_path, drawings.files(data, large))
    nearest = large[..., drawings.NEAREST[:, None], drawings.NEAREST]
    np.testing.assert_array_equal(load_omniglot(root, partial=True).images, nearest)


def test_what_else_lies_in_the_folders_is_passed_over(rng, tmp_path):
    data = small(rng)
    content = [
        *drawings.files(data),
        ("images_background/.DS_Store", b"x"),
        ("images_background/N_Ko/notes.txt", b"x"),
        ("images_background/__MACOSX/N_Ko/character01/._0001_01.png", b"x"),
        ("images_evaluation/Angelic/strokes/0001_01.png", b"x"),
    ]
    for write in (drawings.write_folders, drawings.write_zips):
        root = write(tmp_path / write.__name__, content)
        assert_same(load_omniglot(root, partial=True), data)


# ---- splits --------------------------------------------------------------------------------------


def test_split_by_character(rng):
    data = small(rng, (40, 30), (30,))
    train, test = data.split_characters(75, seed=3)
    assert (len(train), len(test)) == (75, 25)
    assert train.dtype == test.dtype == np.int64
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(100))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    again = data.split_characters(75, seed=3)
    np.testing.assert_array_equal(train, again[0])
    assert not np.array_equal(train, data.split_characters(75, seed=4)[0])


def test_every_character_is_as_likely_to_be_held_out(rng):
    data = small(rng, (5,), ())
    n_seeds = 2000
    held_out = np.zeros(5)
    for seed in range(n_seeds):
        held_out[data.split_characters(3, seed)[1]] += 1
    # 2 of 5, variance n .4 .6: five standard deviations.
    assert abs(held_out - 0.4 * n_seeds).max() < 5 * np.sqrt(0.24 * n_seeds)


def test_splits_of_the_whole(whole):
    train, test = whole.split_characters()
    assert (len(train), len(test)) == (1200, 423)
    digest = hashlib.sha256(train.astype("<i8").tobytes()).hexdigest()
    assert digest.startswith("5a67884d0c394d7d"), "the split differs from that of other machines"
    background, evaluation = whole.split_alphabets()
    assert (len(background), len(evaluation)) == (964, 659)
    assert background.max() < evaluation.min()
    assert not set(whole.alphabet[background]) & set(whole.alphabet[evaluation])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_train": 0}, ValueError, "`n_train` must be in range: got 0"),
        ({"n_train": 9}, ValueError, "`n_train` must leave a character for meta-testing: got 9"),
        ({"n_train": 1.0}, TypeError, "`n_train` must be an integer: got float"),
        ({"n_train": 3, "seed": -1}, ValueError, "`seed` must be in range: got -1"),
    ],
)
def test_bad_splits_are_refused(rng, arguments, error, message):
    with pytest.raises(error) as caught:
        small(rng).split_characters(**arguments)
    assert f"Omniglot.split_characters: {message}" in str(caught.value)


# ---- missing and damaged -------------------------------------------------------------------------


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
