"""Where a learner is saved: permissions, links, pipes and devices, killed saves; the sentences."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
from checkpoints import state

import aruba_fast as af
from aruba_fast._replace import replace

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and nodes of POSIX")
LEARNER = af.MetaLearner(np.linspace(0, 1, 7), learning_rate=0.25)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
@pytest.mark.parametrize("given", [None, 0o600, 0o640, 0o444, 0o666], ids=lambda m: f"{m or 0:o}")
def test_permissions_stay_and_new_files_have_the_usual_ones(given, umask, tmp_path):
    path, before = tmp_path / "x", os.umask(umask)
    try:
        if given is not None:
            path.touch()
            path.chmod(given)
        LEARNER.save(path)
    finally:
        os.umask(before)
    assert mode(path) == (0o666 & ~umask if given is None else given)
    assert state(af.MetaLearner.load(path)) == state(LEARNER)


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("refused", [(), ("owner",), ("owner", "group")], ids=str)
def test_the_owner_stays_where_the_system_allows_it(refused, tmp_path, monkeypatch):
    path, really = tmp_path / "x", os.fchown
    path.touch()
    path.chmod(0o664)
    os.chown(path, 1234, 2345)

    def fchown(descriptor, uid, gid):
        if ("owner" in refused and uid != -1) or "group" in refused:
            raise PermissionError
        really(descriptor, uid, gid)

    monkeypatch.setattr(os, "fchown", fchown)
    LEARNER.save(path)
    found = path.stat()
    assert (found.st_uid == 1234) == ("owner" not in refused)
    assert (found.st_gid == 2345) == ("group" not in refused)
    assert mode(path) == (0o644 if "group" in refused else 0o664)


@posix
def test_nobody_reads_a_private_file_while_it_is_written(tmp_path, monkeypatch):
    path, really, seen = tmp_path / "x", os.fsync, []
    path.touch()
    path.chmod(0o640)

    def fchmod(descriptor, _):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))

    monkeypatch.setattr(os, "fchmod", fchmod)
    LEARNER.save(path)
    assert seen == [0o600]
    assert os.fsync is really


@posix
def test_links_are_followed(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder / "file")
    (tmp_path / "link to it").symlink_to("link")
    for name in ("link", "link to it"):  # the first one dangles
        LEARNER.save(tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert state(af.MetaLearner.load(folder / "file")) == state(LEARNER)
    assert [p.name for p in folder.iterdir()] == ["file"]


@posix
def test_the_folder_is_synced_after_the_file_has_its_name(tmp_path, monkeypatch):
    really, synced = os.fsync, []

    def fsync(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append(("folder" if is_folder else "file", (tmp_path / "x").exists()))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    LEARNER.save(tmp_path / "x")
    assert synced == [("file", False), ("folder", True)]


@posix
def test_a_pipe_is_written_through(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    LEARNER.save(pipe)
    reader.join(60)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    LEARNER.save(tmp_path / "file")
    assert read == [(tmp_path / "file").read_bytes()]


@posix
@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="needs /dev/stdout")  # noqa: PTH110
def test_devices_are_written_through(tmp_path):
    code = (
        "import sys, numpy as np, aruba_fast as af; "
        "af.MetaLearner(np.linspace(0, 1, 7), learning_rate=0.25).save(sys.argv[1])"
    )
    LEARNER.save(tmp_path / "file")
    done = subprocess.run([sys.executable, "-c", code, "/dev/stdout"], capture_output=True)
    assert (done.stdout, done.stderr) == ((tmp_path / "file").read_bytes(), b"")
    LEARNER.save("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116
    with open("/dev/full", "wb"), pytest.raises(OSError, match="space"):  # noqa: PTH123
        LEARNER.save("/dev/full")


@posix
def test_a_socket_is_refused_and_stays(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        # The path of a socket is short: it is bound by a relative one.
        before = os.getcwd()  # noqa: PTH109
        os.chdir(tmp_path)
        try:
            server.bind("socket")
        finally:
            os.chdir(before)
        with pytest.raises(OSError, match=r"save: `path` must be a file, a pipe or a terminal"):
            LEARNER.save(tmp_path / "socket")
    assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)
    assert [p.name for p in tmp_path.iterdir()] == ["socket"]


SENTENCES = {
    "save in no folder": (
        lambda at: LEARNER.save(at / "no" / "x"),
        FileNotFoundError,
        r"MetaLearner.save: `path` must be in a folder that exists: got '.*/no/x', and there is "
        r"no '.*/no'; make it by os.makedirs\('.*/no'\)",
    ),
    "save on a folder": (
        lambda at: LEARNER.save(at),
        IsADirectoryError,
        r"MetaLearner.save: `path` must be a file: got '.*', a folder, expected a file in it",
    ),
    "save under a file": (
        lambda at: LEARNER.save(at / "file" / "x"),
        NotADirectoryError,
        r"MetaLearner.save: `path` must .*: got '.*/file/x'",
    ),
    "save to a slash": (lambda at: LEARNER.save(f"{at}/x/"), IsADirectoryError, "must be a file"),
    "save to nothing": (lambda _: LEARNER.save(""), FileNotFoundError, "the name of a file"),
    "save to a long name": (lambda at: LEARNER.save(at / ("x" * 300)), OSError, "written.*long"),
    "save to a number": (lambda _: LEARNER.save(1), TypeError, "save: `path` must be a path.*int"),
    "save to None": (lambda _: LEARNER.save(None), TypeError, "`path` must be a path.*NoneType"),
    "save with a null": (lambda at: LEARNER.save(f"{at}/a\0b"), ValueError, "null character"),
    "load nothing": (
        lambda at: af.MetaLearner.load(at / "x"),
        FileNotFoundError,
        r"MetaLearner.load: `path` must be a file that exists: got '.*/x', and '.*' has no such",
    ),
    "load from no folder": (
        lambda at: af.MetaLearner.load(at / "no" / "x"),
        FileNotFoundError,
        r"MetaLearner.load: `path` must be in a folder that exists: .* there is no '.*/no'$",
    ),
    "load a folder": (lambda at: af.MetaLearner.load(at), IsADirectoryError, "load.*a folder"),
    "load a number": (lambda _: af.MetaLearner.load(0), TypeError, "load: `path` must be a path"),
    "load a null": (lambda _: af.MetaLearner.load("a\0"), ValueError, "load.*null character"),
}


@posix
@pytest.mark.parametrize("case", SENTENCES)
def test_the_system_s_errors_are_sentences(case, tmp_path):
    call, error, sentence = SENTENCES[case]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(error, match=sentence) as caught:
        call(tmp_path)
    assert "Errno" not in str(caught.value)
    if isinstance(caught.value, OSError):
        assert caught.value.errno == caught.value.__cause__.errno is not None
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_paths_of_bytes_and_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (b"x", "x", os.path.join(".", "x")):  # noqa: PTH118
        LEARNER.save(path)
        assert state(af.MetaLearner.load(path)) == state(LEARNER)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np, aruba_fast as af
path, n = Path(sys.argv[1]), int(sys.argv[2])
learner = af.MetaLearner(np.ones(20_000))
learner.save(path)
random.seed(0)
left, last = 0, 0
for _ in range(n):
    child = os.fork()
    if child == 0:
        while True:
            learner.update(af.TaskRun(np.ones((1, 20_000)), np.ones((1, 20_000))))
            learner.save(path)
    time.sleep(random.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    now = af.MetaLearner.load(path)
    assert now.n_tasks >= 0 and (now.phi == 1).all()
    last = max(last, now.n_tasks)
    found = [p.name for p in path.parent.iterdir() if p != path]
    assert len(found) <= 1 and all(name.startswith(".aruba_fast-") for name in found), found
    left += len(found)
learner.save(path)
print(left > n // 20, last > 0, [p.name for p in path.parent.iterdir()])
"""


