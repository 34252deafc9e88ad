"""The documentation of `aruba_fast.jax` runs: its docstrings, and what importing it needs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest
from documentation import run_examples
from jax_models import aj

OBJECTS = {name: getattr(aj, name) for name in aj.__all__}


@pytest.mark.parametrize("name", OBJECTS)
def test_docstrings_are_whole(name):
    """The first line is a sentence, every parameter is described, the examples run."""
    text = inspect.getdoc(OBJECTS[name])
    assert text.split("\n")[0].endswith(".")
    parameters = inspect.signature(OBJECTS[name]).parameters
    assert [p for p in parameters if not re.search(rf"^\s+{p}:", text, re.MULTILINE)] == []
    # What functions return is a tuple with names, and shown where they are.
    assert run_examples(name, text) or hasattr(OBJECTS[name], "_fields")


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
