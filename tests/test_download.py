"""Downloads, from a server of our own on the loopback interface: nothing else is asked."""

import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import drawings
import pytest
from drawings import assert_same, small

from aruba_fast.datasets import _download, download, download_omniglot, load_omniglot

pooch = pytest.importorskip("pooch")
CONTENT = b"some data" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """Serves what is put into its `files` by path, and counts requests in `asked`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            content = server.files.get(self.path)
            self.send_response(404 if content is None else 200)
            declared = len(content or b"") + server.bytes_withheld
            self.send_header("Content-Length", str(declared))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.bytes_withheld = {"/data/some.npz": CONTENT}, [], 0
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()
    assert not thread.is_alive()


def test_a_file_comes_once_and_is_checked(server, tmp_path, monkeypatch):
    url = f"{server.url}/data/some.npz?version=1"
    server.files["/data/some.npz?version=1"] = CONTENT
    path = download(url, SHA256, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "some.npz"
    assert path.read_bytes() == CONTENT
    monkeypatch.setenv("ARUBA_FAST_DATA", str(path.parent))
    assert download(url, SHA256) == path
    assert len(server.asked) == 1, "a file that is there and right is not asked for again"
    path.write_bytes(b"spoiled")
    assert download(url, SHA256).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_what_comes_with_another_checksum_is_not_kept(server, tmp_path):
    server.files["/data/some.npz"] = CONTENT[:-1] + b"!"
    with pytest.raises(ValueError) as caught:
        download(f"{server.url}/data/some.npz", SHA256, tmp_path)
    assert str(caught.value).startswith("download: `sha256` must be that of what http://127.0.0.1:")
    assert list(tmp_path.iterdir()) == []


def test_a_transfer_that_breaks_off_leaves_nothing(server, tmp_path):
    server.bytes_withheld = 1000
    with pytest.raises((OSError, ValueError)):
        download(f"{server.url}/data/some.npz", SHA256, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_such_file_and_no_server(server, tmp_path):
    with pytest.raises(OSError, match="404"):
        download(f"{server.url}/data/other.npz", SHA256, tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    with pytest.raises(OSError):
        download(f"http://127.0.0.1:{port}/data/some.npz", SHA256, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_omniglot_comes_as_its_authors_publish_it(server, rng, tmp_path, monkeypatch):
    data = small(rng)
    published = drawings.write_zips(tmp_path / "published", drawings.files(data))
    checksums = {}
    for name in ("images_background.zip", "images_evaluation.zip"):
        content = (published / name).read_bytes()
        server.files[f"/{name}"] = content
        checksums[f"{server.url}/{name}"] = hashlib.sha256(content).hexdigest()
    genuine = dict(_download._OMNIGLOT)
    assert [url.rpartition("/")[2] for url in genuine] == [url.rpartition("/")[2]
                                                           for url in checksums]  # fmt: skip
    monkeypatch.setattr(_download, "_OMNIGLOT", checksums)
    folder = download_omniglot(tmp_path / "here")
    assert folder == tmp_path / "here"
    assert_same(load_omniglot(folder, partial=True), data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ftp://x/y", SHA256), "download: `url` must be an address: got 'ftp://x/y', expected"),
        (("http://x/", SHA256), "download: `url` must be an address: got 'http://x/', expected"),
        (("http://x/a/..", SHA256), "download: `url` must be an address: got 'http://x/a/..', exp"),
        (("http://x/y", "abc"), "download: `sha256` must be a checksum: got 'abc', expected 64"),
        (("http://x/y", SHA256), "download: `folder` must be given where ARUBA_FAST_DATA names"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_asked(monkeypatch, arguments, message):
    monkeypatch.delenv("ARUBA_FAST_DATA", raising=False)
    with pytest.raises(ValueError) as caught:
        download(*arguments)
    assert str(caught.value).startswith(message)


def test_without_pooch(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'aruba_fast\[data\]'"):
        download("http://127.0.0.1:1/x", SHA256, tmp_path)
