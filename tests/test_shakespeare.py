"""Shakespeare by role: both forms give the same arrays; splits, windows, padding; errors."""

import hashlib

import numpy as np
import pytest
import real_data

from aruba_fast.datasets import SYMBOLS, decode, encode, load_shakespeare, sequences

PLAY = {
    "HAMLET_BERNARDO": "Who's there?\nLong live the king!\nHe.\n",
    "HAMLET_FRANCISCO": "Nay, answer me: stand, and unfold yourself.\nBernardo?\n",
    "LEAR_FOOL": "Nuncle.\n",
    "LEAR_LEAR": "".join(f"Line {i} of the king.\n" for i in range(10)),
}


def write_npz(path, play, **changes):
    arrays = {
        "text": np.frombuffer("".join(play.values()).encode(), np.uint8),
        "offsets": np.cumsum([0, *map(len, play.values())]).astype(np.int32),
        "roles": np.array(list(play)),
    }
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def write_folder(folder, play):
    folder.mkdir(parents=True)
    for role, lines in play.items():
        (folder / f"{role}.txt").write_bytes(lines.encode())
    return folder


def as_bytes(text):
    return np.frombuffer(text.encode(), np.uint8)


@pytest.fixture(scope="module")
def whole():
    return load_shakespeare(real_data.require("shakespeare_bosak.npz"))


# ---- the data ------------------------------------------------------------------------------------


def test_all_plays_by_role(whole):
    assert repr(whole) == "Shakespeare(n_roles=1346, n_characters=4307278)"
    assert whole.roles == tuple(sorted(whole.roles))
    digest = hashlib.sha256(whole.text.tobytes() + whole.offsets.astype("<i8").tobytes())
    assert digest.hexdigest().startswith("1bb5942c83100723")
    assert (whole.text[whole.offsets[1:] - 1] == 10).all()
    assert whole.n_lines.sum() == (whole.text == 10).sum()
    said = decode(encode(whole.text[: whole.offsets[1]]))
    assert said.startswith("We understand it, and thank heaven for you.\nCargo, cargo")
    # What always guessing the commonest character, the space, gets right.
    symbols, counts = np.unique(whole.text, return_counts=True)
    assert symbols[counts.argmax()] == ord(" ")
    assert counts.max() / len(whole.text) == pytest.approx(0.163, abs=5e-4)
    assert 26 not in symbols


def test_both_forms_give_the_same_arrays(tmp_path, monkeypatch):
    backwards = dict(reversed(PLAY.items()))
    (tmp_path / "npz").mkdir()
    forms = [
        write_npz(tmp_path / "play.npz", PLAY),
        write_npz(tmp_path / "npz" / "shakespeare_bosak.npz", backwards).parent,
        write_folder(tmp_path / "roles", backwards),
        write_folder(tmp_path / "leaf" / "by_play_and_character", PLAY).parent,
    ]
    for form in forms:
        monkeypatch.setenv("ARUBA_FAST_DATA", str(form))
        for data in (load_shakespeare(form), load_shakespeare()):
            assert data.roles == tuple(PLAY)
            assert data.text.tobytes().decode() == "".join(PLAY.values())
            assert data.offsets.tolist() == [0, *np.cumsum([len(t) for t in PLAY.values()])]
            assert data.n_lines.tolist() == [3, 2, 1, 10]
            assert not data.text.flags.writeable


@pytest.mark.slow
def test_all_plays_from_a_folder_of_files(whole, tmp_path):
    limits = zip(whole.offsets[:-1], whole.offsets[1:], strict=True)
    spoken = [whole.text[a:b].tobytes().decode() for a, b in limits]
    data = load_shakespeare(
        write_folder(tmp_path / "f", dict(zip(whole.roles, spoken, strict=True)))
    )
    assert data.roles == whole.roles
    np.testing.assert_array_equal(data.text, whole.text)
    np.testing.assert_array_equal(data.offsets, whole.offsets)


