"""MNIST by writer: the data, splits, tasks for the engine, and what is refused."""

import hashlib

import numpy as np
import pytest
import real_data
from cases import smoothed

import aruba_fast as af
from aruba_fast.datasets import load_mnist_writers


def write(path, rng=None, **changes):
    rng = rng if rng is not None else np.random.default_rng(0)
    arrays = {
        "nibbles": rng.integers(0, 256, (12, 98), dtype=np.uint8),
        "y": (np.arange(12) % 10).astype(np.uint8),
        "writer": np.repeat([3, 5, 900], [4, 6, 2]).astype(np.uint16),
        "hsf": np.zeros(12, np.uint8),
    }
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


@pytest.fixture(scope="module")
def whole():
    return load_mnist_writers(real_data.require("mnist_writers14.npz"))


def test_mnist_is_that_of_its_authors(whole):
    assert repr(whole) == "Writers(n_writers=539, n_images=60000)"
    assert (whole.sizes.min(), whole.sizes.max()) == (19, 131)
    # The numbers of digits in the training set of MNIST.
    assert np.bincount(whole.digits).tolist() == [
        *(5923, 6742, 5958, 6131, 5842),
        *(5421, 5918, 6265, 5851, 5949),
    ]
    assert whole.images.shape == (60000, 14, 14)
    assert (whole.images.min(), whole.images.max()) == (0, 15)
    assert not whole.images.flags.writeable
    digest = hashlib.sha256(whole.images.tobytes()).hexdigest()
    assert digest.startswith("3a331ccd88c77bb8")
    # Ink is in the middle: the border is paper, and the mean picture is symmetric to a fifth.
    mean = whole.images.mean(axis=0)
    assert mean[0].max() < 0.2 < 5 < mean[4:10, 5:9].mean()


def test_the_left_pixel_is_in_the_high_nibble(tmp_path):
    nibbles = np.zeros((12, 98), np.uint8)
    nibbles[0, :2] = 0xA3, 0x0F
    nibbles[11, 97] = 0x01
    data = load_mnist_writers(write(tmp_path / "m.npz", nibbles=nibbles))
    assert data.images[0, 0, :4].tolist() == [10, 3, 0, 15]
    assert data.images[11, 13, 13] == 1
    assert data.images.sum() == 29


def test_writers_are_counted_and_split(tmp_path, whole, monkeypatch):
    write(tmp_path / "mnist_writers14.npz")
    monkeypatch.setenv("ARUBA_FAST_DATA", str(tmp_path))
    data = load_mnist_writers()
    assert data.offsets.tolist() == [0, 4, 10, 12]
    assert data.writer_id.tolist() == [3, 5, 900]
    assert data.sizes.tolist() == [4, 6, 2]
    train, test = whole.split_writers(seed=2)
    assert (len(train), len(test)) == (431, 108)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(539))
    assert not np.array_equal(train, whole.split_writers(seed=3)[0])


def test_the_engine_learns_from_writers(whole):
    """Softmax from zero on the first 60 writers: far better than guessing on the others."""
    tasks = whole.tasks()
    assert len(tasks) == 539
    assert tasks.x.dtype == np.float32
    np.testing.assert_array_equal(tasks.x.max(), np.float32(1))
    np.testing.assert_array_equal(tasks.y[:50], whole.digits[:50])
    learner = smoothed(np.zeros(1960, np.float32), learning_rate=0.02)
    af.meta_train(tasks[:60], learner, loss="softmax", round_size=10)
    scores = tasks.x @ learner.phi.reshape(10, 196).T
    held_out = slice(whole.offsets[60], None)
    right = (scores.argmax(axis=1) == whole.digits)[held_out].mean()
    assert right > 0.6


REFUSED = [
    ({"nibbles": None}, "it has no array nibbles; it has"),
    ({"nibbles": np.zeros((12, 196), np.uint8)}, "`nibbles` is uint8 (12, 196), expected uint8 ["),
    ({"nibbles": np.zeros((0, 98), np.uint8)}, "`nibbles` is uint8 (0, 98), expected uint8"),
    ({"y": np.full(12, 10)}, "`y` has values from 10 to 10, expected 0 to 9"),
    ({"y": np.zeros(11, int)}, "`y` has the shape (11,), expected (12,)"),
    ({"writer": np.arange(12)[::-1]}, "`writer` is not sorted"),
    ({"writer": np.zeros(12)}, "`writer` is float64, expected integers"),
    ({"hsf": np.array([None] * 12)}, "Object arrays cannot be loaded"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_a_damaged_archive_is_refused(tmp_path, changes, message):
    path = write(tmp_path / "m.npz", **changes)
    with pytest.raises(ValueError) as caught:
        load_mnist_writers(path)
    assert str(caught.value).startswith("load_mnist_writers: `path` must be MNIST by writer: got '")
    assert message in str(caught.value)


def test_missing_data_says_what_to_get(tmp_path, monkeypatch):
    monkeypatch.delenv("ARUBA_FAST_DATA", raising=False)
    for arguments in ((), (tmp_path,), (tmp_path / "absent",)):
        with pytest.raises(FileNotFoundError, match=r"expected mnist_writers14\.npz, with the arr"):
            load_mnist_writers(*arguments)


def test_bad_splits_are_refused(tmp_path):
    data = load_mnist_writers(write(tmp_path / "m.npz"))
    with pytest.raises(ValueError, match="`train_fraction` must leave writers on both sides"):
        data.split_writers(0.1)
    with pytest.raises(ValueError, match="split_writers: `seed` must be at least 0: got -1"):
        data.split_writers(seed=-1)