@posix
def test_a_save_that_is_killed_at_any_moment_leaves_a_valid_file(tmp_path):
    """Two hundred processes that save without end; what they leave, the next save removes."""
    path = tmp_path / "learner"
    done = subprocess.run(
        [sys.executable, "-c", KILLS, path, "200"], capture_output=True, text=True, timeout=300
    )
    assert (done.stdout, done.stderr) == ("True True ['learner']\n", "")


@posix
def test_saves_at_the_same_time_are_all_whole(tmp_path):
    """Threads of one process, each with its own file beside the one that they replace."""
    path, texts = tmp_path / "x", [bytes([i]) * 100_000 for i in range(6)]
    stop = threading.Event()

    def write(text):
        while not stop.is_set():
            replace(path, text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    replace(path, texts[0])
    for thread in threads:
        thread.start()
    seen = {path.read_bytes() for _ in range(200)}
    stop.set()
    for thread in threads:
        thread.join()
    assert seen <= set(texts)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@posix
def test_a_file_in_the_way_that_is_not_ours_is_left_alone(tmp_path):
    """Somebody else's save, which holds its lock, and a link that must not be followed."""
    import fcntl

    LEARNER.save(tmp_path / "x")
    names = []
    really = os.open

    def spy(path, *arguments):
        names.append(path)
        return really(path, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", spy)
        LEARNER.save(tmp_path / "x")
    first = next(p for p in names if str(p).endswith(".tmp"))
    with first.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        LEARNER.save(tmp_path / "x")
        assert first.exists()
    first.unlink()
    (tmp_path / "victim").write_bytes(b"precious")
    first.symlink_to(tmp_path / "victim")
    LEARNER.save(tmp_path / "x")
    assert first.is_symlink()
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert state(af.MetaLearner.load(tmp_path / "x")) == state(LEARNER)