# ---- splits --------------------------------------------------------------------------------------


def test_roles_are_split_by_the_seed(whole):
    train, test = whole.split_roles()
    eligible = np.flatnonzero(whole.n_lines >= 2)
    assert len(train) == int(0.8 * len(eligible))
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), eligible)
    digest = hashlib.sha256(train.astype("<i8").tobytes()).hexdigest()
    assert digest.startswith("34e87bda580b179c"), "the split differs from that of other machines"
    assert not np.array_equal(train, whole.split_roles(seed=1)[0])
    few, _ = whole.split_roles(0.5, min_lines=50)
    assert (whole.n_lines[few] >= 50).all()


def test_lines_of_a_role_are_split_in_their_order(tmp_path):
    data = load_shakespeare(write_folder(tmp_path / "f", PLAY))
    for role, n_train in enumerate((2, 1, 1, 8)):
        lines = PLAY[data.roles[role]].splitlines(keepends=True)
        train, test = data.lines(role)
        assert train.tobytes().decode() == "".join(lines[:n_train])
        assert test.tobytes().decode() == "".join(lines[n_train:])
    assert data.lines(3, 0.01)[0].tobytes() == b"Line 0 of the king.\n"
    assert data.lines(3, 0.999)[1].tobytes() == b"Line 9 of the king.\n"


def test_no_window_reaches_from_training_into_testing(tmp_path):
    data = load_shakespeare(write_folder(tmp_path / "f", PLAY))
    for role in range(4):
        pairs = zip(data.sequences(role, 0.5, length=7), data.lines(role, 0.5), strict=True)
        for windows, text in pairs:
            # All that is predicted, in order, is the text but for its first character.
            assert decode(windows.y) == text.tobytes().decode()[1:]


# ---- windows -------------------------------------------------------------------------------------


def naive(text, length, stride):
    """The windows, one character after the other."""
    xs, ys = [], []
    start, predicted = 0, 1
    while predicted < len(text):
        x = text[start : min(start + length, len(text) - 1)]
        y = [text[start + i + 1] if start + i + 1 >= predicted else "" for i in range(len(x))]
        predicted = start + len(x) + 1
        xs.append([SYMBOLS.index(c) for c in x] + [0] * (length - len(x)))
        ys.append([SYMBOLS.index(c) for c in y] + [0] * (length - len(x)))
        start += stride
    return xs, ys


