"""What a command has computed is never lost: files first, whole, and found unwritable before."""

import json
import os
import re
import subprocess
import sys

import pytest
from rich.table import Table as RichTable
from rich.text import Text
from tables import written
from typer.testing import CliRunner

from aruba_fast import _paths, datasets
from aruba_fast_reproductions import demo
from aruba_fast_reproductions.cli import outputs, screen
from aruba_fast_reproductions.cli.app import app
from aruba_fast_reproductions.demo import table

MAIN = (
    "import sys, aruba_fast_reproductions.demo as d; run = d.run;"
    "d.run = lambda t, s, r: run(t, d.Settings(n_seeds=1, n_passes=1), r);"
    "from aruba_fast_reproductions.cli import main; main()"
)
posix = pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices of Unix")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return written(tmp_path_factory.mktemp("people") / "t.npz")


@pytest.fixture(scope="module")
def result(people):
    return demo.run(datasets.load_table(people), demo.Settings(n_seeds=1, n_passes=1))


# ---- screens -------------------------------------------------------------------------------------


def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    return {"stdout": write}


def full():
    return {"stdout": os.open("/dev/full", os.O_WRONLY)}


def full_errors():
    return {"stderr": os.open("/dev/full", os.O_WRONLY)}


def of_encoding(name):
    return lambda: {"env": os.environ | {"PYTHONIOENCODING": name, "COLUMNS": "80"}}


# Where the screen goes, the status, what is told on standard error.
SCREENS = {
    "a pipe": (dict, 0, ""),
    "a closed pipe": (closed_pipe, 1, ""),
    "a full device": (
        full,
        1,
        "aruba-fast: the screen cannot be written to: No space left on devi",
    ),
    "errors into a full device": (full_errors, 0, ""),
    "no screen at all": (lambda: {"preexec_fn": lambda: os.close(1)}, 0, ""),
    "nor one for errors": (lambda: {"preexec_fn": lambda: (os.close(1), os.close(2))}, 0, ""),
    "ascii": (of_encoding("ascii"), 0, ""),
    "latin-1": (of_encoding("latin-1"), 0, ""),
    "utf-8": (of_encoding("utf-8"), 0, ""),
    "a locale without letters": (
        lambda: {
            "env": os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        },
        0,
        "",
    ),
}


@posix
@pytest.mark.parametrize(("screen", "status", "told"), SCREENS.values(), ids=SCREENS)
def test_files_are_there_whatever_becomes_of_the_screen(
    tmp_path, people, result, screen, status, told
):
    files = [tmp_path / "new" / "a.json", tmp_path / "new" / "deep" / "a.svg"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **screen()}
    arguments = ["demo", "--data", people, "--json", files[0], "--figure", files[1]]
    run = subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, arguments)], check=False, timeout=300, **options
    )
    for stream in ("stdout", "stderr"):
        if isinstance(options[stream], int) and options[stream] >= 0:
            os.close(options[stream])
    errors = (run.stderr or b"").decode(errors="replace")
    assert run.returncode == status, errors
    assert errors.startswith(told)
    assert len(errors.splitlines()) == bool(told)
    assert json.loads(files[0].read_text()) == json.loads(json.dumps(result.as_json()))
    assert files[1].read_bytes().startswith(b"<?xml")
    assert sorted(path.name for path in files[0].parent.iterdir()) == ["a.json", "deep"]
    if run.stdout:
        shown = run.stdout.decode("latin-1" if "latin" in str(options) else "utf-8")
        assert f"{result['ARUBA'].error:.4f}" in shown
        assert f"{'~' if shown.isascii() else '±'} is the standard error" in shown


@posix
@pytest.mark.parametrize("arguments", [("--help",), ("info",), ("demo", "--help")], ids=str)
@pytest.mark.parametrize(("screen", "status"), [(closed_pipe, 1), (full, 1)])
def test_other_commands_end_without_a_traceback(arguments, screen, status):
    options = {"stderr": subprocess.PIPE, **screen()}
    run = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments], check=False, timeout=300, **options
    )
    os.close(options["stdout"])
    assert b"Traceback" not in run.stderr
    assert b"Exception ignored" not in run.stderr
    assert run.returncode == status


NUMBER = re.compile(r"\d[\d.,]*")


@pytest.mark.parametrize("width", [1, 2, 5, 10, 20, 33, 40, 60, 79, 80, 200])
def test_no_number_is_cut_at_any_width(monkeypatch, capsys, result, width):
    shown = {}
    plain = RichTable("name", "value")
    plain.add_row("a number of many digits", "0.123456789 ± 0.000012345")
    for columns in (500, width):
        monkeypatch.setenv("COLUMNS", str(columns))
        screen.show(table.render(result), plain, Text("123456789.123456789 and more"))
        shown[columns] = capsys.readouterr().out
    assert "…" not in shown[width]
    assert NUMBER.findall(shown[width]) == NUMBER.findall(shown[500])
    assert len(NUMBER.findall(shown[width])) > 20


