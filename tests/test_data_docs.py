"""What is said of the data runs: docs/data.md, the docstrings; nothing heavy is imported for it."""

import inspect
import re
import subprocess
import sys

import pytest
from documentation import ROOT, run_examples, run_page

from aruba_fast import datasets


def test_the_shapes_are_those_that_the_page_tells(request):
    space = run_page("docs/data.md", request)
    assert space["episode"].support_x.shape == (5, 28, 28)
    assert space["batch"].query_x.shape == (32, 75, 28, 28)
    assert space["episodes"].n_classes == 4800
    assert space["seen"].n_predictions == space["predictions"].sum()


def test_the_page_names_every_public_function():
    text = (ROOT / "docs" / "data.md").read_text()
    functions = [name for name in datasets.__all__ if name.startswith(("load", "download"))]
    assert len(functions) == 7
    assert [name for name in (*functions, "ParquetTasks") if f"{name}(" not in text] == []


OBJECTS = {name: getattr(datasets, name) for name in datasets.__all__ if name != "SYMBOLS"}
METHODS = {
    f"{name}.{member}": value
    for name, kind in OBJECTS.items()
    if inspect.isclass(kind)
    for member, value in vars(kind).items()
    if not member.startswith("_") and inspect.isfunction(value)
}


@pytest.mark.parametrize("name", OBJECTS | METHODS)
def test_docstrings_are_whole(name):
    """The first line is a sentence, every parameter is described, the examples run."""
    public = (OBJECTS | METHODS)[name]
    text = inspect.getdoc(public)
    assert text.split("\n\n")[0].endswith(".")
    parameters = [p for p in inspect.signature(public).parameters if p != "self"]
    assert [p for p in parameters if not re.search(rf"^\s+{p}:", text, re.MULTILINE)] == []
    n_examples = run_examples(name, text)
    if name.startswith(("load_", "Episodes", "sequences", "download")) and "." not in name:
        assert n_examples


def test_optional_packages_are_not_imported():
    """Neither for the functions nor for `.npz` files."""
    code = (
        "import sys; from aruba_fast.datasets import load_wages; load_wages(); "
        "print({'PIL', 'pooch', 'requests', 'torch', 'pyarrow', 'narwhals'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr
