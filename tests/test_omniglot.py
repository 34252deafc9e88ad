"""Omniglot: all of its forms give the same arrays; splits by character and by alphabet."""

import hashlib

import drawings
import numpy as np
import pytest
import real_data
from drawings import assert_same, small

from aruba_fast.datasets import Omniglot, load_omniglot


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
        ("images_background/.Trash/character01/0001_01.png", b"x"),
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
        ({"n_train": 0}, ValueError, "`n_train` must be at least 1: got 0"),
        ({"n_train": 9}, ValueError, "`n_train` must leave a character for meta-testing: got 9"),
        ({"n_train": 1.0}, TypeError, "`n_train` must be an integer: got 1.0, a float"),
        ({"n_train": 3, "seed": -1}, ValueError, "`seed` must be at least 0: got -1"),
    ],
)
def test_bad_splits_are_refused(rng, arguments, error, message):
    with pytest.raises(error) as caught:
        small(rng).split_characters(**arguments)
    assert f"Omniglot.split_characters: {message}" in str(caught.value)
