"""Folders of texts, a file a role, as other systems leave them."""

import codecs

import numpy as np
import pytest

from aruba_fast.datasets import decode, encode, load_shakespeare

KING = "Who's there?\nLong live the king!\n"
BOM = "\ufeff"


def folder_of(folder, files):
    folder.mkdir()
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


# What a file holds, and what its role says.
CONTENTS = [
    ("as it should be", KING, KING),
    ("no newline at the end", KING[:-1], KING),
    ("Windows", KING.replace("\n", "\r\n"), KING),
    ("an old Mac", KING.replace("\n", "\r"), KING),
    ("all of them", "a\nb\r\nc\rd\n\re\r\r\nf", "a\nb\nc\nd\n\ne\n\nf\n"),
    ("a mainframe", KING.replace("\n", "\x85"), KING),
    ("lines of Unicode", "a\u2028b\u2029c", "a\nb\nc\n"),
    ("a mark of the byte order", codecs.BOM_UTF8 + KING.encode(), KING),
    ("Windows, marked", BOM + KING.replace("\n", "\r\n"), KING),
    ("files joined, each marked", BOM + KING + BOM + KING, KING + KING),
    ("not ASCII", "\u00e9t\u00e9\tna\u00efve\n", "\x1at\x1a\x1ana\x1ave\n"),
]


@pytest.mark.parametrize(
    ("content", "expected"), [r[1:] for r in CONTENTS], ids=[r[0] for r in CONTENTS]
)
def test_what_a_role_says(tmp_path, content, expected):
    data = load_shakespeare(folder_of(tmp_path / "f", {"A.txt": content}))
    assert data.roles == ("A",)
    assert data.text.tobytes().decode() == expected
    assert data.n_lines.tolist() == [expected.count("\n")]
    assert decode(encode(data.text)) == expected


# What lies beside the role A, and is none.
NEIGHBOURS = {
    "of macOS": {"._A.txt": b"\0\5\26\7\0\2\0\0Mac OS X", ".DS_Store": b"\0\0\0\1Bud1"},
    "hidden": {".B.txt": KING, ".txt": KING},
    "empty": {"B.txt": "", "C.txt": " \n\r\n", "D.txt": codecs.BOM_UTF8, "E.txt": "\r\r"},
    "a folder": {"B.txt": None, "C": None},
    "other files": {"readme.md": "read", "A.txt~": KING, "A.npz": b"\0"},
}


@pytest.mark.parametrize("neighbours", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_what_is_no_role(tmp_path, neighbours):
    data = load_shakespeare(folder_of(tmp_path / "f", {"A.txt": KING, **neighbours}))
    assert data.roles == ("A",)
    assert data.text.tobytes().decode() == KING


def test_roles_are_sorted_whatever_the_order_of_the_files(tmp_path):
    names = ["b", "a\u00e9", "a", "B", "0"]
    files = {f"{name}.txt": f"{k}\n" for k, name in enumerate(names)}
    data = load_shakespeare(folder_of(tmp_path / "f", files))
    assert data.roles == tuple(sorted(names))
    assert np.diff(data.offsets).tolist() == [2] * 5


REFUSED = [
    (b"What \xff", "B.txt is not UTF-8: invalid start byte at 5"),
    (KING.encode("utf-16"), "B.txt is not UTF-8: it is UTF-16, or no text"),
    (KING.encode("utf-16-le"), "B.txt is not UTF-8: it is UTF-16, or no text"),
    (KING.encode("utf-16-be"), "B.txt is not UTF-8: it is UTF-16, or no text"),
    (KING.encode("utf-32"), "B.txt is not UTF-8: it is UTF-16, or no text"),
    ("\u00e9t\u00e9".encode("latin-1"), "B.txt is not UTF-8: "),
]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_a_file_in_another_encoding_is_refused(tmp_path, content, message):
    folder = folder_of(tmp_path / "f", {"A.txt": KING, "B.txt": content})
    with pytest.raises(
        ValueError, match=r"^load_shakespeare: `path` must be Shakespeare"
    ) as caught:
        load_shakespeare(folder)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"A.txt": "\n", "B.txt": codecs.BOM_UTF8}, ValueError, "all of its files are empty"),
        ({"._A.txt": KING}, FileNotFoundError, "where it is not"),
        ({"A.txt": None}, FileNotFoundError, "where it is not"),
    ],
)
def test_a_folder_without_a_text_is_refused(tmp_path, files, error, message):
    with pytest.raises(error, match=message):
        load_shakespeare(folder_of(tmp_path / "f", files))


def test_a_link_to_nothing_is_told(tmp_path):
    folder = folder_of(tmp_path / "f", {"A.txt": KING})
    (folder / "B.txt").symlink_to(folder / "gone")
    with pytest.raises(FileNotFoundError, match=r"the file '.*B\.txt' does not exist"):
        load_shakespeare(folder)