@pytest.mark.parametrize("length", [1, 2, 5, 80])
@pytest.mark.parametrize("n", [2, 3, 5, 6, 7, 11, 80, 81, 82, 161, 200])
def test_windows_against_a_loop(length, n):
    text = (PLAY["LEAR_LEAR"] * 2)[:n]
    for stride in {1, max(1, length // 2), length, None}:
        windows = sequences(as_bytes(text), length, stride)
        xs, ys = naive(text, length, length if stride is None else stride)
        np.testing.assert_array_equal(windows.x, xs)
        np.testing.assert_array_equal(windows.y, ys)
        assert windows.x.dtype == windows.y.dtype == np.uint8
        np.testing.assert_array_equal(windows.lengths, (windows.x != 0).sum(axis=1))
        assert windows.n_predictions == n - 1
        # Nothing is ever to be predicted at padding, nor from it: it comes after all symbols.
        real_positions = np.arange(length) < windows.lengths[:, None]
        assert not windows.x[~real_positions].any()
        assert not windows.y[~real_positions].any()


def test_with_stride_one_each_window_predicts_one_character():
    text = PLAY["HAMLET_FRANCISCO"]
    windows = sequences(as_bytes(text), 20, 1)
    assert ((windows.y[1:] != 0).sum(axis=1) == 1).all()
    last = windows.lengths - 1
    predicted = windows.y[np.arange(len(last)), last]
    assert decode(predicted) == text[20:]
    assert (windows.lengths == 20).all()


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_without_a_next_character_has_no_windows(text):
    windows = sequences(as_bytes(text), 8)
    assert windows.x.shape == windows.y.shape == (0, 8)
    assert windows.n_predictions == 0


def test_symbols_are_fixed():
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 98
    everything = np.arange(256, dtype=np.uint8)
    numbers = encode(everything)
    assert numbers.min() == 1, "no character is padding"
    assert numbers.max() == 97
    for byte in (10, *range(32, 127)):
        assert SYMBOLS[numbers[byte]] == chr(byte)
    assert (np.delete(numbers, [10, *range(32, 127)]) == 1).all()


# ---- missing, damaged, wrong ---------------------------------------------------------------------


def test_missing_data_says_what_to_get(tmp_path, monkeypatch):
    monkeypatch.delenv("ARUBA_FAST_DATA", raising=False)
    for arguments in ((), (tmp_path,), (tmp_path / "absent",)):
        with pytest.raises(FileNotFoundError) as caught:
            load_shakespeare(*arguments)
        assert str(caught.value).startswith("load_shakespeare: `path` ")
        assert "expected shakespeare_bosak.npz, or the folder by_play_and_ch" in str(caught.value)


REFUSED = [
    ({"text": None}, "it has no array text; it has"),
    ({"text": np.ones(5)}, "`text` is float64 (5,), expected uint8 [n_characters]"),
    ({"offsets": np.array([0, 1, 2])}, "`offsets` has the shape (3,), expected (5,)"),
    ({"offsets": np.array([0, 9, 8, 9, 9])}, "`offsets` do not rise strictly from 0"),
    ({"offsets": np.array([0, 1, 2, 3, 10**6])}, "`offsets` has values from 0 to 1000000"),
    ({"roles": np.array(["A", "B", "A", "C"])}, "`roles` has 1 names twice"),
    ({"roles": np.array([], "U1"), "offsets": np.array([0])}, "`offsets` do not rise strictly"),
    ({"roles": np.array([b"A"] * 4)}, "`roles` is |S1, expected strings"),
    ({"roles": np.array([None] * 4)}, "Object arrays cannot be loaded"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_a_damaged_archive_is_refused(tmp_path, changes, message):
    path = write_npz(tmp_path / "s.npz", PLAY, **changes)
    with pytest.raises(ValueError) as caught:
        load_shakespeare(path)
    assert str(caught.value).startswith("load_shakespeare: `path` must be Shakespeare by role: got")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d: d.lines(4), ValueError, "lines: `role` must be one of the roles: got 4"),
        (lambda d: d.lines(-1), ValueError, "lines: `role` must be at least 0: got -1"),
        (lambda d: d.lines(0, 1.0), ValueError, "lines: `train_fraction` must be a fraction"),
        (lambda d: d.split_roles(0.1), ValueError, "`train_fraction` must leave roles on both"),
        (lambda d: d.split_roles(min_lines=1), ValueError, "`min_lines` must be at least 2: got 1"),
        (lambda d: d.split_roles(seed=-1), ValueError, "`seed` must be at least 0: got -1"),
        (lambda d: sequences(d.text, 0), ValueError, "sequences: `length` must be at least 1"),
        (lambda d: sequences(d.text, 8, 9), ValueError, "`stride` must not skip characters: got 9"),
        (lambda d: sequences(d.text, 8, 0), ValueError, "sequences: `stride` must be at least 1"),
        (lambda _: sequences([1, 2]), TypeError, "sequences: `text` must hold bytes: got int64"),
        (lambda d: encode(d.text[None]), ValueError, "encode: `text` must have 1 dimension"),
        (
            lambda _: decode([98]),
            ValueError,
            "decode: `symbols` must be numbers of symbols: got 98",
        ),
        (lambda _: decode([0.5]), TypeError, "decode: `symbols` must hold integers: got float64"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, call, error, message):
    data = load_shakespeare(write_folder(tmp_path / "f", PLAY))
    with pytest.raises(error) as caught:
        call(data)
    assert message in str(caught.value)