@pytest.mark.parametrize("width", [1, 10, 20, 30, 40, 59, 60, 80, 200])
def test_progress_is_not_cut_either(monkeypatch, width):
    class Terminal:
        encoding, text = "utf-8", ""

        def write(self, text):
            self.text += text
            return len(text)

        def isatty(self):
            return True

        def flush(self):
            pass

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with screen.progress_bar("meta-iterations") as report:
        report(6789, 200_000)
    assert "…" not in sys.stderr.text
    assert ("200000" in sys.stderr.text) == (width >= 24)


NAMES = ["[bold]x[/bold]", "[/x]", "[red]", ":smile:", "a[b]", "[link=http://x]y[/link]", "$x$"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(capsys, name):
    named = RichTable("data", title=name)
    named.add_row(name)
    screen.show(named, Text(name))
    assert capsys.readouterr().out.count(name) == 3


# ---- files ---------------------------------------------------------------------------------------


def never(*_arguments):
    raise AssertionError("the work has begun")


def test_what_cannot_be_written_is_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "run", never)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "folder.png").mkdir()
    for arguments, sentence in (
        (["--json", "file/a.json"], "demo: `json` must be a file that can be written to: got "),
        (["--json", "file/deep/a.json"], "`json` must be a file that can be written to: got "),
        (["--json", "folder.json"], "where that fails: Is a directory"),
        (["--json", 300 * "a"], "where that fails: File name too long"),
        (["--json", 300 * "a" + "/a.json"], "where that fails: File name too long"),
        (["--json", "/dev/null/a.json"], "`json` must be a file that can be written to"),
        (["--json", "/proc/none/a.json"], "`json` must be a file that can be written to"),
        (["--figure", "file/a.png"], "demo: `figure` must be a file that can be written to"),
        (["--figure", "folder.png"], "where that fails: Is a directory"),
        (["--figure", "a.bmpx"], "whose ending is not supported, expected one of .png, .pdf"),
        (["--figure", "a"], "demo: `figure` must end in a format: got "),
        (["--figure", ".png"], "demo: `figure` must end in a format: got "),
        (["--figure", "a.pgf"], "demo: `figure` must end in a format: got "),
        (["--json", "a.png", "--figure", "a.png"], "`figure` must be another file than `json`"),
        (["--json", "b/../a.png", "--figure", "a.png"], "must be another file than `json`"),
    ):
        monkeypatch.chdir(tmp_path)
        run = CliRunner().invoke(app, ["demo", *arguments])
        assert (run.exit_code, type(run.exception)) == (1, SystemExit), (arguments, run.output)
        assert sentence in " ".join(run.output.split())
        assert len(run.output.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*.png"))[1:]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_files_and_folders_without_permission_are_found_before(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    (tmp_path / "read.json").touch(mode=0o400)
    for name in ("closed/a.json", "closed/new/a.json", "read.json"):
        with pytest.raises(PermissionError, match="where that fails: Permission denied"):
            _paths.require_file("demo", "json", tmp_path / name)
    with pytest.raises(PermissionError, match="`figures` must be a folder that can be written to"):
        _paths.require_folder("demo", "figures", tmp_path / "closed" / "new")


def test_folders_are_made(tmp_path):
    outputs.require(
        "demo",
        folders={"figures": tmp_path / "a" / "b", "out": None},
        files={"json": tmp_path / "c" / "d" / "e.json", "figure": tmp_path / "f" / "g.PNG"},
    )
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert found == ["a", "a/b", "c", "c/d", "f"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^omniglot: `figures` must be a folder that can be written"):
        outputs.require("omniglot", folders={"figures": tmp_path / "file"}, files={})


@posix
@pytest.mark.parametrize("name", ["pipe", "/dev/null"])
def test_what_is_no_regular_file_is_no_error(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    _paths.require_file("demo", "json", tmp_path / name)
    assert not (tmp_path / name).is_file()


def test_every_step_is_taken_and_the_first_error_told():
    taken = []

    def fails(error):
        taken.append(error)
        raise error

    first, second = ValueError("a picture"), OSError("a screen")
    with pytest.raises(ValueError, match="a picture"):
        screen.deliver(lambda: fails(first), lambda: taken.append(1), lambda: fails(second))
    assert taken == [first, 1, second]


def test_a_picture_that_fails_costs_neither_file_nor_table(tmp_path, monkeypatch, people):
    from aruba_fast_reproductions.demo import figure

    monkeypatch.setattr(figure, "draw", lambda *_: 1 / 0)
    files = ["--json", str(tmp_path / "a.json"), "--figure", str(tmp_path / "a.png")]
    run = CliRunner().invoke(app, ["demo", "--data", str(people), "--seeds", "1", *files])
    assert isinstance(run.exception, ZeroDivisionError)
    assert "ARUBA++" in run.output
    assert json.loads((tmp_path / "a.json").read_text())["n_tasks"] == 12
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]
