"""The documentation of `aruba_fast.jax` runs: docstrings, and the page docs/jax.md."""

from __future__ import annotations

import doctest
import inspect
import os
import re
import subprocess
import sys

import pytest
from jax_models import aj, need
from test_docs import FLAGS, ROOT, code_blocks

OBJECTS = {name: getattr(aj, name) for name in aj.__all__}
# The states of the rules and the pair of functions are what the functions return.
RETURNED = {"GradientTransformation", "OGDState", "ArubaPlusPlusState"}


@pytest.mark.parametrize("name", OBJECTS)
def test_docstrings_are_whole(name):
    """The first line is a sentence, every parameter is described, the examples run."""
    text = inspect.getdoc(OBJECTS[name])
    assert text.split("\n")[0].endswith(".")
    parameters = inspect.signature(OBJECTS[name]).parameters
    assert [p for p in parameters if not re.search(rf"^\s+{p}:", text, re.MULTILINE)] == []
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    report = []
    assert doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append).failed == 0, report
    assert test.examples or name in RETURNED


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    """All Python blocks in order, as one program that a reader types."""
    page = ROOT / "docs" / "jax.md"
    if not page.exists() and not os.environ.get("CI"):
        pytest.skip("tests are run without the source tree around them")
    need("optax")
    blocks = code_blocks(page)
    assert len(blocks) >= 7
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "page"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/jax.md, Python block {number + 1}", "exec"), space)


def test_importing_the_library_does_not_import_jax():
    code = "import sys, aruba_fast; print('jax' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_without_jax_there_is_one_sentence():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "try: import aruba_fast.jax\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == (
        "aruba_fast.jax: JAX must be installed: got no module named 'jax', "
        "expected it from pip install 'aruba_fast[jax]'"
    )
